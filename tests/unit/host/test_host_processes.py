# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process is a pid and a start time; its end is told, not asked for."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host import processes
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import Process

Child = subprocess.Popen[bytes]


@pytest.fixture
def child() -> t.Iterator[Child]:
    """Lives until its stdin ends."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.fixture
def zombie() -> t.Iterator[Child]:
    """Has ended, and nobody has asked how."""
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    yield process
    process.wait()


def of(child: Child) -> Process:
    found = processes.of_pid(child.pid)
    assert found is not None
    return found


def test_a_process_is_alive(child: Child) -> None:
    assert of(child).alive()
    assert of(child) == Process(child.pid, of(child).start)
    assert of(child).wait_gone(0) is False


def test_a_pid_that_somebody_else_has_now(child: Child) -> None:
    earlier = Process(child.pid, of(child).start - 1)
    assert not earlier.alive()
    assert earlier.open() is None
    assert earlier.wait_gone(None) is True
    earlier.kill()
    assert of(child).wait_gone(0.2) is False


def test_a_zombie_is_not_alive(zombie: Child) -> None:
    assert os.path.exists(f"/proc/{zombie.pid}")
    assert processes.of_pid(zombie.pid) is None
    assert processes.start_time(zombie.pid) is None
    assert Process(zombie.pid, 0).open() is None


def test_a_zombie_that_we_knew_alive(child: Child) -> None:
    process = of(child)
    process.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not process.alive()
    assert process.wait_gone(None) is True
    process.kill()


def test_no_process(child: Child) -> None:
    process = of(child)
    child.kill()
    child.wait()
    assert processes.of_pid(child.pid) is None
    assert not process.alive()
    assert process.open() is None
    assert process.wait_gone(None) is True
    process.kill()


@pytest.mark.parametrize("seconds", [None, 60])
def test_wait_gone_wakes_at_the_end(child: Child, seconds: t.Optional[float]) -> None:
    process, begun = of(child), time.monotonic()
    assert child.stdin is not None
    end = threading.Thread(target=child.stdin.close)
    end.start()
    assert process.wait_gone(seconds) is True
    end.join()
    assert not process.alive()
    assert time.monotonic() - begun < 30


def test_wait_gone_waits_as_long_as_it_says(child: Child) -> None:
    begun = time.monotonic()
    assert of(child).wait_gone(0.2) is False
    assert time.monotonic() - begun >= 0.2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_kill(child: Child, number: signal.Signals) -> None:
    of(child).kill(number)
    assert child.wait() == -number


def test_no_descriptor_is_left(child: Child) -> None:
    before = os.listdir("/proc/self/fd")
    of(child).wait_gone(0)
    Process(child.pid, 1).open()
    of(child).kill()
    child.wait()
    of_gone = Process(child.pid, 1)
    of_gone.wait_gone(0)
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("name", ["x) Z (y", ") ) )", "a b", "(((", "R 1 2 3"])
def test_a_name_can_hold_anything(name: str) -> None:
    """Field 2 of /proc/PID/stat is the name, in parentheses and unescaped."""
    script = "import sys; open('/proc/self/comm', 'w').write(sys.argv[1]); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script, name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        begun = processes.start_time(child.pid)
        assert child.stdout is not None
        child.stdout.readline()
        with open(f"/proc/{child.pid}/comm", encoding="utf-8") as file:
            assert file.read() == f"{name}\n"
        assert begun is not None and processes.start_time(child.pid) == begun
        child.kill()


def test_the_start_time_is_that_of_the_kernel(child: Child) -> None:
    with open("/proc/uptime", encoding="ascii") as file:
        uptime = float(file.read().split()[0])
    age = uptime - of(child).start / os.sysconf("SC_CLK_TCK")
    assert -1 < age < 60


def test_wait_readable_tells_which() -> None:
    (quiet, far), (loud, near) = os.pipe(), os.pipe()
    try:
        assert processes.wait_readable([quiet, loud], 0) == []
        os.write(near, b"x")
        assert processes.wait_readable([quiet, loud], None) == [loud]
        assert processes.wait_readable([quiet, loud], -1) == [loud]
    finally:
        for fd in (quiet, far, loud, near):
            os.close(fd)


def test_the_boot_has_a_name() -> None:
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", processes.boot_id())
