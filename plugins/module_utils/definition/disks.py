# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks as users ask for them. Which file that means on a host is decided elsewhere."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition import defaults, disk_tuning, sizes, values
from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option

TYPES = ("disk", "cdrom")
FORMATS = ("qcow2", "raw")
#: What a clone can be made of: the formats of image files that qemu-img reads, without those that need a key or a net.
SOURCE_FORMATS = ("qcow2", "raw", "vmdk", "vdi", "vhdx", "vpc", "qcow", "qed", "parallels", "dmg", "bochs", "cloop")
INTERFACES = ("virtio", "scsi", "sata", "ide", "nvme", "usb")
PREALLOCATIONS = ("off", "metadata", "falloc", "full")
FIELDS = (
    *("name", "type", "size", "base", "clone", "clone_format", "checksum", "path", "format", "preallocation"),
    *("interface", "readonly", *disk_tuning.FIELDS),
)

# Twenty characters: guests see the name as the disk's serial number, and virtio-blk and ATA cut it
# there. QEMU's own limit, 31 for a node name, leaves 21 ("disk-NAME-file").
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,19}")
# Ids that the command line uses for other devices.
_TAKEN = re.compile(r"nic[0-9]+|maqet.*")
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}", re.IGNORECASE)
# How many disks the controllers have room for; QEMU's own words past that name a bus, no option.
_ROOM = {"sata": 6, "ide": 4}


def disks(option: str, value: t.Any) -> list[dict[str, t.Any]]:
    """Normal form of the list: only what was given, plus a name for each disk."""
    result: list[dict[str, t.Any]] = []
    for index, item in enumerate(values.list_of(option, value, "disks")):
        disk = one_disk(f"{option}[{index}]", item, f"disk{index}")
        for other in result:
            if other["name"] == disk["name"]:
                raise invalid_option(
                    f"{option}[{index}].name",
                    disk["name"],
                    "is the name of another disk",
                    "Give each disk its own name.",
                )
        result.append(disk)
    disk_tuning.check_bootindices(option, result)
    for interface, room in _ROOM.items():
        count = sum(_interface(disk) == interface for disk in result)
        if count > room:
            raise invalid_option(
                option, count, f"disks on {interface} are more than the {room} it has room for", "Use virtio or scsi."
            )
    return result


def one_disk(option: str, value: t.Any, default_name: str) -> dict[str, t.Any]:
    """One disk; the keys come out in the order of ``FIELDS``."""
    given = values.fields(option, value, FIELDS)
    disk: dict[str, t.Any] = {"name": _name(f"{option}.name", given.get("name", default_name))}
    if given.get("type", "disk") != "disk":  # a disk is what it is anyway
        disk["type"] = values.choice(f"{option}.type", given["type"], TYPES)
    checks: dict[str, t.Callable[[str, t.Any], t.Any]] = {
        "size": sizes.disk_bytes,
        "base": values.absolute_path,
        "clone": values.absolute_path,
        "clone_format": lambda name, word: values.choice(name, word, SOURCE_FORMATS),
        "checksum": _checksum,
        "path": values.absolute_path,
        "format": lambda name, word: values.choice(name, word, FORMATS),
        "preallocation": lambda name, word: values.choice(name, word, PREALLOCATIONS),
        "interface": lambda name, word: values.choice(name, word, INTERFACES),
        "readonly": values.yes_or_no,
    }
    disk.update({key: check(f"{option}.{key}", given[key]) for key, check in checks.items() if key in given})
    disk.update(disk_tuning.tuning(option, given))
    if disk.get("type") == "cdrom":
        _check_cdrom(option, disk)
    else:
        _check_source(option, disk)
        _check_readonly(option, disk)
    return disk


def _interface(disk: t.Mapping[str, t.Any]) -> str:
    return str({**defaults.of_disk_type(disk), **disk}["interface"])


def _checksum(option: str, value: t.Any) -> str:
    remedy = "Write sha256: and 64 hexadecimal digits, as 'sha256sum FILE' prints them."
    return values.matching(option, value, _CHECKSUM, "is not a checksum that is known here", remedy).lower()


def _name(option: str, value: t.Any) -> str:
    remedy = "Use 1 to 20 lower-case ASCII letters, digits, '_' and '-', beginning with a letter, such as data1."
    name = values.matching(option, value, _NAME, "is not a name for a disk", remedy)
    if _TAKEN.fullmatch(name):
        raise invalid_option(option, value, "is reserved for devices that the collection adds itself", remedy)
    return name


def _check_source(option: str, disk: dict[str, t.Any]) -> None:
    """A disk is made (``size``, ``base``, ``clone``; a size goes with both others) or already there (``path``)."""
    if "path" in disk:
        _forbid(option, disk, ("size", "base", "clone", "preallocation"), "path, which names an existing file")
    elif not {"size", "base", "clone"} & set(disk):
        raise invalid_option(
            option,
            disk,
            "has no source",
            "Give size for a new disk, base for an overlay on an image, clone for a copy of one, or path for an "
            "existing file.",
        )
    if "base" in disk:
        _forbid(option, disk, ("clone",), "base, on which the disk is an overlay")
        _forbid(option, disk, ("preallocation",), "base, whose clusters an overlay does not have")
        if disk.get("format", "qcow2") != "qcow2":
            raise invalid_option(
                f"{option}.format",
                disk["format"],
                "cannot be an overlay on a base image",
                "Use qcow2, or leave format out.",
            )
    for key in ("clone_format", "checksum"):
        if key in disk and "clone" not in disk:
            raise invalid_option(f"{option}.{key}", disk[key], "needs clone, whose file it is about", "Add clone.")
    if disk.get("preallocation") == "metadata" and disk.get("format") == "raw":
        raise invalid_option(
            f"{option}.preallocation", "metadata", "is not possible for raw, which has none", "Use off, falloc or full."
        )


def _check_cdrom(option: str, disk: dict[str, t.Any]) -> None:
    """A drive with a medium, ``path``, or with none."""
    _forbid(option, disk, ("size", "base", "clone", "clone_format", "checksum"), "a cdrom, whose medium is a file")
    writing = ("preallocation", "discard", "detect_zeroes", "throttle")
    _forbid(option, disk, writing, "a cdrom, which is never written")
    if disk.get("readonly") is False:
        raise invalid_option(f"{option}.readonly", False, "is not possible for a cdrom", "Remove readonly.")
    if disk.get("interface") in ("virtio", "nvme", "usb"):
        raise invalid_option(
            f"{option}.interface", disk["interface"], "has no drives for a cdrom", "Use sata, scsi or ide."
        )
    if "format" in disk and "path" not in disk:
        raise invalid_option(f"{option}.format", disk["format"], "needs a medium", "Give path too.")


def _forbid(option: str, disk: dict[str, t.Any], keys: t.Iterable[str], beside: str) -> None:
    for key in keys:
        if key in disk:
            other = beside.partition(",")[0]
            remedy = f"Remove {key}." if other.startswith("a ") else f"Remove {other} or {key}."
            raise invalid_option(f"{option}.{key}", disk[key], f"does not go with {beside}", remedy)


def _check_readonly(option: str, disk: dict[str, t.Any]) -> None:
    """ATA knows no write-protected hard disk, nor does QEMU's NVMe: QEMU ends, or the guest's writes fail."""
    if disk.get("readonly") and disk.get("interface") in ("sata", "ide", "nvme"):
        raise invalid_option(
            f"{option}.readonly", True, f"is not possible on {disk['interface']}", "Use the interface virtio or scsi."
        )
