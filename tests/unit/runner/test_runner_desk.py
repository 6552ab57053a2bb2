# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A QEMU in our care: what the runner asks of it itself, and what it knows of its schema."""

from __future__ import annotations

import asyncio
import os
import stat
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import Process
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import RunnerClient
from ansible_collections.maqet.qemu.plugins.module_utils.runner import desk as room
from ansible_collections.maqet.qemu.plugins.module_utils.runner.agent import Agent
from ansible_collections.maqet.qemu.plugins.module_utils.runner.desk import Desk, open_desk
from ansible_collections.maqet.qemu.plugins.module_utils.runner.helpers import Helper
from ansible_collections.maqet.qemu.plugins.module_utils.runner.keeper import myself
from ansible_collections.maqet.qemu.plugins.module_utils.runner.session import Session
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import PATIENCE, UUID, Answer, Refusal, records
from ansible_collections.maqet.qemu.tests.unit.runner.household import House

Scenario = t.Callable[[Desk], t.Coroutine[t.Any, t.Any, t.Any]]


def at(house: House, scenario: Scenario, **intent: t.Any) -> t.Any:
    """What happens at a desk of a new QEMU."""

    async def whole() -> t.Any:
        definition, session = house.define(**intent), Session("web")
        qemu = house.start(definition, house.where)
        try:
            await session.connect(house.paths.monitor_socket)
            facts = {"vm": "web", "uuid": UUID, "runner": myself(), "qemu": {**qemu.facts, "version": "7.2.22"}}
            desk = await open_desk(house.where, definition, qemu, session, facts)
            try:
                return await asyncio.wait_for(scenario(desk), PATIENCE)
            finally:
                await desk.close()
        finally:
            await session.close()
            qemu.close()

    return asyncio.run(whole())


def test_a_command_of_our_own_is_recorded_like_any_other(house: House) -> None:
    assert at(house, lambda desk: desk.send("cont", "it is time")) is True
    intent, result = [record for record in records(house.paths.audit_log) if record.get("op") == "cont"]
    assert (intent["phase"], intent["reason"], intent["via"]) == ("intent", "it is time", "ipc")
    assert (result["phase"], result["res"]) == ("result", "success")


@pytest.mark.parametrize("how", ["refused", "denied", "late", "gone"])
def test_a_command_that_is_not_taken_is_no_reason_to_fail(
    house: House, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(room, "_OWN", 0.3)
    answers: dict[str, dict[str, Answer]] = {
        "refused": {"cont": Refusal("GenericError", "no")},
        "denied": {},
        "late": {"cont": lambda _client, _message: None},
        "gone": {"cont": lambda client, _message: client.end()},
    }
    house.answers = answers[how]
    policy = {"commands": {"cont": "deny"}} if how == "denied" else {}
    assert at(house, lambda desk: desk.send("cont", "it is time"), policy=policy) is False
    assert ("cont" in house.qemus[0].asked) == (how != "denied")


def test_the_schema_is_asked_for_once(house: House) -> None:
    async def nothing(_desk: Desk) -> None:
        return None

    for _number in range(2):
        at(house, nothing)
        os.unlink(house.paths.monitor_socket)
    asked = [qemu.monitor.commands.count("query-qmp-schema") for qemu in house.qemus]
    assert asked == [1, 0]


def test_its_socket_is_open_and_ours_alone(house: House) -> None:
    async def look(desk: Desk) -> t.Any:
        mode = stat.S_IMODE(os.stat(house.paths.runner_socket).st_mode)
        return mode, await asyncio.to_thread(status)

    def status() -> t.Any:
        with RunnerClient(house.paths.runner_socket, "web", PATIENCE) as client:
            return client.hello, client.request("status")

    mode, (hello, known) = at(house, look)
    assert mode == 0o600
    assert (hello["vm"], hello["uuid"], hello["pid"]) == ("web", UUID, os.getpid())
    assert (known["run_state"], known["qemu"]["pid"]) == ("running", house.qemus[0].process.pid)


def test_the_conversation_with_the_agent_is_made_where_the_loop_is(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a thread without one Python 3.9 can make no lock, so that no VM with an agent would start."""
    made: list[asyncio.AbstractEventLoop] = []
    agent = Agent

    def make(path: str, session: Session) -> Agent:
        made.append(asyncio.get_running_loop())
        return agent(path, session)

    async def nothing(_desk: Desk) -> None:
        return None

    monkeypatch.setattr(room, "Agent", make)
    at(house, nothing, agent=True)
    at(house, nothing)
    assert len(made) == 1


@pytest.mark.parametrize(
    ("state", "seconds", "obeys", "gone", "asked"),
    [
        ("running", 60, True, True, ["system_powerdown"]),
        ("running", 0.2, False, False, ["system_powerdown"]),
        ("running", 0, True, False, []),
        ("paused", 60, True, True, ["cont", "system_powerdown"]),
        ("guest-panicked", 60, True, False, []),
        ("prelaunch", 60, True, False, []),
    ],
)
def test_the_power_button(house: House, state: str, seconds: float, obeys: bool, gone: bool, asked: list[str]) -> None:
    house.obeys = {"system_powerdown"} if obeys else set()
    house.answers = {"query-status": {"status": state, "running": state == "running"}}

    async def press(desk: Desk) -> bool:
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(desk.emulator.pidfd, ended.set)
        try:
            return await desk.powered_down(seconds, ended)
        finally:
            asyncio.get_running_loop().remove_reader(desk.emulator.pidfd)

    assert at(house, press) is gone
    assert house.qemus[0].asked == asked


def test_a_power_button_on_a_monitor_that_does_not_answer(house: House) -> None:
    house.answers = {"query-status": lambda client, _message: client.end()}
    assert at(house, lambda desk: desk.powered_down(60, asyncio.Event())) is False
    assert house.qemus[0].asked == []


def test_a_helper_that_is_gone_is_told_of_once_and_not_if_qemu_has_ended(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_MOMENT", 0.01)
    ended, gone = Helper("tpm", Process(4711, 1), None), Helper("other", Process(4712, 1), None)

    async def scenario(desk: Desk) -> t.Any:
        qemu = asyncio.Event()
        for helper in (gone, gone):
            desk.helper_gone(qemu)(helper)
            await asyncio.gather(*desk._telling)
        qemu.set()
        desk.helper_gone(qemu)(ended)
        await asyncio.gather(*desk._telling)
        return [(event["event"], event["data"]) for event in desk.session.events(0)]

    expected = ("MAQET_HELPER_EXITED", {"helper": "other", "pid": 4712, "status": None})
    assert at(house, scenario) == [expected]
