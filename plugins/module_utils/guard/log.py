# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit log of one VM: an append-only file of records, each holding the hash of the one before.

``hash`` is SHA-256 over ``prev`` (hex) and the canonical form of the record without ``hash``. A
chain proves order and content of what is there; that the end was not cut off is proven by a
witness who kept ``seq`` and ``hash`` of a later record (see :func:`chain.verify`).

Two kinds of process write: the runner, and modules in direct mode. Each append takes flock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import stat
import threading
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.canonical import canonical

#: ``prev`` of the first record.
NO_PREV = "0" * 64

#: Bytes read at a time while looking for the last record from the end.
_CHUNK = 65536

#: How often the file may turn out to have been replaced between opening and locking it.
_ATTEMPTS = 100


def chain_hash(prev: str, record: dict[str, t.Any]) -> str:
    """The hash of ``record`` (its own "hash", if any, left out) after the record with hash ``prev``."""
    body = {key: value for key, value in record.items() if key != "hash"}
    return hashlib.sha256(prev.encode("ascii") + canonical(body)).hexdigest()


class _Tail(t.NamedTuple):
    """Where the chain ends, for the file in one exact state."""

    state: tuple[int, int, int, int]  # device, inode, size, mtime_ns
    seq: int
    hash: str
    torn: bool


class AuditLog:
    """Appends records to the log at ``path``. May be used from several threads and processes."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._mutex = threading.Lock()
        self._tail: _Tail | None = None

    def append(self, record: dict[str, t.Any], durable: bool = True) -> dict[str, t.Any]:
        """Write one record and return it with ``seq``, ``prev`` and ``hash``.

        On return it is on disk, not only in memory (``durable=False`` leaves out that wait). After
        a crash in the middle of a line, the next record stands on a line of its own and carries
        ``torn: true``. Raises MaqetError ``audit_failed`` when the record is not, or not surely,
        on disk.
        """
        try:
            with self._mutex, self._opened() as fd:
                return self._append(fd, record, durable)
        except OSError as error:
            raise self._failed(_why(error)) from error

    def _append(self, fd: int, record: dict[str, t.Any], durable: bool) -> dict[str, t.Any]:
        tail = self._tail
        if tail is None or tail.state != _state(fd):
            tail = self._read_tail(fd)
        whole = {key: value for key, value in record.items() if key not in ("hash", "torn")}
        whole.update(seq=tail.seq + 1, prev=tail.hash)
        if tail.torn:
            whole["torn"] = True
        try:
            whole["hash"] = chain_hash(tail.hash, whole)
            line = (b"\n" if tail.torn else b"") + canonical(whole) + b"\n"
        except ValueError as error:
            raise self._failed(f"the record cannot be written as JSON: {error}") from error
        self._tail = None  # until this write is known to be whole
        before = os.fstat(fd).st_size
        if os.write(fd, line) != len(line):
            # Take the half line back if the file allows it (chattr +a does not); else it stays as a torn line.
            with contextlib.suppress(OSError):
                os.ftruncate(fd, before)
            raise self._failed("the record could be written only in part: the file system is full")
        if durable:
            os.fdatasync(fd)
        self._tail = _Tail(_state(fd), whole["seq"], whole["hash"], False)
        return whole

    @contextlib.contextmanager
    def _opened(self) -> t.Iterator[int]:
        """A locked descriptor of the file that bears the name now (it may be rotated while we wait)."""
        for _attempt in range(_ATTEMPTS):
            fd = self._open()
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                self._check(fd)
                if self._is_current(fd):
                    yield fd
                    return
            finally:
                os.close(fd)  # releases the lock
        raise self._failed("another process replaces it again and again")

    def _open(self) -> int:
        # NONBLOCK: a fifo in the place of the log must be refused, not waited for.
        flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        with contextlib.suppress(FileNotFoundError):
            return os.open(self.path, flags)
        try:
            fd = os.open(self.path, flags | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return os.open(self.path, flags)  # another writer was first
        try:
            # The name itself must survive a crash, or the records in the file do not either.
            folder = os.open(os.path.dirname(self.path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError:
            os.close(fd)
            raise
        return fd

    def _is_current(self, fd: int) -> bool:
        try:
            named = os.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        mine = os.fstat(fd)
        return (named.st_dev, named.st_ino) == (mine.st_dev, mine.st_ino)

    def _check(self, fd: int) -> None:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise self._failed("it is not a regular file")
        if found.st_uid not in (0, os.geteuid()):
            raise self._failed(f"it belongs to the user with the id {found.st_uid}")
        if found.st_mode & 0o022:
            raise self._failed(f"its mode {stat.S_IMODE(found.st_mode):04o} lets others write to it")

    def _read_tail(self, fd: int) -> _Tail:
        """Find the last whole line, from the end of the file backwards."""
        state = _state(fd)
        size = state[2]
        start, data = size, b""
        # Enough when it holds the newline before the last whole line and the one behind it.
        while start > 0 and data.count(b"\n") < 2:
            step = min(_CHUNK, start)
            start -= step
            data = os.pread(fd, step, start) + data
        torn = size > 0 and not data.endswith(b"\n")
        lines = data.split(b"\n")[:-1]
        if not lines:
            return _Tail(state, 0, NO_PREV, torn)
        try:
            last = json.loads(lines[-1])
            return _Tail(state, int(last["seq"]), str(last["hash"]), torn)
        except (ValueError, TypeError, KeyError, RecursionError):
            raise self._failed("its last line is not a record: it was damaged or edited") from None

    def _failed(self, why: str) -> MaqetError:
        remedy = (
            "Make room, or correct the owner and mode of the file and its folder; "
            "a damaged log must be moved aside (kept, it is evidence) so that a new one begins."
        )
        message = f"the audit log {self.path} cannot be written: {why}. {remedy}"
        return MaqetError(message, "audit_failed", path=self.path, remedy=remedy)


def _state(fd: int) -> tuple[int, int, int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _why(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "it is a symbolic link"
    if error.errno == errno.ENOENT:
        return "its folder does not exist"
    return error.strerror or str(error)
