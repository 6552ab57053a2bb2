# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runner's conversation with a QEMU that answers, refuses, is late, or goes away."""

from __future__ import annotations

import asyncio
import logging
import pathlib
import queue
import threading
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.events import KEPT
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.refusal import QmpError
from ansible_collections.maqet.qemu.plugins.module_utils.runner import session as room
from ansible_collections.maqet.qemu.plugins.module_utils.runner.libraries import QMPError
from ansible_collections.maqet.qemu.plugins.module_utils.runner.session import Session
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import (
    COMMANDS,
    PATIENCE,
    Answer,
    Client,
    FakeMonitor,
    Message,
    Refusal,
    event,
    schema_of,
)

pytest.importorskip("qemu.qmp")
Scenario = t.Callable[[Session, FakeMonitor], t.Coroutine[t.Any, t.Any, None]]
Play = t.Callable[..., FakeMonitor]


@pytest.fixture
def play(tmp_path: pathlib.Path) -> Play:
    """``play(scenario, answers)``: run it with a session that is connected to a QEMU with these answers."""

    def run(scenario: Scenario, **answers: Answer) -> FakeMonitor:
        named = {name.replace("_", "-"): answer for name, answer in answers.items()}
        with FakeMonitor(tmp_path / "monitor.sock", named) as fake:

            async def whole() -> None:
                session = Session("web")
                await session.connect(fake.path)
                try:
                    await asyncio.wait_for(scenario(session, fake), PATIENCE)
                finally:
                    await session.close()

            asyncio.run(whole())
            return fake

    return run


def saying(*messages: Message) -> t.Callable[[Client, Message], None]:
    """Answer with {} after these messages."""
    return lambda client, message: client.send(*messages, {"return": {}, "id": message["id"]})


async def until(condition: t.Callable[[], bool], session: Session) -> None:
    """Wait for events until the condition holds."""
    more = asyncio.Event()

    def listener(_event: t.Any) -> None:
        more.set()

    session.listen(listener)
    while not condition():
        more.clear()
        await more.wait()
    session.unlisten(listener)


def test_connecting_and_asking(play: Play) -> None:
    async def scenario(session: Session, _fake: FakeMonitor) -> None:
        assert session.version == "7.2.22"
        assert session.build == "7.2.22 "
        assert await session.schema() == schema_of(COMMANDS)
        assert await session.run_state() == "running"
        assert await session.execute("stop", {}, PATIENCE) == {}
        assert await session.execute("send-key", {"keys": [1]}, PATIENCE) == {"sent": True}

    fake = play(scenario, send_key={"sent": True})
    sent = [{key: value for key, value in message.items() if key != "id"} for message in fake.received[-2:]]
    assert sent == [{"execute": "stop"}, {"execute": "send-key", "arguments": {"keys": [1]}}]


def test_a_refusal(play: Play) -> None:
    async def scenario(session: Session, _fake: FakeMonitor) -> None:
        with pytest.raises(QmpError) as caught:
            await session.execute("device-del", {"id": "x"}, PATIENCE)
        assert (caught.value.error_class, caught.value.desc) == ("DeviceNotFound", "Device 'x' not found")
        assert await session.run_state() == "running"

    play(scenario, device_del=Refusal("DeviceNotFound", "Device 'x' not found"))


def test_events_are_numbered_and_kept(play: Play) -> None:
    heard: list[int] = []

    async def scenario(session: Session, _fake: FakeMonitor) -> None:
        assert session.last_event == 0
        session.listen(lambda event: heard.append(event["seq"]))
        await session.execute("stop", {}, PATIENCE)
        await until(lambda: session.last_event == 2, session)
        assert [(one["seq"], one["event"]) for one in session.events(0)] == [(1, "STOP"), (2, "RTC_CHANGE")]
        assert session.events(0)[1]["data"] == {"offset": 1}
        assert session.events(0)[1]["timestamp"] == {"seconds": 1, "microseconds": 2}
        assert [one["seq"] for one in session.events(1)] == [2]
        assert session.events(2) == []

    play(scenario, stop=saying(event("STOP"), event("RTC_CHANGE", offset=1)))
    assert heard == [1, 2]


def test_who_no_longer_listens_hears_nothing(play: Play) -> None:
    heard: list[t.Any] = []

    async def scenario(session: Session, _fake: FakeMonitor) -> None:
        session.listen(heard.append)
        session.unlisten(heard.append)
        session.unlisten(heard.append)
        await session.execute("stop", {}, PATIENCE)
        await until(lambda: session.last_event == 1, session)

    play(scenario, stop=saying(event("STOP")))
    assert heard == []


def test_only_so_many_events_are_kept(play: Play) -> None:
    async def scenario(session: Session, _fake: FakeMonitor) -> None:
        await session.execute("stop", {}, PATIENCE)
        await until(lambda: session.last_event == KEPT + 5, session)
        kept = session.events(0)
        assert (len(kept), kept[0]["seq"], kept[-1]["seq"]) == (KEPT, 6, KEPT + 5)

    play(scenario, stop=saying(*[event("RTC_CHANGE")] * (KEPT + 5)))


@pytest.mark.parametrize("late", [{"return": {"late": True}}, {"error": {"class": "GenericError", "desc": "late"}}])
def test_a_late_answer_is_dropped(play: Play, late: Message) -> None:
    """The wait ends, the command does not; its answer must not be taken for that of the next one."""
    unanswered: queue.Queue[t.Any] = queue.Queue()

    def first(client: Client, message: Message) -> None:
        unanswered.put((client, message["id"]))

    def second(client: Client, message: Message) -> None:
        _client, number = unanswered.get()
        client.send({**late, "id": number}, {"return": {"mine": True}, "id": message["id"]})

    async def scenario(session: Session, _fake: FakeMonitor) -> None:
        with pytest.raises(MaqetError, match=r"did not answer stop within 0\.1 s; the outcome is unknown") as caught:
            await session.execute("stop", {}, 0.1)
        assert (caught.value.error_code, caught.value.details) == (
            "qmp_timeout",
            {"command": "stop", "outcome_unknown": True},
        )
        assert await session.execute("cont", {}, PATIENCE) == {"mine": True}
        assert await session.run_state() == "running"

    play(scenario, stop=first, cont=second)


def test_a_slow_command_does_not_hold_another(play: Play) -> None:
    """QEMU answers in its order; a session does not wait for one answer before it sends the next command."""
    waiting: queue.Queue[t.Any] = queue.Queue()

    def answer_both(client: Client, message: Message) -> None:
        client.send({"return": 2, "id": message["id"]}, {"return": 1, "id": waiting.get()})

    async def scenario(session: Session, _fake: FakeMonitor) -> None:
        slow = asyncio.create_task(session.execute("stop", {}, PATIENCE))
        await asyncio.sleep(0)  # it is on its way
        assert await session.execute("cont", {}, PATIENCE) == 2
        assert await slow == 1

    play(scenario, stop=lambda _client, message: waiting.put(message["id"]), cont=answer_both)


def test_an_answer_of_20_mb(play: Play) -> None:
    async def scenario(session: Session, _fake: FakeMonitor) -> None:
        assert len(await session.execute("query-commands", {}, PATIENCE)) == len(COMMANDS)
        assert len(await session.execute("send-key", {}, PATIENCE)) == 20_000_000

    play(scenario, send_key="x" * 20_000_000)


def test_qemu_goes_away(play: Play) -> None:
    async def scenario(session: Session, _fake: FakeMonitor) -> None:
        with pytest.raises(MaqetError, match="went away before it answered quit; the outcome is unknown") as caught:
            await session.execute("quit", {}, PATIENCE)
        assert (caught.value.error_code, caught.value.details) == (
            "qemu_gone",
            {"command": "quit", "outcome_unknown": True},
        )
        with pytest.raises(MaqetError) as caught:
            await session.execute("cont", {}, PATIENCE)
        assert caught.value.error_code == "qemu_gone"

    play(scenario, quit=lambda client, _message: client.close())


@pytest.mark.parametrize("about", [None, {}, {"qemu": 5}, {"qemu": {"major": 7}}, "7.2"])
def test_a_qemu_that_does_not_say_what_it_is(tmp_path: pathlib.Path, about: t.Any) -> None:
    async def whole(path: str) -> None:
        session = Session("web")
        with pytest.raises(QMPError, match="does not say which QEMU it is"):
            await session.connect(path)
        await session.close()

    answer = {"query-version": lambda client, message: client.send({"return": about, "id": message["id"]})}
    with FakeMonitor(tmp_path / "monitor.sock", answer) as fake:
        asyncio.run(asyncio.wait_for(whole(fake.path), PATIENCE))


@pytest.mark.parametrize("greeting", [b"nonsense\n", b"", {"no": "QMP"}])
def test_no_qemu_answers(tmp_path: pathlib.Path, greeting: t.Any) -> None:
    with FakeMonitor(tmp_path / "monitor.sock", greeting=greeting) as fake:
        if greeting == b"":
            threading.Timer(0, fake.close).start()

        async def whole() -> None:
            session = Session("web")
            with pytest.raises((QMPError, OSError)):
                await session.connect(fake.path)
            await session.close()

        asyncio.run(asyncio.wait_for(whole(), PATIENCE))


@pytest.mark.parametrize(
    "odd", [{"error": 5}, {"error": {"class": "E"}}, {"error": {"class": 5, "desc": "x" * 5000}}, {"neither": "s3cret"}]
)
def test_an_answer_that_is_none(play: Play, odd: Message) -> None:
    """It is the end of that command, in few words, and of no other."""

    async def scenario(session: Session, _fake: FakeMonitor) -> None:
        with pytest.raises(MaqetError, match="What QEMU answered to stop is not QMP") as caught:
            await session.execute("stop", {}, PATIENCE)
        assert caught.value.error_code == "monitor_unreachable"
        assert len(str(caught.value)) < 200
        assert await session.run_state() == "running"

    play(scenario, stop=lambda client, message: client.send({**odd, "id": message["id"]}))


@pytest.mark.parametrize("answer", [None, [], "x", {}, {"status": 5}])
def test_a_state_that_is_none(play: Play, answer: t.Any) -> None:
    async def scenario(session: Session, _fake: FakeMonitor) -> None:
        with pytest.raises(MaqetError) as caught:
            await session.run_state()
        assert caught.value.error_code == "monitor_unreachable"

    play(scenario, query_status=lambda client, message: client.send({"return": answer, "id": message["id"]}))


def test_odd_events_are_dropped_and_take_no_number(play: Play) -> None:
    async def scenario(session: Session, _fake: FakeMonitor) -> None:
        await session.execute("stop", {}, PATIENCE)
        await until(lambda: session.last_event == 2, session)
        assert [(one["seq"], one["event"]) for one in session.events(0)] == [(1, "STOP"), (2, "RESUME")]

    odd: list[Message] = [{"event": ["STOP"]}, {"event": None}, {"event": "STOP", "data": 5}]
    play(scenario, stop=saying({**event("STOP"), "seq": "99"}, *odd, event("RESUME")))


def test_those_who_ask_at_once_share_a_question(play: Play) -> None:
    """Not the one that QEMU has already: its answer may be older than what they know."""
    asked: list[t.Any] = []
    go_on = threading.Event()
    states = iter(("paused", "running"))

    def answer(client: Client, message: Message) -> None:
        asked.append(message)
        assert go_on.wait(PATIENCE)
        client.send({"return": {"status": next(states)}, "id": message["id"]})

    async def scenario(session: Session, _fake: FakeMonitor) -> None:
        whole = [asyncio.ensure_future(session.run_state())]
        for _time in range(20):
            await asyncio.sleep(0)  # what was asked for is under way
            whole.append(asyncio.ensure_future(session.run_state()))
        await asyncio.sleep(0)
        go_on.set()
        first, *others = await asyncio.gather(*whole)
        assert (first, set(others[1:]), len(asked)) == ("paused", {"running"}, 2)

    play(scenario, query_status=answer)


def test_a_state_that_does_not_come(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_STATE_SECONDS", 0.2)

    async def scenario(session: Session, _fake: FakeMonitor) -> None:
        asked = [session.run_state() for _number in range(3)]
        for error in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(error, MaqetError) and error.error_code == "qmp_timeout"

    play(scenario, query_status=lambda _client, _message: None)


def test_passwords_are_not_logged(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def scenario(session: Session, _fake: FakeMonitor) -> None:
        with pytest.raises(QmpError):
            await session.execute("set-password", {"password": "hunter22"}, PATIENCE)

    play(scenario, set_password=Refusal("GenericError", "no"))
    assert "hunter22" not in caplog.text
