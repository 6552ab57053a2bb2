# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs of QEMU: begun, waited for by their events, forgotten; their errors come through."""

from __future__ import annotations

import os
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.lines import Deadline
from ansible_collections.maqet.qemu.plugins.module_utils.vm.jobs import Jobs
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import PATIENCE, FakeServer, Message, runner
from ansible_collections.maqet.qemu.tests.unit.vm.world import FakeVm


class World:
    """A runner before a QEMU whose jobs end at once with ``error``; ``late`` jobs never do."""

    def __init__(self, vm: FakeVm) -> None:
        self.vm = vm
        self.jobs: dict[str, Message] = {}
        self.error: t.Optional[str] = None
        self.late = False
        self.judged: list[str] = []
        self.sent: list[tuple[str, Message]] = []
        self._seq = 40

    def answer(self, message: Message) -> list[t.Union[Message, bytes]]:
        if message["op"] == "subscribe":
            assert message["names"] == ["JOB_STATUS_CHANGE"]
            return [{"id": message["id"], "result": {"last_event": self._seq}}]
        (command,) = message["commands"]
        if message["check"]:
            self.judged.append(command["execute"])
            return [{"id": message["id"], "result": {"responses": [], "audit": [], "decisions": [], "events": []}}]
        name, arguments = command["execute"], command["arguments"]
        self.sent.append((name, arguments))
        told: list[t.Union[Message, bytes]] = []
        response: t.Any = {}
        if name == "query-jobs":
            response = list(self.jobs.values())
        elif name == "job-dismiss":
            del self.jobs[arguments["id"]]
            told = [self._event(arguments["id"], "null")]
        elif name == "no":
            denied = {"error_code": "policy_denied", "message": "no", "audit": [{"op": "no"}]}
            return [{"id": message["id"], "error": denied}]
        else:
            told = self._begun(name, arguments["job-id"])
        result = {"responses": [response], "audit": [{"op": name}], "decisions": [], "events": []}
        return [*told, {"id": message["id"], "result": result}]

    def _begun(self, name: str, job: str) -> list[t.Union[Message, bytes]]:
        status = "running" if self.late else "concluded"
        self.jobs[job] = {"id": job, "type": name, "status": status, **({"error": self.error} if self.error else {})}
        return [self._event(job, word) for word in ("created", "running", "concluded")[: 2 if self.late else 3]]

    def _event(self, job: str, status: str) -> Message:
        self._seq += 1
        return {"event": {"event": "JOB_STATUS_CHANGE", "data": {"id": job, "status": status}, "seq": self._seq}}


@pytest.fixture
def world(vm: FakeVm) -> t.Iterator[World]:
    found = World(vm)
    os.makedirs(vm.paths.run)
    with FakeServer(vm.paths.runner_socket, runner(found.answer)):
        yield found


def jobs_of(world: World, seconds: float = PATIENCE, looking: bool = False) -> Jobs:
    return Jobs(world.vm.where, "web", Deadline(seconds), "ticket", {"task": "x"}, looking)


def test_a_job(world: World) -> None:
    with jobs_of(world) as jobs:
        jobs.run("maqet-x", "snapshot-save", {"tag": "one"})
        jobs.run("maqet-x", "snapshot-delete", {"tag": "one"})
    assert [name for name, _arguments in world.sent] == [
        "snapshot-save", "query-jobs", "job-dismiss", "snapshot-delete", "query-jobs", "job-dismiss",
    ]  # fmt: skip
    first, second = world.sent[0][1]["job-id"], world.sent[3][1]["job-id"]
    assert first.startswith("maqet-x-") and second.startswith("maqet-x-") and first != second
    assert world.jobs == {} and [record["op"] for record in jobs.audit] == [name for name, _arguments in world.sent]


def test_a_look_has_it_only_judged(world: World) -> None:
    with jobs_of(world, looking=True) as jobs:
        jobs.run("maqet-x", "snapshot-save", {"tag": "one"})
        assert jobs.ask("query-jobs") == []
    assert world.judged == ["snapshot-save"] and [name for name, _arguments in world.sent] == ["query-jobs"]


def test_one_that_fails(world: World) -> None:
    world.error = "No space left on device"
    with jobs_of(world) as jobs, pytest.raises(MaqetError, match="snapshot-save failed: No space left") as caught:
        jobs.run("maqet-x", "snapshot-save", {})
    assert (caught.value.error_code, caught.value.details["reason"]) == ("job_failed", "No space left on device")
    assert world.jobs == {}, "it is forgotten all the same"


def test_one_that_takes_too_long(world: World) -> None:
    world.late = True
    with jobs_of(world, 0.5) as jobs, pytest.raises(MaqetError, match="goes on") as caught:
        jobs.run("maqet-x", "snapshot-save", {})
    assert caught.value.error_code == "wait_timeout" and len(world.jobs) == 1
    with jobs_of(world, 0.0) as jobs, pytest.raises(MaqetError, match="was not sent"):
        jobs.ask("query-jobs")


def test_those_of_others(world: World) -> None:
    """Of a task that was killed: their outcome is asked, and they are forgotten; other jobs are none of ours."""
    world.error = "broken"
    world._begun("snapshot-load", "maqet-x-1234")  # pylint: disable=protected-access
    world._begun("drive-mirror", "theirs")  # pylint: disable=protected-access
    with jobs_of(world) as jobs:
        assert jobs.settle("maqet-x") == [("snapshot-load", "broken")]
        assert jobs.settle("maqet-x") == []
        world.error = None
        jobs.run("maqet-x", "snapshot-save", {})
    assert list(world.jobs) == ["theirs"]


def test_what_is_refused_is_in_the_audit(world: World) -> None:
    with jobs_of(world) as jobs, pytest.raises(MaqetError, match="no"):
        jobs.ask("no")
    assert jobs.audit == [{"op": "no"}]


def test_no_runner_is_started_for_a_look(vm: FakeVm) -> None:
    with Jobs(vm.where, "web", Deadline(PATIENCE), "", {}, looking=True) as jobs, pytest.raises(MaqetError) as caught:
        jobs.ask("query-jobs")
    assert caught.value.error_code == "vm_not_found"
