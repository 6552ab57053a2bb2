# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all clients together may keep in the runner's memory, whatever each of them sends, asks, or does not read.

=============================  =======================================================================
clients                        :data:`MAX_CLIENTS`, and one more is told that they are too many
short lines                    two of :data:`SHORT` of each client; the rest waits in its socket
longer lines, unfinished       one of :data:`MAX_REQUEST` for each of :data:`_LANES`, in turn
longer requests, unanswered    :data:`MAX_HELD` in all, but always one; more are refused
answers and events, unread     :data:`MAX_UNREAD` in all; then the client with most of it is cut off
=============================  =======================================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError

log = logging.getLogger("maqet.server")

# DESIGN promises 16 MiB; what is longer is not a request.
MAX_REQUEST = 32 * 1024 * 1024
MAX_CLIENTS = 512
# Nearly every request is shorter than this, in bytes.
SHORT = 16 * 1024
MAX_HELD = 64 * 1024 * 1024
# QEMU's largest answer may have 64 MiB, and who reads it must not suffer from one who does not.
MAX_UNREAD = 128 * 1024 * 1024
# Marks before values in one request. The guard reads 20,000 strings; parsing more would keep the others waiting.
_MAX_VALUES = 100_000
# Longer lines that are read at the same time.
_LANES = 3
# A client that is slower with the rest of a long line keeps others from theirs, in seconds.
_LONG_SECONDS = 30.0
# The most that is taken from a socket at once, in bytes, and while a longer line is read.
_TAKE, _TAKE_LONG = SHORT, 256 * 1024

# glibc's number, and the size from which blocks are large, in bytes: its default, which would else grow.
_M_MMAP_THRESHOLD, _LARGE = -3, 128 * 1024


def give_memory_back() -> None:
    """Have the C library return each large block to the system when it is freed.

    By default it keeps blocks up to the largest that has been freed so far (mallopt(3), M_MMAP_THRESHOLD).
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)


class Bounds:
    """One for all clients of a runner."""

    def __init__(self) -> None:
        self._lane: t.Optional[asyncio.Semaphore] = None  # made in the event loop, as Python 3.9 wants it
        self._held = 0
        self.writers: set[asyncio.StreamWriter] = set()

    @property
    def full(self) -> bool:
        """Whether another client is too many."""
        return len(self.writers) >= MAX_CLIENTS

    async def line(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> t.Union[bytes, bytearray]:
        """The next line, empty at the end; ValueError if it has no end, comes too slowly, or holds too much.

        ``reader`` has :data:`SHORT` as its limit.
        """
        _take(writer, _TAKE)
        try:
            return await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as end:
            return end.partial
        except asyncio.LimitOverrunError:
            pass
        if self._lane is None:
            self._lane = asyncio.Semaphore(_LANES)
        async with self._lane:
            _take(writer, _TAKE_LONG)
            try:
                return await asyncio.wait_for(_long(reader), _LONG_SECONDS)
            except asyncio.TimeoutError:
                raise ValueError(f"the rest of a long line did not come within {_LONG_SECONDS:g} s") from None

    @contextlib.contextmanager
    def holding(self, size: int) -> t.Iterator[None]:
        """While a request of so many bytes is open; ``runner_busy`` if the open ones are too long for another."""
        size = size if size > SHORT else 0
        if size and self._held and self._held + size > MAX_HELD:
            raise MaqetError(
                f"The runner has {self._held} bytes of long requests that QEMU has not answered yet, and takes no more "
                "of them. Nothing of this one was sent; try again later.",
                "runner_busy",
            )
        self._held += size
        try:
            yield
        finally:
            self._held -= size

    def sent(self, writer: asyncio.StreamWriter) -> None:
        """Something more waits for a client to be read: cut off the laziest if it is too much in all."""
        if _unread(writer) <= SHORT or sum(map(_unread, self.writers)) <= MAX_UNREAD:
            return
        log.warning("clients do not read what they have asked for: the one that is most behind is cut off")
        max(self.writers, key=_unread).transport.abort()


async def _long(reader: asyncio.StreamReader) -> bytearray:
    """A line that is longer than the reader's limit."""
    line = bytearray()
    try:
        await _fill(line, reader)
    except BaseException:
        # wait_for and the exception refer to each other, and to this line, until the garbage is collected some day.
        line.clear()
        raise
    return line


async def _fill(line: bytearray, reader: asyncio.StreamReader) -> None:
    values = 0
    while not line.endswith(b"\n"):
        try:
            part = await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError as more:
            part = await reader.readexactly(more.consumed)
        except asyncio.IncompleteReadError as end:
            line += end.partial
            return
        line += part
        values += sum(part.count(mark) for mark in b"[{,")
        if len(line) > MAX_REQUEST:
            raise ValueError(f"a line of more than {MAX_REQUEST} bytes")
        if values > _MAX_VALUES:
            raise ValueError(f"a request of more than {_MAX_VALUES} values")


def _take(writer: asyncio.StreamWriter, size: int) -> None:
    """Bound what is read ahead. The loop's own transports know this attribute; another would read as it likes."""
    writer.transport.max_size = size  # type: ignore[attr-defined]


def _unread(writer: asyncio.StreamWriter) -> int:
    return int(writer.transport.get_write_buffer_size())
