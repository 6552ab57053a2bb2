# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runner's socket and its service: real connections, the real guard and log, and a QEMU that is a few lines."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import pathlib
import socket
import typing as t
import weakref

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.gate import Gate
from ansible_collections.maqet.qemu.plugins.module_utils.guard.log import AuditLog
from ansible_collections.maqet.qemu.plugins.module_utils.guard.passing import Passed
from ansible_collections.maqet.qemu.plugins.module_utils.guard.record import VmIdentity
from ansible_collections.maqet.qemu.plugins.module_utils.guard.scope import Scope
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.refusal import QmpError
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import RunnerClient
from ansible_collections.maqet.qemu.plugins.module_utils.runner import bounds
from ansible_collections.maqet.qemu.plugins.module_utils.runner import server as room
from ansible_collections.maqet.qemu.plugins.module_utils.runner.server import Server
from ansible_collections.maqet.qemu.plugins.module_utils.runner.service import Service
from ansible_collections.maqet.qemu.plugins.module_utils.runner.session import Event
from ansible_collections.maqet.qemu.tests.unit.guard.schemas import schema
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import PATIENCE, UUID, Message, records

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
        assert await talk.hear() == {"hello": {"protocol": 1, **HELLO}}
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


@pytest.fixture
def world(tmp_path: pathlib.Path) -> World:
    return World(tmp_path)


def qmp(number: t.Any, *commands: t.Union[str, Message], **rest: t.Any) -> Message:
    listed = [{"execute": command} if isinstance(command, str) else command for command in commands]
    return {"id": number, "op": "qmp", "commands": listed, **rest}


def test_status(world: World) -> None:
    async def scenario() -> None:
        talk = await world.talk()
        world.session.happens("STOP")
        world.session.state = "paused"
        answer = await talk.ask({"id": 7, "op": "status"})
        assert answer == {
            "id": 7,
            "result": {"vm": "web", "uuid": UUID, "run_state": "paused", "last_event": 1},
        }

    world.run(scenario)


def test_a_state_is_never_older_than_its_last_event(world: World) -> None:
    async def scenario() -> None:
        real = world.session.run_state

        async def run_state() -> str:
            state = await real()
            world.session.happens("RESUME")  # comes between QEMU's answer and ours
            return state

        world.session.run_state = run_state  # type: ignore[method-assign]
        answer = await (await world.talk()).ask({"id": 1, "op": "status"})
        assert answer["result"]["last_event"] == 0

    world.run(scenario)


def test_commands_and_their_records(world: World) -> None:
    async def scenario() -> None:
        talk = await world.talk()
        command = {"execute": "send-key", "arguments": {"keys": []}}
        answer = await talk.ask(qmp("a", "stop", command, reason="INC-1", context={"task": "look"}))
        result = answer["result"]
        assert answer["id"] == "a"
        assert result["responses"] == [{}, {}]
        assert [verdict["decision"] for verdict in result["decisions"]] == ["allow", "allow"]
        assert result["audit"] == records(world.log)
        assert result["events"] == []

    world.run(scenario)
    assert world.session.heard == [("stop", {}), ("send-key", {"keys": []})]
    for record in records(world.log):
        assert (record["via"], record["reason"], record["vm_pid"]) == ("ipc", "INC-1", 4711)
        assert record["peer"] == {"pid": os.getpid(), "uid": os.getuid(), "gid": os.getgid()}
        assert record["controller"] == {"task": "look", "asserted": True}


def test_the_intent_is_on_disk_before_it_is_sent(world: World) -> None:
    on_disk: list[list[str]] = []

    async def look() -> None:
        on_disk.append([record["phase"] for record in records(world.log)])

    async def scenario() -> None:
        world.session.acts = {"stop": look, "cont": look}
        await (await world.talk()).ask(qmp(1, "stop", "cont"))

    world.run(scenario)
    assert on_disk == [["intent"], ["intent", "result", "intent"]]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("human-monitor-command", "policy_denied"),
        ({"execute": "netdev_add", "arguments": {"type": "tap", "id": "n"}}, "policy_denied"),
        ("query-nothing", "policy_denied"),
        ("quit; rm -rf /", "invalid_command"),
        ({"execute": None}, "invalid_command"),
        ({"execute": ["quit"]}, "invalid_command"),
        ({}, "invalid_command"),
        ({"execute": "stop", "arguments": "x"}, "policy_denied"),
    ],
)
def test_a_denial_never_reaches_qemu(world: World, command: t.Any, code: str) -> None:
    async def scenario() -> None:
        answer = await (await world.talk()).ask(qmp(1, "stop", command))
        assert answer["error"]["error_code"] == code
        assert answer["error"]["audit"] == records(world.log)

    world.run(scenario)
    assert world.session.heard == []
    assert [record["phase"] for record in records(world.log)] == ["deny"]


@pytest.mark.parametrize("odd", ["exec-oob", "id", "no"])
def test_a_command_has_no_second_door(world: World, odd: str) -> None:
    async def scenario() -> None:
        answer = await (await world.talk()).ask(qmp(1, {"execute": "query-status", odd: "migrate-pause"}))
        assert answer["error"]["error_code"] == "invalid_request" and odd in answer["error"]["message"]

    world.run(scenario)
    assert (world.session.heard, records(world.log)) == ([], [])


HMP: Message = {"execute": "human-monitor-command", "arguments": {"command-line": "info kvm"}}


@pytest.mark.parametrize("consent", ["yes", 1, "true", [True]])
def test_consent_is_true_and_nothing_else(world: World, consent: t.Any) -> None:
    async def scenario() -> None:
        talk = await world.talk()
        answer = await talk.ask(qmp(1, HMP, allow_dangerous=consent))
        assert answer["error"]["error_code"] == "policy_denied"
        assert "result" in await talk.ask(qmp(2, HMP, allow_dangerous=True))

    world.run(scenario)


def test_check_mode(world: World) -> None:
    async def scenario() -> None:
        answer = await (await world.talk()).ask(qmp(1, "quit", check=True))
        assert answer["result"]["decisions"][0]["decision"] == "allow"
        assert [answer["result"][key] for key in ("responses", "audit", "events")] == [[], [], []]

    world.run(scenario)
    assert world.session.heard == []
    assert not world.log.exists()


def test_what_qemu_refuses_ends_the_list(world: World) -> None:
    async def refuse() -> None:
        world.session.happens("RTC_CHANGE")
        raise QmpError("DeviceNotFound", "Device 'x' not found")

    async def scenario() -> None:
        world.session.happens("STOP")
        world.session.acts = {"device_del": refuse}
        gone = {"execute": "device_del", "arguments": {"id": "x"}}
        answer = await (await world.talk()).ask(qmp(1, "query-status", gone, "cont"))
        error = answer["error"]
        assert error["error_code"] == "qmp_error"
        assert error["message"] == "QEMU refused device_del: DeviceNotFound: Device 'x' not found"
        assert (error["qmp_class"], error["qmp_desc"]) == ("DeviceNotFound", "Device 'x' not found")
        assert (error["responses"], len(error["decisions"])) == ([{}], 3)
        assert [event["event"] for event in error["events"]] == ["RTC_CHANGE"]
        assert error["audit"] == records(world.log)

    world.run(scenario)
    assert [name for name, _arguments in world.session.heard] == ["query-status", "device_del"]
    assert [record.get("res") for record in records(world.log)] == [None, "success", None, "failed"]


def test_one_limit_of_time_for_a_list(world: World) -> None:
    async def scenario() -> None:
        world.session.acts = {"stop": asyncio.Event().wait}
        answer = await (await world.talk()).ask(qmp(1, "query-status", "stop", timeout=0.2))
        assert answer["error"]["error_code"] == "qmp_timeout"
        assert answer["error"]["responses"] == [{}]

    world.run(scenario)
    assert records(world.log)[-1]["error_class"] == "qmp_timeout"


def test_a_slow_command_blocks_nobody(world: World) -> None:
    async def scenario() -> None:
        go_on, begun = asyncio.Event(), asyncio.Event()

        async def slow() -> None:
            begun.set()
            await go_on.wait()

        world.session.acts = {"stop": slow}
        one, two = await world.talk(), await world.talk()
        await one.say(qmp(1, "stop"))
        await begun.wait()
        assert (await one.ask(qmp(2, "query-status")))["id"] == 2
        assert (await two.ask(qmp(1, "query-status")))["id"] == 1
        assert (await two.ask({"id": 2, "op": "status"}))["id"] == 2
        go_on.set()
        assert (await one.hear())["id"] == 1

    world.run(scenario)


@pytest.mark.parametrize(
    ("line", "number"),
    [
        (b"nonsense\n", None),
        (b"\n", None),
        (b"[]\n", None),
        (b"\xff\n", None),
        (b"[" * 99_999 + b"\n", None),
        (b"{}\n", None),
        (b'{"id": 3}\n', 3),
        (b'{"id": {"a": 1}, "op": "reboot"}\n', {"a": 1}),
        (b'{"id": 3, "op": ["qmp"]}\n', 3),
        (b'{"id": 3, "op": "qmp"}\n', 3),
        (b'{"id": 3, "op": "qmp", "commands": {"execute": "stop"}}\n', 3),
        (b'{"id": 3, "op": "qmp", "commands": ["stop"]}\n', 3),
        (b'{"id": 3, "op": "qmp", "commands": [{"execute": "stop"}], "timeout": "soon"}\n', 3),
        (b'{"id": 3, "op": "qmp", "commands": [{"execute": "stop"}], "timeout": NaN}\n', 3),
        (b'{"id": 3, "op": "qmp", "commands": [{"execute": "stop"}], "timeout": 0}\n', 3),
        (b'{"id": 3, "op": "qmp", "commands": [{"execute": "stop"}], "timeout": -1}\n', 3),
        (b'{"id": 3, "op": "qmp", "commands": [{"execute": "stop"}], "timeout": true}\n', 3),
        (b'{"id": 3, "op": "qmp", "commands": [' + b'{"execute": "x-none"},' * 1000 + b'{"execute": "x-none"}]}\n', 3),
        (b'{"id": "' + b"x" * 2000 + b'", "op": "status"}\n', None),
        *((b'{"op": "status", "id": ' + b"[" * depth + b"]" * depth + b"}\n", None) for depth in range(600, 1000, 20)),
        (b'{"id": 3, "op": "subscribe", "names": ["' + b"x" * 300 + b'"]}\n', 3),
        (b'{"id": 3, "op": "subscribe", "names": [' + b'"x",' * 1000 + b'"x"]}\n', 3),
        (b'{"id": 3, "op": "subscribe", "names": 5}\n', 3),
        (b'{"id": 3, "op": "subscribe", "names": "STOP"}\n', 3),
        (b'{"id": 3, "op": "subscribe", "names": [["STOP"]]}\n', 3),
    ],
)
def test_requests_that_are_none(world: World, line: bytes, number: t.Any) -> None:
    async def scenario() -> None:
        talk = await world.talk()
        answer = await talk.ask(line)
        assert (answer["id"], answer["error"]["error_code"]) == (number, "invalid_request")
        assert answer["error"]["message"]
        assert (await talk.ask({"id": 9, "op": "status"}))["id"] == 9

    world.run(scenario)
    assert world.session.heard == []


def test_what_nobody_thought_of_does_not_end_the_runner(world: World) -> None:
    async def fail() -> None:
        raise ZeroDivisionError("unexpected")

    async def scenario() -> None:
        world.session.acts = {"stop": fail}
        talk = await world.talk()
        assert (await talk.ask(qmp(1, "stop")))["error"]["error_code"] == "internal"
        assert "result" in await talk.ask(qmp(2, "cont"))

    world.run(scenario)


@pytest.mark.parametrize(
    ("names", "since", "heard"),
    [
        (None, None, [3, 4]),
        (None, 0, [1, 2, 3, 4]),
        (None, 1, [2, 3, 4]),
        (None, 99, [3, 4]),
        (["STOP"], 0, [1, 3]),
        (["STOP"], None, [3]),
        ([], 0, []),
    ],
)
def test_events(world: World, names: t.Any, since: t.Any, heard: list[int]) -> None:
    """Those that have come from ``since`` on, then those that come, without a gap and in order."""

    async def scenario() -> None:
        for name in ("STOP", "RESUME"):
            world.session.happens(name)
        talk, deaf = await world.talk(), await world.talk()
        await talk.say({"id": 1, "op": "subscribe", "names": names, "since": since})
        got: list[Message] = []
        while True:
            message = await talk.hear()
            if message.get("id") == 1:
                assert message["result"] == {"last_event": 2}
                break
            got.append(message)
        for name in ("STOP", "RESUME"):
            world.session.happens(name)
        await talk.say({"id": 2, "op": "status"})
        while True:
            message = await talk.hear()
            if message.get("id") == 2:
                break
            got.append(message)
        assert [message["event"]["seq"] for message in got] == heard
        assert (await deaf.ask({"id": 5, "op": "status"}))["id"] == 5

    world.run(scenario)


def test_subscribing_again_replaces(world: World) -> None:
    async def scenario() -> None:
        talk = await world.talk()
        await talk.ask({"id": 1, "op": "subscribe"})
        await talk.ask({"id": 2, "op": "subscribe", "names": ["RESUME"]})
        for name in ("STOP", "RESUME"):
            world.session.happens(name)
        assert (await talk.hear())["event"] == {"seq": 2, "event": "RESUME"}
        assert (await talk.ask({"id": 3, "op": "status"}))["id"] == 3

    world.run(scenario)


def test_a_request_of_17_mb(world: World) -> None:
    async def scenario() -> None:
        command = {"execute": "ringbuf-write", "arguments": {"device": "c", "data": "x" * 17_000_000}}
        assert "result" in await (await world.talk()).ask(qmp(1, command))

    world.run(scenario)
    assert len(world.session.heard[0][1]["data"]) == 17_000_000


def test_a_line_without_end_costs_only_its_sender(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_REQUEST", 100_000)

    async def scenario() -> None:
        greedy, other = await world.talk(), await world.talk()
        with contextlib.suppress(ConnectionError):
            await greedy.say(b"x" * 1_000_000)
            said = json.loads(await greedy.reader.read())
            assert (said["id"], said["error"]["error_code"]) == (None, "invalid_request")
        assert (await other.ask({"id": 1, "op": "status"}))["id"] == 1

    world.run(scenario)


def test_a_line_of_too_many_values(world: World) -> None:
    """It would take a second to parse, in which nobody is served; strings may hold as many marks of their own."""

    async def scenario() -> None:
        greedy, other = await world.talk(), await world.talk()
        with contextlib.suppress(ConnectionError):
            await greedy.say(b'{"id": 1, "op": "status", "x": [' + b"[]," * 200_000 + b"1]}\n")
            said = json.loads(await greedy.reader.read())
            assert said["error"]["message"] == "This is no request: a request of more than 100000 values."
        assert (await other.ask({"id": 1, "op": "status"}))["id"] == 1

    world.run(scenario)


def test_half_a_long_line_holds_up_no_other_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "_LANES", 1)
    monkeypatch.setattr(bounds, "_LONG_SECONDS", 0.3)

    async def scenario() -> None:
        lazy, other = await world.talk(), await world.talk()
        await lazy.say(b"x" * 100_000)
        answer = await other.ask({"id": 1, "op": "status", "x": "x" * 100_000})
        assert answer["result"]["run_state"] == "running"
        assert "did not come within 0.3 s" in (await lazy.hear())["error"]["message"]
        assert await lazy.reader.read() == b""

    world.run(scenario)


def test_long_requests_that_are_open_have_one_bound(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU hangs: what waits for it must not fill the memory. Short ones, and the first long one, always have room."""
    monkeypatch.setattr(bounds, "MAX_HELD", 150_000)

    async def scenario() -> None:
        go_on, begun = asyncio.Event(), asyncio.Event()

        async def slow() -> None:
            begun.set()
            await go_on.wait()

        world.session.acts = {"ringbuf-write": slow}
        long = {"execute": "ringbuf-write", "arguments": {"device": "c", "data": "x" * 200_000}}
        one, two = await world.talk(), await world.talk()
        await one.say(qmp(1, long))
        await begun.wait()
        refused = await two.ask(qmp(2, long))
        assert (refused["id"], refused["error"]["error_code"]) == (2, "runner_busy")
        assert "result" in await two.ask(qmp(3, "query-status"))
        go_on.set()
        assert "result" in await one.hear()
        assert "result" in await two.ask(qmp(4, long))

    world.run(scenario)
    assert [name for name, _arguments in world.session.heard] == ["ringbuf-write", "query-status", "ringbuf-write"]


def test_who_does_not_read_its_answers_is_cut_off(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that is most behind, when all together are too far behind."""
    monkeypatch.setattr(bounds, "MAX_UNREAD", 2_000_000)

    async def scenario() -> None:
        async def much() -> str:
            return "x" * 600_000

        world.session.acts = {"query-block": much}
        lazy, other = await world.talk(), await world.talk()
        lazy.writer.transport.pause_reading()  # type: ignore[attr-defined]
        with contextlib.suppress(ConnectionError):
            for number in range(8):
                await lazy.say(qmp(number, "query-block"))
        assert len((await other.ask(qmp(1, "query-block")))["result"]["responses"][0]) == 600_000
        lazy.writer.transport.resume_reading()  # type: ignore[attr-defined]
        with contextlib.suppress(ConnectionError):
            assert len(await lazy.reader.read()) < 8 * 600_000
        assert (await other.ask({"id": 2, "op": "status"}))["id"] == 2

    world.run(scenario)


def test_only_so_many_clients(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more hears why, in the words of its own client; a place that is given up is free again."""
    monkeypatch.setattr(bounds, "MAX_CLIENTS", 2)

    def connect() -> str:
        with pytest.raises(MaqetError) as caught:
            RunnerClient(world.socket, "web", PATIENCE)
        return caught.value.error_code

    async def scenario() -> None:
        one, _two = await world.talk(), await world.talk()
        assert await asyncio.to_thread(connect) == "runner_busy"
        one.writer.transport.abort()
        while world.server._house.bounds.full:
            await asyncio.sleep(0)
        await world.talk()

    world.run(scenario)


def test_two_hundred_clients_at_once(world: World) -> None:
    """All of them are in the queue before the runner looks at any."""

    async def scenario() -> None:
        with contextlib.ExitStack() as stack:
            peers = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _number in range(200)]
            for peer in peers:  # the loop does not run meanwhile
                peer.setblocking(False)
                peer.connect(world.socket)
            await asyncio.gather(*(asyncio.get_running_loop().sock_recv(peer, 1) for peer in peers))

    world.run(scenario)


def test_a_time_that_no_clock_can_count(world: World) -> None:
    async def scenario() -> None:
        talk = await world.talk()
        for number, timeout in enumerate((10**400, 1e308, float("inf"))):
            assert "result" in await talk.ask(qmp(number, "query-status", timeout=timeout))

    world.run(scenario)


def test_a_long_line_is_not_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither while its client is idle, nor when it was hung up on: two hundred such clients would fill the memory."""
    lines: list[t.Any] = []

    class Line(bytearray):
        def __init__(self) -> None:
            super().__init__()
            lines.append(weakref.ref(self))

    monkeypatch.setattr(bounds, "bytearray", Line, raising=False)
    monkeypatch.setattr(bounds, "MAX_REQUEST", 200_000)

    async def scenario() -> None:
        idle, greedy = await world.talk(), await world.talk()
        await idle.ask({"id": 1, "op": "status", "x": "x" * 100_000})
        assert lines[0]() is None
        with contextlib.suppress(ConnectionError):
            await greedy.say(b"x" * 1_000_000)
            await greedy.reader.read()
        left = lines[1]()
        assert left is None or len(left) == 0

    gc.disable()
    try:
        world.run(scenario)
    finally:
        gc.enable()


def test_who_does_not_read_its_events_is_cut_off(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_MAX_BEHIND", 100_000)

    async def scenario() -> None:
        lazy, other = await world.talk(), await world.talk()
        await lazy.ask({"id": 1, "op": "subscribe"})
        lazy.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _number in range(100):
            world.session.happens("x" * 10_000)
        assert (await other.ask({"id": 1, "op": "status"}))["result"]["last_event"] == 100
        lazy.writer.transport.resume_reading()  # type: ignore[attr-defined]
        with contextlib.suppress(ConnectionError):
            assert len(await lazy.reader.read()) < 1_000_000
        assert world.session._listeners == set()

    world.run(scenario)


def test_a_client_that_hangs_up_does_not_take_its_command_back(world: World) -> None:
    async def scenario() -> None:
        begun, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def slow() -> None:
            begun.set()
            await go_on.wait()
            done.set()

        world.session.acts = {"stop": slow}
        leaver, other = await world.talk(), await world.talk()
        await leaver.say(qmp(1, "stop"))
        await begun.wait()
        leaver.writer.close()
        assert (await other.ask({"id": 1, "op": "status"}))["id"] == 1
        go_on.set()
        await done.wait()

    world.run(scenario)
    assert [record.get("res") for record in records(world.log)] == [None, "success"]


def test_who_waits_gets_its_answer_when_the_runner_ends(world: World) -> None:
    async def scenario() -> None:
        begun = asyncio.Event()

        async def last() -> None:
            begun.set()
            await asyncio.Event().wait()

        world.session.acts = {"quit": last}
        talk = await world.talk()
        await talk.say(qmp(1, "quit", timeout=0.3))
        await begun.wait()
        await world.server.close()
        assert (await talk.hear())["error"]["error_code"] == "qmp_timeout"
        assert await talk.reader.read() == b""
        with pytest.raises(OSError):
            await asyncio.open_unix_connection(world.socket)

    world.run(scenario)


def test_our_own_client_and_server_understand_each_other(world: World) -> None:
    def converse() -> None:
        with RunnerClient(world.socket, "web", PATIENCE) as client:
            assert client.hello == {"protocol": 1, **HELLO}
            client.subscribe(since=0)
            assert client.next_event() == {"seq": 1, "event": "STOP"}
            assert client.request("qmp", commands=[{"execute": "cont"}])["responses"] == [{}]
            with pytest.raises(MaqetError) as caught:
                client.request("qmp", commands=[{"execute": "human-monitor-command"}])
            assert caught.value.error_code == "policy_denied"
            assert caught.value.details["audit"] == records(world.log)[-1:]

    async def scenario() -> None:
        world.session.happens("STOP")
        await asyncio.to_thread(converse)

    world.run(scenario)
