# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Being told when a file grows: inotify(7), which Python's standard library leaves to the C library."""

from __future__ import annotations

import contextlib
import ctypes
import os

from ansible_collections.maqet.qemu.plugins.module_utils.host.closing import Closing

_IN_MODIFY = 0x2
_IN_NONBLOCK = os.O_NONBLOCK
_IN_CLOEXEC = os.O_CLOEXEC


class GrowingFile(Closing):
    """A text file that somebody appends to. ``fd`` is readable when there may be more to :meth:`read`."""

    def __init__(self, path: str) -> None:
        """Open ``path``; OSError if it is not there."""
        self._file = open(path, "rb")  # pylint: disable=consider-using-with  # closed by close()
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC)
        if self.fd < 0 or libc.inotify_add_watch(self.fd, os.fsencode(path), _IN_MODIFY) < 0:
            number = ctypes.get_errno()
            self.close()
            raise OSError(number, os.strerror(number), path)

    def close(self) -> None:
        """Let go of the file and of the watch."""
        self._file.close()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def read(self) -> bytes:
        """What has been added since the last call; b'' if nothing."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 65536)  # forget the notices so far; what they were about is read below
        return self._file.read()
