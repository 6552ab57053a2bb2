# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ways down, with real processes that obey, take their time, or do not listen."""

from __future__ import annotations

import fcntl
import os
import pathlib
import signal
import subprocess
import time
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import Process
from ansible_collections.maqet.qemu.plugins.module_utils.vm import stop as room
from ansible_collections.maqet.qemu.plugins.module_utils.vm.control import Control
from ansible_collections.maqet.qemu.plugins.module_utils.vm.observe import Actual
from ansible_collections.maqet.qemu.plugins.module_utils.vm.stop import Patience, stop, sweep
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import PATIENCE
from ansible_collections.maqet.qemu.tests.unit.vm.world import FakeVm


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_QUIT_SECONDS", 0.3)
    monkeypatch.setattr(room, "_BURIAL_SECONDS", 0.3)


def control(vm: FakeVm) -> Control:
    return Control(vm.where, vm.paths, "a test", {"task": "stop it"})


def outcome(vm: FakeVm, patience: Patience, via: t.Any = None) -> t.Union[list[str], MaqetError]:
    try:
        return stop(via or control(vm), vm.paths, vm.actual(), patience)
    except MaqetError as error:
        return error


OBEDIENT = {"system_powerdown", "quit", "cont"}


@pytest.mark.parametrize(
    ("run_state", "obeys", "stop_timeout", "force", "steps", "gone"),
    [
        ("running", OBEDIENT, 60, False, ["system_powerdown"], True),
        ("running", OBEDIENT, 60, True, ["system_powerdown"], True),
        ("running", {"quit"}, 0.2, False, ["system_powerdown"], False),
        ("running", {"quit"}, 0.2, True, ["system_powerdown", "quit"], True),
        ("running", set(), 0.2, True, ["system_powerdown", "quit", "SIGKILL"], True),
        ("running", OBEDIENT, 0, False, [], False),
        ("running", OBEDIENT, 0, True, ["quit"], True),
        ("paused", OBEDIENT, 60, False, ["cont", "system_powerdown"], True),
        ("paused", {"quit", "cont"}, 0.2, False, ["cont", "system_powerdown"], False),
        ("prelaunch", OBEDIENT, 60, False, ["quit"], True),
        ("prelaunch", OBEDIENT, 0, False, ["quit"], True),
        ("prelaunch", set(), 60, True, ["quit", "quit", "SIGKILL"], True),
        ("guest-panicked", OBEDIENT, 60, False, [], False),
        ("guest-panicked", OBEDIENT, 60, True, ["quit"], True),
        ("internal-error", set(), 60, True, ["quit", "SIGKILL"], True),
        ("io-error", OBEDIENT, 60, False, [], False),
        ("shutdown", OBEDIENT, 60, False, [], False),
    ],
)
def test_the_ladder(
    vm: FakeVm, run_state: str, obeys: set[str], stop_timeout: float, force: bool, steps: list[str], gone: bool
) -> None:
    vm.start(run_state)
    vm.obeys = obeys
    assert vm.qemu is not None and vm.runner is not None
    how = control(vm)
    result = outcome(vm, Patience(stop_timeout, force, PATIENCE), how)
    assert vm.heard == [step for step in steps if step != "SIGKILL"]
    assert [record["op"] for record in how.audit] == vm.heard
    if gone:
        assert result == steps
        assert vm.qemu.wait() < 0 and vm.runner.wait() < 0
        assert os.listdir(vm.paths.run) == []
        return
    assert isinstance(result, MaqetError)
    assert result.error_code == "stop_timeout"
    assert result.details == {"stop_steps": steps}
    assert "It still runs. Set force: true" in str(result)
    assert vm.actual().qemu is not None
    assert vm.actual().runner is not None


@pytest.mark.parametrize(
    ("run_state", "stop_timeout", "words"),
    [
        ("guest-panicked", 60, "is 'guest-panicked' and cannot notice a power button"),
        ("running", 0, "was given no time to shut down (stop_timeout: 0)"),
        ("running", 0.2, "did not power off within 0.2 s of the ACPI power button"),
    ],
)
def test_why_it_still_runs(vm: FakeVm, run_state: str, stop_timeout: float, words: str) -> None:
    vm.start(run_state)
    vm.obeys = set()
    result = outcome(vm, Patience(stop_timeout, False, PATIENCE))
    assert str(result).startswith(f"VM web {words}.")


class Broken:
    """A control whose every command ends in one error; with ``dies``, because QEMU has just ended."""

    def __init__(self, vm: FakeVm, code: str, dies: bool = False) -> None:
        self._vm, self._code, self._dies = vm, code, dies

    def send(self, _actual: Actual, command: str, _seconds: float) -> t.Any:
        if self._dies:
            self._vm.end()
        raise MaqetError(f"no {command}", self._code)


@pytest.mark.parametrize(
    ("code", "dies", "force", "expected"),
    [
        ("runner_unreachable", False, False, "runner_unreachable"),
        ("qmp_timeout", False, False, "qmp_timeout"),
        (
            "qmp_timeout",
            False,
            True,
            ["system_powerdown (qmp_timeout)", "quit (qmp_timeout)", "SIGKILL"],
        ),
        ("qemu_gone", True, False, ["system_powerdown (qemu_gone)"]),
        ("policy_denied", False, True, "policy_denied"),
        ("audit_failed", False, True, "audit_failed"),
    ],
)
def test_a_monitor_that_fails(
    vm: FakeVm, code: str, dies: bool, force: bool, expected: t.Union[str, list[str]]
) -> None:
    vm.start()
    result = outcome(vm, Patience(0.2, force, PATIENCE), Broken(vm, code, dies))
    assert (result.error_code if isinstance(result, MaqetError) else result) == expected
    assert (vm.actual().qemu is None) == isinstance(expected, list)


def test_sweeping_after_a_crash(vm: FakeVm) -> None:
    """QEMU and runner were killed: what they left goes, what is not theirs stays."""
    vm.start()
    os.mkdir(os.path.dirname(vm.paths.vnc_socket))
    for name in ("monitor.sock", "direct.sock", "vnc/vnc.sock", "lock"):
        (pathlib.Path(vm.paths.run) / name).touch()
    actual = vm.actual()
    vm.end()
    sweep(vm.paths, actual)
    assert os.listdir(vm.paths.run) == ["lock"]
    sweep(vm.paths, Actual())


def test_sweeping_ends_a_helper_of_a_qemu_that_is_gone(vm: FakeVm) -> None:
    vm.start()
    os.makedirs(vm.paths.home, exist_ok=True)
    with open(vm.paths.helper_log("tpm"), "ab") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        helper = subprocess.Popen(["sleep", "infinity"], stderr=log)
    with helper:
        vm.end()
        sweep(vm.paths, Actual())
        assert helper.wait(PATIENCE) == -signal.SIGTERM


def test_a_runner_that_stays_is_ended(vm: FakeVm) -> None:
    vm.start()
    actual = vm.actual()
    assert vm.runner is not None
    sweep(vm.paths, actual)
    assert vm.runner.wait() == -15


def test_the_runner_is_ended_before_qemu_is_killed(vm: FakeVm, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take that for a failure, and might start QEMU again."""
    vm.start()
    vm.obeys = set()
    ended: list[tuple[int, t.Optional[int]]] = []
    real = room._end

    def end(process: Process, paths: VmPaths) -> None:
        assert vm.qemu is not None
        ended.append((process.pid, vm.qemu.poll()))
        real(process, paths)

    monkeypatch.setattr(room, "_end", end)
    assert outcome(vm, Patience(0.2, True, PATIENCE)) == ["system_powerdown", "quit", "SIGKILL"]
    assert vm.qemu is not None and vm.runner is not None
    assert ended == [(vm.runner.pid, None)], "QEMU lived then"
    assert (vm.runner.wait(), vm.qemu.wait()) == (-signal.SIGTERM, -signal.SIGKILL)


def test_one_that_waits_to_be_started_again_is_not(vm: FakeVm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_BURIAL_SECONDS", PATIENCE)
    vm.define()
    vm.start(phase="waiting")
    assert vm.qemu is not None and vm.runner is not None
    vm.qemu.kill()
    vm.qemu.wait()
    begun = time.monotonic()
    sweep(vm.paths, vm.actual())
    assert vm.runner.wait() == -signal.SIGTERM
    assert os.listdir(vm.paths.run) == []
    assert time.monotonic() - begun < PATIENCE, "it would not have ended by itself"


def test_a_runner_that_hangs_gets_no_successor(vm: FakeVm, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd starts a runner again that was killed: it is told first that this one is not to be."""
    monkeypatch.setattr(room, "_END_SECONDS", 0.2)
    forbidden: list[t.Optional[int]] = []
    vm.start()
    assert vm.runner is not None
    runner = vm.runner
    monkeypatch.setattr(room, "forbid_restart", lambda _paths: forbidden.append(runner.poll()))
    actual = vm.actual()
    os.kill(runner.pid, signal.SIGSTOP)
    sweep(vm.paths, actual)
    assert forbidden == [None], "before it was killed"
    assert runner.wait() == -signal.SIGKILL
