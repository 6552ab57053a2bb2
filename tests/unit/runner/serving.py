# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A runner's server with the real guard and log, a QEMU that is a few lines, and clients that say what they like."""

from __future__ import annotations

import asyncio
import contextlib
import json
import pathlib
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.gate import Gate
from ansible_collections.maqet.qemu.plugins.module_utils.guard.log import AuditLog
from ansible_collections.maqet.qemu.plugins.module_utils.guard.passing import Passed
from ansible_collections.maqet.qemu.plugins.module_utils.guard.record import VmIdentity
from ansible_collections.maqet.qemu.plugins.module_utils.guard.scope import Scope
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.events import Event
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.protocol import PROTOCOL
from ansible_collections.maqet.qemu.plugins.module_utils.runner.server import Server
from ansible_collections.maqet.qemu.plugins.module_utils.runner.service import Service
from ansible_collections.maqet.qemu.tests.unit.guard.schemas import schema
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import PATIENCE, UUID, Message

HELLO = {"vm": "web", "uuid": UUID, "pid": 1, "digest": "d"}


class FakeSession:
    """Answers as QEMU would. ``acts`` by command are awaited, and what they return or raise is the answer."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, t.Any]] = []
        self.acts: dict[str, t.Callable[[], t.Awaitable[t.Any]]] = {}
        self.last_event = 0
        self.state = "running"
        self._kept: list[Event] = []
        self._listeners: set[t.Callable[[Event], None]] = set()

    async def execute(
        self, command: str, arguments: t.Mapping[str, t.Any], seconds: float, passed: t.Sequence[Passed] = ()
    ) -> t.Any:
        for number, one in enumerate(passed):
            one.put(f"/proc/self/fd/{40 + number}")
            one.close()
        self.heard.append((command, dict(arguments)))
        if command in self.acts:
            try:
                return await asyncio.wait_for(self.acts[command](), seconds)
            except asyncio.TimeoutError:
                raise MaqetError("too late", "qmp_timeout") from None
        return {}

    async def run_state(self) -> str:
        return self.state

    def events(self, since: int) -> list[Event]:
        return [event for event in self._kept if event["seq"] > since]

    def listen(self, listener: t.Callable[[Event], None]) -> None:
        self._listeners.add(listener)

    def unlisten(self, listener: t.Callable[[Event], None]) -> None:
        self._listeners.discard(listener)

    def happens(self, name: str) -> None:
        """An event comes."""
        self.last_event += 1
        self._kept.append({"seq": self.last_event, "event": name})
        for listener in list(self._listeners):
            listener(self._kept[-1])


class Talk:
    """A client that says what a test wants it to say."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, *messages: t.Union[Message, bytes]) -> None:
        for message in messages:
            self.writer.write(message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n")
        await self.writer.drain()

    async def hear(self) -> Message:
        line = await self.reader.readline()
        assert line, "the runner hung up"
        return dict(json.loads(line))

    async def ask(self, message: t.Union[Message, bytes]) -> Message:
        await self.say(message)
        return await self.hear()


class World:
    """A runner's server, while it serves."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.socket = str(folder / "runner.sock")
        self.log = folder / "web.audit.jsonl"
        (folder / "output").mkdir()
        self.session = FakeSession()
        identity = VmIdentity("web", UUID, 4711, 99, "7.2.22", "/run/maqet/web/monitor.sock")
        gate = Gate(identity, Scope("web", str(folder), schema("7.2")), AuditLog(str(self.log)), "ipc")
        session = t.cast(t.Any, self.session)
        self.server = Server(Service(session, gate, {"vm": "web", "uuid": UUID}), session, HELLO)
        self._stack = contextlib.AsyncExitStack()

    async def talk(self) -> Talk:
        """A new client, after the hello."""
        reader, writer = await asyncio.open_unix_connection(self.socket, limit=1 << 26)
        talk = Talk(reader, writer)

        async def leave() -> None:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

        self._stack.push_async_callback(leave)
        assert await talk.hear() == {"hello": {"protocol": PROTOCOL, **HELLO}}
        return talk

    def run(self, scenario: t.Callable[[], t.Coroutine[t.Any, t.Any, None]]) -> None:
        async def whole() -> None:
            await self.server.listen(self.socket)
            try:
                async with self._stack:
                    await asyncio.wait_for(scenario(), PATIENCE)
            finally:
                await self.server.close()

        asyncio.run(whole())


def qmp(number: t.Any, *commands: t.Union[str, Message], **rest: t.Any) -> Message:
    listed = [{"execute": command} if isinstance(command, str) else command for command in commands]
    return {"id": number, "op": "qmp", "commands": listed, **rest}
