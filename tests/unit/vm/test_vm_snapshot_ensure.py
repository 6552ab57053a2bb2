# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A live revert that fails, by what is known of how far it has come; whole tasks are in the integration tests."""

from __future__ import annotations

import types
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.snapshots import Wanted
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import Process
from ansible_collections.maqet.qemu.plugins.module_utils.vm.observe import Actual
from ansible_collections.maqet.qemu.plugins.module_utils.vm.plan import Action
from ansible_collections.maqet.qemu.plugins.module_utils.vm.snapshot_ensure import Order, Snapshots
from ansible_collections.maqet.qemu.plugins.module_utils.vm.snapshot_work import Live
from ansible_collections.maqet.qemu.plugins.module_utils.vm.snapshots import Piece, Snapshot
from ansible_collections.maqet.qemu.plugins.module_utils.vm.stop import Patience
from ansible_collections.maqet.qemu.tests.unit.vm.world import FakeVm

REVERT = Action("revert_snapshot", detail={"name": "one", "memory": True, "disks": ["a"]})
LATE = MaqetError("There was no time left for snapshot-load; it was not sent.", "qmp_timeout")


class Hand(Live):
    """A QEMU that runs; ``fails`` is what becomes of the load. Time is up when it is asked for."""

    def __init__(self, fails: t.Optional[MaqetError]) -> None:
        self.asked: list[str] = []
        super().__init__(t.cast(t.Any, types.SimpleNamespace(ask=self.ask)))
        self.fails = fails
        self.late = False

    def ask(self, command: str, seconds: t.Optional[float] = None) -> None:
        if self.late and seconds is None:
            raise LATE
        self.asked.append(command)

    def load(self, *_given: t.Any) -> None:
        self.late = True
        if self.fails is not None:
            raise self.fails


class Book(types.SimpleNamespace):
    """``pending`` is what the next task would mend."""

    def __init__(self, hand: Hand) -> None:
        self.pending: t.Optional[str] = None
        super().__init__(hand=hand, actual=Actual(qemu=Process(1, 1), facts={}, run_state="running"))
        self.now = types.SimpleNamespace(executes=True)

    def find(self, name: str) -> Snapshot:
        return Snapshot(name, {"a": Piece(1, 1, 1)})

    def disks(self, _names: t.Any) -> list[t.Any]:
        return []

    def begin(self, op: str, _name: str, **_more: t.Any) -> None:
        self.pending = op

    def end(self) -> None:
        self.pending = None

    def look(self) -> None:
        pass


@pytest.mark.parametrize(
    ("error", "goes_on", "pending"),
    [
        (None, True, None),
        (LATE, True, None),
        (MaqetError("no", "policy_denied"), True, None),
        (MaqetError("?", "qmp_timeout", outcome_unknown=True), False, "revert"),
        (MaqetError("?", "wait_timeout"), False, "revert"),
        (MaqetError("it is reset", "job_failed"), False, None),
    ],
)
def test_whether_the_guest_goes_on(
    vm: FakeVm, error: t.Optional[MaqetError], goes_on: bool, pending: t.Optional[str]
) -> None:
    """It was paused for the load. One that has not begun is none of the guest's affair."""
    work = Snapshots(vm.where, Order("web", Wanted("reverted", "one"), Patience(1, False, 1), "r", {}, False))
    hand = Hand(error)
    book = Book(hand)
    work._book_or_none = t.cast(t.Any, book)
    if error is None:
        work.perform([REVERT])
    else:
        with pytest.raises(MaqetError) as caught:
            work.perform([REVERT])
        assert caught.value is error
    assert hand.asked == (["stop", "cont"] if goes_on else ["stop"])
    assert book.pending == pending
