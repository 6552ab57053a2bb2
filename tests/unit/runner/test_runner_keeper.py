# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a keeper begins: with a QEMU that lives, a new one, or none; and a start that fails."""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import signal
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import files, processes
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.events import EventFile
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.protocol import PROTOCOL
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import RunnerClient
from ansible_collections.maqet.qemu.plugins.module_utils.runner import keeper as room
from ansible_collections.maqet.qemu.plugins.module_utils.runner.adoption import EVENT
from ansible_collections.maqet.qemu.plugins.module_utils.runner.desk import soon
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import PATIENCE, UUID, Client, Message, event
from ansible_collections.maqet.qemu.tests.unit.runner.household import FACTS, FakeQemu, House, Life


def past(house: House, *names: str) -> None:
    """Events of the QEMU before, or of this one under another runner."""
    file = EventFile(house.paths.events)
    for number, name in enumerate(names, 1):
        file.append({**event(name), "seq": number}, [])
    file.close()


def heard(house: House) -> list[tuple[int, str]]:
    return [(one["seq"], one["event"]) for one in EventFile(house.paths.events).load()]


def quitting(
    after: t.Callable[[Life], None] = lambda _life: None,
) -> t.Callable[[Life], t.Coroutine[t.Any, t.Any, None]]:
    """Wait until it is ready, look, and have it quit."""

    async def scenario(life: Life) -> None:
        await life.until("ready")
        after(life)
        await asyncio.to_thread(ask, life.house, "quit")

    return scenario


def ask(house: House, command: str) -> t.Any:
    with RunnerClient(house.paths.runner_socket, "web", PATIENCE) as client:
        return client.request("qmp", commands=[{"execute": command}])["responses"]


def fails(house: House) -> MaqetError:
    with pytest.raises(MaqetError) as caught:
        house.keep()
    return caught.value


def test_a_task_wants_a_new_one(house: House) -> None:
    """It is paused: the task lets it go on when it listens."""
    past(house, "STOP", "RESUME")
    house.know("failed", restarts=4)
    house.order("start")
    status: dict[str, t.Any] = {}

    def look(life: Life) -> None:
        status.update(life.house.status())
        assert heard(house) == []
        assert files.read_json(house.paths.last_start)["pid"] == life.house.qemus[0].process.pid

    keeper = house.keep(quitting(look))
    assert len(house.qemus) == 1 and house.qemus[0].asked == ["quit"]
    qemu, me = house.qemus[0].process, processes.of_pid(os.getpid())
    assert me is not None
    runner = status.pop("runner")
    assert (runner["pid"], runner["start"], runner["protocol"]) == (me.pid, me.start, PROTOCOL)
    assert set(runner) == {"pid", "start", "digest", "protocol", "python", "python_version"}
    assert status == {
        "vm": "web",
        "uuid": UUID,
        "boot_id": processes.boot_id(),
        "qemu": {"pid": qemu.pid, "start": qemu.start, **FACTS, "version": "7.2.22"},
        "restarts": 0,
        "phase": "ready",
        "launch": "word",
    }
    assert not keeper.lives
    assert house.last_exit()["reason"] == "host-qmp-quit"
    assert not os.path.exists(house.paths.run), "nothing is left"


def test_a_client_may_ask_as_soon_as_it_is_ready(house: House) -> None:
    house.order("start")

    async def scenario(life: Life) -> None:
        await life.until("ready")
        assert await asyncio.to_thread(ask, house, "cont") == [{}]
        await asyncio.to_thread(ask, house, "quit")

    house.keep(scenario)
    assert house.qemus[0].asked == ["cont", "quit"]


def test_the_host_has_started(house: House) -> None:
    house.keep(quitting())
    assert house.qemus[0].asked == ["cont", "quit"]
    assert house.reasons()[0] == ("cont", "start of the host")


@pytest.mark.parametrize("purpose", ["adopt", "start", None])
def test_one_that_lives_is_taken_over(house: House, purpose: t.Optional[str]) -> None:
    """Whatever was wanted: there is one already, and two would share its disks."""
    qemu = house.run_qemu()
    house.know("ready", qemu, restarts=4)
    past(house, "RESUME", "STOP")
    if purpose:
        house.order(purpose)
    seen: list[t.Any] = []

    def look(life: Life) -> None:
        seen.append(life.house.status())
        seen.append(heard(house))
        assert life.house.keeper.lives

    house.keep(quitting(look))
    status, events = seen
    assert house.qemus == [qemu] and qemu.asked == ["quit"]
    assert status["qemu"] == {
        "pid": qemu.process.pid, "start": qemu.process.start, **FACTS, "version": "7.2.22"
    }  # fmt: skip
    assert (status["restarts"], status["launch"]) == (4, "word" if purpose else None)
    assert events == [(1, "RESUME"), (2, "STOP"), (3, EVENT)]
    assert house.last_exit()["reason"] == "host-qmp-quit"


def test_one_whose_status_is_lost_is_taken_over(house: House) -> None:
    qemu = house.run_qemu()
    house.keep(quitting())
    assert house.qemus == [qemu] and qemu.asked == ["quit"]


def test_there_is_none_to_take_over(house: House) -> None:
    house.order("adopt")
    error = fails(house)
    assert (error.error_code, str(error)) == (
        "vm_not_running",
        "VM web is not running. Start it with maqet_vm: state=running.",
    )
    assert house.qemus == [] and not house.keeper.lives


@pytest.mark.parametrize("phase", ["starting", "failed"])
@pytest.mark.parametrize("purpose", [None, "adopt"])
def test_a_start_that_was_broken_off_is_not_begun_again(house: House, phase: str, purpose: t.Optional[str]) -> None:
    house.define(restart_policy="always")
    house.know(phase)
    if purpose:
        house.order(purpose)
    error = fails(house)
    assert error.error_code == "runner_failed" and "broken off" in str(error)
    assert house.qemus == []


def test_one_that_waits_to_be_started_again(house: House) -> None:
    house.define(restart_policy="on-failure")
    house.know("waiting", restarts=3, pause=0.01)
    house.keep(quitting(lambda life: None))
    assert house.qemus[0].asked == ["cont", "quit"]
    assert house.reasons()[0] == ("cont", "restart_policy: on-failure")


def test_restarts_go_on_being_counted(house: House) -> None:
    house.know("waiting", restarts=3, pause=0.01)

    def look(life: Life) -> None:
        assert life.house.status()["restarts"] == 3

    house.keep(quitting(look))


@pytest.mark.parametrize("purpose", [None, "adopt"])
def test_one_that_ended_while_nobody_was_there(house: House, purpose: t.Optional[str]) -> None:
    house.know("ready")
    past(house, "RESUME")
    pathlib.Path(house.paths.qemu_log).write_text("some words\n")
    if purpose:
        house.order(purpose)
        error = fails(house)
        assert error.error_code == "vm_not_running"
        assert "Its last QEMU: QEMU ended without a word, and nobody was told how." in str(error)
    else:
        house.keep()
    assert house.qemus == []
    note = house.last_exit()
    assert (note["reason"], note["words"], note["qemu"]["pid"]) == ("unknown", "some words", 1)
    assert not os.path.exists(house.paths.run)


@pytest.mark.parametrize("purpose", [None, "adopt"])
def test_one_that_ended_while_nobody_was_there_and_comes_back(house: House, purpose: t.Optional[str]) -> None:
    house.define(restart_policy="on-failure")
    house.know("ready", restarts=2)
    if purpose:
        house.order(purpose)

    def look(life: Life) -> None:
        assert life.house.status()["restarts"] == 3

    house.keep(quitting(look))
    assert house.qemus[0].asked == ["cont", "quit"]


def test_one_that_somebody_has_ended_while_nobody_was_there(house: House) -> None:
    house.define(restart_policy="always")
    house.know("ready")
    file = EventFile(house.paths.events)
    file.append({**event("SHUTDOWN", guest=False, reason="host-signal"), "seq": 1}, [])
    file.close()
    house.keep()
    assert (house.qemus, house.last_exit()["reason"]) == ([], "host-signal")


def test_the_end_of_one_from_before_the_last_boot_is_noted(house: House) -> None:
    note = {"boot_id": "11111111-2222-3333-4444-555555555555", "time": 1.0, "pid": 8, "start": 9}
    files.write_json(house.paths.last_start, note)
    ends: list[dict[str, t.Any]] = []
    house.keep(quitting(lambda life: ends.append(life.house.last_exit())))
    assert (ends[0]["reason"], ends[0]["qemu"]) == ("host-down", {"pid": 8, "start": 9})


def test_its_traces_are_read_before_the_next_ones_replace_them(house: House) -> None:
    note = {"boot_id": processes.boot_id(), "time": 1.0, "pid": 8, "start": 9}
    files.write_json(house.paths.last_start, note)
    pathlib.Path(house.paths.qemu_log).write_text("the old one's words\n")
    house.on_start = lambda _qemu: (pathlib.Path(house.paths.qemu_log).write_text("the new one's\n"), None)[1]
    house.order("start")
    ends: list[dict[str, t.Any]] = []
    house.keep(quitting(lambda life: ends.append(life.house.last_exit())))
    assert ends[0]["words"] == "the old one's words"


def test_a_start_that_fails(house: House) -> None:
    house.order("start")
    house.failures = [MaqetError("No such disk.", "qemu_failed", qemu_status=1)]
    assert fails(house).error_code == "qemu_failed"
    assert not house.keeper.lives
    assert "qemu" not in house.status()


def test_one_that_ends_before_it_greets(house: House) -> None:
    house.order("start")
    pathlib.Path(house.paths.qemu_log).write_text("-m: bad size\n")
    house.greeting = b""

    def end(qemu: FakeQemu) -> None:
        qemu.exit(3)
        qemu.monitor.close()

    house.on_start = end
    error = fails(house)
    assert (error.error_code, error.details["qemu_status"]) == ("qemu_failed", 3)
    assert "QEMU ended with status 3 before it was ready. Its last words: -m: bad size" in str(error)
    assert not house.keeper.lives


def test_one_that_talks_nonsense(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    real = soon
    monkeypatch.setattr(room, "soon", lambda told, _seconds: real(told, 0.1))
    house.order("start")
    house.greeting = b"SSH-2.0-OpenSSH\n"
    error = fails(house)
    assert error.error_code == "qemu_failed" and str(error).startswith("QEMU's monitor did not come up: ")
    assert house.qemus[0].child.wait() == -signal.SIGKILL, "it is not left behind"
    assert not house.keeper.lives


def test_being_asked_to_end_while_it_starts(house: House) -> None:
    house.order("start")
    house.greeting = b""
    house.on_start = lambda _qemu: os.kill(os.getpid(), signal.SIGTERM)
    error = fails(house)
    assert error.error_code == "runner_failed" and "asked to end before QEMU was ready" in str(error)
    assert house.qemus[0].child.wait() == -signal.SIGKILL
    assert not house.keeper.lives


def test_a_definition_that_is_damaged(house: House) -> None:
    pathlib.Path(house.paths.definition).write_text(json.dumps({"format": 99}))
    assert fails(house).error_code == "state_unsafe"


def test_one_that_cannot_be_taken_over_is_left_alone(house: House) -> None:
    def other(client: Client, message: Message) -> None:
        client.send({"return": {"UUID": UUID[:-1] + "9"}, "id": message["id"]})

    house.answers = {"query-uuid": other}
    qemu: FakeQemu = house.run_qemu()
    house.know("ready", qemu)
    assert fails(house).error_code == "qemu_unidentified"
    assert qemu.process.alive() and qemu.asked == []
    assert house.keeper.lives, "so that what is known of it is kept"
