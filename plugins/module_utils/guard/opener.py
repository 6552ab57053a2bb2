# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Opening for QEMU what a verdict allows: exactly the files that were judged, by the same careful walk."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import typing as t
from dataclasses import dataclass, field

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.passing import How, Passed
from ansible_collections.maqet.qemu.plugins.module_utils.guard.paths import Misleading, reopen
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Opening

# linux/if_tun.h: attach to an interface; frames only, with the header that virtio wants.
_TUNSETIFF, _TAP, _NO_PI, _VNET_HDR = 0x400454CA, 0x0002, 0x1000, 0x4000
_IFNAMSIZ = 16

_FLAGS = {"create": os.O_RDWR | os.O_CREAT | os.O_EXCL, "read": os.O_RDONLY, "write": os.O_RDWR}


@dataclass
class Opened:
    """What was opened for one command."""

    passed: list[Passed] = field(default_factory=list)
    #: Files that were made for it: to be removed again if the command fails before it has written anything.
    made: list[tuple[Opening, tuple[int, int]]] = field(default_factory=list)

    def take(self, other: Opened) -> None:
        """Answer for what ``other`` has opened, too."""
        self.passed += other.passed
        self.made += other.made

    def close(self) -> None:
        """Close what nobody has closed yet."""
        for one in self.passed:
            one.close()

    def discard(self) -> None:
        """Remove the empty files of a command that failed."""
        for opening, identity in self.made:
            with contextlib.suppress(OSError, Misleading):
                _remove_empty(opening, identity)


def perform(openings: t.Iterable[Opening], uid: int | None, gid: int | None) -> Opened:
    """Open all of them. New files are given to the user ``uid`` and group ``gid`` that QEMU runs as.

    Raises MaqetError ``file_refused`` when one cannot be opened, or is not the file any more that was
    judged; then all are closed, and what was made is gone.
    """
    opened = Opened()
    try:
        for opening in openings:
            _one(opening, opened, uid, gid)
    except (OSError, Misleading) as error:
        opened.close()
        opened.discard()
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise MaqetError(
            f"{opening.where}: {opening.path} cannot be opened for QEMU: {why}. Check that it is there and free.",
            "file_refused",
            path=opening.path,
        ) from error
    return opened


def _one(opening: Opening, opened: Opened, uid: int | None, gid: int | None) -> None:
    if opening.mode == "name":
        opening.put(opening.path)
        return
    if opening.mode in ("tap", "any-tap"):
        opened.passed.append(Passed(_tap(opening.path, opening.mode == "any-tap"), "getfd", opening.put))
        return
    fd = reopen(opening.base, opening.parts, _FLAGS[opening.mode])
    opened.passed.append(Passed(fd, t.cast(How, opening.how), opening.put))
    status = os.fstat(fd)
    if opening.mode == "create":
        opened.made.append((opening, (status.st_dev, status.st_ino)))
        if uid is not None and gid is not None:
            os.fchown(fd, uid, gid)
    elif (status.st_dev, status.st_ino) != opening.identity:
        raise Misleading("it was replaced by another file a moment ago")


def _tap(name: str, make: bool) -> int:
    """A descriptor of an interface; TUNSETIFF makes one that does not exist, which goes with its last descriptor."""
    exists = "/" not in name and name not in ("", ".", "..") and os.path.exists(f"/sys/class/net/{name}/tun_flags")
    if not (exists or make):
        raise Misleading("there is no tap interface of this name")
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        request = struct.pack(f"{_IFNAMSIZ}sH", os.fsencode(name)[: _IFNAMSIZ - 1], _TAP | _NO_PI | _VNET_HDR)
        fcntl.ioctl(fd, _TUNSETIFF, request.ljust(40, b"\0"))
    except BaseException:
        os.close(fd)
        raise
    return fd


def _remove_empty(opening: Opening, identity: tuple[int, int]) -> None:
    folder = reopen(opening.base, opening.parts[:-1], os.O_PATH | os.O_DIRECTORY)
    try:
        status = os.stat(opening.parts[-1], dir_fd=folder, follow_symlinks=False)
        if (status.st_dev, status.st_ino) == identity and status.st_size == 0:
            os.unlink(opening.parts[-1], dir_fd=folder)
    finally:
        os.close(folder)
