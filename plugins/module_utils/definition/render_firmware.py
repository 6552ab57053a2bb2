# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Firmware in flash, the TPM and shared folders on the command line.

Flash is given as block nodes to the machine (QEMU's docs/interop/firmware.json), never by ``-drive``: explicit formats,
and names by which QMP commands can find the nodes.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_disks import Source
from ansible_collections.maqet.qemu.plugins.module_utils.definition.spelling import json_object, option_string

CODE = "maqet-code"
NVRAM = "maqet-nvram"
TPM = "maqet-tpm"
SHARE = "maqet-share"
# How QEMU's option of a share is called in ``Place.renamed``.
SHARED = "shares: {}"

# The device of a model, by architecture: Arm's board has no ISA bus.
_TPM_DEVICES = {("tpm-tis", "aarch64"): "tpm-tis-device"}


@dataclass(frozen=True)
class Flash:
    """What UEFI runs from and keeps its variables in; None for firmware that keeps none.

    ``smm``: on x86, only code in system management mode may write the variables, without which Secure Boot protects
    nothing.
    """

    code: Source
    nvram: t.Optional[Source] = None
    smm: bool = False


def machine_suffix(flash: t.Optional[Flash]) -> str:
    """What follows the machine's type."""
    if flash is None:
        return ""
    properties: list[tuple[str, t.Any]] = [("smm", True)] if flash.smm else []
    properties.append(("pflash0", CODE))
    properties += [("pflash1", NVRAM)] if flash.nvram else []
    return f",{option_string('', properties)}"


def flash_arguments(flash: t.Optional[Flash]) -> list[str]:
    """The nodes of the flash; for SMM also that it is protected, and no S3, with which such firmware refuses to run."""
    if flash is None:
        return []
    arguments = _nodes(CODE, flash.code, True)
    if flash.nvram:
        arguments += _nodes(NVRAM, flash.nvram, False)
    if flash.smm:
        for driver, name, value in (("cfi.pflash01", "secure", "on"), ("ICH9-LPC", "disable_s3", "1")):
            arguments += ["-global", option_string("", [("driver", driver), ("property", name), ("value", value)])]
    return arguments


def _nodes(node: str, source: Source, readonly: bool) -> list[str]:
    file_node = source.file_node(readonly, f"{node}-file")
    format_node: dict[str, t.Any] = {"driver": source.driver, "node-name": node, "file": f"{node}-file"}
    format_node["read-only"] = readonly
    if source.driver == "qcow2":
        format_node["backing"] = None  # whatever its header says
    return ["-blockdev", json_object(file_node), "-blockdev", json_object(format_node)]


def tpm_arguments(tpm: t.Optional[t.Mapping[str, t.Any]], arch: str, descriptor: t.Optional[int]) -> list[str]:
    """The chip, emulated by a process at the other end of a socket that QEMU inherits (docs/specs/tpm.rst)."""
    if tpm is None:
        return []
    device = _TPM_DEVICES.get((tpm["model"], arch), tpm["model"])
    return [
        *("-chardev", option_string("socket", [("id", TPM), ("fd", descriptor)])),
        *("-tpmdev", option_string("emulator", [("id", f"{TPM}-back"), ("chardev", TPM)])),
        *("-device", option_string(device, [("id", f"{TPM}-chip"), ("tpmdev", f"{TPM}-back")])),
    ]


def share_arguments(shares: t.Sequence[t.Mapping[str, t.Any]], renamed: t.Mapping[str, str]) -> list[str]:
    """Shared folders, by what QEMU calls them."""
    arguments = []
    for index, share in enumerate(shares):
        name = f"{SHARE}{index}"
        path = renamed.get(SHARED.format(share["tag"]), share["path"])
        folder = [("id", name), ("path", path), ("security_model", share["security_model"])]
        folder += [("readonly", True)] if share["readonly"] else []
        arguments += ["-fsdev", option_string("local", folder)]
        device = [("id", f"{name}-dev"), ("fsdev", name), ("mount_tag", share["tag"])]
        arguments += ["-device", option_string("virtio-9p-pci", device)]
    return arguments
