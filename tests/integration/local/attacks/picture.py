# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be seen of a host: files to the byte, and who runs and listens there."""

from __future__ import annotations

import hashlib
import os
import stat
import typing as t
from pathlib import Path

#: A file as it must be found again: its kind and mode, size, time of change in ns, and a digest or a link's target.
Found = t.Tuple[str, int, int, str]


def picture(*folders: Path, without: t.Collection[str] = ()) -> dict[str, Found]:
    """Everything below the folders, the folders too. ``without``: base names that live (logs of a running VM)."""
    seen = {}
    for folder in folders:
        for path, _folders, names in os.walk(folder):
            for entry in [path, *(os.path.join(path, name) for name in [*_folders, *names])]:
                if os.path.basename(entry) not in without:
                    seen[entry] = _found(entry)
    return seen


def _found(path: str) -> Found:
    about = os.lstat(path)
    content = ""
    if stat.S_ISREG(about.st_mode):
        with open(path, "rb") as file:
            content = hashlib.sha256(file.read()).hexdigest()
    elif stat.S_ISLNK(about.st_mode):
        content = os.readlink(path)
    return stat.filemode(about.st_mode), about.st_size, about.st_mtime_ns, content


def differences(before: dict[str, Found], after: dict[str, Found]) -> dict[str, tuple[Found | None, Found | None]]:
    """What has come, gone or changed."""
    paths = sorted(before.keys() | after.keys())
    return {path: (before.get(path), after.get(path)) for path in paths if before.get(path) != after.get(path)}


def children(pid: int) -> list[str]:
    """Processes that a process has begun and that still are."""
    found: list[str] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += (task / "children").read_text("ascii").split()
    return found


def open_sockets(pid: int) -> int:
    """How many sockets a process holds: listening, connected, or prepared for it."""
    return sum(link.startswith("socket:") for link in _descriptors(pid))


def _descriptors(pid: int) -> list[str]:
    return [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
