# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one task asks of the snapshots of a VM, checked without a look at the VM."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ansible_collections.maqet.qemu.plugins.module_utils.definition import values
from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option

#: A number that nobody keeps so many snapshots for; QEMU takes 65536 an image (qcow2.rst, nb_snapshots).
MAX_KEEP = 65536

# QEMU has room for 255 bytes (QEMUSnapshotInfo); qemu-img takes all further signs, but people have to read them.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:+@-]{0,254}")
_GROUP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:+@-]{0,62}")


@dataclass(frozen=True)
class Wanted:
    """``memory`` and ``disks`` are None where the task leaves them to us, ``description`` where it manages none."""

    state: str
    name: str
    description: str | None = None
    memory: bool | None = None
    disks: tuple[str, ...] | None = None
    fsfreeze: bool = False
    group: str | None = None
    keep: int | None = None
    allow_restart: bool = False


def wanted(params: t.Mapping[str, t.Any]) -> Wanted:
    """The options of a task; ``invalid_option`` for what cannot be, or cannot be together."""
    result = Wanted(
        state=params["state"],
        name=_name(params["name"]),
        description=_description(params["description"]),
        memory=params["memory"],
        disks=_disks(params["disks"]),
        fsfreeze=params["fsfreeze"],
        group=_group(params["group"]),
        keep=None if params["keep"] is None else values.whole_number("keep", params["keep"], 1, MAX_KEEP),
        allow_restart=params["allow_restart"],
    )
    if result.state != "present":
        _only_present(result)
    if result.state == "absent" and result.memory is not None:
        raise invalid_option("memory", result.memory, "does not go with state: absent", "Leave it out.")
    _together(result)
    return result


def _together(result: Wanted) -> None:
    if result.keep is not None and result.group is None:
        raise invalid_option("keep", result.keep, "needs a group", "Say of which snapshots: give group too.")
    if result.memory and result.fsfreeze:
        raise invalid_option(
            "fsfreeze",
            True,
            "does not go with memory: true, which keeps the file systems as they are in the guest's memory",
            "Leave one of the two out.",
        )


def _only_present(result: Wanted) -> None:
    """Options that say how a snapshot is made are refused where none is made, rather than silently without effect."""
    given = {
        "description": result.description,
        "disks": result.disks,
        "fsfreeze": result.fsfreeze or None,
        "group": result.group,
        "keep": result.keep,
    }
    for option, value in given.items():
        if value is not None:
            raise invalid_option(option, value, f"does not go with state: {result.state}", "Leave it out.")


def _name(value: t.Any) -> str:
    remedy = (
        "Use 1 to 255 ASCII letters, digits, '_', '.', ':', '+', '@' and '-', beginning with a letter, digit or '_'."
    )
    name = values.matching("name", value, _NAME, "is not a name for a snapshot", remedy)
    if name.isdigit():
        raise invalid_option(
            "name",
            value,
            "is a number, and qemu-img would take it for a snapshot's number",
            "Add a letter, such as s1.",
        )
    return name


def _group(value: t.Any) -> str | None:
    if value is None:
        return None
    remedy = (
        "Use 1 to 63 ASCII letters, digits, '_', '.', ':', '+', '@' and '-', beginning with a letter, digit or '_'."
    )
    return values.matching("group", value, _GROUP, "is not a name for a group", remedy)


def _description(value: t.Any) -> str | None:
    return None if value is None else values.text("description", value, "Give one line of text.", 1024)


def _disks(value: t.Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = tuple(values.list_of("disks", value, "names of disks"))
    if not names:
        raise invalid_option("disks", value, "names no disk", "Leave it out for all disks.")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise invalid_option("disks", twice, "is named twice", "Name each disk once.")
    return names
