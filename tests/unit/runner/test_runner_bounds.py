# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What clients may keep in the runner's memory, alone and all together."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket
import typing as t
import weakref

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import RunnerClient
from ansible_collections.maqet.qemu.plugins.module_utils.runner import bounds
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import PATIENCE
from ansible_collections.maqet.qemu.tests.unit.runner.serving import World, qmp


async def alone(world: World) -> None:
    """Wait until all clients but one are gone for the runner."""
    while len(world.server._open) > 1:
        await asyncio.wait(world.server._open, return_when=asyncio.FIRST_COMPLETED)


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
        await alone(world)  # or the lazy one would still read in time
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
        await alone(world)
        assert not world.server._house.bounds.full
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
