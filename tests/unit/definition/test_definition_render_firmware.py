# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flash, TPM and shares on the command line. The integration tests start QEMU with each."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_disks import Source
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_firmware import Flash
from ansible_collections.maqet.qemu.tests.unit.definition.test_definition_render import BARE_OF, render

PLAIN = Flash(Source("/f/code,1", "raw"), Source("/v/vars.raw", "raw"))
SECURE = Flash(Source("/dev/fdset/1", "qcow2"), Source("/v/vars.qcow2", "qcow2"), smm=True)


def blocks(line: list[str]) -> list[dict[str, t.Any]]:
    return [json.loads(line[index + 1]) for index, word in enumerate(line) if word == "-blockdev"]


def behind(line: list[str], option: str) -> list[str]:
    return [line[index + 1] for index, word in enumerate(line) if word == option]


def test_flash_is_read_only_code_and_variables_that_can_be_written() -> None:
    line = render({"firmware": "uefi"}, flash=PLAIN)
    assert behind(line, "-machine") == ["q35,pflash0=maqet-code,pflash1=maqet-nvram"]
    assert blocks(line) == [
        {"driver": "file", "node-name": "maqet-code-file", "filename": "/f/code,1", "read-only": True},
        {"driver": "raw", "node-name": "maqet-code", "file": "maqet-code-file", "read-only": True},
        {"driver": "file", "node-name": "maqet-nvram-file", "filename": "/v/vars.raw", "read-only": False},
        {"driver": "raw", "node-name": "maqet-nvram", "file": "maqet-nvram-file", "read-only": False},
    ]
    assert "-global" not in line and "-drive" not in line


def test_code_that_keeps_no_variables() -> None:
    line = render({"firmware": {"code": "/f/code"}}, flash=Flash(Source("/f/code", "raw")))
    assert behind(line, "-machine") == ["q35,pflash0=maqet-code"]
    assert len(blocks(line)) == 2


def test_secure_boot_protects_the_variables_and_does_without_s3() -> None:
    line = render({"firmware": "uefi-secure"}, flash=SECURE)
    assert behind(line, "-machine") == ["q35,smm=on,pflash0=maqet-code,pflash1=maqet-nvram"]
    assert behind(line, "-global") == [
        "driver=cfi.pflash01,property=secure,value=on",
        "driver=ICH9-LPC,property=disable_s3,value=1",
    ]
    assert [block["backing"] for block in blocks(line) if block["driver"] == "qcow2"] == [None, None]


def test_flash_on_arm() -> None:
    line = render({"arch": "aarch64"}, flash=PLAIN)
    assert behind(line, "-machine") == ["virt,gic-version=max,pflash0=maqet-code,pflash1=maqet-nvram"]


@pytest.mark.parametrize(
    ("params", "arch", "device"),
    [
        ({"tpm": True}, "x86_64", "tpm-crb"),
        ({"tpm": {"model": "tpm-tis"}}, "x86_64", "tpm-tis"),
        ({"tpm": {"version": "1.2"}}, "x86_64", "tpm-tis"),
        ({"tpm": True}, "aarch64", "tpm-tis-device"),
    ],
)
def test_tpm(params: dict[str, t.Any], arch: str, device: str) -> None:
    line = render({**params, "arch": arch}, tpm_fd=9)
    at = line.index("-tpmdev") - 2
    assert line[at : at + 6] == [
        *("-chardev", "socket,id=maqet-tpm,fd=9"),
        *("-tpmdev", "emulator,id=maqet-tpm-back,chardev=maqet-tpm"),
        *("-device", f"{device},id=maqet-tpm-chip,tpmdev=maqet-tpm-back"),
    ]
    assert [*line[:at], *line[at + 6 :]] == BARE_OF[arch] == render({"arch": arch, "tpm": False})


def test_shares_come_behind_all_cards_and_before_what_the_user_adds() -> None:
    params: dict[str, t.Any] = {"networks": [{"type": "user"}], "agent": True, "panic_action": "pause"}
    shares = [{"path": "/srv/a,b"}, {"path": "/srv/c", "tag": "c", "readonly": True, "security_model": "none"}]
    without = render({**params, "extra_args": ["-usb"]})
    line = render({**params, "extra_args": ["-usb"], "shares": shares}, renamed={"shares: c": "/proc/self/fd/8"})
    assert line == [
        *without[:-1],
        *("-fsdev", "local,id=maqet-share0,path=/srv/a,,b,security_model=mapped-xattr"),
        *("-device", "virtio-9p-pci,id=maqet-share0-dev,fsdev=maqet-share0,mount_tag=share0"),
        *("-fsdev", "local,id=maqet-share1,path=/proc/self/fd/8,security_model=none,readonly=on"),
        *("-device", "virtio-9p-pci,id=maqet-share1-dev,fsdev=maqet-share1,mount_tag=c"),
        "-usb",
    ]
