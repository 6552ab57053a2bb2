# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines over a unix socket, each wait bounded by one deadline for the whole conversation."""

from __future__ import annotations

import select
import socket
import struct
import time
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.host.closing import Closing
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.protocol import MAX_LINE, decode, encode

_CHUNK = 256 * 1024
# Zero would mean for ever; in seconds.
_SHORTEST = 0.001


class Deadline:
    """A moment that a conversation must not pass; ``seconds`` from now."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left; 0 when it has passed."""
        return max(0.0, self._end - time.monotonic())


class Closed(Exception):
    """The other side has gone."""


class LineSocket(Closing):
    """A connected unix stream that carries JSON objects, one a line."""

    def __init__(self, path: str, deadline: Deadline) -> None:
        """Connect; OSError if nobody listens, socket.timeout if nobody accepts in time."""
        self.deadline = deadline
        self._buffer = bytearray()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self._connect(path)
        except BaseException:
            self._socket.close()
            raise

    def _connect(self, path: str) -> None:
        """Wait for a place in the queue of a listener whose queue is full.

        A socket with a timeout of Python's is one that does not block, to which Linux says EAGAIN at once.
        """
        self._arm()
        self._socket.setblocking(True)
        left = max(self.deadline.left(), _SHORTEST)
        self._socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(left), int(left % 1 * 1e6))
        )
        try:
            self._socket.connect(path)
        except BlockingIOError:
            raise socket.timeout("timed out") from None

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def fileno(self) -> int:
        """The descriptor, which is readable when more has come; what is in our buffer it does not know."""
        return self._socket.fileno()

    def arrived(self) -> bool:
        """Whether :meth:`receive` has something to return, or an end to report, without having to wait for it."""
        return b"\n" in self._buffer or bool(select.select([self._socket], [], [], 0)[0])

    @property
    def peer(self) -> int:
        """Process id of who listens there: SO_PEERCRED in unix(7)."""
        size = struct.calcsize("3i")
        return int(struct.unpack("3i", self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))[0])

    def send(self, message: t.Mapping[str, t.Any], fd: t.Optional[int] = None) -> None:
        """Send one message, with a descriptor if there is one; Closed if the other side has gone."""
        self._arm()
        data = encode(message)
        try:
            if fd is not None:  # it travels beside the first byte: SCM_RIGHTS in unix(7)
                rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", fd))
                data = data[self._socket.sendmsg([data], [rights]) :]
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            raise Closed() from None

    def receive(self) -> dict[str, t.Any]:
        """The next message; Closed at its end, socket.timeout at ours, ValueError if it is no message."""
        searched = 0
        while True:
            end = self._buffer.find(b"\n", searched)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                return decode(line)
            if len(self._buffer) > MAX_LINE:
                raise ValueError(f"a line of more than {MAX_LINE} bytes")
            searched = len(self._buffer)
            self._arm()
            try:
                data = self._socket.recv(_CHUNK)
            except ConnectionResetError:
                raise Closed() from None
            if not data:
                raise Closed()
            self._buffer += data

    def _arm(self) -> None:
        left = self.deadline.left()
        if left <= 0:
            raise socket.timeout("timed out")
        self._socket.settimeout(left)
