# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making the snapshots of a VM be what a task wants: observe, mend what a killed task left, plan, carry out."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.snapshots import Wanted
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import migration
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.lines import Deadline
from ansible_collections.maqet.qemu.plugins.module_utils.vm import snapshot_notes, snapshot_repair
from ansible_collections.maqet.qemu.plugins.module_utils.vm.control import Control
from ansible_collections.maqet.qemu.plugins.module_utils.vm.ensure import Desired, Ensure
from ansible_collections.maqet.qemu.plugins.module_utils.vm.jobs import Jobs
from ansible_collections.maqet.qemu.plugins.module_utils.vm.observe import Actual, not_found, observe
from ansible_collections.maqet.qemu.plugins.module_utils.vm.plan import Action
from ansible_collections.maqet.qemu.plugins.module_utils.vm.snapshot_book import Book
from ansible_collections.maqet.qemu.plugins.module_utils.vm.snapshot_plan import plan
from ansible_collections.maqet.qemu.plugins.module_utils.vm.snapshot_work import (
    PREFIX,
    Hand,
    Live,
    Offline,
    may_go_on,
    room,
)
from ansible_collections.maqet.qemu.plugins.module_utils.vm.snapshots import Disk, Snapshot
from ansible_collections.maqet.qemu.plugins.module_utils.vm.stop import Patience

# How long the guest's agent may take to thaw what a killed task may have left frozen, in seconds.
_THAW = 30.0
# How long QEMU may take to let a guest run on that we have paused, whatever is left of the task's time, in seconds.
_RESUMING = 10.0
# RunStates in which a guest has stopped that nobody has paused (QEMU QMP reference): after a revert it runs.
_STUCK = ("guest-panicked", "io-error")


@dataclasses.dataclass(frozen=True)
class Order:
    """One task: which VM, what it wants, how long it may take, who asks and why, and whether it only looks."""

    vm: str
    wanted: Wanted
    patience: Patience
    reason: str
    context: t.Mapping[str, t.Any]
    check: bool


class Snapshots:
    """The snapshots of one VM on their way to what is wanted. First :meth:`decide`, then :meth:`perform`."""

    def __init__(self, where: Layout, order: Order) -> None:
        self._where = where
        self._order = order
        self._paths = where.vm(order.vm)
        self._deadline = Deadline(order.patience.timeout)
        self._jobs: t.Optional[Jobs] = None
        self._control = Control(where, self._paths, order.reason, order.context)
        self._book_or_none: t.Optional[Book] = None
        self.done: list[str] = []
        self.stop_steps: list[str] = []
        self.warnings: list[str] = []

    def close(self) -> None:
        """Let go of the VM's runner."""
        if self._jobs is not None:
            self._jobs.close()

    @property
    def audit(self) -> list[dict[str, t.Any]]:
        """The records of all commands."""
        return self._control.audit + (self._jobs.audit if self._jobs else [])

    @property
    def _book(self) -> Book:
        return t.cast(Book, self._book_or_none)  # :meth:`decide` has opened it

    def listed(self) -> list[dict[str, t.Any]]:
        """All snapshots as they are now, for the result."""
        return [one.as_dict(self._book.now.able) for one in self._book.now.snapshots]

    def decide(self) -> list[Action]:
        """Observe and plan; every reason not to begin is found here. Only what a killed task left is mended already."""
        actual = observe(self._where, self._order.vm, self._order.patience.timeout)
        mark = migration.read(self._paths)
        if mark is not None and mark.held:
            raise migration.refusal(self._order.vm, mark)
        _demand_quiet(self._where, self._order.vm, actual)
        hand: Hand = Offline(self._deadline)
        if actual.qemu is not None:
            order = self._order
            self._jobs = Jobs(self._where, order.vm, self._deadline, order.reason, order.context, order.check)
            hand = Live(self._jobs)
        self._book_or_none = Book(self._paths, actual, hand)
        if self._book.notes.damaged is not None:
            lost = "Descriptions and groups of the snapshots are lost, the snapshots are not"
            self.warnings.append(f"{lost}: {self._book.notes.damaged}")
        actions = self._mend() + plan(self._order.wanted, self._book.now)
        if self._order.check and isinstance(hand, Live):
            self._rehearse(hand, actions)
        return actions

    def _rehearse(self, hand: Live, actions: t.Sequence[Action]) -> None:
        """In check mode: what the guard would deny is denied, and nothing is sent."""
        for action in actions:
            detail = action.detail
            disks = self._book.disks(detail.get("disks", ()))
            if action.kind == "create_snapshot":
                hand.create(detail["name"], disks, detail["memory"], detail["fsfreeze"])
            elif action.kind == "delete_snapshot":
                hand.delete(detail["name"], disks)
            elif action.kind == "revert_snapshot" and detail["memory"]:
                if self._book.now.executes:
                    hand.jobs.change("qmp", [("stop", {}), ("cont", {})])
                hand.load(
                    detail["name"], disks, t.cast(str, t.cast(Snapshot, self._book.find(detail["name"])).state_disk)
                )

    def perform(self, actions: t.Sequence[Action]) -> None:
        """Carry out the plan. A VM that was stopped for a revert of which nothing has happened is started again."""
        again = any(action.kind == "resume" for action in actions)
        steps: dict[str, t.Callable[[Action], None]] = {
            "create_snapshot": self._create,
            "describe_snapshot": self._describe,
            "delete_snapshot": lambda action: self._delete(action.detail["name"], action.detail["disks"]),
            "revert_snapshot": self._revert,
            "stop": self._stop,
            "start": lambda _action: self._start(again),
        }
        for action in actions:
            if action.kind not in steps:  # it is part of another one, or was done while deciding
                continue
            try:
                steps[action.kind](action)
            except MaqetError as error:
                if "stop" in self.done and action.kind == "revert_snapshot" and not error.details.get("reverted_disks"):
                    error.details["restored"] = self._started_again(again)
                raise
            self.done.append(action.kind)

    # -- what a task before us has left

    def _mend(self) -> list[Action]:
        """Finish what a killed task has begun; in check mode only see what would come of it."""
        pending = self._book.pending
        if pending is None:
            return []
        errors: dict[str, t.Optional[str]] = {}
        if self._jobs is not None and not self._order.check:
            errors.update(self._jobs.settle(PREFIX))
            self._book.look()
        load_error = errors.get("snapshot-load")
        snapshot, runs = self._book.find(pending["name"]), self._book.now.runs
        qemu = self._book.actual.qemu
        same = qemu is not None and pending.get("qemu") == dataclasses.asdict(qemu)
        repair = snapshot_repair.decide(
            pending, snapshot, runs, same and not self._book.now.executes, self._order.wanted.state, load_error
        )
        self.warnings.append(repair.words)
        if not self._order.check:
            self._finish(repair, pending, load_error)
        elif repair.kind == snapshot_repair.KEEP and snapshot is not None:
            self._book.remember(snapshot, pending)
        elif repair.kind == snapshot_repair.REMOVE:
            self._book.without(pending["name"])
        if repair.kind in (snapshot_repair.NOTHING, snapshot_repair.KEEP):  # what is there does not change
            return []
        return [Action("repair_snapshot", detail={"name": pending["name"], "how": repair.kind})]

    def _finish(
        self, repair: snapshot_repair.Repair, pending: snapshot_notes.Note, load_error: t.Optional[str]
    ) -> None:
        snapshot = self._book.find(pending["name"])
        if pending.get("fsfreeze") and self._jobs is not None:
            self._thaw(self._jobs)
        if load_error is not None and isinstance(self._book.hand, Live):
            self._book.end()
            raise self._book.hand.unloaded(pending["name"], load_error)
        if repair.kind == snapshot_repair.KEEP and snapshot is not None:
            self._book.remember(snapshot, pending)
            self._book.end()
        elif repair.kind == snapshot_repair.REMOVE and snapshot is not None:
            self._delete(snapshot.name, snapshot.pieces)
        elif repair.kind == snapshot_repair.RESUME and self._jobs is not None:
            self._jobs.ask("cont")
            self._book.seen(dataclasses.replace(self._book.actual, run_state="running"))
        if repair.kind != snapshot_repair.NOTHING:
            self.done.append("repair_snapshot")
        self._book.end()

    def _thaw(self, jobs: Jobs) -> None:
        """The runner thaws by itself; this is for one that was killed too. What is not frozen is left as it is."""
        try:
            jobs.request("guest", [("guest-fsfreeze-thaw", {})], _THAW)
        except MaqetError as error:
            self.warnings.append(f"A snapshot with fsfreeze was broken off, and the guest could not be thawed: {error}")

    # -- steps

    def _create(self, action: Action) -> None:
        wanted, detail = self._order.wanted, action.detail
        note = {
            "description": wanted.description,
            "group": wanted.group,
            "disks": detail["disks"],
            "memory": detail["memory"],
            "fsfreeze": detail["fsfreeze"],
            "intent": self._book.definition.intent,
            "qemu_version": self._version(),
        }
        self._book.begin("create", wanted.name, **note)
        try:
            self._book.hand.create(wanted.name, self._book.disks(detail["disks"]), detail["memory"], detail["fsfreeze"])
        except MaqetError as error:
            more = room(self._book.disks(detail["disks"])[0]) if error.error_code == "job_failed" else ""
            if not may_go_on(error):
                self._clean_up(wanted.name)
            raise MaqetError(f"{error}{more}", error.error_code, **error.details) from None
        self._book.look()
        snapshot = self._book.find(wanted.name)
        if snapshot is None or any(disk not in snapshot.pieces for disk in detail["disks"]):
            raise MaqetError(f"Snapshot {wanted.name!r} is not there although QEMU said so.", "job_failed")
        self._book.remember(snapshot, note)
        self._book.end()

    def _version(self) -> t.Optional[str]:
        """Of the QEMU whose state it is."""
        return self._book.actual.facts.get("qemu", {}).get("version") if self._book.actual.qemu is not None else None

    def _clean_up(self, name: str) -> None:
        """After a failure: nothing of the snapshot stays, and nothing is pending if that has worked."""
        try:
            self._book.look()
            left = self._book.find(name)
            if left is not None:
                self._book.hand.delete(name, self._book.disks(left.pieces))
                self._book.look()
            self._book.end()
        except (MaqetError, OSError) as error:
            self.warnings.append(
                f"What is left of snapshot {name!r} could not be removed, the next task tries: {error}"
            )

    def _describe(self, action: Action) -> None:
        snapshot = t.cast(Snapshot, self._book.find(action.detail["name"]))
        given = {key: value for key, value in action.detail.items() if key != "name"}
        known = snapshot.note or {"memory": snapshot.state_disk is not None, "disks": list(snapshot.pieces)}
        self._book.remember(snapshot, {**known, **given})
        self._book.end()

    def _delete(self, name: str, disks: t.Iterable[str]) -> None:
        self._book.begin("delete", name)
        left: t.Optional[t.Iterable[str]] = disks
        while left is not None:  # qemu-img makes a second one of the same name, and they go one by one
            self._book.hand.delete(name, self._book.disks(left))
            self._book.look()
            snapshot = self._book.find(name)
            left = None if snapshot is None else snapshot.pieces
        self._book.end()

    def _revert(self, action: Action) -> None:
        name, disks = action.detail["name"], self._book.disks(action.detail["disks"])
        snapshot = t.cast(Snapshot, self._book.find(name))
        if isinstance(self._book.hand, Live):
            self._load(self._book.hand, snapshot, disks)
        else:
            if snapshot.state_disk is not None and self._order.wanted.memory is None:
                self.warnings.append(
                    f"Snapshot {name!r} holds the guest's memory, which a VM that does not run cannot take up: it boots"
                    " from the disks. For the memory, start it with maqet_vm: state=paused, and revert then."
                )
            self._book.begin("revert", name)
            try:
                self._book.hand.apply(name, disks)
            except MaqetError as error:
                if not error.details.get("reverted_disks"):  # nothing has happened yet
                    self._book.end()
                raise
        self._book.end()
        self._book.look()

    def _load(self, hand: Live, snapshot: Snapshot, disks: t.Sequence[Disk]) -> None:
        runs, qemu = self._book.now.executes, dataclasses.asdict(self._book.actual.process)
        resume = runs or self._book.actual.run_state in _STUCK
        self._book.begin("revert", snapshot.name, live=True, resume=resume, qemu=qemu)
        try:
            if runs:
                hand.jobs.ask("stop")
            hand.load(snapshot.name, disks, t.cast(str, snapshot.state_disk))
        except MaqetError as error:
            unsent = error.error_code == "qmp_timeout" and not error.details.get("outcome_unknown")
            if unsent or error.error_code in ("policy_denied", "qmp_error", "audit_failed"):  # QEMU has not begun
                if runs:
                    with contextlib.suppress(MaqetError):
                        hand.jobs.ask("cont", seconds=_RESUMING)
                self._book.end()
            elif error.error_code == "job_failed":
                self._book.end()
            raise
        if resume:
            hand.jobs.ask("cont", seconds=_RESUMING)

    # -- a revert that needs the VM stopped

    def _stop(self, _action: Action) -> None:
        ensure = self._ensure("stopped")
        self.stop_steps = ensure.work.stop_steps
        if self._jobs is not None:
            self._jobs.close()
        self._book.hand = Offline(self._deadline)
        self._book.seen(ensure.actual)

    def _start(self, resume: bool) -> None:
        self._ensure("running" if resume else "paused")

    def _started_again(self, resume: bool) -> bool:
        """The VM as it was, after a revert that has failed; whether it runs."""
        try:
            self._start(resume)
        except (MaqetError, OSError):
            return False
        return True

    def _ensure(self, state: str) -> Ensure:
        ensure = Ensure(self._where, Desired(self._order.vm, state, {}, self._order.patience), self._control)
        ensure.decide()
        ensure.perform()
        return ensure


def _demand_quiet(where: Layout, name: str, actual: Actual) -> None:
    """The VM is there, and nobody starts or ends it at this moment."""
    if actual.definition is None:
        raise not_found(where, name)
    if actual.problem is not None:
        raise actual.problem
    if actual.waiting or actual.unready:
        raise MaqetError(
            f"VM {name} is being started or about to be. Wait until it runs, or stop it with maqet_vm: state=stopped.",
            "vm_busy",
        )
