# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runner's socket: hello, then requests side by side, answers as they come, events to those who asked."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import select
import socket
import stat
import struct
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import Caller, caller_of
from ansible_collections.maqet.qemu.plugins.module_utils.guard.entry import Entry
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.events import Event
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.protocol import MAX_LINE, PROTOCOL, decode, encode
from ansible_collections.maqet.qemu.plugins.module_utils.runner.bounds import SHORT, Bounds, give_memory_back
from ansible_collections.maqet.qemu.plugins.module_utils.runner.door import Door, Visitor
from ansible_collections.maqet.qemu.plugins.module_utils.runner.service import Service
from ansible_collections.maqet.qemu.plugins.module_utils.runner.session import Session

log = logging.getLogger("maqet.server")

# Requests of one client that may be open at once; more wait in its socket, not in our memory. QEMU works on one after
# another and keeps eight itself, so a longer queue would only be one in which everybody else has to wait.
_MAX_OPEN = 8
# How long clients may take to hear the last answers when the runner ends with QEMU, in seconds; and when it leaves a
# QEMU that lives, where answers are still to come.
_GOODBYE = 3.0
_LEAVING = 15.0
# A subscriber that reads nothing while this much waits for it is cut off; the others must not pay for it.
_MAX_BEHIND = MAX_LINE
# Clients that have connected and are not accepted yet; to one more the kernel says EAGAIN. It allows 4096 itself.
_BACKLOG = 4096
# New clients that are let in before the others are served again.
_AT_ONCE = 4
# Events that one client may choose by name, the length of a name, and the bytes of a request's id.
_MAX_NAMES, _MAX_NAME, _MAX_ID = 1000, 256, 1024
# Linux's number on the architectures that we run on; Python's socket module has no name for it.
_SO_PEERGROUPS = 59
# The most that socket.getsockopt takes, in bytes: 256 groups.
_GROUPS_SIZE = 1024


@dataclasses.dataclass
class _House:
    """What all conversations share."""

    service: Service
    session: Session
    hello: t.Mapping[str, t.Any]
    door: Door
    #: The open requests of all clients.
    requests: set[asyncio.Task[None]] = dataclasses.field(default_factory=set)
    bounds: Bounds = dataclasses.field(default_factory=Bounds)


class Server:
    """Listens for clients; each gets a :class:`_Conversation`."""

    def __init__(
        self,
        service: Service,
        session: Session,
        hello: t.Mapping[str, t.Any],
        entry: t.Optional[Entry] = None,
        mode: int = 0o600,
    ) -> None:
        """``entry``: asked about every client, where the socket's ``mode`` lets in more than its owner."""
        self._house = _House(service, session, {"hello": {"protocol": PROTOCOL, **hello}}, Door(entry))
        self._mode = mode
        self._open: set[asyncio.Task[t.Any]] = set()
        self._server: t.Optional[asyncio.AbstractServer] = None
        self._leaving = False

    async def listen(self, path: str) -> None:
        """Open the socket; the umask of the runner keeps others out until its mode lets them in."""
        give_memory_back()
        listening = _bound(path)
        # For asyncio the backlog is also how many it accepts before it serves anybody: those who are in come first.
        self._server = await asyncio.start_unix_server(self._serve, sock=listening, limit=SHORT, backlog=_AT_ONCE)
        listening.listen(_BACKLOG)
        os.chmod(path, self._mode)

    async def close(self, leaving: bool = False) -> None:
        """Take no more clients, give those who wait for an answer theirs if they read it, and hang up.

        With ``leaving`` each is told that what it has asked since has not been read: it may ask the next runner.
        """
        self._leaving = leaving
        if self._server is not None:
            self._server.close()
        for task in list(self._open):
            task.cancel()
        # Requests too, also of clients that have hung up: their commands' results belong into the audit.
        unfinished = self._open | self._house.requests
        if unfinished:
            await asyncio.wait(unfinished, timeout=_LEAVING if leaving else _GOODBYE)
        for writer in self._house.bounds.writers:
            writer.transport.abort()
        self._house.door.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = t.cast("asyncio.Task[t.Any]", asyncio.current_task())
        writers = self._house.bounds.writers
        self._open.add(task)
        try:
            if self._house.bounds.full:
                writer.write(encode({"error": _too_many(len(writers)).as_dict()}))
                return
            writers.add(writer)
            await _Conversation(self._house, reader, writer).run()
        except ConnectionError:
            pass
        except asyncio.CancelledError:
            if self._leaving and not writer.is_closing():
                writer.write(encode({"goodbye": {}}))
        finally:
            self._open.discard(task)
            writers.discard(writer)
            writer.close()


class _Conversation:
    """One client. What the socket says of it is taken once, when it connects."""

    def __init__(self, house: _House, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._house = house
        self._service = house.service
        self._session = house.session
        self._reader = reader
        self._writer = writer
        self._requests: set[asyncio.Task[None]] = set()
        self._free = asyncio.Semaphore(_MAX_OPEN)
        #: Set when the client says no more, and when it hears no more either.
        self._gone, self._deaf = asyncio.Event(), asyncio.Event()
        self._names: t.Optional[frozenset[str]] = None
        connected = writer.get_extra_info("socket")
        self._peer = _peer(connected)
        self._groups = _groups(connected)
        self._who: t.Optional[Caller] = None
        _pid, uid, gid = self._peer
        self._visitor = Visitor(uid, {gid, *self._groups}, self._look)

    async def run(self) -> None:
        """Serve until the client hangs up. What it had asked for goes on: QEMU may have it already.

        What only waits for a guest's agent does not: the place of a client that is gone is for others.
        """
        try:
            await self._house.door.demand_role(self._visitor)
        except MaqetError as error:
            self._send({"error": error.as_dict()})
            with contextlib.suppress(ConnectionError):
                await self._writer.drain()
            return
        self._send(self._house.hello)
        try:
            while await self._take():
                pass
        except ValueError as error:  # there is no next line to find
            log.warning("client %s hung up on: %s", self._peer[0], error)
            self._send({"id": None, "error": _invalid(f"This is no request: {error}").as_dict()})
        finally:
            self._gone.set()
            if _deaf(self._writer.get_extra_info("socket")):
                self._deaf.set()
            self._session.unlisten(self._event)
            if self._requests:
                await asyncio.wait(self._requests)
            with contextlib.suppress(ConnectionError):
                await self._writer.drain()

    async def _take(self) -> bool:
        """Begin the next request, when one of the client's is not too many; False at the end."""
        await self._free.acquire()
        line = await self._house.bounds.line(self._reader, self._writer)
        if not line:
            return False
        # In a list that it empties: a long line must not live as long as the request, nor until the next one comes.
        task = asyncio.create_task(self._answer([line]))
        self._requests.add(task)
        self._house.requests.add(task)
        task.add_done_callback(self._answered)
        return True

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._requests.discard(task)
        self._house.requests.discard(task)
        self._free.release()

    async def _answer(self, lines: list[t.Union[bytes, bytearray]]) -> None:
        number = None
        try:
            size, message = len(lines[0]), _parse(lines.pop())
            number = _id(message)
            with self._house.bounds.holding(size):
                answer = {"id": number, "result": await self._perform(message)}
        except MaqetError as error:
            answer = {"id": number, "error": error.as_dict()}
        except Exception as error:  # pylint: disable=broad-except  # one request must not end the runner
            log.exception("request failed")
            answer = {"id": number, "error": {"error_code": "internal", "message": f"the runner failed: {error!r}"}}
        self._send(answer)
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    async def _perform(self, message: dict[str, t.Any]) -> dict[str, t.Any]:
        op = message.get("op")
        if op == "qmp":
            return await self._service.qmp(message, self._caller(message))
        if op == "guest":
            return await self._service.guest(message, self._caller(message), self._deaf)
        if op == "frozen":
            return await self._service.frozen(message, self._caller(message))
        if op == "migrate":
            return await self._service.migrate(message, self._caller(message), self._gone)
        if op == "status":
            await self._house.door.demand_role(self._visitor)
            return await self._service.status()
        if op == "subscribe":
            await self._house.door.demand_role(self._visitor)
            return self._subscribe(message)
        raise MaqetError(f"The runner has no operation {op!r}.", "invalid_request")

    def _caller(self, message: t.Mapping[str, t.Any]) -> Caller:
        """Who asks: the kernel's word for the process, and beside it what the client asserts."""
        context = message.get("context")
        return dataclasses.replace(self._look(), controller=context if isinstance(context, dict) else {})

    def _look(self) -> Caller:
        """What can be known of the client's process. Taken once, when it is needed: it takes four looks into /proc."""
        if self._who is None:
            pid, uid, gid = self._peer
            self._who = caller_of(pid, uid, gid, peer=True, groups=self._groups)
        return self._who

    def _subscribe(self, message: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        names, since = message.get("names"), message.get("since")
        if names is not None and not (isinstance(names, list) and all(map(_is_name, names))):
            raise _invalid("'names' must be a list of event names, or null for all.")
        if names is not None and len(names) > _MAX_NAMES:
            raise _invalid(f"'names' may hold {_MAX_NAMES} event names.")
        self._names = None if names is None else frozenset(names)
        self._session.unlisten(self._event)
        for event in self._session.events(since) if isinstance(since, int) else ():
            self._event(event)
        self._session.listen(self._event)
        return {"last_event": self._session.last_event}

    def _event(self, event: Event) -> None:
        if self._names is not None and event["event"] not in self._names:
            return
        if self._writer.transport.get_write_buffer_size() > _MAX_BEHIND:
            log.warning("client %s does not read its events: cut off", self._peer[0])
            self._writer.transport.abort()
            return
        self._send({"event": event})

    def _send(self, message: t.Mapping[str, t.Any]) -> None:
        if not self._writer.is_closing():
            self._writer.write(encode(message))
            self._house.bounds.sent(self._writer)


def _bound(path: str) -> socket.socket:
    """A socket at ``path``, where a runner that was killed may have left its own."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(path).st_mode):
            os.unlink(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(path)
    except BaseException:
        listening.close()
        raise
    return listening


def _parse(line: t.Union[bytes, bytearray]) -> dict[str, t.Any]:
    try:
        return decode(line)
    except ValueError as error:
        raise _invalid(f"The runner reads one JSON object a line: {error}.") from None


def _id(message: t.Mapping[str, t.Any]) -> t.Any:
    """What the client calls its request. It must be short, since it is kept and sent back."""
    number = message.get("id")
    try:
        if len(encode({"id": number})) <= _MAX_ID:
            return number
    except RecursionError:
        pass
    raise _invalid(f"An 'id' may have {_MAX_ID} bytes.")


def _is_name(value: t.Any) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_NAME


def _invalid(why: str) -> MaqetError:
    return MaqetError(why, "invalid_request")


def _too_many(count: int) -> MaqetError:
    return MaqetError(
        f"The runner has {count} clients, and takes no more. See who they are (ss -xp), and why they stay.",
        "runner_busy",
    )


def _peer(connected: socket.socket) -> tuple[int, int, int]:
    """pid, uid and gid of the process at the other end, from the kernel: SO_PEERCRED in unix(7)."""
    size = struct.calcsize("3i")
    return t.cast(
        "tuple[int, int, int]", struct.unpack("3i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    )


def _deaf(connected: socket.socket) -> bool:
    """Whether the other end is closed, and not only shut down for writing, by which a client says that this was all."""
    if connected.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(connected, 0)
    return any(found & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _fd, found in poll.poll(0))


def _groups(connected: socket.socket) -> tuple[int, ...]:
    """The further groups of that process when it connected: SO_PEERGROUPS, Linux 4.13.

    None where the kernel does not say them, or where they are too many to be told: fewer groups never give more.
    """
    try:
        data = connected.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_SIZE)
    except OSError as error:
        log.warning("the groups of a client are not known: %s", error)
        return ()
    return tuple(group for (group,) in struct.iter_unpack("I", data))
