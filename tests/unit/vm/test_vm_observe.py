# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an observer believes of the files that a VM has left, and what its facts say."""

from __future__ import annotations

import os
import pathlib
import subprocess
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.changes import diff
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import processes
from ansible_collections.maqet.qemu.plugins.module_utils.vm import observe as room
from ansible_collections.maqet.qemu.plugins.module_utils.vm.facts import before_after, facts, look
from ansible_collections.maqet.qemu.plugins.module_utils.vm.observe import Actual, demand, names, observe
from ansible_collections.maqet.qemu.plugins.module_utils.vm.plan import Situation, plan, plan_absent
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import PATIENCE, UUID, FakeMonitor
from ansible_collections.maqet.qemu.tests.unit.vm.world import FakeVm


def test_nothing(vm: FakeVm) -> None:
    actual = vm.actual()
    assert (actual.status, actual.qemu, actual.definition) == ("absent", None, None)
    assert names(vm.where) == []


def test_defined(vm: FakeVm) -> None:
    vm.define(memory=512)
    os.makedirs(os.path.join(vm.where.vms, "leftover", "disks"))
    assert vm.actual().status == "stopped"
    assert names(vm.where) == ["web"]


@pytest.mark.parametrize("state", ["running", "paused", "prelaunch", "guest-panicked"])
def test_running(vm: FakeVm, state: str) -> None:
    vm.define()
    vm.start(state)
    actual = vm.actual()
    assert (actual.status, actual.run_state) == (state, state)
    assert vm.qemu is not None and vm.runner is not None
    assert actual.qemu is not None and actual.qemu.pid == vm.qemu.pid
    assert actual.runner is not None and actual.runner.pid == vm.runner.pid


@pytest.mark.parametrize(
    "changes",
    [
        {"boot_id": "11111111-2222-3333-4444-555555555555"},
        {"phase": "failed"},
        {"qemu": {"pid": os.getpid(), "start": 1}},
    ],
)
def test_a_status_of_something_else(vm: FakeVm, changes: dict[str, t.Any]) -> None:
    """From before a reboot, of a start that failed, and of a pid that is somebody else's now."""
    vm.define()
    vm.start(**changes)
    assert vm.runner is not None
    vm.runner.kill()
    actual = vm.actual()
    assert (actual.status, actual.qemu, actual.runner) == ("stopped", None, None)


@pytest.mark.parametrize(
    "garbage",
    [
        "{",
        "[]",
        "5",
        "{}",
        '{"boot_id": "BOOT"}',
        '{"boot_id": "BOOT", "qemu": 5}',
        '{"boot_id": "BOOT", "phase": "failed", "error": {}}',
        '{"boot_id": "BOOT", "phase": "ready", "qemu": {"pid": "x"}, "runner": {}}',
    ],
)
def test_a_status_that_says_nothing(vm: FakeVm, garbage: str) -> None:
    vm.define()
    os.makedirs(vm.paths.run)
    pathlib.Path(vm.paths.status).write_text(garbage.replace("BOOT", processes.boot_id()))
    actual = vm.actual()
    assert (actual.status, actual.qemu, actual.runner, actual.unready) == ("stopped", None, None, ())


def test_a_start_that_was_never_finished(vm: FakeVm) -> None:
    vm.define()
    vm.start(phase="starting")
    assert vm.qemu is not None and vm.runner is not None
    actual = vm.actual()
    assert (actual.status, actual.qemu) == ("stopped", None)
    assert [process.pid for process in actual.unready] == [vm.runner.pid, vm.qemu.pid]


def test_who_has_ended_is_stopped(vm: FakeVm) -> None:
    vm.define()
    vm.start()
    vm.end()
    assert vm.actual().status == "stopped"


def test_past_a_runner_that_is_gone(vm: FakeVm) -> None:
    vm.define()
    vm.start()
    assert vm.runner is not None
    vm.runner.kill()
    vm.runner.wait()
    with FakeMonitor(vm.paths.direct_socket, {"query-status": {"status": "paused", "running": False}}) as fake:
        actual = vm.actual()
        fake.hung_up.get(timeout=PATIENCE)
    assert (actual.status, actual.runner) == ("paused", None)


def test_not_asking(vm: FakeVm) -> None:
    vm.start()
    actual = observe(vm.where, "web", PATIENCE, look=False)
    assert (actual.status, actual.run_state) == ("unknown", None)
    assert actual.qemu is not None


@pytest.mark.parametrize("garbage", ["{", "[]", '{"format": 99}'])
def test_a_definition_that_is_not_ours(vm: FakeVm, garbage: str) -> None:
    vm.define()
    pathlib.Path(vm.paths.definition).write_text(garbage)
    with pytest.raises(MaqetError) as caught:
        vm.actual()
    assert caught.value.error_code == "state_unsafe"
    found = look(vm.where, ["web"], PATIENCE)[0]
    assert found["status"] == "unknown"
    assert found["error"] == str(caught.value)


def test_demand(vm: FakeVm) -> None:
    with pytest.raises(MaqetError, match=r"There is no VM 'web'\. None is defined here\. .*become changes") as caught:
        demand(vm.where, "web", PATIENCE)
    assert (caught.value.error_code, caught.value.details) == ("vm_not_found", {"known": []})
    vm.define()
    with pytest.raises(MaqetError, match=r"There is no VM 'other'\. Defined here: web\.") as caught:
        demand(vm.where, "other", PATIENCE)
    with pytest.raises(MaqetError, match=r"There is no VM 'wbe'\. Did you mean web\? Defined here: web\."):
        demand(vm.where, "wbe", PATIENCE)
    with pytest.raises(MaqetError, match=r"VM web is not running\. Start it with maqet_vm: state=running\.") as caught:
        demand(vm.where, "web", PATIENCE)
    assert caught.value.error_code == "vm_not_running"
    vm.start()
    assert demand(vm.where, "web", PATIENCE).run_state == "running"


def test_a_name_that_is_none(vm: FakeVm) -> None:
    with pytest.raises(MaqetError) as caught:
        observe(vm.where, "../web", PATIENCE)
    assert caught.value.error_code == "invalid_option"


def test_facts_of_one_that_runs(vm: FakeVm) -> None:
    vm.define(memory=512)
    vm.start()
    assert vm.qemu is not None and vm.runner is not None
    found = look(vm.where, ["web"], PATIENCE)[0]
    uptime = found.pop("uptime")
    assert 0 <= uptime < 60
    assert found == {
        "name": "web",
        "status": "running",
        "uuid": UUID,
        "definition": {"memory": 512},
        "disks": {},
        "networks": [],
        "qemu_pid": vm.qemu.pid,
        "qemu_uid": 1000,
        "runner_pid": vm.runner.pid,
        "runner": {
            "pid": vm.runner.pid,
            "digest": None,
            "protocol": None,
            "python": None,
            "python_version": None,
            "current": False,
        },
        "restarts": 0,
        "helpers": {},
        "qemu_version": "7.2.22",
        "qemu_binary": "/usr/bin/qemu",
        "accel": "tcg",
        "sockets": {"runner": vm.paths.runner_socket, "direct": vm.paths.direct_socket},
        "home": vm.paths.home,
        "output": vm.paths.output,
        "serial_log": vm.paths.serial_log,
        "audit_log": vm.paths.audit_log,
        "last_exit": None,
        "migration": None,
    }


@pytest.mark.parametrize("defined", [True, False])
def test_facts_of_one_that_does_not(vm: FakeVm, defined: bool) -> None:
    if defined:
        vm.define()
    found = look(vm.where, ["web"], PATIENCE)[0]
    assert found["status"] == ("stopped" if defined else "absent")
    assert found["sockets"] == {}
    gone = ("qemu_pid", "qemu_uid", "runner_pid", "runner", "qemu_version", "qemu_binary", "accel", "uptime")
    assert [found[key] for key in gone] == [None] * len(gone)
    assert found["home"] == (vm.paths.home if defined else None)


def test_one_that_does_not_answer_does_not_spoil_the_rest(vm: FakeVm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_MOMENT", 0.1)
    vm.define()
    vm.start()
    os.unlink(vm.paths.runner_socket)
    found = look(vm.where, ["web"], PATIENCE)[0]
    assert found["status"] == "unknown"
    assert found["error"].startswith(f"No QMP monitor at {vm.paths.direct_socket}: ")


def test_a_runner_that_is_none_is_not_passed_by(vm: FakeVm) -> None:
    """Something took the call and is no runner: QEMU is not asked behind its back."""
    vm.define()
    vm.start()
    os.unlink(vm.paths.runner_socket)
    with FakeMonitor(vm.paths.runner_socket), FakeMonitor(vm.paths.direct_socket) as direct:
        found = look(vm.where, ["web"], PATIENCE)[0]
    assert found["status"] == "unknown" and "what answers there is no runner" in found["error"]
    assert direct.received == []


STOPPED = Actual(definition=t.cast(t.Any, object()))
ABSENT = Actual()
WAITING = Actual(definition=t.cast(t.Any, object()), waiting=True)


def runs(run_state: str) -> Actual:
    return Actual(definition=t.cast(t.Any, object()), qemu=t.cast(t.Any, object()), run_state=run_state)


@pytest.mark.parametrize(
    ("actual", "state", "status"),
    [
        (ABSENT, "present", ("absent", "stopped")),
        (ABSENT, "running", ("absent", "running")),
        (ABSENT, "paused", ("absent", "paused")),
        (ABSENT, "stopped", ("absent", "stopped")),
        (ABSENT, "absent", None),
        (STOPPED, "running", ("stopped", "running")),
        (STOPPED, "paused", ("stopped", "paused")),
        (STOPPED, "restarted", ("stopped", "running")),
        (STOPPED, "stopped", None),
        (STOPPED, "absent", ("stopped", "absent")),
        (WAITING, "stopped", ("restarting", "stopped")),
        (WAITING, "running", ("restarting", "running")),
        (WAITING, "present", None),
        (runs("running"), "stopped", ("running", "stopped")),
        (runs("running"), "paused", ("running", "paused")),
        (runs("running"), "restarted", ("running", "running")),
        (runs("running"), "absent", ("running", "absent")),
        (runs("prelaunch"), "running", ("paused", "running")),
        (runs("guest-panicked"), "stopped", ("paused", "stopped")),
        (runs("paused"), "present", None),
    ],
)
def test_diff_of_the_status(actual: Actual, state: str, status: t.Optional[tuple[str, str]]) -> None:
    run_state = actual.run_state if actual.qemu else None
    now = Situation(actual.definition is not None, run_state, waiting=actual.waiting)
    difference = diff({}, {})
    actions = plan_absent(now, [], False) if state == "absent" else plan(state, now, difference, [], True)
    before, after = ({}, {}) if status is None else ({"status": status[0]}, {"status": status[1]})
    assert before_after(actual, state, actions, difference) == {"before": before, "after": after}


def test_diff_of_options() -> None:
    difference = diff({"memory": 512, "cpus": 2}, {"memory": 1024, "cpus": 2})
    actions = plan("present", Situation(True, None), difference, [], False)
    assert before_after(STOPPED, "present", actions, difference) == {
        "before": {"memory": 512, "status": "stopped"},
        "after": {"memory": 1024, "status": "stopped"},
    }


def test_facts_touch_nothing(vm: FakeVm, tmp_path: pathlib.Path) -> None:
    facts(vm.paths, vm.actual())
    assert subprocess.run(["find", str(tmp_path)], capture_output=True, text=True, check=True).stdout == f"{tmp_path}\n"
