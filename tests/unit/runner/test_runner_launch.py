# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Launching the runner that we carry, and what becomes of the archives that nobody runs from."""

from __future__ import annotations

import fcntl
import os
import pathlib
import sys
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import files, processes, starting
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.host.starting import Start
from ansible_collections.maqet.qemu.plugins.module_utils.runner import bundle, launch

OURS = f"runner-{bundle.own_digest()}.{sys.implementation.cache_tag}.pyz"


@pytest.fixture
def where(tmp_path: pathlib.Path) -> Layout:
    found = Layout(str(tmp_path / "s"), str(tmp_path / "r"), str(tmp_path / "l"), "user")
    os.makedirs(found.vms)
    os.makedirs(found.runners)
    return found


def archives(where: Layout, *names: str) -> None:
    for name in names:
        (pathlib.Path(where.runners) / name).touch()


def vm(where: Layout, name: str, archive: t.Optional[str]) -> None:
    paths = where.vm(name)
    files.make_folder(paths.home)
    if archive is not None:
        pathlib.Path(paths.runner_env).write_text(f'MAQET_PYTHON="/p"\nMAQET_RUNNER="{where.runners}/{archive}"\n')


class Begun:
    """What was begun in the place of :mod:`starting`, and under which locks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.starts: list[tuple[str, Start, t.Any]] = []
        self.removable: t.Any = None
        monkeypatch.setattr(starting, "begin", lambda start: self._note("begin", start, None))
        monkeypatch.setattr(starting, "replace", lambda start, runner: self._note("replace", start, runner))

    def _note(self, act: str, start: Start, runner: t.Any) -> dict[str, t.Any]:
        self.starts.append((act, start, runner))
        assert os.path.exists(start.archive)
        fd = os.open(start.paths.launch_lock, os.O_RDWR)
        try:
            with pytest.raises(BlockingIOError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(fd)
        self.removable = launch.forget_unused(start.where, "")
        return {"phase": "ready"}


@pytest.mark.parametrize(
    ("call", "act", "purpose"),
    [
        (lambda where, _me: launch.launch(where, "web", 7), "begin", "start"),
        (lambda where, _me: launch.adopt(where, "web", 7), "begin", "adopt"),
        (lambda where, me: launch.upgrade(where, "web", me, 7), "replace", "adopt"),
    ],
)
def test_with_what_we_carry(
    where: Layout, monkeypatch: pytest.MonkeyPatch, call: t.Any, act: str, purpose: str
) -> None:
    begun, me = Begun(monkeypatch), processes.of_pid(os.getpid())
    vm(where, "web", None)
    archives(where, "runner-old.pyz")
    assert call(where, me) == {"phase": "ready"}
    ((did, start, runner),) = begun.starts
    assert (did, start.purpose, start.seconds, start.paths) == (act, purpose, 7, where.vm("web"))
    assert start.archive == os.path.join(where.runners, OURS)
    assert runner == (me if act == "replace" else None)
    assert begun.removable == [], "nothing is removed while somebody starts"
    assert os.listdir(where.runners) == [OURS], "and the old one is, when nobody does"


def test_a_start_that_fails_removes_nothing(where: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_start: Start) -> t.NoReturn:
        raise MaqetError("No.", "qemu_failed")

    monkeypatch.setattr(starting, "begin", fail)
    archives(where, "runner-old.pyz")
    with pytest.raises(MaqetError):
        launch.launch(where, "web", 7)
    assert sorted(os.listdir(where.runners)) == sorted(["runner-old.pyz", OURS])


def test_what_a_vm_was_started_with_stays(where: Layout) -> None:
    archives(where, "runner-a.pyz", "runner-b.pyz", "runner-c.pyz", "runner-d.pyz")
    vm(where, "web", "runner-a.pyz")
    vm(where, "db", "runner-c.pyz")
    vm(where, "fresh", None)
    assert launch.forget_unused(where, "runner-d.pyz") == ["runner-b.pyz"]
    assert starting.runners(where) == ["runner-a.pyz", "runner-c.pyz", "runner-d.pyz"]
    files.remove(where.vm("db").home)
    assert launch.forget_unused(where, "runner-d.pyz") == ["runner-c.pyz"]


def test_what_is_no_archive_stays(where: Layout) -> None:
    archives(where, "notes.txt", ".runner-x.pyz.tmp")
    assert launch.forget_unused(where, OURS) == []
    assert sorted(os.listdir(where.runners)) == [".runner-x.pyz.tmp", "notes.txt"]


@pytest.mark.parametrize("how", [fcntl.LOCK_SH, fcntl.LOCK_EX])
def test_nothing_goes_while_somebody_starts(where: Layout, how: int) -> None:
    archives(where, "runner-a.pyz")
    fd = os.open(where.runners, os.O_RDONLY)
    try:
        fcntl.flock(fd, how)
        assert launch.forget_unused(where, OURS) == []
        assert starting.runners(where) == ["runner-a.pyz"]
    finally:
        os.close(fd)
    assert launch.forget_unused(where, OURS) == ["runner-a.pyz"]


def test_two_may_start_at_once(where: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = Begun(monkeypatch)
    fd = os.open(where.runners, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        launch.launch(where, "web", 1)
    finally:
        os.close(fd)
    assert len(begun.starts) == 1


def test_a_host_without_vms(where: Layout) -> None:
    archives(where, "runner-a.pyz")
    files.remove(where.vms)
    assert launch.forget_unused(where, OURS) == []
    assert starting.runners(where) == ["runner-a.pyz"], "who cannot look does not remove"


def test_which_one_is_current() -> None:
    assert launch.is_current(bundle.own_digest()) is True
    for other in ("0" * 16, "", None, 5):
        assert launch.is_current(other) is False


def test_no_descriptor_is_left(where: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    Begun(monkeypatch)
    before = os.listdir("/proc/self/fd")
    launch.launch(where, "web", 1)
    assert os.listdir("/proc/self/fd") == before
