# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A QMP server that lies: answers to others, to nobody, twice, late, in pieces, of wrong types, or none at all.

It tells what a client may make of each command. A command carries a number of its own, and so does its right answer; no
other answer has that number, so a client that returns another one has taken somebody else's answer.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import socket
import threading
import typing as t

from ansible_collections.maqet.qemu.tests.chaos import garble

# A client that says nothing for so many seconds hangs; it is hung up on, and late then.
HANGS: t.Final = 60.0
GREETING: t.Final = {
    "QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 22}, "package": ""}, "capabilities": []}
}
EVENT: t.Final = {"event": "STOP", "timestamp": {"seconds": 1, "microseconds": 2}}

#: What a client may say: the right answer, the right refusal, an error with a code, the content of a mutated answer.
RIGHT, REFUSED, ERROR, ANYTHING = "right", "refused", "error", "anything"


class Manner(t.NamedTuple):
    """How the liar treats one connection."""

    seed: int
    #: Whether it may leave a command without an answer: then the client's patience should be short.
    silent: bool = False
    #: So many commands come before the first is answered, and the answers in any order.
    together: int = 1


@dataclasses.dataclass
class _Reply:
    """What comes for one command, what its client may make of it, and whether the conversation ends with it."""

    token: int
    messages: list[bytes]
    allowed: set[str] = dataclasses.field(default_factory=set)
    last: bool = False


class _Done(Exception):
    """This conversation is over."""


class Liar:
    """Serves one client after another at ``path``, in a thread."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.manner = Manner(0)
        #: Messages sent so far, all of them, and the last ones.
        self.sent = 0
        self.last: list[bytes] = []
        #: By a command's number, what its client may make of it.
        self.allowed: dict[int, frozenset[str]] = {}
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(self.path)
        self._listening.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join(HANGS)
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                peer, _address = self._listening.accept()
            except OSError:
                return
            with peer, contextlib.suppress(OSError, _Done):
                peer.settimeout(HANGS)
                _Talk(self, peer, random.Random(self.manner.seed)).run()


class _Talk:
    """One connection."""

    def __init__(self, liar: Liar, peer: socket.socket, rng: random.Random) -> None:
        self._liar = liar
        self._peer = peer
        self._rng = rng
        self._heard = ""
        self._old: list[t.Any] = []
        self._late: list[bytes] = []
        liar.last = []

    def run(self) -> None:
        rng = self._rng
        if rng.random() < 0.05:
            self._send(rng.choice(_GREETINGS)(rng))
            return
        self._send(garble.line(GREETING))
        negotiation = self._next()
        if rng.random() < 0.1:
            self._send(garble.line(EVENT))
        self._send(garble.line({"return": {}, "id": negotiation.get("id")}))
        waiting: list[dict[str, t.Any]] = []
        while True:
            command = self._next()
            if command["execute"] in _HONEST:
                self._send(garble.line({"return": _HONEST[command["execute"]], "id": command["id"]}))
                continue
            waiting.append(command)
            if len(waiting) == self._liar.manner.together:
                rng.shuffle(waiting)
                self._answer(waiting)
                waiting.clear()

    def _next(self) -> dict[str, t.Any]:
        """The next command: as QEMU does, it takes one JSON object after another, newlines or none."""
        while True:
            self._heard = self._heard.lstrip()
            with contextlib.suppress(ValueError):  # not whole yet
                message, end = _DECODER.raw_decode(self._heard)
                self._heard = self._heard[end:]
                return dict(message)
            some = self._peer.recv(1 << 16)
            if not some:
                raise _Done()
            self._heard += some.decode()

    def _answer(self, commands: list[dict[str, t.Any]]) -> None:
        """Answer them all, in this order; what ends the conversation for one ends it for all."""
        replies = [self._reply(command["id"], command.get("arguments", {}).get("token", -1)) for command in commands]
        ending = {ERROR} if any(reply.last or ERROR in reply.allowed for reply in replies) else set()
        for reply in replies:
            self._liar.allowed[reply.token] = frozenset(reply.allowed | (ending if len(replies) > 1 else set()))
        for reply in replies:
            self._send(*reply.messages)
            if reply.last:
                raise _Done()

    def _reply(self, number: t.Any, token: int) -> _Reply:
        """Lies first, then the answer, or something else in its place."""
        rng = self._rng
        reply = _Reply(token, self._late, last=rng.random() < 0.005)
        self._late = []
        for _lie in range(rng.choice((0, 1, 1, 2, 4, 8))):
            reply.messages.append(garble.line(self._to_others(rng, token)))
        if rng.random() < 0.03:
            reply.messages.append(rng.choice(_NONSENSE)(rng))
            reply.allowed.add(ERROR)
        self._end(reply, number)
        self._old.append(number)
        return reply

    def _end(self, reply: _Reply, number: t.Any) -> None:
        """Add what stands in the place of the answer, and what the client may make of it."""
        rng, kind, plan = self._rng, self._rng.random(), reply.messages
        right = garble.line({"return": {"token": reply.token}, "id": number})
        if kind < 0.10:
            desc = f"no {reply.token}"
            plan.append(garble.line({"error": {"class": "GenericError", "desc": desc}, "id": number}))
            reply.allowed.add(REFUSED)
        elif kind < 0.15:
            plan.append(garble.line({**rng.choice(_NO_ANSWERS)(rng), "id": number}))
            reply.allowed.add(ERROR)
        elif kind < 0.17 and self._liar.manner.silent:
            self._late.append(right)  # it comes when somebody else waits
            reply.allowed.add(ERROR)
        elif kind < 0.19 and self._liar.manner.together == 1:
            plan += [garble.mutate(rng, right), right]
            reply.allowed |= {RIGHT, ERROR, ANYTHING}
        elif kind < 0.195:
            plan.append(right[: rng.randrange(len(right) - 1)])
            reply.allowed.add(ERROR)
            reply.last = True
        else:
            plan.append(right)
            plan += [right] * rng.choice((0, 0, 0, 1, 3))  # which must not become the answer to the next
            reply.allowed.add(RIGHT)

    def _to_others(self, rng: random.Random, token: int) -> garble.Json:
        """What the client that waits must not take for its answer, nor stumble over."""
        other: list[t.Any] = ["nobody", 5, None, True, 1.5, "", "maqet-0", "__qmp#99999", *self._old[-3:]]
        lie = rng.randrange(6)
        if lie == 0:
            return {**EVENT, "data": {"x": garble.value(rng)}}
        if lie == 1:
            return {"error": {"class": "GenericError", "desc": "to somebody else"}, "id": rng.choice(other)}
        if lie == 2:
            return {"return": {"token": -token}}
        if lie == 3:
            return {**EVENT, "return": {"token": -token}, "id": rng.choice(other), "seq": "x"}
        return {"return": {"token": -token}, "id": rng.choice(other)}

    def _send(self, *messages: bytes) -> None:
        self._liar.sent += len(messages)
        self._liar.last = [*self._liar.last, *messages][-12:]
        data = b"".join(messages)
        if self._rng.random() < 0.05:  # drop by drop
            for begin in range(0, len(data), 50):
                self._peer.sendall(data[begin : begin + 50])
        else:
            self._peer.sendall(data)


_DECODER: t.Final = json.JSONDecoder()
# Commands that the clients send by themselves.
_HONEST: t.Final = {
    "query-version": {"qemu": {"major": 7, "minor": 2, "micro": 22}, "package": ""},
    "add-fd": {"fd": 7, "fdset-id": 1},
    "remove-fd": {},
}

_Say = t.Callable[[random.Random], bytes]
_GREETINGS: t.Final[tuple[_Say, ...]] = (
    lambda _rng: b"",
    lambda _rng: b"SSH-2.0-OpenSSH\r\n",
    garble.noise,
    lambda rng: garble.line(garble.value(rng)),
    lambda rng: garble.line({"QMP": garble.value(rng)}),
    lambda rng: garble.line({"QMP": {"version": garble.value(rng), "capabilities": garble.value(rng)}}),
    lambda rng: garble.mutate(rng, garble.line(GREETING))[: rng.randint(1, 80)],
)
# Either of our clients may end the conversation when it hears these, or hear on.
_NONSENSE: t.Final[tuple[_Say, ...]] = (
    garble.noise,
    lambda rng: garble.nested(rng) + b"\n",
    lambda rng: garble.line(garble.value(rng)),
    lambda rng: garble.with_member(rng, garble.line(EVENT), b"data"),
    lambda rng: garble.line({**EVENT, "event": garble.value(rng)}),
    lambda rng: garble.line({**EVENT, "data": garble.value(rng)}),
    lambda rng: garble.line({"error": {"class": "GenericError", "desc": "cannot parse that"}}),
    lambda rng: garble.line({"return": {}, "id": rng.choice(([], {}, [1], {"a": 1}))}),
    lambda rng: garble.line({"return": "x" * rng.choice((70_000, 1 << 20)), "id": "nobody"}),
    lambda _rng: b"\xff\xfe{}\n",
    lambda _rng: b"\n",
    lambda _rng: b"\0" * 100 + b"\n",
)
_NO_ANSWERS: t.Final[tuple[t.Callable[[random.Random], garble.Json], ...]] = (
    lambda rng: {"error": rng.choice((None, 5, "x", [], {}, ["class", "desc"]))},
    lambda rng: {"error": {"class": rng.choice((None, 5, [], {})), "desc": "x"}},
    lambda rng: {"error": {"class": "GenericError", "desc": rng.choice((None, 5, [], {}))}},
    lambda rng: {"error": {"class": "GenericError"}, "return": {}},
    lambda _rng: {},
    lambda _rng: {"Return": {}},
)
