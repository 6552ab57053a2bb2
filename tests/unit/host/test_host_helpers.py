# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Helpers are found by what they hold, whoever started them, and nobody else is taken for one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import signal
import subprocess
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host import helpers, processes
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths

Start = t.Callable[..., processes.Process]


@pytest.fixture
def paths(tmp_path: pathlib.Path) -> VmPaths:
    found = Layout(str(tmp_path / "s[1]"), str(tmp_path / "r"), str(tmp_path / "l"), "user").vm("web")
    os.makedirs(found.home)
    return found


@pytest.fixture
def start(paths: VmPaths) -> t.Iterator[Start]:
    """Start a process with its stderr in a helper's log; ``lock`` as helpers do."""
    with contextlib.ExitStack() as stack:

        def begin(kind: str, *words: str, lock: bool = True) -> processes.Process:
            with open(paths.helper_log(kind), "ab") as log:
                if lock:
                    fcntl.flock(log, fcntl.LOCK_EX)
                child = subprocess.Popen(
                    words or ("sleep", "infinity"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
                )
            stack.enter_context(child)
            stack.callback(child.kill)
            found = processes.of_pid(child.pid)
            assert found is not None
            if words:
                assert child.stdout is not None
                child.stdout.readline()
            return found

        yield begin


def test_each_is_found_by_its_kind(paths: VmPaths, start: Start) -> None:
    assert helpers.living(paths) == {}
    tpm, other = start("tpm"), start("x-y")
    assert helpers.living(paths) == {"tpm": [tpm], "x-y": [other]}
    helpers.end(tpm)
    assert helpers.living(paths) == {"x-y": [other]}


def test_a_file_that_nobody_holds_locked_has_no_helper(paths: VmPaths, start: Start) -> None:
    start("tpm", lock=False)
    assert helpers.living(paths) == {}


def test_who_only_holds_the_lock_is_no_helper(paths: VmPaths) -> None:
    with open(paths.helper_log("tpm"), "ab") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        assert helpers.living(paths) == {}


def test_one_that_does_not_obey_is_ended_all_the_same(
    paths: VmPaths, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(helpers, "_OBEYING", 0.2)
    stubborn = start("tpm", "sh", "-c", "trap '' TERM; echo; while :; do sleep 1000; done")
    helpers.end(stubborn)
    assert not stubborn.alive()
    for process in helpers.living(paths).get("tpm", ()):  # the sleep of the shell has inherited the log
        process.kill(signal.SIGKILL)
