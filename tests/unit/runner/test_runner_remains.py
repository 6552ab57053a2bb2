# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a QEMU leaves: notes that say why, and nothing beside them."""

from __future__ import annotations

import json
import os
import pathlib
import time
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host import files, locks, processes
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.qmp import exits
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.ending import explain
from ansible_collections.maqet.qemu.plugins.module_utils.runner import remains
from ansible_collections.maqet.qemu.plugins.module_utils.runner.restarts import Decision

QEMU = {"pid": 7, "start": 8, "version": "7.2.22", "binary": "/usr/bin/qemu", "uid": 1000}
KILLED = explain(-9, [], "bye")


@pytest.fixture
def paths(tmp_path: pathlib.Path) -> VmPaths:
    found = Layout(str(tmp_path / "s"), str(tmp_path / "r"), str(tmp_path / "l"), "user").vm("web")
    for folder in (found.home, found.run, os.path.dirname(found.vnc_socket)):
        os.makedirs(folder)
    return found


def read(path: str) -> t.Any:
    return json.loads(pathlib.Path(path).read_text())


def test_a_start_is_noted_and_its_end_missed(paths: VmPaths) -> None:
    before = time.time()
    remains.begun(paths, QEMU)
    note = read(paths.last_start)
    assert before <= note.pop("time") <= time.time()
    assert note == {"boot_id": processes.boot_id(), "pid": 7, "start": 8}
    assert exits.last(paths) is None
    assert exits.unexplained(paths) is not None
    remains.ended(paths, KILLED, QEMU, 1.0, Decision(None, 0))
    assert exits.unexplained(paths) is None


def test_the_end_of_the_one_before_is_noted_at_the_next_start(paths: VmPaths) -> None:
    earlier = {"boot_id": "11111111-2222-3333-4444-555555555555", "time": time.time() - 60, "pid": 1, "start": 2}
    files.write_json(paths.last_start, earlier)
    remains.missed(paths)
    remains.begun(paths, QEMU)
    note = exits.last(paths)
    assert note is not None
    assert (note["reason"], note["qemu"]) == ("host-down", {"pid": 1, "start": 2})
    assert read(paths.last_start)["pid"] == 7
    assert exits.unexplained(paths) is not None, "of this one nothing is noted yet"


def test_an_end_that_was_noted_is_not_noted_again(paths: VmPaths) -> None:
    remains.begun(paths, QEMU)
    remains.ended(paths, KILLED, QEMU, 1.0, Decision(None, 0))
    before = read(paths.last_exit)
    remains.missed(paths)
    assert read(paths.last_exit) == before


@pytest.mark.parametrize(
    ("qemu", "uptime", "decision", "more"),
    [
        (QEMU, 17.234, Decision(1.0, 1), {"restarts": 1, "uptime": 17.2}),
        (QEMU, 0.0, Decision(None, 10, gave_up=True), {"restarts": 10, "uptime": 0.0, "gave_up": True}),
        (None, 5.0, Decision(None, 0), {"restarts": 0, "uptime": 5.0}),
        ({}, 5.0, Decision(None, 0), {"restarts": 0, "uptime": 5.0}),
    ],
)
def test_an_end_is_noted(paths: VmPaths, qemu: t.Any, uptime: float, decision: Decision, more: t.Any) -> None:
    before = time.time()
    remains.ended(paths, KILLED, qemu, uptime, decision)
    note = read(paths.last_exit)
    assert before <= note.pop("time") <= time.time()
    expected = {**KILLED.as_dict(), **more}
    if qemu:
        expected["qemu"] = {"pid": 7, "start": 8, "version": "7.2.22"}
    assert note == expected


def test_the_notes_of_a_host_that_cannot_be_written_to(paths: VmPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: t.Any, **_more: t.Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_atomic", full)
    pathlib.Path(paths.monitor_socket).touch()
    remains.missed(paths)
    remains.begun(paths, QEMU)
    remains.ended(paths, KILLED, QEMU, 1.0, Decision(None, 0))
    assert not os.path.exists(paths.monitor_socket), "it is tidied up all the same"


def fill(paths: VmPaths) -> None:
    sockets = (paths.runner_socket, paths.monitor_socket, paths.direct_socket, paths.agent_socket, paths.vnc_socket)
    for path in (*sockets, paths.serial_socket, paths.status, paths.events, paths.order):
        pathlib.Path(path).touch()


def test_what_stays_for_the_next_start(paths: VmPaths) -> None:
    """Events and status tell the next runner where we are, also if this one is killed now."""
    fill(paths)
    remains.ended(paths, KILLED, QEMU, 1.0, Decision(1.0, 1))
    assert sorted(os.listdir(paths.run)) == ["events.jsonl", "order.json", "status.json"]


def test_nothing_stays_after_the_last(paths: VmPaths) -> None:
    fill(paths)
    pathlib.Path(paths.lock).touch()
    remains.sweep(paths)
    assert not os.path.exists(paths.run)
    remains.sweep(paths)


def test_the_lock_of_who_waits_for_it_stays(paths: VmPaths) -> None:
    fill(paths)
    with locks.locked(paths.lock, 0, "a task", "VM web"):
        remains.sweep(paths)
        assert os.listdir(paths.run) == ["lock"]
    assert not os.path.exists(paths.run)
