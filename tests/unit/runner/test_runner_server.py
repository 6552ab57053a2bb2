# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runner's socket: hello, requests side by side, events, and clients that behave badly."""

from __future__ import annotations

import asyncio
import contextlib
import json
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.protocol import PROTOCOL
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import RunnerClient
from ansible_collections.maqet.qemu.plugins.module_utils.runner import bounds
from ansible_collections.maqet.qemu.plugins.module_utils.runner import server as room
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import PATIENCE, Message, records
from ansible_collections.maqet.qemu.tests.unit.runner.serving import HELLO, World, qmp


@pytest.mark.parametrize("leaves", [True, False], ids=["gone", "listens"])
def test_a_client_that_leaves_while_it_waits_for_an_agent(world: World, leaves: bool) -> None:
    """Its place is free again. One that has only said its last word still gets its answer."""

    async def scenario() -> None:
        begun, ends = asyncio.Event(), asyncio.Event()
        events: list[asyncio.Event] = []

        async def guest(_message: Message, _caller: t.Any, gone: asyncio.Event) -> Message:
            events.append(gone)
            begun.set()
            await (gone if leaves else ends).wait()
            return {"gone": gone.is_set()}

        house = world.server._house  # pylint: disable=protected-access
        house.service.guest = guest  # type: ignore[assignment]
        talk = await world.talk()
        await talk.say({"id": 1, "op": "guest", "commands": [{"execute": "guest-ping"}]})
        await begun.wait()
        assert len(house.bounds.writers) == 1 and not events[0].is_set()
        if leaves:
            talk.writer.close()
            while house.bounds.writers:
                await asyncio.sleep(0)
            assert events[0].is_set()
        else:
            talk.writer.write_eof()
            await (await world.talk()).ask({"id": 1, "op": "status"})  # it has been seen by now
            ends.set()
            assert (await talk.hear())["result"] == {"gone": False}

    world.run(scenario)


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
        (b'{"id": 3, "op": "qmp", "commands": [' + b'{"execute": "x-none"},' * 1000 + b'{"execute": "x-none"}]}\n', 3),
        (b'{"id": "' + b"x" * 2000 + b'", "op": "status"}\n', None),
        *((b'{"op": "status", "id": ' + b"[" * depth + b"]" * depth + b"}\n", None) for depth in range(600, 1000, 20)),
        (b'{"id": 3, "op": "subscribe", "names": ["' + b"x" * 300 + b'"]}\n', 3),
        (b'{"id": 3, "op": "subscribe", "names": [' + b'"x",' * 1000 + b'"x"]}\n', 3),
        (b'{"id": 3, "op": "qmp"}\n', 3),
        (b'{"id": 3, "op": "qmp", "commands": {"execute": "stop"}}\n', 3),
        (b'{"id": 3, "op": "qmp", "commands": ["stop"]}\n', 3),
        (b'{"id": 3, "op": "qmp", "commands": [{"execute": "stop"}], "timeout": "soon"}\n', 3),
        (b'{"id": 3, "op": "qmp", "commands": [{"execute": "stop"}], "timeout": NaN}\n', 3),
        (b'{"id": 3, "op": "qmp", "commands": [{"execute": "stop"}], "timeout": 0}\n', 3),
        (b'{"id": 3, "op": "qmp", "commands": [{"execute": "stop"}], "timeout": -1}\n', 3),
        (b'{"id": 3, "op": "qmp", "commands": [{"execute": "stop"}], "timeout": true}\n', 3),
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


def test_our_own_client_and_server_understand_each_other(world: World) -> None:
    def converse() -> None:
        with RunnerClient(world.socket, "web", PATIENCE) as client:
            assert client.hello == {"protocol": PROTOCOL, **HELLO}
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
