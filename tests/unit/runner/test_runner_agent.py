# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The conversation with an agent that stalls, floods, talks nonsense, answers late, or is not there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import pathlib
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render import AGENT, AGENT_PORT
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.events import Event
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.refusal import QmpError
from ansible_collections.maqet.qemu.plugins.module_utils.runner.agent import Agent
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import PATIENCE, Message

# What the guest says to a command, piece by piece; None of it for one that stalls.
Say = t.Callable[[Message], t.Iterable[bytes]]


class FakeSession:
    """As much of QEMU as an agent's conversation needs: is the port open, and events."""

    def __init__(self) -> None:
        self.open = True
        self.listeners: set[t.Callable[[Event], None]] = set()

    async def execute(self, command: str, arguments: Message, seconds: float) -> t.Any:
        assert command == "query-chardev"
        return [{"label": "maqet-serial", "frontend-open": True}, {"label": AGENT, "frontend-open": self.open}]

    def listen(self, listener: t.Callable[[Event], None]) -> None:
        self.listeners.add(listener)

    def unlisten(self, listener: t.Callable[[Event], None]) -> None:
        self.listeners.discard(listener)

    def port(self, is_open: bool) -> None:
        """The guest opens or closes the port."""
        self.open = is_open
        self.happens("VSERPORT_CHANGE", id=AGENT_PORT, open=is_open)

    def happens(self, name: str, **data: t.Any) -> None:
        for listener in list(self.listeners):
            listener({"seq": 1, "event": name, "data": data})


class World:
    """A guest whose agent answers guest-sync-delimited as it should, and all else by ``say``."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.socket = str(folder / "agent.sock")
        self.session = FakeSession()
        self.received: list[Message] = []
        self.flushes = 0
        self.connections = 0
        self.stale = b""  # what is in the stream before the first answer
        self.writer: asyncio.StreamWriter
        self.writers: list[asyncio.StreamWriter] = []
        self.say: Say = only("guest-ping", b'{"return": {}}\n')

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writer = writer
        self.writers.append(writer)
        writer.write(self.stale)
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                self.flushes += line.count(b"\xff")
                message = json.loads(line.lstrip(b"\xff"))
                self.received.append(message)
                for piece in self._answer(message):
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
        writer.close()

    def _answer(self, message: Message) -> t.Iterable[bytes]:
        said = list(self.say(message))
        if said or message["execute"] != "guest-sync-delimited":
            return said
        return [b"\xff" + json.dumps({"return": message["arguments"]["id"]}).encode() + b"\n"]

    @property
    def commands(self) -> list[str]:
        """What reached the agent, without the synchronisation."""
        return [one["execute"] for one in self.received if one["execute"] != "guest-sync-delimited"]

    def run(self, scenario: t.Callable[[Agent], t.Coroutine[t.Any, t.Any, None]]) -> None:
        async def whole() -> None:
            server = await asyncio.start_unix_server(self._serve, self.socket)
            agent = Agent(self.socket, t.cast(t.Any, self.session))
            try:
                await asyncio.wait_for(scenario(agent), PATIENCE)
            finally:
                agent.drop()
                server.close()
                for writer in self.writers:
                    writer.transport.abort()
                    with contextlib.suppress(ConnectionError):
                        await writer.wait_closed()
            assert self.session.listeners == set()

        asyncio.run(whole())


@pytest.fixture
def world(tmp_path: pathlib.Path) -> World:
    return World(tmp_path)


def only(command: str, *pieces: bytes) -> Say:
    """Say this to one command; the synchronisation goes on as it should."""
    return lambda message: pieces if message["execute"] == command else ()


async def fails(work: t.Awaitable[t.Any], code: str) -> MaqetError:
    with pytest.raises(MaqetError) as caught:
        await work
    assert caught.value.error_code == code, caught.value
    return caught.value


def test_one_connection_in_step_serves_many_commands(world: World) -> None:
    world.say = only("guest-get-time", b'{"return": 5, "unknown": true}\n')

    async def scenario(agent: Agent) -> None:
        for _number in range(3):
            assert await agent.execute("guest-get-time", {}, 9) == 5

    world.run(scenario)
    assert world.connections == world.flushes == 1
    assert [one["execute"] for one in world.received] == ["guest-sync-delimited"] + ["guest-get-time"] * 3
    assert "arguments" not in world.received[1]


def test_what_is_in_the_stream_before_is_dropped(world: World) -> None:
    """Half an answer, answers to somebody else's questions, other 0xFF bytes, and much of it."""
    world.stale = b'"half"}\n{"return": 1}\n\xff{"return": 2}\n\xff\xff' + b"x" * 300_000
    world.say = only("guest-get-time", b'{"return": 5}\n')

    async def scenario(agent: Agent) -> None:
        assert await agent.execute("guest-get-time", {}, 9) == 5

    world.run(scenario)


def test_an_answer_in_pieces(world: World) -> None:
    """Characters of several bytes are split between reads; what is no UTF-8 is replaced."""
    whole = '{"return": {"name": "grün €"}}\n'.encode()
    world.say = only("guest-get-osinfo", *(bytes([byte]) for byte in whole))

    async def scenario(agent: Agent) -> None:
        assert await agent.execute("guest-get-osinfo", {}, 9) == {"name": "grün €"}
        world.say = only("guest-get-osinfo", b'{"return": "\xc3( \\ud800 \\u0000"}\n')
        assert await agent.execute("guest-get-osinfo", {}, 9) == "\ufffd( ? \0"

    world.run(scenario)


def test_a_refusal_is_the_agents_own_word_made_harmless(world: World) -> None:
    desc = json.dumps("no \x1b[2J" + "x" * 5000).encode()
    world.say = only("guest-ping", b'{"error": {"class": "GenericError", "desc": ' + desc + b"}}\n")

    async def scenario(agent: Agent) -> None:
        for _number in range(2):
            with pytest.raises(QmpError) as caught:
                await agent.execute("guest-ping", {}, 9)
            assert caught.value.error_class == "GenericError"
            assert caught.value.desc.isprintable() and len(caught.value.desc) <= 1024

    world.run(scenario)
    assert world.connections == 1, "a refusal leaves the stream in step"


def test_an_agent_that_stalls_is_brought_in_step_again(world: World) -> None:
    """Its answer comes late, and is not taken for that of the next command."""

    async def scenario(agent: Agent) -> None:
        world.say = lambda message: ()
        error = await fails(agent.execute("guest-ping", {}, 0.2), "guest_timeout")
        assert error.details["sent"] is True and "outcome is unknown" in str(error)
        world.stale = b'{"return": "late"}\n\xff{"return": 12345}\n'
        world.say = only("guest-get-time", b'{"return": 5}\n')
        assert await agent.execute("guest-get-time", {}, 9) == 5

    world.run(scenario)
    assert world.connections == world.flushes == 2


def test_an_agent_that_is_not_even_in_step(world: World) -> None:
    world.say = lambda message: [b'{"return": 1}\n']  # also to guest-sync-delimited

    async def scenario(agent: Agent) -> None:
        error = await fails(agent.execute("guest-ping", {}, 0.2), "guest_timeout")
        assert error.details["sent"] is False and "was not sent" in str(error)

    world.run(scenario)
    assert world.commands == []


@pytest.mark.parametrize(
    "pieces", [[b"x" * 5000], [b"x" * 2000, b"x" * 2000], [b'{"return": "' + b"x" * 2000 + b'"}\n']]
)
def test_a_flood_is_cut_off(world: World, pieces: list[bytes]) -> None:
    world.say = only("guest-ping", *pieces)

    async def scenario(agent: Agent) -> None:
        error = await fails(agent.execute("guest-ping", {}, 9, max_reply=1024), "guest_reply_too_large")
        assert error.details["sent"] is True and "max_reply" in str(error)
        world.say = only("guest-get-time", b'{"return": 5}\n')
        assert await agent.execute("guest-get-time", {}, 9) == 5

    world.run(scenario)
    assert world.connections == 2


GARBAGE = {
    "empty": b"",
    "text": b"login: ",
    "no object": b"[1]",
    "cut": b'{"return": ',
    "two": b'{"return": 1} {"return": 2}',
    "neither": b'{"result": 1}',
    "error without text": b'{"error": "oops"}',
    "not a number": b'{"return": NaN}',
    "infinite": b'{"return": 1e999}',
    "digits": b'{"return": ' + b"9" * 10_000 + b"}",
    "deep": b'{"return": ' + b"[" * 100_000,
    "deep but whole": b'{"return": ' + b"[" * 500 + b"]" * 500 + b"}",
    "control character": b'{"return": "\x01"}',
    "no UTF-8": b"\x80\x81",
}


@pytest.mark.parametrize("line", GARBAGE.values(), ids=list(GARBAGE))
def test_garbage_is_an_error_that_quotes_nothing_of_it(world: World, line: bytes) -> None:
    world.say = only("guest-ping", line + b"\n")

    async def scenario(agent: Agent) -> None:
        error = await fails(agent.execute("guest-ping", {}, 9), "guest_unreachable")
        assert "no answer of an agent" in str(error) and "login" not in str(error) and str(error).isprintable()
        world.say = only("guest-get-time", b'{"return": 5}\n')
        assert await agent.execute("guest-get-time", {}, 9) == 5

    world.run(scenario)


def test_millions_of_values_are_not_made(world: World) -> None:
    world.say = only("guest-ping", b'{"return": [' + b"{}," * 300_000 + b"0]}\n")

    async def scenario(agent: Agent) -> None:
        await fails(agent.execute("guest-ping", {}, 30), "guest_reply_too_large")

    world.run(scenario)


def test_no_agent(world: World) -> None:
    """Said at once; with ``wait`` it is waited for."""
    world.session.open = False

    async def scenario(agent: Agent) -> None:
        error = await fails(agent.execute("guest-ping", {}, 60), "guest_agent_unavailable")
        assert error.details["sent"] is False and "qemu-guest-agent" in str(error)
        error = await fails(agent.execute("guest-ping", {}, 0.1, wait=True), "guest_timeout")
        assert "no agent has opened the port" in str(error)
        waiting = asyncio.ensure_future(agent.execute("guest-ping", {}, 60, wait=True))
        while not world.session.listeners:
            await asyncio.sleep(0)
        world.session.port(False)
        world.session.port(True)
        assert await waiting == {}

    world.run(scenario)


def test_a_client_that_hangs_up(world: World) -> None:
    """What only waits, for an agent or for its turn, ends at once; what the agent has got goes on to its outcome."""

    async def scenario(agent: Agent) -> None:
        world.session.open, gone = False, asyncio.Event()
        waiting = asyncio.ensure_future(agent.execute("guest-ping", {}, 60, wait=True, gone=gone))
        while not world.session.listeners:
            await asyncio.sleep(0)
        gone.set()
        error = await fails(waiting, "client_gone")
        assert error.details["sent"] is False and "while no agent has opened the port" in str(error)
        world.session.open, gone = True, asyncio.Event()
        world.say = lambda message: ()
        slow = asyncio.ensure_future(agent.execute("guest-fstrim", {}, 60, gone=gone))
        while not world.commands:
            await asyncio.sleep(0)
        queued = asyncio.ensure_future(agent.execute("guest-ping", {}, 60, gone=gone))
        gone.set()
        assert "other commands" in str(await fails(queued, "client_gone"))
        world.writer.write(b'{"return": "trimmed"}\n')
        assert await slow == "trimmed"

    world.run(scenario)
    assert world.commands == ["guest-fstrim"]


def test_an_agent_that_goes_away(world: World) -> None:
    """Its port is closed: nobody waits for the deadline. Or QEMU itself hangs up."""

    def close(message: Message) -> t.Iterable[bytes]:
        if message["execute"] == "guest-ping":
            world.session.port(False)
        return ()

    def hang_up(message: Message) -> t.Iterable[bytes]:
        if message["execute"] == "guest-ping":
            world.writer.transport.abort()
        return ()

    async def scenario(agent: Agent) -> None:
        for act in (close, hang_up):
            world.say = act
            error = await fails(agent.execute("guest-ping", {}, 60), "guest_unreachable")
            assert error.details["sent"] is True and "went away" in str(error)
            world.session.port(True)

    world.run(scenario)


def test_no_qemu_behind_the_socket(tmp_path: pathlib.Path) -> None:
    async def scenario() -> None:
        agent = Agent(str(tmp_path / "nothing.sock"), t.cast(t.Any, FakeSession()))
        error = await fails(agent.execute("guest-ping", {}, 60), "guest_unreachable")
        assert error.details["sent"] is False

    asyncio.run(scenario())


def test_one_command_at_a_time_each_with_its_own_deadline(world: World) -> None:
    async def scenario(agent: Agent) -> None:
        world.say = lambda message: ()
        slow = asyncio.ensure_future(agent.execute("guest-fstrim", {}, 60))
        while not world.commands:
            await asyncio.sleep(0)
        error = await fails(agent.execute("guest-ping", {}, 0.1), "guest_timeout")
        assert error.details["sent"] is False and "other commands" in str(error)
        queued = asyncio.ensure_future(agent.execute("guest-ping", {}, 60))
        await asyncio.sleep(0)
        assert world.commands == ["guest-fstrim"]
        world.say = only("guest-ping", b'{"return": {}}\n')
        world.writer.write(b'{"return": "trimmed"}\n')
        assert await slow == "trimmed"
        assert await queued == {}

    world.run(scenario)
    assert world.commands == ["guest-fstrim", "guest-ping"]


def test_a_command_without_an_answer_is_done_when_the_next_question_is_answered(world: World) -> None:
    world.say = only("guest-shutdown")

    async def scenario(agent: Agent) -> None:
        assert await agent.execute("guest-shutdown", {"mode": "halt"}, 60) is None
        world.say = only("guest-shutdown", b'{"error": {"class": "GenericError", "desc": "no"}}\n')
        with pytest.raises(QmpError):
            await agent.execute("guest-shutdown", {}, 60)

    world.run(scenario)
    assert world.commands == ["guest-shutdown"] * 2


@pytest.mark.parametrize("sign", ["SHUTDOWN", "port", "hang up"])
def test_a_shutdown_is_done_when_the_guest_goes(world: World, sign: str) -> None:
    def act(message: Message) -> t.Iterable[bytes]:
        if message["execute"] == "guest-shutdown":
            world.say = lambda _other: [b""]  # it says no more, not even to the second question
            if sign == "port":
                world.session.port(False)
            elif sign == "hang up":
                world.writer.transport.abort()
            else:
                world.session.happens(sign, guest=True)
        return ()

    world.say = act

    async def scenario(agent: Agent) -> None:
        assert await agent.execute("guest-shutdown", {}, 60) is None

    world.run(scenario)


@pytest.mark.parametrize("wakes", [True, False])
def test_a_sleep_that_fails_after_all(world: World, wakes: bool) -> None:
    """The port was closed for it, and opens again: only then the agent tells. Closed alone it means nothing."""

    def act(message: Message) -> t.Iterable[bytes]:
        if message["execute"] == "guest-suspend-ram":
            world.say = lambda _other: [b""]
            world.session.port(False)
            asyncio.get_running_loop().call_later(0.05, wake)
        return ()

    def wake() -> None:
        if wakes:
            world.say = only("guest-sync-delimited", b'{"error": {"class": "GenericError", "desc": "no"}}\n')
            world.session.port(True)
        else:
            world.session.happens("SUSPEND")

    world.say = act

    async def scenario(agent: Agent) -> None:
        if wakes:
            with pytest.raises(QmpError):
                await agent.execute("guest-suspend-ram", {}, 60)
        else:
            assert await agent.execute("guest-suspend-ram", {}, 60) is None

    world.run(scenario)
