# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fields that name files of the host."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.guard.case import Case, replace_value
from ansible_collections.maqet.qemu.plugins.module_utils.guard.paths import Found, Misleading, locate
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Opening, Refusal
from ansible_collections.maqet.qemu.plugins.module_utils.guard.walk import Leaf

_NEW = "Choose a name that is not there yet, in the VM's own output folder."
_ROOT = "Use a file in the VM's own folder (disks/ or output/), or have the host's policy name its folder in 'roots'."


def new_file(leaf: Leaf, case: Case, name: str | None = None, prefix: str = "", opened: bool = True) -> Refusal | None:
    """A file that QEMU writes: one that is not there yet, in the VM's own folders or in a root for writing.

    With ``opened`` it is made for QEMU, which sees a descriptor behind ``prefix``; else QEMU makes it by its name.
    """
    if case.no_word_on_files:
        return None
    found = find(leaf, case, "write", name)
    if isinstance(found, Refusal):
        return found
    if found.kind != "missing":
        return case.refuse(leaf, "exists already, and QEMU would write over it", _NEW)
    how, mode = ("procfd", "create") if opened else ("name", "name")
    case.opens(_opening(leaf, found, mode, how, prefix))
    return None


def old_file(leaf: Leaf, case: Case, access: str, name: str | None = None, how: str = "procfd") -> Refusal | None:
    """A file that is there and that QEMU opens, for reading or for writing too."""
    if case.no_word_on_files:
        return None
    found = find(leaf, case, access, name)
    if isinstance(found, Refusal):
        return found
    problem = unusable(found)
    if problem is not None:
        return case.refuse(leaf, problem, _ROOT)
    case.opens(opening_of(leaf, found, access, how, case))
    return None


def folder(leaf: Leaf, case: Case) -> Refusal | None:
    """A folder that QEMU reads; it keeps its name, since a folder is used by the names in it."""
    if case.no_word_on_files:
        return None
    found = find(leaf, case, "read")
    if isinstance(found, Refusal):
        return found
    if found.kind != "folder":
        return case.refuse(leaf, "is no folder", _ROOT)
    case.opens(_opening(leaf, found, "name", "name", ""))
    return None


def find(leaf: Leaf, case: Case, access: str, name: str | None = None) -> Found | Refusal:
    """Where the field leads, if it may lead there for this ``access``."""
    text = leaf.value if name is None else name
    if not isinstance(text, str):
        return case.refuse(leaf, "is no file name", _ROOT)
    try:
        found = locate(text, case.places, case.scope.output)
    except Misleading as problem:
        return case.refuse(leaf, str(problem), _ROOT, _root_for(text, access))
    if access == "write" and found.place.access != "write":
        remedy = "Open it with read-only: true, or have the policy give the root access: write."
        return case.refuse(leaf, "lies in a root that the policy gives for reading only", remedy)
    return found


def unusable(found: Found) -> str | None:
    """Why an existing file cannot serve, or None."""
    if found.kind == "missing":
        return "does not exist"
    if found.kind == "file" or (found.kind in ("block", "char") and not found.place.own):
        return None
    return "is not a regular file"


def opening_of(leaf: Leaf, found: Found, access: str, how: str, case: Case) -> Opening:
    """What belongs to QEMU's own user keeps its name; everything else is opened for QEMU."""
    theirs = case.scope.uid is None or (found.status is not None and found.status.st_uid == case.scope.uid)
    if theirs and how == "fdset":  # its name goes into snapshots' headers, where a descriptor would mean nothing
        return _opening(leaf, found, "name", "name", "")
    return _opening(leaf, found, access, how, "")


def _opening(leaf: Leaf, found: Found, mode: str, how: str, prefix: str) -> Opening:
    def put(text: str) -> None:
        replace_value(leaf, prefix + text)

    return Opening(leaf.where, found.path, found.base, found.parts, mode, how, put, found.identity)


def _root_for(name: str, access: str) -> dict[str, t.Any] | None:
    """The policy's words that would open the folder of ``name``, where that can be said."""
    plain = name.startswith("/") and ".." not in name.split("/") and ":" not in name.partition("/")[0]
    clear = plain and name.isprintable() and len(name) < 1024
    return {"roots": [{"path": os.path.dirname(name) or "/", "access": access}]} if clear else None


# --- single fields that differ from the rest of their kind -----------------------------------------------------------


def memory_file(leaf: Leaf, case: Case) -> Refusal | None:
    """memory-backend-file maps a file into the guest; QEMU makes it if it is not there."""
    if case.no_word_on_files:
        return None
    options = leaf.holders[-1]
    only_read = options.get("readonly") is True and options.get("share") is not True
    found = find(leaf, case, "read" if only_read else "write")
    if isinstance(found, Refusal):
        return found
    if found.kind == "missing" and not only_read:
        return new_file(leaf, case)
    return old_file(leaf, case, "read" if only_read else "write")
