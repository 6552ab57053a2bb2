# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who finds no runner gets one, and asks it the same; but only what nobody has read."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import starting
from ansible_collections.maqet.qemu.plugins.module_utils.host.starting import Start
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import Unread
from ansible_collections.maqet.qemu.plugins.module_utils.vm import revive as room
from ansible_collections.maqet.qemu.plugins.module_utils.vm.revive import asking, revive
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import PATIENCE
from ansible_collections.maqet.qemu.tests.unit.vm.world import FakeVm


def unread() -> Unread:
    return Unread("gone", "runner_unreachable")


class Asked:
    """Answers after as many failures as are given."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.count = 0

    def __call__(self) -> str:
        self.count += 1
        if self.failures:
            raise self.failures.pop(0)
        return "answer"


@pytest.fixture
def revived(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(room, "revive", lambda _where, name, _seconds: found.append(name) or True)  # type: ignore[func-returns-value]
    return found


@pytest.mark.parametrize("failures", [0, 1, 3])
def test_what_was_not_read_is_asked_again(vm: FakeVm, revived: list[str], failures: int) -> None:
    ask = Asked(*(unread() for _number in range(failures)))
    assert asking(vm.where, "web", PATIENCE, ask) == "answer"
    assert (ask.count, revived) == (failures + 1, ["web"] * failures)


@pytest.mark.parametrize(
    "error",
    [
        MaqetError("ended before it answered", "runner_unreachable", outcome_unknown=True),
        MaqetError("a stranger", "runner_unreachable"),
        MaqetError("late", "qmp_timeout", outcome_unknown=True),
        MaqetError("no", "policy_denied"),
    ],
)
def test_nothing_else_is(vm: FakeVm, revived: list[str], error: MaqetError) -> None:
    ask = Asked(error)
    with pytest.raises(MaqetError) as caught:
        asking(vm.where, "web", PATIENCE, ask)
    assert (caught.value, ask.count, revived) == (error, 1, [])


def test_there_is_an_end_to_it(vm: FakeVm, revived: list[str]) -> None:
    ask = Asked(*(unread() for _number in range(99)))
    with pytest.raises(Unread):
        asking(vm.where, "web", PATIENCE, ask)
    assert 1 < ask.count == len(revived) + 1 < 20


class Started:
    """What is begun in the place of a real runner; it gets the VM a runner that lives."""

    def __init__(self, vm: FakeVm, monkeypatch: pytest.MonkeyPatch) -> None:
        self.starts: list[Start] = []
        monkeypatch.setattr(starting, "begin", self._begin)
        os.makedirs(vm.where.runners)
        self.archive = os.path.join(vm.where.runners, "runner-aaaa.pyz")
        pathlib.Path(self.archive).touch()
        vm.define()
        pathlib.Path(vm.paths.runner_env).write_text(f'MAQET_RUNNER="{self.archive}"\n')

    def _begin(self, start: Start) -> dict[str, t.Any]:
        self.starts.append(start)
        assert os.path.exists(start.paths.launch_lock)
        return {}


@pytest.fixture
def started(vm: FakeVm, monkeypatch: pytest.MonkeyPatch) -> Started:
    return Started(vm, monkeypatch)


def bereave(vm: FakeVm) -> None:
    vm.start()
    assert vm.runner is not None
    vm.runner.kill()
    vm.runner.wait()


@pytest.mark.parametrize(("seconds", "given"), [(60.0, 60.0), (0.5, 5.0)])
def test_one_is_started(vm: FakeVm, started: Started, seconds: float, given: float) -> None:
    """The one that it had, and with time enough for it."""
    bereave(vm)
    assert revive(vm.where, "web", seconds) is True
    (start,) = started.starts
    assert (start.archive, start.purpose, start.paths, start.seconds) == (started.archive, "adopt", vm.paths, given)


def test_one_is_there_by_now(vm: FakeVm, started: Started) -> None:
    vm.start()
    assert revive(vm.where, "web", PATIENCE) is False
    assert started.starts == []


def test_its_archive_is_gone(vm: FakeVm, started: Started) -> None:
    bereave(vm)
    os.unlink(started.archive)
    with pytest.raises(MaqetError, match=r"and its archive in .* too\. Run maqet_vm on it") as caught:
        revive(vm.where, "web", PATIENCE)
    assert caught.value.error_code == "runner_unreachable" and not isinstance(caught.value, Unread)
    assert started.starts == []


@pytest.mark.parametrize(("name", "code"), [("web", "vm_not_running"), ("other", "vm_not_found")])
def test_none_for_what_does_not_run(vm: FakeVm, started: Started, name: str, code: str) -> None:
    with pytest.raises(MaqetError) as caught:
        revive(vm.where, name, PATIENCE)
    assert caught.value.error_code == code
    assert started.starts == [] and not os.path.exists(vm.where.run), "and no folder is made for it"
