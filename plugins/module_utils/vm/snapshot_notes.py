# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What images cannot say of their snapshots, in a file beside the definition; and what a task is about to do to them.

The images are the truth. A note counts only while the snapshot that it was made for is there, which its dates tell;
it is dropped when the file is next written. A task says first what it begins, so that the next one finds out what
became of a task that was killed.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import files
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths

FORMAT = 1

Note = t.Dict[str, t.Any]


@dataclass
class Notes:
    """A note by the name of its snapshot: description, group, disks, dates (by disk, in ns), intent, qemu_version.

    ``pending``: what was begun and not finished: ``op``, ``name``, and what it takes to finish it. ``damaged``: why
    the file could not be read.
    """

    notes: dict[str, Note] = field(default_factory=dict)
    pending: t.Optional[Note] = None
    damaged: t.Optional[str] = None


def load(paths: VmPaths) -> Notes:
    """What is there. A file that is damaged costs the descriptions, and must not cost the snapshots."""
    try:
        data = files.read_json(paths.snapshots)
    except MaqetError as error:
        return Notes(damaged=str(error))
    if data is None:
        return Notes()
    sound = isinstance(data, dict) and data.get("format") == FORMAT and _all_dicts(data.get("snapshots"))
    pending = data.get("pending") if sound else None
    if not sound or not (pending is None or (isinstance(pending, dict) and {"op", "name"} <= set(pending))):
        return Notes(damaged=f"{paths.snapshots} is not of the format {FORMAT}.")
    return Notes(data["snapshots"], pending)


def store(paths: VmPaths, notes: Notes) -> None:
    """Write it, or remove it if there is nothing to say."""
    if not notes.notes and notes.pending is None:
        files.remove(paths.snapshots)
        return
    data = {"format": FORMAT, "snapshots": notes.notes, "pending": notes.pending}
    files.write_json(paths.snapshots, data)


def _all_dicts(value: t.Any) -> bool:
    return isinstance(value, dict) and all(isinstance(one, dict) for one in value.values())
