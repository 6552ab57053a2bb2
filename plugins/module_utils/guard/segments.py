# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A log in several files: what its older parts are called, and reading it from either end.

The newest records are always in ``NAME.audit.jsonl``. When that file has grown too large, its last
record says ``phase: rotate`` and it is renamed to ``NAME.audit.000001.jsonl``, the next one to
``NAME.audit.000002.jsonl`` and so on: sorted by name they are sorted by age. The first record of a
later file has ``segment`` (the number that the file will bear) and, as ``prev``, the hash of the
rotate record, so the chain goes through all of them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import typing as t

#: Bytes at which a log is continued in a new file: some ten thousand records.
ROTATE_BYTES = 16 * 1024 * 1024

#: Bytes read at a time on the way back from the end of a file.
_CHUNK = 65536

#: How the files of a log are opened for reading. NONBLOCK: a fifo must be refused, not waited for.
READ_FLAGS: t.Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Segment(t.NamedTuple):
    """One file of a log. ``number`` is None for the newest, which has not got its number yet."""

    number: int | None
    path: str


def path_of(path: str, number: int) -> str:
    """What the part ``number`` (from 1) of the log at ``path`` is called once it is full."""
    stem, extension = os.path.splitext(path)
    return f"{stem}.{number:06d}{extension}"


def full(path: str) -> list[Segment]:
    """The parts of the log at ``path`` that are full, oldest first. OSError if their folder cannot be read."""
    folder, name = os.path.split(path)
    stem, extension = os.path.splitext(name)
    pattern = re.compile(re.escape(stem) + r"\.([0-9]{6,})" + re.escape(extension))
    found = (pattern.fullmatch(entry) for entry in os.listdir(folder or "."))
    return sorted(Segment(int(match.group(1)), os.path.join(folder, match.group())) for match in found if match)


class Files:
    """All files of a log as they are at one moment, however it grows and rotates while it is read.

    The newest file is opened first and read up to the size that it has now: a rotation in between
    would otherwise hide a file or show one twice. OSError when they cannot be read or none is there.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd: int | None = None
        self._size = 0
        with contextlib.suppress(FileNotFoundError):
            self._fd = os.open(path, READ_FLAGS)
        try:
            same = self._measure()
            self.older = [part for part in full(path) if os.lstat(part.path)[1:3] != same]
        except BaseException:
            self.close()
            raise
        if self._fd is None and not self.older:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    def _measure(self) -> tuple[int, int] | None:
        if self._fd is None:
            return None
        fcntl.flock(self._fd, fcntl.LOCK_SH)  # nobody is in the middle of a line
        found = os.fstat(self._fd)
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        self._size = found.st_size
        return found[1:3]

    def __enter__(self) -> Files:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the newest file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def forwards(self) -> t.Iterator[tuple[Segment, t.Iterator[bytes]]]:
        """Each file, oldest first, with its lines, each with its newline if it has one."""
        for part in self.older:
            with open(os.open(part.path, READ_FLAGS), "rb") as file:
                yield part, file
        if self._fd is not None:
            yield Segment(None, self.path), lines(self._fd, self._size)

    def backwards(self) -> t.Iterator[bytes]:
        """The lines of all files, newest first."""
        if self._fd is not None:
            yield from backwards(self._fd, self._size)
        for part in reversed(self.older):
            fd = os.open(part.path, READ_FLAGS)
            try:
                yield from backwards(fd, os.fstat(fd).st_size)
            finally:
                os.close(fd)


def lines(fd: int, size: int) -> t.Iterator[bytes]:
    """The lines in the first ``size`` bytes of a file."""
    with open(os.dup(fd), "rb") as file:
        file.seek(0)
        while size > 0:
            line = file.readline(size)
            if not line:
                return
            size -= len(line)
            yield line


def backwards(fd: int, size: int) -> t.Iterator[bytes]:
    """The lines in the first ``size`` bytes of a file, last one first, each with its newline if it has one."""
    end, pieces = size, [b""]  # pieces: the line that is not whole yet, its parts last one first
    while end > 0:
        step = min(_CHUNK, end)
        end -= step
        parts = os.pread(fd, step, end).split(b"\n")
        if len(parts) > 1:
            yield from _whole(parts[-1], pieces)
            yield from (part + b"\n" for part in parts[-2:0:-1])
            pieces = [b"\n"]
            parts = parts[:1]
        pieces.append(parts[0])
    yield from _whole(b"", pieces)


def _whole(first: bytes, rest: list[bytes]) -> t.Iterator[bytes]:
    """The line that begins with ``first`` and goes on with ``rest`` (backwards), unless it is empty."""
    line = first + b"".join(reversed(rest))
    if line:
        yield line


def sync_folder(path: str) -> None:
    """Make the names in the folder of ``path`` durable: fsync(2) of a file says nothing about its name."""
    fd = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
