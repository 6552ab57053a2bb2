# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whoever ends, client, QEMU or runner: a request gets its answer, or the word that it was not read."""

from __future__ import annotations

import asyncio
import contextlib
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import RunnerClient, Unread
from ansible_collections.maqet.qemu.plugins.module_utils.runner import server as room
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import PATIENCE, Message, records
from ansible_collections.maqet.qemu.tests.unit.runner.serving import Talk, World, qmp


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


class Slow:
    """A command that takes until it is let go on."""

    def __init__(self, world: World, command: str = "stop") -> None:
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        world.session.acts[command] = self._act

    async def _act(self) -> t.Any:
        self.begun.set()
        await self.go_on.wait()
        return {}


async def rest(talk: Talk) -> list[Message]:
    """All that is said until the runner hangs up."""
    said = []
    while True:
        with contextlib.suppress(ConnectionError, AssertionError):
            said.append(await talk.hear())
            continue
        return said


def test_a_runner_that_leaves_says_so_to_all(world: World) -> None:
    async def scenario() -> None:
        talks = [await world.talk() for _number in range(3)]
        await talks[0].ask({"id": 1, "op": "subscribe"})
        await talks[1].ask({"id": 1, "op": "status"})
        await world.server.close(leaving=True)
        assert [await rest(talk) for talk in talks] == [[{"goodbye": {}}]] * 3
        with pytest.raises(OSError):
            await asyncio.open_unix_connection(world.socket)

    world.run(scenario)


def test_when_qemu_has_ended_nothing_is_said(world: World) -> None:
    async def scenario() -> None:
        talk = await world.talk()
        await world.server.close()
        assert await rest(talk) == []

    world.run(scenario)


def test_goodbye_comes_behind_the_answers(world: World) -> None:
    """What it stands before has been answered, what it stands behind was not read."""

    async def scenario() -> None:
        slow = Slow(world)
        asker, idler = await world.talk(), await world.talk()
        await asker.say(qmp(1, "stop"), qmp(2, "query-status"))
        await slow.begun.wait()
        assert (await asker.hear())["id"] == 2
        closing = asyncio.ensure_future(world.server.close(leaving=True))
        assert await rest(idler) == [{"goodbye": {}}], "who waits for nothing need not wait for others"
        await asker.say(qmp(3, "cont"))
        assert not closing.done()
        slow.go_on.set()
        answer, *last = await rest(asker)
        assert (answer["id"], answer["result"]["responses"], last) == (1, [{}], [{"goodbye": {}}])
        await closing

    world.run(scenario)
    assert [command for command, _arguments in world.session.heard] == ["stop", "query-status"]
    assert [record["op"] for record in records(world.log) if record["phase"] == "result"] == ["query-status", "stop"]


def test_one_that_takes_too_long_is_not_told_goodbye(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its command may have been carried out: it must not be asked again."""
    monkeypatch.setattr(room, "_LEAVING", 0.2)

    async def scenario() -> None:
        slow = Slow(world)
        talk = await world.talk()
        await talk.say(qmp(1, "stop"))
        await slow.begun.wait()
        await world.server.close(leaving=True)
        assert await rest(talk) == []
        slow.go_on.set()

    world.run(scenario)


def test_our_own_client_knows_what_it_may_ask_again(world: World) -> None:
    def idle(ready: t.Callable[[], None]) -> MaqetError:
        with RunnerClient(world.socket, "web", PATIENCE) as client:
            client.subscribe()
            ready()
            with pytest.raises(MaqetError) as caught:
                client.next_event()
            return caught.value

    async def scenario() -> None:
        ready, loop = asyncio.Event(), asyncio.get_running_loop()

        def tell() -> None:
            loop.call_soon_threadsafe(ready.set)

        waiting = asyncio.ensure_future(asyncio.to_thread(idle, tell))
        await ready.wait()
        await world.server.close(leaving=True)
        error = await waiting
        assert isinstance(error, Unread)
        assert "it has made way for another" in str(error)

    world.run(scenario)
