# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which UEFI a host has: by its descriptors, else where distributions put it."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import firmware
from ansible_collections.maqet.qemu.plugins.module_utils.host.firmware import Build, find

PLAIN = {"type": "uefi", "secure_boot": False, "code": None, "vars": None}
SECURE = {**PLAIN, "secure_boot": True}


class Host:
    """A folder of descriptors in /usr, one in /etc, and firmware files; nothing at the known places."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.usr, self.etc, self.files = folder / "usr", folder / "etc", folder / "files"
        for each in (self.usr, self.etc, self.files):
            each.mkdir()

    def build(self, name: str, fmt: str = "raw") -> Build:
        paths = [self.files / f"{name}-{part}.fd" for part in ("code", "vars")]
        for path in paths:
            path.write_bytes(b"QFI\xfb" if fmt == "qcow2" else b"\0")
        return Build(str(paths[0]), fmt, str(paths[1]), fmt)

    def describe(self, number: str, build: Build, *features: str, where: str = "usr", **changes: t.Any) -> None:
        mapping: dict[str, t.Any] = {
            "device": "flash",
            "executable": {"filename": build.code, "format": build.code_format},
            "nvram-template": {"filename": build.template, "format": build.template_format},
        }
        descriptor = {
            "description": "x",
            "interface-types": ["uefi"],
            "mapping": {**mapping, **changes.pop("mapping", {})},
            "targets": [{"architecture": "x86_64", "machines": ["pc-q35-*"]}],
            "features": list(features),
            "tags": [],
            **changes,
        }
        pathlib.Path(self.folder, where, f"{number}.json").write_text(json.dumps(descriptor), "utf-8")

    def find(self, wanted: t.Optional[dict[str, t.Any]] = None, arch: str = "x86_64", machine: str = "q35") -> Build:
        return find(PLAIN if wanted is None else wanted, arch, machine, (str(self.usr), str(self.etc)))

    def finds_none(self, *arguments: t.Any, **named: t.Any) -> str:
        with pytest.raises(MaqetError) as caught:
            self.find(*arguments, **named)
        assert caught.value.error_code == "invalid_option" and caught.value.details["option"] == "firmware"
        return str(caught.value)


@pytest.fixture
def host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(firmware, "_KNOWN", dict.fromkeys(firmware._KNOWN, ()))
    return Host(tmp_path)


def test_the_first_that_fits(host: Host) -> None:
    first, second = host.build("first", "qcow2"), host.build("second")
    host.describe("50", second)
    host.describe("40", first)
    assert host.find() == host.find(machine="pc-q35-7.2") == first


def test_etc_takes_the_place_of_usr_and_an_empty_one_hides(host: Host) -> None:
    first, second, third = host.build("first"), host.build("second"), host.build("third")
    host.describe("40", first)
    host.describe("50", second)
    host.describe("40", third, where="etc")
    assert host.find() == third
    (host.etc / "40.json").write_text("", "utf-8")
    assert host.find() == second


def test_secure_boot_is_on_or_off_as_asked(host: Host) -> None:
    enrolled, empty, plain = host.build("enrolled"), host.build("empty"), host.build("plain")
    host.describe("40", enrolled, "secure-boot", "enrolled-keys", "requires-smm")
    host.describe("50", empty, "secure-boot")
    host.describe("60", plain)
    assert host.find(SECURE) == enrolled
    assert host.find() == plain
    (host.usr / "60.json").unlink()
    assert host.find() == empty, "without keys it is off, and better than nothing"
    (host.usr / "40.json").unlink()
    assert "Secure Boot" in host.finds_none(SECURE)


@pytest.mark.parametrize(
    "changes",
    [
        {"interface-types": ["bios"]},
        {"mapping": {"device": "memory"}},
        {"mapping": {"mode": "stateless"}},
        {"mapping": {"nvram-template": None}},
        {"mapping": {"executable": {"filename": "/nowhere", "format": "raw"}}},
        {"targets": [{"architecture": "x86_64", "machines": ["pc-i440fx-*"]}]},
        {"targets": [{"architecture": "aarch64", "machines": ["pc-q35-*"]}]},
        {"targets": None},
        {"features": ["requires-smm"]},
    ],
)
def test_what_does_not_fit_is_passed_over(host: Host, changes: dict[str, t.Any]) -> None:
    host.describe("40", host.build("one"), **changes)
    (host.usr / "30.json").write_text("{ no json", "utf-8")
    (host.usr / "31.json").write_text("[]", "utf-8")
    words = host.finds_none()
    assert "ovmf" in words and "edk2-ovmf" in words
    fitting = host.build("two")
    host.describe("99", fitting)
    assert host.find() == fitting


def test_each_architecture_has_its_packages(host: Host) -> None:
    assert "qemu-efi-aarch64" in host.finds_none(arch="aarch64", machine="virt")


def test_known_places_where_there_is_no_descriptor(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    there = host.build("there", "qcow2")
    places = (("/nowhere/code", "/nowhere/vars"), (there.code, str(there.template)))
    monkeypatch.setitem(firmware._KNOWN, ("aarch64", False), places)
    assert host.find(arch="aarch64", machine="virt") == there


def test_every_kind_is_known_somewhere() -> None:
    assert set(firmware._KNOWN) == {(arch, secure) for arch in ("x86_64", "aarch64") for secure in (True, False)}


def test_the_users_own_files(host: Host) -> None:
    own = host.build("own", "qcow2")
    assert host.find({**PLAIN, "code": own.code, "vars": own.template}) == own
    assert host.find({**PLAIN, "code": own.code}) == Build(own.code, "qcow2", None, None)
    with pytest.raises(MaqetError, match="No such file") as caught:
        host.find({**PLAIN, "code": own.code, "vars": "/nowhere"})
    assert caught.value.details["option"] == "firmware.vars"
