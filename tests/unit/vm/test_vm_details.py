# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be known of a VM beyond its facts; a real one is asked in tests/integration."""

from __future__ import annotations

import os
import signal
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import of_pid
from ansible_collections.maqet.qemu.plugins.module_utils.vm.details import Details
from ansible_collections.maqet.qemu.plugins.module_utils.vm.observe import Actual

DEFINITION = Definition("web", "0b0e6a0e-6c1c-4d0f-8d3a-111111111111", {"disks": [{"name": "d", "size": 1}]})
STATS = {"rd_bytes": 7, "wr_bytes": 0, "rd_operations": 1, "idle_time_ns": 5}
ANSWERS: dict[str, t.Any] = {
    "query-blockstats": [
        {"qdev": "/machine/peripheral/d/virtio-backend", "stats": STATS},
        {"qdev": "/machine/peripheral/other/virtio-backend", "stats": STATS},
        {"device": "", "stats": STATS},
    ],
    "query-cpus-fast": [{"cpu-index": 0, "thread-id": os.getpid()}],
}


class FakeControl:
    """Answers as QEMU does, and refuses what is not in the table."""

    def send(self, _actual: Actual, command: str, _seconds: float, _arguments: t.Any) -> t.Any:
        if command not in ANSWERS:
            raise MaqetError(f"{command} was refused", "qmp_error")
        return ANSWERS[command]


@pytest.fixture
def where(tmp_path: t.Any) -> Layout:
    return Layout(str(tmp_path / "s"), str(tmp_path / "r"), str(tmp_path / "l"), "user")


def details(where: Layout, actual: Actual, *subjects: str) -> dict[str, t.Any]:
    return Details(where, where.vm("web"), actual, t.cast(t.Any, FakeControl()), 1.0).gather(subjects)


def test_of_a_vm_that_runs(where: Layout) -> None:
    running = Actual(DEFINITION, of_pid(os.getpid()), None, "running")
    found = details(where, running, "statistics", "usage")
    assert found["statistics"] == {"disks": {"d": {"read_bytes": 7, "written_bytes": 0, "reads": 1}}, "networks": {}}
    usage = found["usage"]
    assert usage["runner"] is None and usage["qemu"]["cpu_seconds"] >= 0 and "0" in usage["vcpu_seconds"]
    assert usage["qemu"]["memory"]["rss"] >= usage["qemu"]["memory"]["pss"] > 0
    assert "errors" not in found


def test_threads_are_numbers(where: Layout, monkeypatch: pytest.MonkeyPatch, tmp_path: t.Any) -> None:
    """A QEMU that the guest has taken over can say anything: here, the folder of a pipe that nobody writes to."""
    os.mkfifo(tmp_path / "stat")
    told = [{"cpu-index": 0, "thread-id": f"../../..{tmp_path}"}, {"cpu-index": 1, "thread-id": os.getpid()}]
    monkeypatch.setitem(ANSWERS, "query-cpus-fast", told)
    signal.alarm(20)
    try:
        found = details(where, Actual(DEFINITION, of_pid(os.getpid()), None, "running"), "usage")
    finally:
        signal.alarm(0)
    assert list(found["usage"]["vcpu_seconds"]) == ["1"]


def test_one_subject_that_fails_does_not_hide_the_others(where: Layout) -> None:
    running = Actual(DEFINITION, of_pid(os.getpid()), None, "running")
    found = details(where, running, "jobs", "statistics")
    assert found["jobs"] is None and found["errors"] == {"jobs": "query-jobs was refused"}
    assert found["statistics"]["disks"]


def test_of_a_vm_that_does_not_run(where: Layout) -> None:
    found = details(where, Actual(DEFINITION), "usage", "statistics", "jobs", "events")
    assert found == {"usage": None, "statistics": None, "jobs": None, "events": []}
