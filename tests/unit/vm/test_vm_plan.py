# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan as a table: from every situation to every state, with and without differences."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.changes import Difference, diff
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import DiskFile
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.vm.making import Job
from ansible_collections.maqet.qemu.plugins.module_utils.vm.plan import (
    STATES,
    Action,
    Situation,
    executes,
    plan,
    plan_absent,
)

ABSENT = Situation(False, None)
STOPPED = Situation(True, None)
RUNNING = Situation(True, "running")
PAUSED = Situation(True, "paused")
FRESH = Situation(True, "prelaunch")
# Its definition was lost, QEMU runs.
ORPHAN = Situation(False, "running")

NONE = Difference()
LIVE = diff({}, {"labels": {"a": "b"}})
COSTLY = diff({"memory": 512}, {"memory": 1024})
REFUSED = "restart_required"
NEW_DISK = Job("create_disk", "d", DiskFile("/d.qcow2", "qcow2", True), 1)
GROWN_DISK = Job("grow_disk", "d", DiskFile("/d.qcow2", "qcow2", True), 2)


def kinds(actions: t.Sequence[Action]) -> str:
    return " ".join(action.kind for action in actions)


def planned(state: str, now: Situation, difference: Difference, allow: bool, *jobs: Job) -> str:
    try:
        return kinds(plan(state, now, difference, jobs, allow))
    except MaqetError as error:
        return error.error_code


@pytest.mark.parametrize(
    ("state", "now", "same", "live", "costly"),
    [
        ("present", ABSENT, "define", "define", "define"),
        ("present", STOPPED, "", "redefine", "redefine"),
        ("present", RUNNING, "", "redefine", REFUSED),
        ("present", PAUSED, "", "redefine", REFUSED),
        ("present", FRESH, "", "redefine", REFUSED),
        ("running", ABSENT, "define start resume", "define start resume", "define start resume"),
        ("running", STOPPED, "start resume", "redefine start resume", "redefine start resume"),
        ("running", RUNNING, "", "redefine", REFUSED),
        ("running", PAUSED, "resume", "redefine resume", REFUSED),
        ("running", FRESH, "resume", "redefine resume", REFUSED),
        ("paused", ABSENT, "define start", "define start", "define start"),
        ("paused", STOPPED, "start", "redefine start", "redefine start"),
        ("paused", RUNNING, "pause", "redefine pause", REFUSED),
        ("paused", PAUSED, "", "redefine", REFUSED),
        ("paused", FRESH, "", "redefine", REFUSED),
        ("stopped", ABSENT, "define", "define", "define"),
        ("stopped", STOPPED, "", "redefine", "redefine"),
        ("stopped", RUNNING, "stop", "stop redefine", "stop redefine"),
        ("stopped", PAUSED, "stop", "stop redefine", "stop redefine"),
        ("stopped", ORPHAN, "stop define", "stop define", "stop define"),
        ("restarted", ABSENT, "define start resume", "define start resume", "define start resume"),
        ("restarted", STOPPED, "start resume", "redefine start resume", "redefine start resume"),
        ("restarted", RUNNING, "stop start resume", "stop redefine start resume", "stop redefine start resume"),
        ("restarted", PAUSED, "stop start resume", "stop redefine start resume", "stop redefine start resume"),
    ],
)
def test_without_consent(state: str, now: Situation, same: str, live: str, costly: str) -> None:
    assert [planned(state, now, difference, False) for difference in (NONE, LIVE, COSTLY)] == [same, live, costly]


@pytest.mark.parametrize(
    ("state", "now", "costly"),
    [
        ("present", RUNNING, "stop redefine start resume"),
        ("present", PAUSED, "stop redefine start"),
        ("present", STOPPED, "redefine"),
        ("running", RUNNING, "stop redefine start resume"),
        ("running", PAUSED, "stop redefine start resume"),
        ("paused", RUNNING, "stop redefine start"),
        ("paused", PAUSED, "stop redefine start"),
        ("stopped", RUNNING, "stop redefine"),
        ("restarted", RUNNING, "stop redefine start resume"),
    ],
)
def test_with_consent(state: str, now: Situation, costly: str) -> None:
    assert planned(state, now, COSTLY, True) == costly
    assert planned(state, now, NONE, True) == planned(state, now, NONE, False)
    assert planned(state, now, LIVE, True) == planned(state, now, LIVE, False)


@pytest.mark.parametrize(
    ("state", "now", "job", "allow", "expected"),
    [
        ("present", ABSENT, NEW_DISK, False, "create_disk define"),
        ("present", STOPPED, GROWN_DISK, False, "grow_disk redefine"),
        ("running", STOPPED, NEW_DISK, False, "create_disk redefine start resume"),
        ("running", RUNNING, GROWN_DISK, False, REFUSED),
        ("running", RUNNING, GROWN_DISK, True, "stop grow_disk redefine start resume"),
        ("stopped", RUNNING, GROWN_DISK, False, "stop grow_disk redefine"),
    ],
)
def test_disks_come_before_the_definition_and_after_the_stop(
    state: str, now: Situation, job: Job, allow: bool, expected: str
) -> None:
    difference = diff({}, {"disks": [{"name": "d", "size": 2}]})
    assert planned(state, now, difference, allow, job) == expected


LONELY = dataclasses.replace(RUNNING, runner=False)
LONELY_PAUSED = dataclasses.replace(PAUSED, runner=False)
OLD = dataclasses.replace(RUNNING, upgrade=True)
OLD_LONELY = dataclasses.replace(LONELY, upgrade=True)
OLD_STOPPED = dataclasses.replace(STOPPED, upgrade=True)
WAITING = dataclasses.replace(STOPPED, waiting=True)
# Its definition was removed while it waited.
WAITING_ORPHAN = dataclasses.replace(ABSENT, waiting=True)


@pytest.mark.parametrize(
    ("now", "present", "running", "paused", "stopped", "restarted"),
    [
        (LONELY, "adopt", "adopt", "adopt pause", "stop", "stop start resume"),
        (LONELY_PAUSED, "adopt", "adopt resume", "adopt", "stop", "stop start resume"),
        (OLD, "upgrade_runner", "upgrade_runner", "upgrade_runner pause", "stop", "stop start resume"),
        (OLD_LONELY, "adopt", "adopt", "adopt pause", "stop", "stop start resume"),
        (OLD_STOPPED, "", "start resume", "start", "", "start resume"),
        (
            WAITING,
            "",
            "cancel_restart start resume",
            "cancel_restart start",
            "cancel_restart",
            "cancel_restart start resume",
        ),
    ],
)
def test_its_runner(now: Situation, present: str, running: str, paused: str, stopped: str, restarted: str) -> None:
    """What goes on gets a runner, what ends needs none, what is to end stays ended."""
    states = ("present", "running", "paused", "stopped", "restarted")
    assert [planned(state, now, NONE, False) for state in states] == [present, running, paused, stopped, restarted]


@pytest.mark.parametrize(
    ("state", "now", "difference", "allow", "expected"),
    [
        ("running", LONELY, LIVE, False, "adopt redefine"),
        ("running", LONELY, COSTLY, False, REFUSED),
        ("running", LONELY, COSTLY, True, "stop redefine start resume"),
        ("present", OLD, LIVE, False, "upgrade_runner redefine"),
        ("present", OLD, COSTLY, False, REFUSED),
        ("present", OLD, COSTLY, True, "stop redefine start resume"),
        ("present", WAITING, COSTLY, False, "redefine"),
        ("running", WAITING, COSTLY, False, "cancel_restart redefine start resume"),
        ("stopped", WAITING, COSTLY, False, "cancel_restart redefine"),
    ],
)
def test_its_runner_and_changes(state: str, now: Situation, difference: Difference, allow: bool, expected: str) -> None:
    assert planned(state, now, difference, allow) == expected


def test_a_runner_costs_the_guest_nothing() -> None:
    for now in (LONELY, OLD, WAITING):
        actions = plan("running", now, NONE, [], False)
        assert {action.impact for action in actions} == {"live"}


def test_what_asks_for_a_restart_is_named() -> None:
    difference = diff({"memory": 512, "cpus": 1, "labels": {}}, {"memory": 1024, "cpus": 2, "labels": {"a": "b"}})
    with pytest.raises(MaqetError, match=r"restart of the running VM: memory, cpus\. Set allow_restart") as caught:
        plan("running", RUNNING, difference, [], False)
    assert caught.value.details == {"options": ["memory", "cpus"]}


def test_impacts() -> None:
    actions = plan("running", RUNNING, diff({}, {"memory": 1024, "labels": {"a": "b"}}), [NEW_DISK, GROWN_DISK], True)
    assert [action.as_dict() for action in actions] == [
        {"action": "stop", "impact": "restart"},
        {"action": "create_disk", "impact": "live", "disk": "d", "path": "/d.qcow2", "size": 1},
        {"action": "grow_disk", "impact": "restart", "disk": "d", "path": "/d.qcow2", "size": 2},
        {"action": "redefine", "impact": "restart", "options": ["memory", "labels"]},
        {"action": "start", "impact": "live"},
        {"action": "resume", "impact": "live"},
    ]


@pytest.mark.parametrize(
    ("now", "owned", "purge", "expected"),
    [
        (ABSENT, [], False, ""),
        (ABSENT, [], True, ""),
        (ABSENT, ["/d"], False, ""),
        (ABSENT, ["/d"], True, "delete_disk undefine"),
        (STOPPED, ["/d", "/e"], False, "undefine"),
        (STOPPED, ["/d", "/e"], True, "delete_disk delete_disk undefine"),
        (STOPPED, [], True, "undefine"),
        (RUNNING, ["/d"], False, "stop undefine"),
        (RUNNING, ["/d"], True, "stop delete_disk undefine"),
        (ORPHAN, [], False, "stop undefine"),
        (LONELY, [], False, "stop undefine"),
        (OLD, [], False, "stop undefine"),
        (WAITING, ["/d"], False, "cancel_restart undefine"),
        (WAITING, ["/d"], True, "cancel_restart delete_disk undefine"),
        (WAITING_ORPHAN, [], False, "cancel_restart undefine"),
    ],
)
def test_absent(now: Situation, owned: list[str], purge: bool, expected: str) -> None:
    actions = plan_absent(now, owned, purge)
    assert kinds(actions) == expected
    assert [action.detail["path"] for action in actions if action.kind == "delete_disk"] == (owned if purge else [])


def test_what_the_guest_keeps_beside_its_disks_goes_with_them() -> None:
    state = ["/v/nvram", "/v/tpm"]
    assert kinds(plan_absent(STOPPED, ["/d"], False, state)) == "undefine"
    actions = plan_absent(RUNNING, ["/d"], True, state)
    assert kinds(actions) == "stop delete_disk delete_state delete_state undefine"
    assert [action.detail["path"] for action in actions if action.kind == "delete_state"] == state
    assert kinds(plan_absent(ABSENT, [], True, state)) == "delete_state delete_state undefine", (
        "also of one from before"
    )


@pytest.mark.parametrize("state", [state for state in STATES if state not in ("absent", "restarted")])
@pytest.mark.parametrize("now", [ABSENT, STOPPED, RUNNING, PAUSED, FRESH, ORPHAN, LONELY, OLD, WAITING])
@pytest.mark.parametrize("difference", [NONE, LIVE, COSTLY])
def test_a_second_run_finds_nothing_to_do(state: str, now: Situation, difference: Difference) -> None:
    """The plan is played on a model of the VM; from where it leads, the next plan is empty."""
    defined, run_state = now.defined, now.run_state
    for action in plan(state, now, difference, [], True):
        defined = defined or action.kind == "define"
        run_state = {"stop": None, "start": "prelaunch", "resume": "running", "pause": "paused"}.get(
            action.kind, run_state
        )
    assert plan(state, Situation(defined, run_state), NONE, [], False) == []


@pytest.mark.parametrize(
    ("run_state", "expected"),
    [("running", True), ("suspended", True), ("watchdog", True), ("paused", False), ("prelaunch", False),
     ("shutdown", False), ("guest-panicked", False), ("io-error", False), ("inmigrate", False), (None, False)],
)  # fmt: skip
def test_who_executes(run_state: t.Optional[str], expected: bool) -> None:
    assert executes(run_state) is expected


DISK = {"name": "d", "size": 1 << 20}
PLUG = diff({}, {"disks": [DISK]}, "x86_64")
UNPLUG = diff({"disks": [DISK]}, {"disks": []}, "x86_64")
GROW = diff({"disks": [DISK]}, {"disks": [{**DISK, "size": 2 << 20}]}, "x86_64")


@pytest.mark.parametrize(
    ("state", "now", "difference", "jobs", "expected"),
    [
        ("present", RUNNING, PLUG, [NEW_DISK], "create_disk plug_disk redefine"),
        ("running", RUNNING, PLUG, [NEW_DISK], "create_disk plug_disk redefine"),
        ("running", PAUSED, PLUG, [NEW_DISK], "create_disk plug_disk redefine resume"),
        ("running", RUNNING, UNPLUG, [], "unplug_disk redefine"),
        ("present", RUNNING, GROW, [GROWN_DISK], "grow_disk redefine"),
        ("present", PAUSED, UNPLUG, [], REFUSED),
        ("present", FRESH, UNPLUG, [], REFUSED),
        ("present", STOPPED, PLUG, [NEW_DISK], "create_disk redefine"),
        ("stopped", RUNNING, PLUG, [NEW_DISK], "stop create_disk redefine"),
        ("restarted", RUNNING, PLUG, [NEW_DISK], "stop create_disk redefine start resume"),
        ("running", RUNNING, diff({}, {"disks": [DISK], "memory": 1024}, "x86_64"), [NEW_DISK], REFUSED),
    ],
)
def test_what_a_running_qemu_takes(
    state: str, now: Situation, difference: Difference, jobs: list[Job], expected: str
) -> None:
    assert planned(state, now, difference, False, *jobs) == expected


def test_a_growing_disk_costs_a_running_vm_nothing() -> None:
    actions = plan("present", RUNNING, GROW, [GROWN_DISK], False)
    assert [action.impact for action in actions] == ["live", "live"]


def test_a_guest_that_is_paused_can_be_resumed_instead() -> None:
    both = diff({"disks": [DISK]}, {"disks": [], "memory": 9}, "x86_64")
    for now, difference, helps in ((PAUSED, UNPLUG, True), (PAUSED, both, False), (RUNNING, both, False)):
        with pytest.raises(MaqetError) as caught:
            plan("running", now, difference, [], False)
        assert caught.value.error_code == "restart_required" and ("resume it" in str(caught.value)) is helps


def test_nothing_costs_a_restart_where_nothing_runs() -> None:
    smaller = diff({"disks": [DISK, {**DISK, "name": "e"}]}, {"disks": [{**DISK, "size": 2 << 20}], "memory": 9})
    actions = plan("present", STOPPED, smaller, [GROWN_DISK], False)
    assert [(action.kind, action.impact) for action in actions] == [("grow_disk", "live"), ("redefine", "live")]
