# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit log of one VM: an append-only file of records, each holding the hash of the one before.

``hash`` is SHA-256 over ``prev`` (hex) and the canonical form of the record without ``hash``. A
chain proves order and content of what is there; that the end was not cut off is proven by a
witness who kept ``seq`` and ``hash`` of a later record (see :func:`chain.verify`).

Two kinds of process write: the runner, and modules in direct mode. Each append takes flock. A file
that has grown too large is continued in another one (see ``segments.py``); whatever step of that a
crash ends, the next append finishes it.
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
from ansible_collections.maqet.qemu.plugins.module_utils.guard import journal, segments
from ansible_collections.maqet.qemu.plugins.module_utils.guard.canonical import canonical, encoded, members
from ansible_collections.maqet.qemu.plugins.module_utils.guard.moment import stamp, writer

#: ``prev`` of the first record.
NO_PREV = "0" * 64

#: How often the file may turn out to have been replaced between opening and locking it.
_ATTEMPTS = 100

#: Fields that the log alone sets.
OWN: t.Final = ("seq", "prev", "hash", "torn", "segment")


def chain_hash(prev: str, record: dict[str, t.Any]) -> str:
    """The hash of ``record`` (its own "hash", if any, left out) after the record with hash ``prev``."""
    body = {key: value for key, value in record.items() if key != "hash"}
    return hashlib.sha256(prev.encode("ascii") + canonical(body)).hexdigest()


class _Tail(t.NamedTuple):
    """Where the chain ends, for the file in one exact state."""

    state: tuple[int, int, int, int]  # device, inode, size, mtime_ns
    seq: int
    hash: str
    torn: bool = False
    closed: bool = False  # the last record says "rotate"
    begins: int | None = None  # no record in this file yet, and it continues others: its number


class AuditLog:
    """Appends records to the log at ``path``. May be used from several threads and processes.

    ``rotate_bytes``: at this size the file is continued in a new one; None: never.
    """

    def __init__(self, path: str, rotate_bytes: int | None = segments.ROTATE_BYTES) -> None:
        self.path = path
        self._rotate_bytes = rotate_bytes
        self._mutex = threading.Lock()
        self._tail: _Tail | None = None

    def append(self, record: dict[str, t.Any], durable: bool = True) -> dict[str, t.Any]:
        """Write one record and return it with ``seq``, ``prev`` and ``hash``.

        On return it is on disk, not only in memory (``durable=False`` leaves out that wait), and
        the journal has been told. After a crash in the middle of a line, the next record stands on
        a line of its own and carries ``torn: true``. Raises MaqetError ``audit_failed`` when the
        record is not, or not surely, on disk.
        """
        return self.append_all([record], durable)[0]

    def append_all(self, records: t.Sequence[dict[str, t.Any]], durable: bool = True) -> list[dict[str, t.Any]]:
        """The same for several records, which wait for the disk together: all of them are there, or an error is."""
        with self.held() as held:
            wholes = held.append_all(records, durable)
        for whole in wholes:
            journal.send(whole)
        return wholes

    @contextlib.contextmanager
    def held(self) -> t.Iterator[Held]:
        """The log while nobody else can write to it: for who must look before it writes.

        Raises MaqetError ``audit_failed`` as :meth:`append` does.
        """
        try:
            with self._mutex, self._opened() as fd:
                yield Held(self, fd)
        except OSError as error:
            raise self._failed(_why(error)) from error

    def _append(self, fd: int, records: t.Sequence[dict[str, t.Any]], durable: bool) -> list[dict[str, t.Any]]:
        tail = self._tail_of(fd)
        try:
            wholes, data = _chained(tail, records)
        except ValueError as error:
            raise self._failed(f"the record cannot be written as JSON: {error}") from error
        self._tail = None  # until this write is known to be whole
        before = os.fstat(fd).st_size
        if os.write(fd, data) != len(data):
            # Take the half line back if the file allows it (chattr +a does not); else it stays as a torn line.
            with contextlib.suppress(OSError):
                os.ftruncate(fd, before)
            raise self._failed("the record could be written only in part: the file system is full")
        if durable:
            os.fdatasync(fd)
        last = wholes[-1]
        self._tail = _Tail(_state(fd), last["seq"], last["hash"], closed=last.get("phase") == "rotate")
        return wholes

    def _rotate(self, fd: int) -> bool:
        """Close the file if it is large enough, and give it its number; False when it stays the newest.

        A crash after the record, or after the renaming, leaves what the next append takes up: a file
        whose last record says that it is closed, or no newest file.
        """
        if self._rotate_bytes is None or os.fstat(fd).st_size < self._rotate_bytes:
            return False
        older = max((part.number or 0 for part in segments.full(self.path)), default=0)
        number = max(older + 1, _number(fd))  # older parts may have been removed
        name, following = segments.path_of(self.path, number), segments.path_of(self.path, number + 1)
        if not self._tail_of(fd).closed:
            last = {"segment_name": os.path.basename(name), "next": os.path.basename(following), "writer": writer()}
            self._append(fd, [{"v": 1, **stamp(), "phase": "rotate", **last}], True)
        try:
            os.rename(self.path, name)
            segments.sync_folder(self.path)
        except PermissionError:  # chattr +a: it may only grow, so it goes on after its rotate record
            self._rotate_bytes = None
            return False
        return True

    def _tail_of(self, fd: int) -> _Tail:
        if self._tail is None or self._tail.state != _state(fd):
            self._tail = self._read_tail(fd)
        return self._tail

    @contextlib.contextmanager
    def _opened(self) -> t.Iterator[int]:
        """A locked descriptor of the file that bears the name now (it may be rotated while we wait)."""
        for _attempt in range(_ATTEMPTS):
            fd = self._open()
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                self._check(fd)
                if self._is_current(fd) and not self._rotate(fd):
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
            segments.sync_folder(self.path)
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
        """Where the chain ends: the last whole line of the file, or of the one before it."""
        state = _state(fd)
        torn = state[2] > 0 and os.pread(fd, 1, state[2] - 1) != b"\n"
        last = _last_line(fd, state[2])
        if last is not None:
            seq, digest, closed = self._end(last, self.path)
            return _Tail(state, seq, digest, torn, closed)
        older = segments.full(self.path)
        if not older:
            return _Tail(state, 0, NO_PREV, torn)
        seq, digest = self._end_of_older(older[-1].path)
        return _Tail(state, seq, digest, torn, begins=(older[-1].number or 0) + 1)

    def _end_of_older(self, path: str) -> tuple[int, str]:
        fd = os.open(path, segments.READ_FLAGS)
        try:
            self._check(fd)
            last = _last_line(fd, os.fstat(fd).st_size)
        finally:
            os.close(fd)
        seq, digest, closed = self._end(last or b"", path)
        if not closed:
            raise self._failed(f"its older part {path} does not end as a full part does: it was damaged or edited")
        return seq, digest

    def _end(self, line: bytes, path: str) -> tuple[int, str, bool]:
        """seq, hash, and whether it closes the file, of the record in ``line``."""
        try:
            last = json.loads(line)
            return int(last["seq"]), str(last["hash"]), last.get("phase") == "rotate"
        except (ValueError, TypeError, KeyError, RecursionError):
            where = "its last line" if path == self.path else f"the last line of its older part {path}"
            raise self._failed(f"{where} is not a record: it was damaged or edited") from None

    def _failed(self, why: str) -> MaqetError:
        remedy = (
            "Make room, or correct the owner and mode of the file and its folder; "
            "a damaged log must be moved aside (kept, it is evidence) so that a new one begins."
        )
        message = f"the audit log {self.path} cannot be written: {why}. {remedy}"
        return MaqetError(message, "audit_failed", path=self.path, remedy=remedy)


class Held:
    """A log that is locked: what is read and what is appended belong together."""

    def __init__(self, log: AuditLog, fd: int) -> None:
        self._log = log
        self._fd = fd

    def append(self, record: dict[str, t.Any], durable: bool = True) -> dict[str, t.Any]:
        """As :meth:`AuditLog.append`, but the journal is not told: it must not be waited for under a lock."""
        return self.append_all([record], durable)[0]

    def append_all(self, records: t.Sequence[dict[str, t.Any]], durable: bool = True) -> list[dict[str, t.Any]]:
        """As :meth:`AuditLog.append_all`."""
        return self._log._append(self._fd, records, durable) if records else []

    def backwards(self) -> t.Iterator[bytes]:
        """The lines of the log, newest first, also those of its older parts."""
        yield from segments.backwards(self._fd, os.fstat(self._fd).st_size)
        for part in reversed(segments.full(self._log.path)):
            fd = os.open(part.path, segments.READ_FLAGS)
            try:
                yield from segments.backwards(fd, os.fstat(fd).st_size)
            finally:
                os.close(fd)


def _chained(tail: _Tail, records: t.Iterable[dict[str, t.Any]]) -> tuple[list[dict[str, t.Any]], bytes]:
    """The records as they continue the chain, and their lines."""
    wholes: list[dict[str, t.Any]] = []
    lines = [b"\n"] if tail.torn else []
    seq, prev = tail.seq, tail.hash
    for record in records:
        whole = {key: value for key, value in record.items() if key not in OWN}
        seq += 1
        whole.update(seq=seq, prev=prev)
        if tail.torn and not wholes:
            whole["torn"] = True
        if tail.begins is not None and not wholes:
            whole["segment"] = tail.begins
        lines.append(_hashed(whole) + b"\n")
        prev = whole["hash"]
        wholes.append(whole)
    return wholes, b"".join(lines)


def _hashed(record: dict[str, t.Any]) -> bytes:
    """``record`` gets its "hash", and is returned in canonical form. As :func:`chain_hash`, but in one pass."""
    parts = members(record)
    body = encoded("{" + ",".join(part for _key, part in parts) + "}")
    record["hash"] = hashlib.sha256(record["prev"].encode("ascii") + body).hexdigest()
    place = sum(key < "hash" for key, _part in parts)
    parts.insert(place, ("hash", f'"hash":"{record["hash"]}"'))
    return encoded("{" + ",".join(part for _key, part in parts) + "}")


def _number(fd: int) -> int:
    """The number that a file of a log bears once it is full, as its first record says."""
    for line in segments.lines(fd, os.fstat(fd).st_size):
        with contextlib.suppress(
            ValueError, TypeError, AttributeError
        ):  # a line that a crash cut short, or one that was edited
            return int(json.loads(line).get("segment") or 1)
    return 1


def _last_line(fd: int, size: int) -> bytes | None:
    """The last line that has a newline; None when there is none."""
    return next((line for line in segments.backwards(fd, size) if line.endswith(b"\n")), None)


def _state(fd: int) -> tuple[int, int, int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _why(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "it is a symbolic link"
    if error.errno == errno.ENOENT:
        return "its folder does not exist"
    return error.strerror or str(error)
