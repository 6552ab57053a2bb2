# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of a VM between real processes: it excludes, names its holder, and is never left behind."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import locks

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
LOCKED = "from ansible_collections.maqet.qemu.plugins.module_utils.host.locks import locked\nimport os, sys\n"
# Holds the lock until its stdin ends.
HOLDER = (
    LOCKED
    + """
with locked(sys.argv[1], 30, "maqet_vm (task 'first')", "VM web"):
    print("held", flush=True)
    sys.stdin.read()
"""
)
# Adds to a number in a file that only the lock protects, many times.
COUNTER = (
    LOCKED
    + """
for _ in range(int(sys.argv[3])):
    with locked(sys.argv[1], 60, "counter", "the counter"):
        with open(sys.argv[2], "r+") as file:
            number = int(file.read())
            file.seek(0)
            file.write(str(number + 1))
"""
)

Holder = subprocess.Popen[str]


@pytest.fixture
def lock(tmp_path: pathlib.Path) -> str:
    return str(tmp_path / "run" / "web" / "lock")


@pytest.fixture
def holder(lock: str) -> t.Iterator[Holder]:
    """Another process that holds the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, lock],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        yield child
        child.kill()


def release(child: Holder) -> None:
    assert child.stdin is not None
    child.stdin.close()


def kill(child: Holder) -> None:
    child.kill()


def once_it_waits(monkeypatch: pytest.MonkeyPatch, act: t.Callable[[], None]) -> None:
    """Call ``act`` when this process has found the lock taken and sets the alarm that ends its wait."""
    real, acts = signal.setitimer, iter([act])

    def setitimer(which: int, seconds: float, interval: float = 0) -> tuple[float, float]:
        before = real(which, seconds, interval)
        next(acts, lambda: None)()
        return before

    monkeypatch.setattr(signal, "setitimer", setitimer)


def excludes(path: str) -> bool:
    """Whether the lock that this process holds keeps others out: flock(2) belongs to the open file, not to us."""
    with pytest.raises(MaqetError) as caught, locks.locked(path, 0, "second", "VM web"):
        pass
    return caught.value.error_code == "vm_busy"


@pytest.mark.parametrize("end", [release, kill])
@pytest.mark.parametrize("company", [True, False])
def test_who_waits_gets_it(
    monkeypatch: pytest.MonkeyPatch, lock: str, holder: Holder, end: t.Callable[[Holder], None], company: bool
) -> None:
    """Without company in the folder, the holder removes file and folder under the one who waits for it."""
    other = pathlib.Path(lock).with_name("status.json")
    if company:
        other.touch()
    once_it_waits(monkeypatch, lambda: end(holder))
    with locks.locked(lock, 30, "me", "VM web"):
        assert holder.wait() == (-signal.SIGKILL if end is kill else 0)
        assert json.loads(pathlib.Path(lock).read_text())["pid"] == os.getpid()
        assert excludes(lock)
    assert other.exists() is company
    assert os.path.exists(os.path.dirname(lock)) is company
    assert pathlib.Path(lock).exists() is company


@pytest.mark.parametrize("seconds", [0, 0.2])
def test_who_waits_too_long_is_told_who_holds_it(lock: str, holder: Holder, seconds: float) -> None:
    before = signal.getsignal(signal.SIGALRM)
    begun = time.monotonic()
    with pytest.raises(MaqetError) as caught, locks.locked(lock, seconds, "me", "VM web"):
        pytest.fail("two have the lock")
    assert time.monotonic() - begun >= seconds
    assert caught.value.error_code == "vm_busy"
    assert caught.value.details["holder"]["pid"] == holder.pid
    message = str(caught.value)
    assert f"VM web is held by maqet_vm (task 'first') (pid {holder.pid})" in message
    assert f"waited {seconds:g} s" in message
    assert "'timeout'" in message
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    release(holder)
    assert holder.wait() == 0


def test_a_holder_that_has_not_signed(lock: str, holder: Holder) -> None:
    os.truncate(lock, 0)
    with pytest.raises(MaqetError, match="held by another task; waited 0 s"), locks.locked(lock, 0, "me", "VM web"):
        pytest.fail("two have the lock")


def test_killed_holders_leave_nothing_that_counts(lock: str, holder: Holder) -> None:
    holder.kill()
    holder.wait()
    with locks.locked(lock, 0, "me", "VM web"):
        assert excludes(lock)
    assert not os.path.exists(os.path.dirname(lock))


def test_looking_at_a_lock_that_is_let_go(lock: str, holder: Holder) -> None:
    """Who looks does not hold it, and may give its holder time."""
    assert locks.is_held(lock) and locks.is_held(lock, 0.05)
    assert holder.stdin is not None
    holder.stdin.close()
    assert not locks.is_held(lock, 30.0)
    assert not locks.is_held(f"{lock}.none", 30.0)


def test_an_error_in_the_block_releases(lock: str) -> None:
    with pytest.raises(ZeroDivisionError), locks.locked(lock, 0, "me", "VM web"):
        raise ZeroDivisionError
    with locks.locked(lock, 0, "me", "VM web"):
        pass
    assert not os.path.exists(os.path.dirname(lock))


@pytest.mark.parametrize("held", [False, True])
def test_discard_removes_what_nobody_holds(lock: str, request: pytest.FixtureRequest, held: bool) -> None:
    if held:
        request.getfixturevalue("holder")
    else:
        os.makedirs(os.path.dirname(lock))
        pathlib.Path(lock).touch()
    locks.discard(lock)
    assert os.path.exists(lock) is os.path.exists(os.path.dirname(lock)) is held


@pytest.mark.parametrize("there", ["nothing", "empty folder", "other file"])
def test_discard_without_a_lock(lock: str, there: str) -> None:
    folder = pathlib.Path(lock).parent
    if there != "nothing":
        folder.mkdir(parents=True)
    if there == "other file":
        (folder / "status.json").touch()
    locks.discard(lock)
    assert folder.exists() is (there == "other file")


def test_the_last_of_two_that_leave_together_cleans_up(lock: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runner ends just when a task has seen that the folder is not empty, and finds the lock still held."""
    real, other = os.ftruncate, pathlib.Path(lock).with_name("status.json")

    def ftruncate(fd: int, size: int) -> None:
        real(fd, size)
        if other.exists() and leaving:
            other.unlink()
            locks.discard(lock)
            assert os.path.exists(lock)

    leaving: list[bool] = []
    monkeypatch.setattr(os, "ftruncate", ftruncate)
    with locks.locked(lock, 0, "me", "VM web"):
        other.touch()
        leaving.append(True)
    assert not other.exists()
    assert not os.path.exists(os.path.dirname(lock))


def test_a_link_in_its_place_is_not_followed(lock: str, tmp_path: pathlib.Path) -> None:
    os.makedirs(os.path.dirname(lock))
    (tmp_path / "victim").write_text("precious")
    os.symlink(tmp_path / "victim", lock)
    with pytest.raises(OSError, match="symbolic links"), locks.locked(lock, 0, "me", "VM web"):
        pytest.fail("a link was locked")
    assert (tmp_path / "victim").read_text() == "precious"


@pytest.mark.parametrize("company", [False, True], ids=["folder comes and goes", "folder stays"])
def test_ten_contenders(tmp_path: pathlib.Path, lock: str, company: bool) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    if company:
        os.makedirs(os.path.dirname(lock))
        pathlib.Path(lock).with_name("status.json").touch()
    command = [sys.executable, "-c", COUNTER, lock, str(counter), "40"]
    contenders = [
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) for _number in range(10)
    ]
    words = [contender.communicate()[1] for contender in contenders]
    assert words == [""] * 10
    assert counter.read_text() == "400"
    assert os.path.exists(os.path.dirname(lock)) is company
