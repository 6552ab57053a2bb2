# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A runner that is killed: its QEMU goes on, and the next one takes it over with all that was known of it."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import of_pid
from ansible_collections.maqet.qemu.tests.integration.local.conftest import NOTHING, Local, Result, kill, traces

FORCE = {"force": True, "stop_timeout": 1, "timeout": 5}


def same_qemu(started: Result, later: Result) -> bool:
    """Whether the QEMU of two results is one and has a runner that is another."""
    old, new = started["vm"], later["vm"]
    return new["qemu_pid"] == old["qemu_pid"] and new["runner_pid"] not in (None, old["runner_pid"])


def test_the_next_command_finds_a_runner(local: Local, name: str) -> None:
    """It is answered as if nothing had been; events go on counting, and the chain is whole."""
    started = local.vm(name, state="running", **NOTHING)
    kill(started["vm"]["runner_pid"])
    asked, waited, audit = local.run(
        {"maqet_qmp": {"vm": name, "command": "query-status", "mode": "ipc"}},
        {"maqet_vm": {"name": name, "state": "running", "wait_for": [{"event": "RESUME"}, {"event": "MAQET_ADOPTED"}]}},
        {"maqet_audit_info": {"vm": name}},
    )
    assert asked["response"]["status"] == "running"
    assert same_qemu(started, waited) and waited["changed"] is False
    assert [event["seq"] for event in waited["events"]] == [1, 2], "the first is from before"
    assert waited["events"][1]["data"] == {"run_state": "running"}
    assert not audit["failed"], audit


def test_a_task_for_the_vm_repairs_it(local: Local, name: str) -> None:
    """Looking and check mode change nothing; the task says what it did, and a second one has nothing to do."""
    started = local.vm(name, state="running", **NOTHING)
    kill(started["vm"]["runner_pid"])
    task = {"maqet_vm": {"name": name, "state": "running"}}
    info, check, unchanged, done, again = local.run(
        {"maqet_vm_info": {"name": name}},
        {**task, "check_mode": True},
        {"maqet_qmp": {"vm": name, "command": "query-status"}, "check_mode": True},
        task,
        task,
    )
    assert info["vms"][0]["status"] == "running" and info["vms"][0]["runner"] is None
    assert unchanged["error_code"] == "runner_unreachable", "in check mode no runner is started either"
    assert [action["action"] for action in check["actions"]] == ["adopt"] == [one["action"] for one in done["actions"]]
    assert check["changed"] is True and done["changed"] is True and again["changed"] is False
    assert same_qemu(started, done) and done["vm"]["status"] == "running"
    assert any("A new one has taken it over" in warning for warning in done["warnings"])


@pytest.mark.parametrize("loss", ["status", "run folder"])
def test_also_when_its_notes_are_lost(local: Local, name: str, loss: str) -> None:
    """Its command line, its folder and the lock on its log say which QEMU it is; its sockets cannot be made again."""
    started = local.vm(name, state="running", **NOTHING)
    kill(started["vm"]["runner_pid"])
    if loss == "status":
        os.unlink(layout().vm(name).status)
    else:
        shutil.rmtree(layout().vm(name).run)
    later = local.vm(name, state="running", timeout=10)
    if loss == "status":
        assert same_qemu(started, later) and later["vm"]["status"] == "running"
        facts = ("accel", "qemu_uid", "qemu_version", "qemu_binary")
        assert {key: later["vm"][key] for key in facts} == {key: started["vm"][key] for key in facts}
    else:
        assert later["error_code"] in ("monitor_unreachable", "socket_not_found"), later
        assert of_pid(started["vm"]["qemu_pid"]) is not None, "it is left alone"


def test_a_qemu_that_hangs_is_left_alone(local: Local, name: str) -> None:
    """No runner can take it over while it is stopped; it can when it goes on."""
    started = local.vm(name, state="running", **NOTHING)
    qemu = of_pid(started["vm"]["qemu_pid"])
    assert qemu is not None
    kill(started["vm"]["runner_pid"])
    qemu.kill(signal.SIGSTOP)
    try:
        refused = local.qmp(name, command="query-status", timeout=2)
    finally:
        qemu.kill(signal.SIGCONT)
    assert refused["error_code"] in ("runner_failed", "monitor_unreachable", "qmp_timeout"), refused
    assert qemu.alive()
    assert local.qmp(name, command="query-status")["response"]["status"] == "running"


def test_a_qemu_without_a_definition_is_reported(local: Local, name: str) -> None:
    """Nobody knows what it should be, so it is neither changed nor silently killed."""
    started = local.vm(name, state="running", **NOTHING)
    os.unlink(layout().vm(name).definition)
    listed, refused, ended = local.run(
        {"maqet_vm_info": {}},
        {"maqet_vm": {"name": name, "state": "running", **NOTHING}},
        {"maqet_vm": {"name": name, "state": "absent", "purge": True, **FORCE}},
    )
    (orphan,) = [one for one in listed["orphans"] if one["name"] == name]
    assert orphan == {"name": name, "uuid": started["vm"]["uuid"], "qemu_pid": started["vm"]["qemu_pid"]}
    assert refused["error_code"] == "qemu_orphaned" and refused["qemu_pid"] == started["vm"]["qemu_pid"]
    assert not ended["failed"] and any("definition is gone" in warning for warning in ended["warnings"])
    assert traces(name) == []


def test_a_strange_process_is_not_taken_for_it(local: Local, name: str) -> None:
    """Whoever holds the lock on QEMU's log without being that QEMU is not ended, and no second QEMU is started."""
    local.vm(name, state="present", **NOTHING)
    log = Path(layout().vm(name).qemu_log)
    log.touch(mode=0o600)
    with log.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for state in ("running", "absent"):
            refused = local.vm(name, state=state, timeout=5)
            assert refused["error_code"] == "qemu_unidentified" and str(log) in refused["msg"], refused
    assert not local.vm(name, state="running")["failed"]
