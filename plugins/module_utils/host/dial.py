# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calling a TCP port again and again until somebody answers there: nothing in TCP tells when a port is opened.

Behind a port that QEMU forwards the matter is worse: QEMU itself takes every call, and only then asks the guest
(libslirp, ``tcp_connect``). What can be seen from outside, measured with libslirp 4.7:

=====================================  ==================================================================
nobody listens in the guest            QEMU hangs up within some milliseconds
the guest has no network yet           silence, also when we have said that we send no more: QEMU does not
                                       even read before the guest has answered
somebody listens                       silence, or words; and when we send no more, mostly the end
=====================================  ==================================================================

So silence is a call that was taken only if the guest is known to answer: if it has hung up on a call before this one.

And each call that a guest without network does not answer keeps a socket open in QEMU for more than a minute, whatever
we do to our end. A QEMU that has no descriptor left for one more turns in a circle, and its guest never comes up. So
the calls become rare while nothing is heard at all.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import errno
import os
import select
import socket
import time
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.host.closing import Closing

# All in seconds. Between two calls of which the first got no answer; after a call that was refused.
_EVERY, _AGAIN = 0.1, 0.03
# What the first becomes behind a forwarded port that stays silent: so much longer with each call, up to this. In the
# 75 s that libslirp waits for an answer (TCPTV_KEEP_INIT) these are 80 calls.
_RARER, _RARELY = 1.1, 1.5
# How long a call is held that nobody may have taken; every tenth longer, for who is slow to speak.
_SHORT, _LONG = 0.5, 4.0
# Silence that says that a call was taken: more than the slowest of the last refusals took, by this factor. A guest that
# stumbles for longer than that is taken for one that listens, so this is more than an idle host needs (1 ms, measured).
_SETTLED, _FACTOR, _LAST = 0.12, 3.0, 64
_MAX_SETTLED = 2.0
# RFC 4253, 4.2: lines may come before the one that begins with SSH-; more bytes than this are no ssh.
_MAX_BANNER = 8192


@dataclasses.dataclass(frozen=True)
class Place:
    """A TCP port. ``forwarded``: QEMU listens there for the guest. ``banner``: how a line of the answer begins."""

    address: str
    port: int
    forwarded: bool = False
    banner: bytes = b""

    def __str__(self) -> str:
        return f"{self.address} port {self.port}"


@dataclasses.dataclass
class _Call:
    """One connection. ``sure``: before it, the guest was known to answer. ``taken``: somebody has answered it."""

    line: socket.socket
    begun: float
    life: float
    sure: bool
    taken: bool = False
    connected: bool = False
    half: bool = False
    heard: bytes = b""


class Dial(Closing):
    """Calls one place. ``fd`` is readable when :meth:`step` has something to do, and :meth:`due` says when else."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.seen = "nobody was called yet"
        self._epoll = select.epoll()
        self.fd = self._epoll.fileno()
        self._calls: dict[int, _Call] = {}
        self._next = time.monotonic()
        self._count = 0
        self._pause = _EVERY
        self._answers = False
        self._refusals: collections.deque[float] = collections.deque(maxlen=_LAST)

    def close(self) -> None:
        """Hang up on everybody."""
        for call in list(self._calls.values()):
            self._drop(call)
        self._epoll.close()

    def due(self) -> float:
        """time.monotonic() when :meth:`step` has to be called at the latest."""
        times = [self._next] if self._may_call() else []
        for call in self._calls.values():
            settles = self.place.forwarded and not self.place.banner and call.connected and not call.half
            times.append(call.begun + (self._settled() if settles else call.life))
        return min(times, default=self._next)

    def step(self) -> t.Optional[dict[str, t.Any]]:
        """Go on; what has been found, or None. OSError if this host cannot call at all."""
        for fd, _what in self._epoll.poll(0):
            found = self._heard(self._calls[fd]) if fd in self._calls else None
            if found is not None:
                return found
        now = time.monotonic()
        for call in list(self._calls.values()):
            if self._ages(call, now):
                return self._found(call)
        if self._may_call() and now >= self._next:
            self._call(now)
        return None

    def _may_call(self) -> bool:
        """One call at a time where we know that somebody is there: each costs the guest a process, maybe."""
        return not any(call.taken or call.sure for call in self._calls.values())

    def _settled(self) -> float:
        return min(max(_SETTLED, _FACTOR * max(self._refusals, default=0.0)), _MAX_SETTLED)

    def _call(self, now: float) -> None:
        family = socket.AF_INET6 if ":" in self.place.address else socket.AF_INET
        line = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._count += 1
        self._next = now + self._pause
        if self.place.forwarded:
            self._pause = min(self._pause * _RARER, _RARELY)
        call = _Call(line, now, _SHORT if self._count % 10 else _LONG, self.place.forwarded and self._answers)
        if call.sure:
            call.life = _LONG
        error = line.connect_ex((self.place.address, self.place.port))
        if error not in (0, errno.EINPROGRESS):
            line.close()
            self._refused(os.strerror(error))
            return
        self._calls[line.fileno()] = call
        self._epoll.register(line.fileno(), select.EPOLLOUT)
        if "refuses" not in self.seen:
            self.seen = f"{self.place} does not answer"

    def _heard(self, call: _Call) -> t.Optional[dict[str, t.Any]]:
        if not call.connected:
            error = call.line.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                self._drop(call)
                self._refused(os.strerror(error))
                return None
            call.connected, call.taken = True, not self.place.forwarded
            self._epoll.modify(call.line.fileno(), select.EPOLLIN)
            if call.taken:
                call.life = _LONG
                self.seen = f"{self.place} was opened, and nothing has been said"
                return None if self.place.banner else self._found(call)
        try:
            data = call.line.recv(4096)
        except BlockingIOError:
            return None
        except OSError as error:
            self._hung_up(call, os.strerror(error.errno or 0))
            return None
        if data:
            return self._said(call, data)
        self._hung_up(call, "the call was ended")
        return None

    def _said(self, call: _Call, data: bytes) -> t.Optional[dict[str, t.Any]]:
        self._pause, call.taken, call.heard = _EVERY, True, call.heard + data
        call.life = max(call.life, _LONG)
        wanted = self.place.banner
        if not wanted or any(line.startswith(wanted) for line in call.heard.split(b"\n")[:-1]):
            return self._found(call)
        self.seen = f"{self.place} says {call.heard[:80]!r}"
        if len(call.heard) > _MAX_BANNER:
            self._drop(call)
        return None

    def _hung_up(self, call: _Call, why: str) -> None:
        self._drop(call)
        self._pause = _EVERY
        if self.place.forwarded:
            self._answers = True
            if call.sure and not call.taken and not call.half:
                self._refusals.append(time.monotonic() - call.begun)
        self._refused("nobody listens in the guest" if self.place.forwarded and not call.half else why)

    def _refused(self, why: str) -> None:
        self._next = time.monotonic() + _AGAIN
        self.seen = f"{self.place} refuses: {why}"

    def _ages(self, call: _Call, now: float) -> bool:
        """Whether its silence says that this call was taken. Too old a call is ended."""
        if self.place.forwarded and not self.place.banner and now >= call.begun + self._settled():
            if call.sure and call.connected:
                return True
            if not call.half and call.connected:  # who listens takes that for the end, and ends it too
                call.half = True
                with contextlib.suppress(OSError):  # it has hung up meanwhile, as we shall hear
                    call.line.shutdown(socket.SHUT_WR)
        if now >= call.begun + call.life:
            self._answers = self._answers and not call.sure  # the guest may have lost its network since
            if call.sure or call.taken:  # there was one call at a time
                self.seen = f"{self.place} takes calls and says nothing"
                self._next = min(self._next, now)
            self._drop(call)
        return False

    def _found(self, call: _Call) -> dict[str, t.Any]:
        found: dict[str, t.Any] = {"address": self.place.address, "port": self.place.port}
        if self.place.banner:
            lines = [line for line in call.heard.split(b"\n") if line.startswith(self.place.banner)]
            found["banner"] = lines[0].decode("ascii", "replace").strip()[:255]
        return found

    def _drop(self, call: _Call) -> None:
        del self._calls[call.line.fileno()]
        call.line.close()
