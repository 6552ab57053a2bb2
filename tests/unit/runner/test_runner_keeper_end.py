# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a keeper's care ends: QEMU has, and is started again or not; or the keeper leaves, loses it, or powers it off."""

from __future__ import annotations

import asyncio
import os
import signal
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.events import EventFile
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import RunnerClient, Unread
from ansible_collections.maqet.qemu.plugins.module_utils.runner import keeper as room
from ansible_collections.maqet.qemu.plugins.module_utils.runner import restarts
from ansible_collections.maqet.qemu.plugins.module_utils.runner.adoption import EVENT
from ansible_collections.maqet.qemu.plugins.module_utils.runner.desk import soon
from ansible_collections.maqet.qemu.plugins.module_utils.runner.report import Report
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import PATIENCE, Client, Message, event
from ansible_collections.maqet.qemu.tests.unit.runner.household import FakeQemu, House, Life

Scenario = t.Callable[[Life], t.Coroutine[t.Any, t.Any, None]]


def told(number: signal.Signals) -> Scenario:
    """Once it is ready it gets this signal."""

    async def scenario(life: Life) -> None:
        await life.until("ready")
        os.kill(os.getpid(), number)

    return scenario


async def acting(act: t.Callable[[], None]) -> None:
    await asyncio.to_thread(act)


def ended_by(act: t.Callable[[FakeQemu], None], count: int = 1, again: bool = True) -> Scenario:
    """The first ``count`` QEMUs end like this; if there is one ``again`` it is told to quit."""

    async def scenario(life: Life) -> None:
        for number in range(count):
            await life.until("ready", restarts=number)
            await asyncio.to_thread(act, life.house.qemus[number])
        if again:
            await life.until("ready", restarts=count)
            await asyncio.to_thread(ask, life.house, "quit")

    return scenario


def ask(house: House, command: str) -> t.Any:
    with RunnerClient(house.paths.runner_socket, "web", PATIENCE) as client:
        return client.request("qmp", commands=[{"execute": command}])


@pytest.mark.parametrize("policy", ["no", "on-failure", "always"])
def test_killed(house: House, policy: str) -> None:
    house.define(restart_policy=policy)
    house.order("start")
    house.keep(ended_by(FakeQemu.kill, again=policy != "no"))
    if policy == "no":
        assert len(house.qemus) == 1
        note = house.last_exit()
        assert (note["reason"], note["signal"], note["status"], note["restarts"]) == ("signal", 9, -9, 0)
        assert note["qemu"]["pid"] == house.qemus[0].process.pid
        assert 0 <= note["uptime"] < 60
    else:
        assert [qemu.asked for qemu in house.qemus] == [[], ["cont", "quit"]]
        assert house.reasons()[0] == ("cont", f"restart_policy: {policy}")
        assert (house.last_exit()["reason"], house.last_exit()["restarts"]) == ("host-qmp-quit", 0)
    assert not os.path.exists(house.paths.run)
    assert not house.keeper.lives


def test_each_qemu_has_events_of_its_own(house: House) -> None:
    house.define(restart_policy="on-failure")
    house.order("start")
    house.answers = {"cont": lambda client, message: client.send(event("RESUME"), {"return": {}, "id": message["id"]})}
    seen: list[list[tuple[int, str]]] = []

    async def scenario(life: Life) -> None:
        await life.until("ready", restarts=0)
        await acting(lambda: ask(house, "cont"))
        house.qemus[0].kill()
        await life.until("ready", restarts=1)
        answer = await asyncio.to_thread(ask, house, "cont")
        assert answer["responses"] == [{}]
        seen.append([(one["seq"], one["event"]) for one in EventFile(house.paths.events).load()])
        await acting(lambda: ask(house, "quit"))

    house.keep(scenario)
    assert seen == [[(1, "RESUME"), (2, "RESUME")]], "not of the one before"


def test_giving_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarts, "LIMIT", 2)
    house.define(restart_policy="on-failure")
    house.order("start")
    house.keep(ended_by(lambda qemu: qemu.exit(3), count=3, again=False))
    assert len(house.qemus) == 3
    note = house.last_exit()
    assert (note["reason"], note["status"], note["restarts"], note["gave_up"]) == ("qemu-error", 3, 2, True)
    assert not os.path.exists(house.paths.run)


def test_a_start_again_that_fails_is_one_of_the_row(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarts, "LIMIT", 3)
    house.define(restart_policy="on-failure")
    house.order("start")
    notes: list[dict[str, t.Any]] = []

    async def scenario(life: Life) -> None:
        await life.until("ready")
        house.failures = [MaqetError("No disk.", "qemu_failed", qemu_status=1)] * 2
        house.qemus[0].kill()
        await life.until("ready", restarts=3)
        notes.append(house.last_exit())
        await asyncio.to_thread(house.qemus[1].exit, 7)

    house.keep(scenario)
    assert (notes[0]["reason"], notes[0]["words"], notes[0]["restarts"]) == ("qemu-error", "No disk.", 3)
    assert (house.last_exit()["status"], house.last_exit()["gave_up"]) == (7, True)
    assert len(house.qemus) == 2


def test_one_that_cannot_be_started_again_at_all(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarts, "LIMIT", 2)
    house.define(restart_policy="always")
    house.know("waiting", restarts=0, pause=0.01)
    house.failures = [MaqetError("No disk.", "qemu_failed", qemu_status=1) for _number in range(9)]
    house.keep()
    note = house.last_exit()
    assert (note["reason"], note["words"], note["restarts"], note["gave_up"]) == ("qemu-error", "No disk.", 2, True)
    assert len(house.failures) == 6, "the one that was due, and two more"
    assert not os.path.exists(house.paths.run)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGPWR])
def test_being_told_while_it_waits(house: House, monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    monkeypatch.setattr(restarts, "FIRST_PAUSE", 600.0)
    monkeypatch.setattr(restarts, "LONGEST_PAUSE", 600.0)
    house.define(restart_policy="always")
    house.order("start")

    async def scenario(life: Life) -> None:
        await life.until("ready")
        house.qemus[0].kill()
        status = await life.until("waiting")
        assert (status["pause"], status["restarts"], status["launch"]) == (600.0, 1, "word")
        assert not os.path.exists(house.paths.runner_socket)
        os.kill(os.getpid(), number)

    house.keep(scenario)
    assert len(house.qemus) == 1
    assert not os.path.exists(house.paths.run)
    assert house.last_exit()["reason"] == "signal"


def test_leaving(house: House) -> None:
    """The guest does not notice, and the next runner goes on."""
    house.order("start")
    goodbye: list[BaseException] = []

    async def scenario(life: Life) -> None:
        await life.until("ready")
        client = await asyncio.to_thread(RunnerClient, house.paths.runner_socket, "web", PATIENCE)
        with client:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(life.task, PATIENCE)
            with pytest.raises(Unread) as caught:
                client.next_event()
            goodbye.append(caught.value)

    assert house.keep(scenario).lives
    assert "made way" in str(goodbye[0])
    qemu = house.qemus[0]
    assert qemu.process.alive() and qemu.asked == []
    assert house.status()["phase"] == "ready" and house.last_exit() == {}

    async def next_one(life: Life) -> None:
        await asyncio.to_thread(qemu.monitor.hung_up.get, timeout=PATIENCE)
        await life.until("ready", launch=None)
        await acting(lambda: ask(house, "quit"))

    house.keep(next_one)
    assert house.qemus == [qemu] and qemu.asked == ["quit"]


def test_a_monitor_that_is_lost(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU lives, so it is taken over again by the same runner."""
    house.order("start")
    house.answers = {"stop": lambda client, _message: client.end()}
    events: list[str] = []
    real = Report.ready

    def ready(report: Report, facts: t.Mapping[str, t.Any]) -> None:
        real(report, {**facts, "again": report._written.get("phase") == "ready"})

    monkeypatch.setattr(Report, "ready", ready)

    async def scenario(life: Life) -> None:
        await life.until("ready")
        house.qemus[0].monitor.answers["cont"] = lambda client, message: client.send(
            event("RESUME"), {"return": {}, "id": message["id"]}
        )
        with pytest.raises(MaqetError) as caught:
            await asyncio.to_thread(ask, house, "stop")
        assert caught.value.details["outcome_unknown"] is True
        await life.until("ready", launch="word", again=True)
        await acting(lambda: ask(house, "cont"))
        events.extend(one["event"] for one in EventFile(house.paths.events).load())
        await acting(lambda: ask(house, "quit"))

    house.keep(scenario)
    assert events[0] == EVENT
    assert len(house.qemus) == 1
    assert house.last_exit()["reason"] == "host-qmp-quit"


def test_powering_off(house: House) -> None:
    """The host goes down: whatever the policy says, it is not started again."""
    house.define(restart_policy="always")
    house.order("start")
    house.keep(told(signal.SIGPWR))
    assert house.qemus[0].asked == ["system_powerdown"]
    assert len(house.qemus) == 1
    assert house.last_exit()["reason"] == "host-powerdown"
    assert house.reasons() == [("system_powerdown", "the runner was asked to have the guest power off")]
    assert not os.path.exists(house.paths.run)


@pytest.mark.parametrize(
    ("state", "seconds", "asked"),
    [
        ("paused", 60, ["cont", "system_powerdown"]),
        ("running", 0, ["quit"]),
        ("prelaunch", 60, ["quit"]),
        ("guest-panicked", 60, ["quit"]),
        ("internal-error", 60, ["quit"]),
        ("io-error", 60, ["quit"]),
        ("shutdown", 60, ["quit"]),
        ("suspended", 60, ["system_powerdown"]),
    ],
)
def test_powering_off_a_guest_that_may_not_hear_it(house: House, state: str, seconds: int, asked: list[str]) -> None:
    house.define(shutdown_timeout=seconds)
    house.answers = {"query-status": {"status": state, "running": state == "running"}}
    house.order("start")
    house.keep(told(signal.SIGPWR))
    assert house.qemus[0].asked == asked


def test_powering_off_a_guest_that_does_not_listen(house: House) -> None:
    house.define(shutdown_timeout=0.2)
    house.obeys = {"quit"}
    house.order("start")
    house.keep(told(signal.SIGPWR))
    assert house.qemus[0].asked == ["system_powerdown", "quit"]
    assert house.last_exit()["reason"] == "host-qmp-quit"
    assert house.reasons()[-1] == ("quit", "the guest did not power off in time")


def test_powering_off_a_qemu_that_does_not_listen(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    real = soon
    monkeypatch.setattr(room, "soon", lambda what, seconds: real(what, min(seconds, 0.2)))
    house.define(shutdown_timeout=0.1, restart_policy="always")
    house.obeys = set()
    house.order("start")
    house.keep(told(signal.SIGPWR))
    assert house.qemus[0].asked == ["system_powerdown", "quit"]
    assert house.qemus[0].child.wait() == -signal.SIGTERM
    assert len(house.qemus) == 1, "it is not started again on a host that goes down"


def test_one_that_is_gone_while_it_powers_off(house: House) -> None:
    def die(_client: Client, _message: Message) -> None:
        house.qemus[0].kill()

    house.answers = {"system_powerdown": die}
    house.order("start")
    house.keep(told(signal.SIGPWR))
    assert (house.last_exit()["reason"], house.last_exit()["signal"]) == ("signal", 9)


def test_a_policy_holds_as_it_is_when_it_is_needed(house: House) -> None:
    house.define(restart_policy="always")
    house.order("start")

    async def scenario(life: Life) -> None:
        await life.until("ready")
        house.define(restart_policy="no")
        house.qemus[0].kill()

    house.keep(scenario)
    assert len(house.qemus) == 1


def test_a_vm_that_was_removed_is_not_started_again(house: House) -> None:
    house.define(restart_policy="always")
    house.order("start")

    async def scenario(life: Life) -> None:
        await life.until("ready")
        os.unlink(house.paths.definition)
        house.qemus[0].kill()

    house.keep(scenario)
    assert len(house.qemus) == 1


def test_the_watchdog_is_fed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[None] = []
    enough = asyncio.Event()

    def feed(_report: Report) -> None:
        fed.append(None)
        if len(fed) == 3:
            enough.set()

    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    monkeypatch.setattr(Report, "alive", feed)
    house.order("start")

    async def scenario(life: Life) -> None:
        await life.until("ready")
        await enough.wait()
        await acting(lambda: ask(house, "quit"))

    house.keep(scenario)
    assert len(fed) >= 3
