# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the last QEMU of a VM ended, also where nobody was there to write it down."""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import files, processes
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.qmp import ending
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.events import EventFile

Note = t.Dict[str, t.Any]


def last(paths: VmPaths) -> t.Optional[Note]:
    """The note of the end of the last QEMU that is known to have ended."""
    return _note(paths.last_exit)


def unexplained(paths: VmPaths) -> t.Optional[Note]:
    """What can be said of a QEMU that was started and whose end nobody has noted; None if there is none.

    To be called for a VM that does not run.
    """
    begun, known = _note(paths.last_start), _note(paths.last_exit)
    if begun is None or (known is not None and float(known.get("time") or 0) >= float(begun.get("time") or 0)):
        return None
    if begun.get("boot_id") != processes.boot_id():
        end = ending.host_down()
    else:
        end = ending.explain(None, EventFile(paths.events).load(), files.tail(paths.qemu_log, 5))
    return {**end.as_dict(), "qemu": {key: begun.get(key) for key in ("pid", "start")}}


def _note(path: str) -> t.Optional[Note]:
    """A note for people: damaged, it is no reason to fail."""
    try:
        note = files.read_json(path)
        return note if isinstance(note, dict) and isinstance(note.get("time"), (int, float)) else None
    except (MaqetError, OSError):  # damaged, or of a VM that is not this user's
        return None
