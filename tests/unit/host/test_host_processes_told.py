# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel tells of processes that are not our children: their command lines, and how they ended."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host import processes
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import Process

KERNEL = tuple(int(part) for part in platform.release().split(".")[:2])
TELLS = KERNEL >= (6, 15)

# Prints the pid of a child of its own, which does what it is told; and asks how that ended when it is told to.
PARENT = """
import subprocess, sys
child = subprocess.Popen(["sh", "-c", "read word; " + sys.argv[1]], stdin=subprocess.PIPE)
print(child.pid, flush=True)
sys.stdin.readline()
child.stdin.close()
sys.stdin.readline()
child.wait()
sys.stdin.read()
"""


class Grandchild:
    """A process whose parent is not us; ``end`` has it end, ``reap`` has its parent ask how."""

    def __init__(self, stack: contextlib.ExitStack, script: str) -> None:
        pipes: t.Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._parent = stack.enter_context(subprocess.Popen([sys.executable, "-c", PARENT, script], **pipes))
        stack.callback(self._parent.kill)
        assert self._parent.stdout is not None
        process = processes.of_pid(int(self._parent.stdout.readline()))
        assert process is not None
        self.process = process
        pidfd = process.open()
        assert pidfd is not None
        stack.callback(os.close, pidfd)
        self.pidfd = pidfd

    def end(self) -> None:
        self._go_on()
        assert self.process.wait_gone(60)

    def reap(self) -> None:
        self._go_on()

    def _go_on(self) -> None:
        assert self._parent.stdin is not None
        self._parent.stdin.write("\n")
        self._parent.stdin.flush()


def waiting(stack: contextlib.ExitStack, *words: str) -> subprocess.Popen[bytes]:
    """A shell with these words, once it runs: right after exec(2) the kernel does not have them yet."""
    whole = [words[0], "-c", "echo; read nothing", *words[1:]]
    pipes: t.Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    child = stack.enter_context(subprocess.Popen(whole, executable="/bin/sh", **pipes))
    stack.callback(child.kill)
    assert child.stdout is not None
    child.stdout.readline()
    return child


@pytest.fixture
def stack() -> t.Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as found:
        yield found


@pytest.mark.skipif(not TELLS, reason="Linux tells it from 6.15 on")
@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", -9), ("kill -ABRT $$", -signal.SIGABRT)]
)
def test_how_another_ones_child_ended(stack: contextlib.ExitStack, script: str, status: int) -> None:
    child = Grandchild(stack, script)
    child.end()
    child.reap()
    assert processes.exit_status(child.pidfd, 60) == status
    assert processes.exit_status(child.pidfd, 0) == status, "it is told as often as one asks"


def test_one_whose_parent_does_not_ask(stack: contextlib.ExitStack) -> None:
    child = Grandchild(stack, "exit 7")
    child.end()
    begun = time.monotonic()
    assert processes.exit_status(child.pidfd, 0.3) is None
    assert 0.3 <= time.monotonic() - begun < 30


def test_one_that_lives(stack: contextlib.ExitStack) -> None:
    assert processes.exit_status(Grandchild(stack, "true").pidfd, 0) is None


def test_room_behind_a_command_line_is_no_words(stack: contextlib.ExitStack) -> None:
    assert processes.command_line(waiting(stack, "sh", "", "").pid) == ["sh", "-c", "echo; read nothing"]


@pytest.mark.parametrize("words", [["sh", "", "b"], ["a b", "\u00e9\n", "\udcff"], ["sh"]])
def test_a_command_line(stack: contextlib.ExitStack, words: list[str]) -> None:
    child = waiting(stack, *words)
    whole = [words[0], "-c", "echo; read nothing", *words[1:]]
    assert processes.command_line(child.pid) == whole
    assert (child.pid, whole) in list(processes.command_lines())
    child.kill()
    child.wait()
    assert processes.command_line(child.pid) == []
    assert child.pid not in dict(processes.command_lines())


def test_a_zombie_and_the_kernel_have_none(stack: contextlib.ExitStack) -> None:
    child = subprocess.Popen(["true"])
    stack.callback(child.wait)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert processes.command_line(child.pid) == []
    if os.path.exists("/proc/2/comm") and Path("/proc/2/comm").read_text() == "kthreadd\n":
        assert processes.command_line(2) == []  # in a namespace of pids it is somebody else


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["q", "-uuid", "u"], "u"),
        (["q", "-uuid", "u", "-uuid", "v"], "u"),
        (["q", "-uuid"], None),
        (["q"], None),
        ([], None),
        (["-uuid"], None),
        (["q", "x-uuid", "u"], None),
        (["q", "-name", "-uuid", "u"], "u"),
    ],
)
def test_the_word_behind_an_option(words: list[str], found: t.Optional[str]) -> None:
    assert processes.argument(words, "-uuid") == found


def test_with_arguments(stack: contextlib.ExitStack) -> None:
    word = f"maqet-test-{os.getpid()}"
    pairs = (("--vm", word), ("--state", "/s"))
    assert processes.with_arguments(*pairs) is None
    child = waiting(stack, "sh", "--vm", word, "--state", "/s")
    found = processes.with_arguments(*pairs)
    assert isinstance(found, Process) and found.pid == child.pid
    assert processes.with_arguments(("--vm", word), ("--state", "/other")) is None


def test_age(stack: contextlib.ExitStack) -> None:
    child = stack.enter_context(subprocess.Popen(["cat"], stdin=subprocess.PIPE))
    stack.callback(child.kill)
    process = processes.of_pid(child.pid)
    assert process is not None
    first = processes.age(process)
    assert -0.1 <= first < 60
    assert first <= processes.age(process)
