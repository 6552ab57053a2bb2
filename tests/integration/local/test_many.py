# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many tasks and many VMs: locks that name their holder, nothing stale, nothing left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.maqet.qemu.plugins.module_utils.guard.chain import read, verify
from ansible_collections.maqet.qemu.plugins.module_utils.host.locks import locked
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.tests.hosts import modules
from ansible_collections.maqet.qemu.tests.integration.local.conftest import (
    NOTHING,
    Local,
    Result,
    given,
    remove,
    traces,
)

# Holds a VM's lock until its stdin ends.
HOLDER = """
import sys
from ansible_collections.maqet.qemu.plugins.module_utils.host.locks import locked
with locked(sys.argv[1], 10, "maqet_vm (task 'the other one')", "VM"):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(path: str) -> subprocess.Popen[str]:
    """A process that holds the lock ``path``."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_held_lock_is_waited_for_and_its_holder_named(local: Local, name: str) -> None:
    """At most 'timeout'; and a holder that is killed leaves nothing behind that holds."""
    other = holder(layout().vm(name).lock)
    try:
        busy = local.vm(name, state="present", timeout=0.5, **NOTHING)
        assert busy["error_code"] == "vm_busy", busy
        assert "the other one" in busy["msg"] and str(other.pid) in busy["msg"]
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        assert local.vm(name, state="present", timeout=0.5, **NOTHING)["changed"] is True
    finally:
        other.kill()
        other.communicate()


def test_a_lock_that_is_let_go_is_taken(local: Local, name: str) -> None:
    """The task goes on when the other one has ended, long before its time is up."""
    other = holder(layout().vm(name).lock)
    with ThreadPoolExecutor(1) as pool:
        task = pool.submit(local.vm, name, state="present", **NOTHING)
        threading.Event().wait(0)  # nothing to wait for: whichever comes first, the result is the same
        other.communicate("")
        assert task.result(60)["changed"] is True


def test_two_tasks_that_start_the_same_vm(local: Local, name: str) -> None:
    """Both succeed, one of them did it, and there is one QEMU."""
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: local.vm(name, state="running", **NOTHING), range(2)))
    assert not any(result["failed"] for result in results)
    assert sorted(result["changed"] for result in results) == [False, True]
    assert len({result["vm"]["qemu_pid"] for result in results}) == 1


def test_ten_tasks_at_once_on_one_vm(running: str) -> None:
    """In both modes side by side: all are answered, and the chain has them all."""
    path = layout().vm(running).audit_log
    before = len(read(path))

    def ask(number: int) -> Result:
        mode = "direct" if number % 5 == 0 else "ipc"
        return modules.must("maqet_qmp", vm=running, command="query-status", mode=mode)

    with ThreadPoolExecutor(10) as pool:
        results = list(pool.map(ask, range(10)))
    assert [result["response"]["status"] for result in results] == ["running"] * 10
    report = verify(path)
    assert report.ok, report
    assert len(read(path)) == before + 20


def test_twenty_vms_one_after_another() -> None:
    """Started, listed, ended; nothing left behind."""
    names = [f"test-many-{number}" for number in range(20)]
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.callback(remove, name)
            given(name)
        listed = {vm["name"]: vm["status"] for vm in modules.must("maqet_vm_info")["vms"]}
        assert [listed.get(name) for name in names] == ["running"] * 20


def test_our_own_lock_excludes_itself(name: str) -> None:
    """The holder's mark goes with the lock, and so does the folder of a VM that does not run."""
    path = layout().vm(name).lock
    with locked(path, 1, "me", "VM"):
        assert os.path.exists(path)
    assert not os.path.exists(os.path.dirname(path))


def test_a_runner_and_qemu_that_were_both_killed(local: Local, name: str) -> None:
    """A power cut in small: the next task finds no stale pid and starts the VM again."""
    first = given(name)
    for process in ("runner_pid", "qemu_pid"):
        os.kill(first["vm"][process], signal.SIGKILL)
    info, again = local.run({"maqet_vm_info": {"name": name}}, {"maqet_vm": {"name": name, "state": "running"}})
    assert info["vms"][0]["status"] == "stopped"
    assert [action["action"] for action in again["actions"]] == ["start", "resume"]
    assert again["vm"]["status"] == "running"


def test_qemu_alone_is_killed(name: str) -> None:
    """Its runner ends with it and says how it ended."""
    first = given(name)
    os.kill(first["vm"]["qemu_pid"], signal.SIGKILL)
    info = modules.must("maqet_vm_info", name=name)["vms"][0]
    assert info["status"] == "stopped" and info["last_exit"]["status"] == -9
    assert traces(name) == []
