# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks as users ask for them. Which file that means on a host is decided elsewhere."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition import sizes, values
from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option

FORMATS = ("qcow2", "raw")
INTERFACES = ("virtio", "scsi", "sata", "ide")
FIELDS = ("name", "size", "base", "path", "format", "interface", "readonly")

# Twenty characters: guests see the name as the disk's serial number, and virtio-blk and ATA cut it
# there. QEMU's own limit, 31 for a node name, leaves 21 ("disk-NAME-file").
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,19}")
# Ids that the command line uses for other devices.
_TAKEN = re.compile(r"nic[0-9]+|maqet.*")
# How many disks the controllers have room for; QEMU's own words past that name a bus, no option.
_ROOM = {"sata": 6, "ide": 4}


def disks(option: str, value: t.Any) -> list[dict[str, t.Any]]:
    """Normal form of the list: only what was given, plus a name for each disk."""
    result: list[dict[str, t.Any]] = []
    for index, item in enumerate(values.list_of(option, value, "disks")):
        disk = _disk(f"{option}[{index}]", item, f"disk{index}")
        for other in result:
            if other["name"] == disk["name"]:
                raise invalid_option(
                    f"{option}[{index}].name",
                    disk["name"],
                    "is the name of another disk",
                    "Give each disk its own name.",
                )
        result.append(disk)
    for interface, room in _ROOM.items():
        count = sum(disk.get("interface") == interface for disk in result)
        if count > room:
            raise invalid_option(
                option, count, f"disks on {interface} are more than the {room} it has room for", "Use virtio or scsi."
            )
    return result


def _disk(option: str, value: t.Any, default_name: str) -> dict[str, t.Any]:
    """One disk; the keys come out in the order of ``FIELDS``."""
    given = values.fields(option, value, FIELDS)
    disk: dict[str, t.Any] = {"name": _name(f"{option}.name", given.get("name", default_name))}
    if "size" in given:
        disk["size"] = sizes.disk_bytes(f"{option}.size", given["size"])
    for key in ("base", "path"):
        if key in given:
            disk[key] = values.absolute_path(f"{option}.{key}", given[key])
    if "format" in given:
        disk["format"] = values.choice(f"{option}.format", given["format"], FORMATS)
    if "interface" in given:
        disk["interface"] = values.choice(f"{option}.interface", given["interface"], INTERFACES)
    if "readonly" in given:
        disk["readonly"] = values.yes_or_no(f"{option}.readonly", given["readonly"])
    _check_source(option, disk)
    _check_readonly(option, disk)
    return disk


def _name(option: str, value: t.Any) -> str:
    remedy = "Use 1 to 20 lower-case ASCII letters, digits, '_' and '-', beginning with a letter, such as data1."
    name = values.matching(option, value, _NAME, "is not a name for a disk", remedy)
    if _TAKEN.fullmatch(name):
        raise invalid_option(option, value, "is reserved for devices that the collection adds itself", remedy)
    return name


def _check_source(option: str, disk: dict[str, t.Any]) -> None:
    """A disk is either made (``size``, or ``base``, or both) or already there (``path``)."""
    if "path" in disk:
        for key in ("size", "base"):
            if key in disk:
                raise invalid_option(
                    f"{option}.{key}",
                    disk[key],
                    "does not go with path, which names an existing file",
                    f"Remove path or {key}.",
                )
    elif "size" not in disk and "base" not in disk:
        raise invalid_option(
            option,
            disk,
            "has no source",
            "Give size for a new disk, base for an overlay on an image, or path for an existing file.",
        )
    elif "base" in disk and disk.get("format", "qcow2") != "qcow2":
        raise invalid_option(
            f"{option}.format",
            disk["format"],
            "cannot be an overlay on a base image",
            "Use qcow2, or leave format out.",
        )


def _check_readonly(option: str, disk: dict[str, t.Any]) -> None:
    """ATA knows no write-protected hard disk; QEMU says "Block node is read-only" and ends."""
    if disk.get("readonly") and disk.get("interface") in ("sata", "ide"):
        raise invalid_option(
            f"{option}.readonly", True, f"is not possible on {disk['interface']}", "Use the interface virtio or scsi."
        )
