# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every state of maqet_vm: in check mode, for real, and again."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.tests.hosts import modules
from ansible_collections.maqet.qemu.tests.integration.local.conftest import NOTHING, Local, Result, traces

FORCED = {"force": True, "stop_timeout": 0}


def kinds(result: Result) -> list[str]:
    """What a task did, in words."""
    assert not result.get("failed"), result
    return [action["action"] for action in result["actions"]]


def thrice(local: Local, name: str, **wanted: t.Any) -> tuple[Result, Result]:
    """A task in check mode, for real, and again: the first tells the truth and changes nothing, the last nothing."""
    task: Result = {"maqet_vm": {"name": name, **wanted}}
    info: Result = {"maqet_vm_info": {"name": name}}
    before, announced, unchanged, done, again = local.run(info, {**task, "check_mode": True}, info, task, task)
    assert [vm["status"] for vm in unchanged["vms"]] == [vm["status"] for vm in before["vms"]]
    assert kinds(announced) == kinds(done)
    assert announced["diff"] == done["diff"]
    assert announced["changed"] == done["changed"] == bool(kinds(done))
    assert kinds(again) == [] and again["changed"] is False
    assert again["diff"] == {"before": {}, "after": {}}
    return done, again


def test_a_whole_life(local: Local, name: str) -> None:
    """From nothing through every state and back to nothing."""
    present, _again = thrice(local, name, state="present", labels={"team": "blue"}, **NOTHING)
    assert kinds(present) == ["define"]
    assert present["vm"]["status"] == "stopped"
    assert present["diff"]["before"]["status"] == "absent" and present["diff"]["after"]["status"] == "stopped"

    paused, _again = thrice(local, name, state="paused")
    assert kinds(paused) == ["start"]
    running, again = thrice(local, name, state="running")
    assert kinds(running) == ["resume"]
    assert again["vm"]["status"] == "running"
    assert again["vm"]["definition"] == {**NOTHING, "memory": 64, "labels": {"team": "blue"}}
    assert thrice(local, name, state="paused")[1]["vm"]["status"] == "paused"

    labelled, _again = thrice(local, name, labels={"team": "red"})
    assert kinds(labelled) == ["redefine"], "a change that QEMU does not see needs no restart"

    stopped, _again = thrice(local, name, state="stopped", **FORCED)
    assert kinds(stopped) == ["stop"]
    assert stopped["stop_steps"] == ["quit"]
    assert stopped["vm"]["last_exit"]["status"] == 0
    assert traces(name) == []

    absent, _again = thrice(local, name, state="absent")
    assert kinds(absent) == ["undefine"]
    assert not Path(layout().vms, name).exists()


def test_restarted_always_restarts(local: Local, name: str) -> None:
    """A stopped VM is started, a running one gets another QEMU."""
    first, second = local.run(
        {"maqet_vm": {"name": name, "state": "restarted", **NOTHING}},
        {"maqet_vm": {"name": name, "state": "restarted", **FORCED}},
    )
    assert kinds(first) == ["define", "start", "resume"]
    assert kinds(second) == ["stop", "start", "resume"]
    assert first["vm"]["qemu_pid"] != second["vm"]["qemu_pid"]
    assert first["vm"]["uuid"] == second["vm"]["uuid"]


def test_a_change_that_needs_a_restart_needs_consent(local: Local, name: str) -> None:
    """Without allow_restart nothing happens; with it the VM runs with the new value."""
    started, refused, asked, allowed = local.run(
        {"maqet_vm": {"name": name, "state": "running", **NOTHING}},
        {"maqet_vm": {"name": name, "memory": "96"}},
        {"maqet_vm_info": {"name": name}},
        {"maqet_vm": {"name": name, "memory": "96", "allow_restart": True, **FORCED}},
    )
    assert refused["error_code"] == "restart_required" and refused["options"] == ["memory"]
    assert "allow_restart" in refused["msg"]
    assert asked["vms"][0]["qemu_pid"] == started["vm"]["qemu_pid"]
    assert asked["vms"][0]["definition"]["memory"] == 64
    assert kinds(allowed) == ["stop", "redefine", "start", "resume"]
    memory = modules.must("maqet_qmp", vm=name, command="query-memory-size-summary")["response"]
    assert memory["base-memory"] == 96 * 1024 * 1024


def test_a_vm_that_nobody_defined_is_not_made_by_mistake(local: Local) -> None:
    """A misspelt name in such a task is an error, not a new VM."""
    states = ("stopped", "paused", "restarted")
    results = local.run(*({"maqet_vm": {"name": "nosuchvm", "state": state}} for state in states))
    assert [result.get("error_code") for result in results] == ["vm_not_found"] * 3
    assert not Path(layout().vms, "nosuchvm").exists()


def test_a_guest_that_ignores_its_power_button(local: Local, name: str, guest: Result) -> None:
    """No force: an error, and it goes on. With force: the monitor, and it is gone when the task returns."""
    deaf = {**guest, "cmdline": guest["cmdline"] + " maqet.noacpi"}
    _made, refused, info, forced = local.run(
        {"maqet_vm": {"name": name, "state": "running", **deaf, "wait_for": [{"serial": "maqet guest ready"}]}},
        {"maqet_vm": {"name": name, "state": "stopped", "stop_timeout": 1}},
        {"maqet_vm_info": {"name": name}},
        {"maqet_vm": {"name": name, "state": "stopped", "stop_timeout": 1, "force": True}},
    )
    assert refused["error_code"] == "stop_timeout" and "force: true" in refused["msg"]
    assert refused["stop_steps"] == ["system_powerdown"] and refused["changed"] is False
    assert info["vms"][0]["status"] == "running"
    assert forced["stop_steps"] == ["system_powerdown", "quit"]
    assert traces(name) == []


def test_a_guest_that_obeys(local: Local, name: str, guest: Result) -> None:
    """Also when it was paused: then it is let go on to hear."""
    _made, stopped = local.run(
        {
            "maqet_vm": {
                "name": name,
                "state": "running",
                **guest,
                "wait_for": ["running", {"serial": "maqet guest ready"}],
            }
        },
        {"maqet_vm": {"name": name, "state": "stopped"}},
    )
    assert stopped["stop_steps"] == ["system_powerdown"]
    assert stopped["vm"]["last_exit"]["reason"] == "host-powerdown"


def test_waiting_for_events_and_the_end(local: Local, name: str, guest: Result) -> None:
    """A guest that powers itself off: its event and its end are seen, and the VM is then stopped."""
    result = local.vm(
        name,
        state="running",
        **{**guest, "cmdline": guest["cmdline"] + " maqet.poweroff"},
        wait_for=[{"event": "SHUTDOWN"}, "exit"],
    )
    assert kinds(result) == ["define", "start", "resume"]
    assert "SHUTDOWN" in [event["event"] for event in result["events"]]
    assert result["vm"]["status"] == "stopped"
    assert traces(name) == []


def test_waiting_for_a_vm_that_will_not_run(local: Local, name: str) -> None:
    """Refused before anything is done."""
    result = local.vm(name, state="present", wait_for=["running"], **NOTHING)
    assert result["error_code"] == "invalid_option" and "wait_for: 'running'" in result["msg"]
    assert not Path(layout().vms, name).exists()


def test_waiting_in_vain_says_so(local: Local, name: str, guest: Result) -> None:
    """A time-out, and a VM that ends before it said the word: two errors, with the last of the serial port."""
    late, ended = local.run(
        {"maqet_vm": {"name": name, "state": "running", **NOTHING, "timeout": 3, "wait_for": [{"serial": "never"}]}},
        {
            "maqet_vm": {
                "name": name,
                "state": "restarted",
                **guest,
                "cmdline": guest["cmdline"] + " maqet.poweroff",
                "wait_for": [{"serial": "never"}],
                **FORCED,
            }
        },
    )
    assert late["error_code"] == "wait_timeout" and late["vm"]["status"] == "running"
    assert late["changed"] is True, "it did start the VM"
    assert ended["error_code"] == "vm_exited" and "maqet guest ready" in ended["msg"]
