# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the last QEMU ended, with and without somebody who wrote it down."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host import files, processes
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.qmp import exits
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.events import EventFile
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import event

EXIT = {"reason": "guest-shutdown", "time": 50.0}


@pytest.fixture
def paths(tmp_path: pathlib.Path) -> VmPaths:
    found = Layout(str(tmp_path / "s"), str(tmp_path / "r"), str(tmp_path / "l"), "user").vm("web")
    os.makedirs(found.home)
    os.makedirs(found.run)
    return found


def begun(paths: VmPaths, time: t.Any = 100.0, boot: str = "") -> None:
    note = {"boot_id": boot or processes.boot_id(), "time": time, "pid": 7, "start": 8}
    files.write_json(paths.last_start, note)


def test_the_last_note(paths: VmPaths) -> None:
    assert exits.last(paths) is None
    files.write_json(paths.last_exit, EXIT)
    assert exits.last(paths) == EXIT


GARBAGE = ["", "{", "[]", "5", "null", "{}", '{"time": "x"}', '{"time": null}', "[" * 100_000]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_a_damaged_note_is_none(paths: VmPaths, garbage: str) -> None:
    pathlib.Path(paths.last_exit).write_text(garbage)
    assert exits.last(paths) is None
    pathlib.Path(paths.last_start).write_text(garbage)
    assert exits.unexplained(paths) is None


@pytest.mark.parametrize(("ended", "missing"), [(None, True), (99.9, True), (100.0, False), (100.1, False)])
def test_an_end_is_missing_if_none_was_noted_since_the_start(
    paths: VmPaths, ended: t.Optional[float], missing: bool
) -> None:
    begun(paths)
    if ended is not None:
        files.write_json(paths.last_exit, {**EXIT, "time": ended})
    assert (exits.unexplained(paths) is not None) == missing


def test_nothing_has_begun(paths: VmPaths) -> None:
    assert exits.unexplained(paths) is None
    files.write_json(paths.last_exit, EXIT)
    assert exits.unexplained(paths) is None


def test_one_that_ran_when_the_host_went_down(paths: VmPaths) -> None:
    begun(paths, boot="11111111-2222-3333-4444-555555555555")
    assert exits.unexplained(paths) == {
        "reason": "host-down",
        "detail": "the host went down while the VM ran",
        "status": None,
        "qemu": {"pid": 7, "start": 8},
    }


def test_what_its_events_and_its_log_say(paths: VmPaths) -> None:
    begun(paths)
    pathlib.Path(paths.qemu_log).write_text("terminating on signal 15 from pid 1 (systemd)\n")
    file = EventFile(paths.events)
    file.append({**event("SHUTDOWN", guest=False, reason="host-signal"), "seq": 1}, [])
    file.close()
    assert exits.unexplained(paths) == {
        "reason": "host-signal",
        "detail": "QEMU was asked to end by a signal: terminating on signal 15 from pid 1 (systemd)",
        "status": None,
        "words": "terminating on signal 15 from pid 1 (systemd)",
        "qemu": {"pid": 7, "start": 8},
    }


def test_one_that_left_nothing(paths: VmPaths) -> None:
    begun(paths)
    found = exits.unexplained(paths)
    assert found is not None and found["reason"] == "unknown"


def test_looking_writes_nothing(paths: VmPaths) -> None:
    begun(paths)
    before = sorted(os.listdir(paths.home) + os.listdir(paths.run))
    exits.unexplained(paths)
    assert sorted(os.listdir(paths.home) + os.listdir(paths.run)) == before
