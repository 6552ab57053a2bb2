# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting until files of a folder say what a case waits for: told by inotify(7), not by looking again and again."""

from __future__ import annotations

import ctypes
import json
import os
import time
import typing as t
from pathlib import Path

from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import wait_readable
from ansible_collections.maqet.qemu.tests.chaos.case import Broken

# IN_MODIFY, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE
_CHANGES = 0x2 | 0x40 | 0x80 | 0x100 | 0x200

Found = t.TypeVar("Found")


def until(folder: str, look: t.Callable[[], Found | None], seconds: float, what: str) -> Found:
    """The first answer of ``look`` that is not None, asked after each change in ``folder``; Broken after ``seconds``.

    The folder may go away and come back; then its parent is watched for that.
    """
    end = time.monotonic() + seconds
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        while True:
            for path in (folder, os.path.dirname(folder)):
                libc.inotify_add_watch(fd, os.fsencode(path), _CHANGES)
            found = look()
            if found is not None:
                return found
            if not wait_readable([fd], end - time.monotonic()):
                raise Broken(f"{what} has not come within {seconds:g} s")
            os.read(fd, 65536)
    finally:
        os.close(fd)


def status(path: str) -> dict[str, t.Any]:
    """A status file as it is now; empty if there is none, or if it is just being removed."""
    try:
        found = json.loads(Path(path).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return dict(found)
