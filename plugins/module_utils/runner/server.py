# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runner's socket: hello, then requests side by side, answers as they come, events to those who asked."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import Caller, caller_of
from ansible_collections.maqet.qemu.plugins.module_utils.guard.entry import Entry
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.events import Event
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.protocol import MAX_LINE, PROTOCOL, decode, encode
from ansible_collections.maqet.qemu.plugins.module_utils.runner.service import Service
from ansible_collections.maqet.qemu.plugins.module_utils.runner.session import Session

log = logging.getLogger("maqet.server")

# DESIGN promises 16 MiB; what is longer is not a request.
MAX_REQUEST = 32 * 1024 * 1024
# Requests of one client that may be open at once; more wait in its socket, not in our memory.
_MAX_OPEN = 32
# How long clients may take to hear the last answers when the runner ends with QEMU, in seconds; and when it leaves a
# QEMU that lives, where answers are still to come.
_GOODBYE = 3.0
_LEAVING = 15.0
# A subscriber that reads nothing while this much waits for it is cut off; the others must not pay for it.
_MAX_BEHIND = MAX_LINE
# Linux's number on the architectures that we run on; Python's socket module has no name for it.
_SO_PEERGROUPS = 59
# The most that socket.getsockopt takes, in bytes: 256 groups.
_GROUPS_SIZE = 1024


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
        self._service = service
        self._entry = entry
        self._mode = mode
        self._session = session
        self._hello = {"hello": {"protocol": PROTOCOL, **hello}}
        self._open: set[asyncio.Task[t.Any]] = set()
        self._requests: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: t.Optional[asyncio.AbstractServer] = None
        self._leaving = False

    async def listen(self, path: str) -> None:
        """Open the socket; the umask of the runner keeps others out until its mode lets them in."""
        self._server = await asyncio.start_unix_server(self._serve, path, limit=MAX_REQUEST)
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
        unfinished = self._open | self._requests
        if unfinished:
            await asyncio.wait(unfinished, timeout=_LEAVING if leaving else _GOODBYE)
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = t.cast("asyncio.Task[t.Any]", asyncio.current_task())
        self._open.add(task)
        self._writers.add(writer)
        try:
            talk = _Conversation(self._service, self._session, reader, writer, self._requests, self._entry)
            await talk.run(self._hello)
        except ConnectionError:
            pass
        except asyncio.CancelledError:
            if self._leaving and not writer.is_closing():
                writer.write(encode({"goodbye": {}}))
        finally:
            self._open.discard(task)
            self._writers.discard(writer)
            writer.close()


class _Conversation:
    """One client. What the kernel says of it is taken once, when it connects."""

    def __init__(
        self,
        service: Service,
        session: Session,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        everybodys: set[asyncio.Task[None]],
        entry: t.Optional[Entry],
    ) -> None:
        """``everybodys``: the open requests of all clients, to which this one's are added."""
        self._service = service
        self._session = session
        self._entry = entry
        self._reader = reader
        self._writer = writer
        self._requests: set[asyncio.Task[None]] = set()
        self._everybodys = everybodys
        self._free = asyncio.Semaphore(_MAX_OPEN)
        self._names: t.Optional[frozenset[str]] = None
        connected = writer.get_extra_info("socket")
        self._peer = _peer(connected)
        self._groups = _groups(connected)

    async def run(self, hello: t.Mapping[str, t.Any]) -> None:
        """Serve until the client hangs up. What it had asked for goes on: QEMU may have it already."""
        try:
            await self._demand_role({})
        except MaqetError as error:
            self._send({"error": error.as_dict()})
            with contextlib.suppress(ConnectionError):
                await self._writer.drain()
            return
        self._send(hello)
        try:
            while line := await self._next():
                task = asyncio.create_task(self._answer(line))
                self._requests.add(task)
                self._everybodys.add(task)
                task.add_done_callback(self._answered)
        except ValueError as error:  # longer than MAX_REQUEST: there is no next line to find
            log.warning("client %s hung up on: %s", self._peer[0], error)
        finally:
            self._session.unlisten(self._event)
            if self._requests:
                await asyncio.wait(self._requests)
            with contextlib.suppress(ConnectionError):
                await self._writer.drain()

    async def _next(self) -> bytes:
        """The next request, when one of the client's is not too many."""
        await self._free.acquire()
        return await self._reader.readline()

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._requests.discard(task)
        self._everybodys.discard(task)
        self._free.release()

    async def _answer(self, line: bytes) -> None:
        number = None
        try:
            message = _parse(line)
            number = message.get("id")
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
            return await self._service.guest(message, self._caller(message))
        if op == "status":
            await self._demand_role(message)
            return await self._service.status()
        if op == "subscribe":
            await self._demand_role(message)
            return self._subscribe(message)
        raise MaqetError(f"The runner has no operation {op!r}.", "invalid_request")

    async def _demand_role(self, message: t.Mapping[str, t.Any]) -> None:
        """The policy may have changed since the last time. In a thread: it may ask the network for groups."""
        if self._entry is not None:
            await asyncio.to_thread(self._entry.demand, self._caller(message))

    def _caller(self, message: t.Mapping[str, t.Any]) -> Caller:
        """Who asks: the kernel's word for the process, and beside it what the client asserts."""
        pid, uid, gid = self._peer
        context = message.get("context")
        return caller_of(pid, uid, gid, context if isinstance(context, dict) else {}, peer=True, groups=self._groups)

    def _subscribe(self, message: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        names, since = message.get("names"), message.get("since")
        if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise MaqetError("'names' must be a list of event names, or null for all.", "invalid_request")
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


def _parse(line: bytes) -> dict[str, t.Any]:
    try:
        return decode(line)
    except ValueError as error:
        raise MaqetError(f"The runner reads one JSON object a line: {error}.", "invalid_request") from None


def _peer(connected: socket.socket) -> tuple[int, int, int]:
    """pid, uid and gid of the process at the other end, from the kernel: SO_PEERCRED in unix(7)."""
    size = struct.calcsize("3i")
    return t.cast(
        "tuple[int, int, int]", struct.unpack("3i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    )


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
