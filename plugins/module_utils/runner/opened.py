# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that the runner opens for a QEMU whose own user may not: it inherits them open, and knows them by number."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import shutil
import socket
import stat
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.render import FdSet
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_disks import Source
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.host import misled
from ansible_collections.maqet.qemu.plugins.module_utils.host.chain import Link

_MISSING = "Restore the file, or change the definition"


class Opened:
    """All of them for one start. Our ends are closed with ``stack``, after QEMU has been spawned."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._last_set = 0
        self.sets: list[FdSet] = []
        self.inherited: list[int] = []

    def log(self, path: str) -> str:
        """A file to append to; QEMU's name for it."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        return self._set([os.open(path, flags, 0o600)], "serial")

    def disk(self, name: str, path: str, driver: str, readonly: bool) -> Source:
        """An image or block device that is not QEMU's. The definition is the user's word, so links are followed.

        Not those that some VM's QEMU can have made.
        """
        option = f"disks: {name}"
        fds = [_image(option, path, os.O_RDONLY)]
        if not readonly:
            # Both: a snapshot makes QEMU open its former top again for reading only, and it looks for that in the set.
            self._stack.callback(os.close, fds[0])
            fds = [_image(option, path, os.O_RDWR), os.dup(fds[0])]
        device = stat.S_ISBLK(os.fstat(fds[0]).st_mode)
        return Source(self._set(fds, f"disk-{name}"), driver, device)

    def code(self, path: str, driver: str) -> Source:
        """Firmware, which QEMU reads."""
        return Source(self._set([_image("firmware", path, os.O_RDONLY)], "firmware"), driver)

    def folder(self, option: str, path: str) -> str:
        """A folder that QEMU opens by name; the name, which spares it the folders on the way, see :meth:`readable`."""
        try:
            fd = self._keep(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        except OSError as error:
            raise invalid_option(option, path, f"cannot be opened: {error.strerror}", _MISSING) from None
        self.inherited.append(fd)
        return f"/proc/self/fd/{fd}"

    def base(self, name: str, link: Link) -> Source:
        """An image below a disk's, which QEMU reads."""
        fd = _image(f"disks: {name}: base", link.path, os.O_RDONLY)
        device = stat.S_ISBLK(os.fstat(fd).st_mode)
        return Source(self._set([fd], f"base-{name}"), link.driver, device)

    def seed(self, path: str) -> Source:
        """The seed for cloud-init, which is root's and holds secrets; QEMU reads it."""
        return Source(self._set([_image("cloud_init", path, os.O_RDONLY)], "seed"), "raw")

    def readable(self, option: str, path: str) -> str:
        """A file that QEMU opens by name and reads once; the name.

        ``/proc/self/fd/N`` spares it the folders on the way, not the mode of the file itself (proc(5)). A file that
        root keeps to itself, as Ubuntu does with its kernels, is passed as a copy in memory.
        """
        try:
            fd = self._keep(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            raise invalid_option(option, path, f"cannot be opened: {error.strerror}", _MISSING) from None
        if not os.fstat(fd).st_mode & stat.S_IROTH:
            fd = self._keep(_copy(option, fd))
        self.inherited.append(fd)
        return f"/proc/self/fd/{fd}"

    def secret(self, option: str, text: str) -> str:
        """A secret that QEMU reads once, in memory alone; the name."""
        fd = self._keep(_sealed(option, io.BytesIO(text.encode())))
        self.inherited.append(fd)
        return f"/proc/self/fd/{fd}"

    def node(self, option: str, path: str) -> str:
        """A device's node, which QEMU reads and writes; QEMU's name for it."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise invalid_option(option, path, f"cannot be opened: {error.strerror}", "See that it is there") from None
        return self._set([fd], option)

    def numbered(self, fds: list[int]) -> tuple[str, ...]:
        """Descriptors that QEMU knows by their numbers."""
        self.inherited += [self._keep(fd) for fd in fds]
        return tuple(map(str, fds))

    def pair(self) -> tuple[int, int]:
        """Two ends of a stream: QEMU's, which it inherits, and that of a helper, which has to be told of it."""
        ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        for end in ends:
            self._stack.enter_context(end)
        self.inherited.append(ends[0].fileno())
        return ends[0].fileno(), ends[1].fileno()

    def _set(self, fds: list[int], opaque: str) -> str:
        self._last_set += 1
        for fd in fds:
            self.inherited.append(self._keep(fd))
            self.sets.append(FdSet(fd, self._last_set, opaque))
        return f"/dev/fdset/{self._last_set}"

    def _keep(self, fd: int) -> int:
        self._stack.callback(os.close, fd)
        return fd


def _image(option: str, path: str, flags: int) -> int:
    try:
        seen = misled.look(path)
        if not (stat.S_ISREG(seen.st_mode) or stat.S_ISBLK(seen.st_mode)):
            raise invalid_option(option, path, "is neither a file nor a block device", _MISSING)
        fd = os.open(path, flags | os.O_CLOEXEC)
    except OSError as error:
        raise invalid_option(option, path, f"cannot be opened: {error.strerror}", _MISSING) from None
    if not os.path.samestat(seen, os.fstat(fd)):
        os.close(fd)
        raise invalid_option(option, path, "was replaced by another file a moment ago", _MISSING)
    return fd


def _copy(option: str, source: int) -> int:
    """The same content as an open file's."""
    with open(source, "rb", closefd=False) as reader:
        return _sealed(option, reader)


def _sealed(option: str, reader: t.BinaryIO) -> int:
    """Content in a file that has no name and can no longer change (memfd_create(2))."""
    copy = os.memfd_create(f"maqet-{option}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(copy, "wb", closefd=False) as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)
        fcntl.fcntl(copy, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    except OSError as error:
        os.close(copy)
        raise MaqetError(f"{option}: it cannot be copied into memory for QEMU: {error}.", "qemu_failed") from None
    return copy
