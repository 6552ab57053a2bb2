# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an observer makes of runners that wait, move on, are replaced or hang; and of QEMUs whose notes are lost."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import subprocess
import sys
import threading
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import files, processes
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.vm import observe as room
from ansible_collections.maqet.qemu.plugins.module_utils.vm.facts import look
from ansible_collections.maqet.qemu.plugins.module_utils.vm.observe import observe
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import PATIENCE, UUID, FakeMonitor
from ansible_collections.maqet.qemu.tests.unit.vm.world import FakeVm

LOCKING = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX); print(flush=True); "
LOCKING += "sys.stdin.read()"


@pytest.fixture
def stack() -> t.Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as found:
        yield found


def begun(stack: contextlib.ExitStack, line: list[str], **more: t.Any) -> subprocess.Popen[bytes]:
    """A process that has said that it runs."""
    pipes: t.Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    child = stack.enter_context(subprocess.Popen(line, **pipes, **more))
    stack.callback(child.kill)
    assert child.stdout is not None
    child.stdout.readline()
    return child


def locking_runner(vm: FakeVm, stack: contextlib.ExitStack) -> subprocess.Popen[bytes]:
    """A runner that has its VM's lock, and has written nothing down."""
    line = [sys.executable, "-c", LOCKING, vm.paths.home, "--vm", "web", "--state", vm.where.state]
    return begun(stack, line)


def lost_qemu(vm: FakeVm, stack: contextlib.ExitStack, uuid: str = UUID) -> subprocess.Popen[bytes]:
    """A QEMU of which only its command line tells."""
    line = ["/usr/bin/qemu-system-x86_64", "-c", "echo; read nothing", "-name", "guest=web", "-uuid", uuid]
    os.makedirs(vm.paths.output, exist_ok=True)
    line += ["-chardev", "socket,id=maqet-monitor,fd=5"]
    return begun(stack, line, executable="/bin/sh", cwd=vm.paths.output)


def hold(stack: contextlib.ExitStack, path: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    stack.callback(os.close, fd)
    fcntl.flock(fd, fcntl.LOCK_EX)


def end_qemu(vm: FakeVm) -> None:
    assert vm.qemu is not None
    vm.qemu.kill()
    vm.qemu.wait()


def test_one_that_waits_to_be_started_again(vm: FakeVm) -> None:
    vm.define()
    vm.start(phase="waiting", restarts=3)
    end_qemu(vm)
    actual = vm.actual()
    assert vm.runner is not None and actual.runner is not None
    assert (actual.status, actual.qemu, actual.waiting, actual.unready) == ("restarting", None, True, ())
    assert actual.runner.pid == vm.runner.pid
    found = look(vm.where, ["web"], PATIENCE)[0]
    assert (found["status"], found["restarts"], found["qemu_pid"]) == ("restarting", 3, None)


def test_one_that_nobody_starts_again(vm: FakeVm) -> None:
    vm.define()
    vm.start(phase="waiting")
    end_qemu(vm)
    assert vm.runner is not None
    vm.runner.kill()
    vm.runner.wait()
    actual = vm.actual()
    assert (actual.status, actual.waiting, actual.runner) == ("stopped", False, None)


@pytest.mark.parametrize(
    ("phase", "status"), [("waiting", "restarting"), ("starting", "stopped"), ("failed", "stopped"), (None, "stopped")]
)
def test_a_runner_whose_qemu_has_just_ended_moves_on(vm: FakeVm, phase: t.Optional[str], status: str) -> None:
    """The observer is woken by what it does next."""
    vm.define()
    known = vm.start()
    end_qemu(vm)
    assert vm.runner is not None
    runner = vm.runner

    def move_on() -> None:
        if phase is None:
            runner.kill()
            runner.wait()
        else:
            files.write_json(vm.paths.status, {**known, "phase": phase})

    later = threading.Timer(0.2, move_on)
    later.start()
    actual = vm.actual()
    later.join()
    assert actual.status == status
    assert (actual.runner is not None) == (phase == "waiting")


def test_a_runner_that_does_not_move_on(vm: FakeVm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_BURIAL", 0.2)
    vm.define()
    vm.start()
    end_qemu(vm)
    assert vm.runner is not None
    actual = vm.actual()
    assert (actual.status, [process.pid for process in actual.unready]) == ("stopped", [vm.runner.pid])


@pytest.mark.parametrize("folder", [False, True])
def test_a_runner_that_has_written_nothing_down(
    vm: FakeVm, stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch, folder: bool
) -> None:
    """On its way in or out, or stopped there; nobody turns in circles meanwhile."""
    monkeypatch.setattr(room, "_BURIAL", 0.3)
    looks: list[None] = []
    real = room.load

    def load(paths: VmPaths) -> t.Optional[Definition]:
        looks.append(None)
        return real(paths)

    monkeypatch.setattr(room, "load", load)
    vm.define()
    if folder:
        os.makedirs(vm.paths.run)
    runner = locking_runner(vm, stack)
    actual = vm.actual()
    assert [process.pid for process in actual.unready] == [runner.pid]
    assert len(looks) == 1
    assert runner.stdin is not None
    threading.Timer(0.1, runner.stdin.close).start()
    monkeypatch.setattr(room, "_BURIAL", PATIENCE)
    assert (vm.actual().unready, len(looks)) == ((), 3)


def test_a_runner_that_is_being_replaced(vm: FakeVm) -> None:
    """It lives and does not listen: QEMU itself is asked."""
    vm.define()
    vm.start()
    os.unlink(vm.paths.runner_socket)
    with FakeMonitor(vm.paths.direct_socket, {"query-status": {"status": "paused", "running": False}}):
        actual = vm.actual()
    assert (actual.status, actual.problem) == ("paused", None)
    assert actual.runner is not None


def test_a_qemu_whose_status_is_lost(vm: FakeVm, stack: contextlib.ExitStack) -> None:
    vm.define()
    qemu = lost_qemu(vm, stack)
    assert vm.actual().qemu is None, "its log is not held, so nobody looks"
    hold(stack, vm.paths.qemu_log)
    actual = observe(vm.where, "web", PATIENCE, look=False)
    assert actual.qemu is not None and actual.qemu.pid == qemu.pid


def test_a_qemu_whose_definition_is_lost(vm: FakeVm, stack: contextlib.ExitStack) -> None:
    qemu = lost_qemu(vm, stack)
    actual = observe(vm.where, "web", PATIENCE, look=False)
    assert actual.qemu is not None and actual.qemu.pid == qemu.pid
    assert (actual.definition, actual.status, actual.runner) == (None, "unknown", None)


@pytest.mark.parametrize("other", [None, UUID[:-1] + "9"])
def test_what_holds_its_log_is_not_known(vm: FakeVm, stack: contextlib.ExitStack, other: t.Optional[str]) -> None:
    vm.define()
    hold(stack, vm.paths.qemu_log)
    if other:
        lost_qemu(vm, stack, other)
    with pytest.raises(MaqetError, match="It is left alone") as caught:
        vm.actual()
    assert caught.value.error_code == "qemu_unidentified"
    assert look(vm.where, ["web"], PATIENCE)[0]["status"] == "unknown"


def test_facts_of_a_runner(vm: FakeVm) -> None:
    vm.define()
    told = {"digest": "0123456789abcdef", "protocol": 2, "python": "/p", "python_version": "3.11.2"}
    vm.start()
    status = files.read_json(vm.paths.status)
    files.write_json(vm.paths.status, {**status, "restarts": 2, "runner": {**status["runner"], **told, "x": 1}})
    assert vm.runner is not None
    found = look(vm.where, ["web"], PATIENCE)[0]
    assert found["runner"] == {"pid": vm.runner.pid, **told, "current": False}
    assert found["restarts"] == 2


def test_an_end_that_nobody_has_noted(vm: FakeVm) -> None:
    """Said of a VM that does not run; of one that runs, the end of the one before it."""
    vm.define()
    noted = {"reason": "guest-shutdown", "time": 50.0}
    files.write_json(vm.paths.last_exit, noted)
    note = {"boot_id": processes.boot_id(), "time": 100.0, "pid": 7, "start": 8}
    files.write_json(vm.paths.last_start, note)
    assert look(vm.where, ["web"], PATIENCE)[0]["last_exit"]["qemu"] == {"pid": 7, "start": 8}
    vm.start()
    assert look(vm.where, ["web"], PATIENCE)[0]["last_exit"] == noted
    assert pathlib.Path(vm.paths.last_exit).exists()
