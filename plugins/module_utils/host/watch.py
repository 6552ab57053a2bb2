# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Being told when a file grows or a folder changes: inotify(7), which Python's standard library leaves to C."""

from __future__ import annotations

import contextlib
import ctypes
import os

from ansible_collections.maqet.qemu.plugins.module_utils.host.closing import Closing

_IN_MODIFY = 0x2
_IN_MOVED_TO, _IN_CREATE, _IN_DELETE, _IN_DELETE_SELF = 0x80, 0x100, 0x200, 0x400
_IN_NONBLOCK = os.O_NONBLOCK
_IN_CLOEXEC = os.O_CLOEXEC


class GrowingFile(Closing):
    """A text file that somebody appends to. ``fd`` is readable when there may be more to :meth:`read`."""

    def __init__(self, path: str) -> None:
        """Open ``path``; OSError if it is not there."""
        self._file = open(path, "rb")  # pylint: disable=consider-using-with  # closed by close()
        self.fd = -1
        try:
            self.fd = _inotify(path, _IN_MODIFY)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file and of the watch."""
        self._file.close()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def read(self, most: int = -1) -> bytes:
        """What has been added since the last call, ``most`` bytes of it or all; b'' if nothing."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 65536)  # forget the notices so far; what they were about is read below
        return self._file.read(most)


class Folder(Closing):
    """A folder. ``fd`` is readable when a name in it has come, gone, or come to mean another file.

    With ``written`` also when somebody has written to a file in it.
    """

    def __init__(self, path: str, written: bool = False) -> None:
        """Begin to watch; OSError if it is not there."""
        changes = _IN_MOVED_TO | _IN_CREATE | _IN_DELETE | _IN_DELETE_SELF
        self.fd = _inotify(path, changes | _IN_MODIFY if written else changes)

    def read(self) -> bool:
        """Forget the notices so far; whether there were any."""
        try:
            return bool(os.read(self.fd, 65536))
        except BlockingIOError:
            return False

    def close(self) -> None:
        """Let go of the watch."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _inotify(path: str, what: int) -> int:
    """A descriptor that tells of changes of ``path``; OSError if there can be none."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = int(libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC))
    if fd < 0 or libc.inotify_add_watch(fd, os.fsencode(path), what) < 0:
        number = ctypes.get_errno()
        if fd >= 0:
            os.close(fd)
        raise OSError(number, os.strerror(number), path)
    return fd
