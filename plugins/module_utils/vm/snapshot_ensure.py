# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making the snapshots of a VM be what a task wants: observe, mend what a killed task left, plan, carry out."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.snapshots import Wanted
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.lines import Deadline
from ansible_collections.maqet.qemu.plugins.module_utils.vm import snapshot_notes, snapshot_repair, snapshots
from ansible_collections.maqet.qemu.plugins.module_utils.vm.control import Control
from ansible_collections.maqet.qemu.plugins.module_utils.vm.ensure import Desired, Ensure
from ansible_collections.maqet.qemu.plugins.module_utils.vm.jobs import Jobs
from ansible_collections.maqet.qemu.plugins.module_utils.vm.observe import Actual, not_found, observe
from ansible_collections.maqet.qemu.plugins.module_utils.vm.plan import Action, executes
from ansible_collections.maqet.qemu.plugins.module_utils.vm.snapshot_plan import Situation, plan
from ansible_collections.maqet.qemu.plugins.module_utils.vm.snapshot_work import (
    PREFIX,
    Hand,
    Infos,
    Live,
    Offline,
    may_go_on,
    room,
)
from ansible_collections.maqet.qemu.plugins.module_utils.vm.snapshots import Disk, Snapshot
from ansible_collections.maqet.qemu.plugins.module_utils.vm.stop import Patience

# How long the guest's agent may take to thaw what a killed task may have left frozen, in seconds.
_THAW = 30.0


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
        self._notes = snapshot_notes.load(self._paths)
        self._found: Infos = {}
        self._jobs: t.Optional[Jobs] = None
        self._hand: Hand = Offline(self._deadline)
        self._now = Situation(order.vm, (), (), {}, os.uname().machine)
        self._control = Control(where, self._paths, order.reason, order.context)
        self.actual = Actual()
        self.done: list[str] = []
        self.stop_steps: list[str] = []
        self.warnings: list[str] = [] if self._notes.damaged is None else [_lost(self._notes.damaged)]

    def close(self) -> None:
        """Let go of the VM's runner."""
        if self._jobs is not None:
            self._jobs.close()

    @property
    def audit(self) -> list[dict[str, t.Any]]:
        """The records of all commands."""
        return self._control.audit + (self._jobs.audit if self._jobs else [])

    @property
    def definition(self) -> Definition:
        """The VM's, which :meth:`decide` has found."""
        return t.cast(Definition, self.actual.definition)

    def listed(self) -> list[dict[str, t.Any]]:
        """All snapshots as they are now, for the result."""
        return [one.as_dict(self._now.able) for one in self._now.snapshots]

    def decide(self) -> list[Action]:
        """Observe and plan; every reason not to begin is found here. Only what a killed task left is mended already."""
        self.actual = observe(self._where, self._order.vm, self._order.patience.timeout)
        _demand_quiet(self._where, self._order.vm, self.actual)
        if self.actual.qemu is not None:
            self._jobs = Jobs(
                self._where, self._order.vm, self._deadline, self._order.reason, self._order.context, self._order.check
            )
            self._hand = Live(self._jobs)
        self._look()
        actions = self._mend() + plan(self._order.wanted, self._now)
        if self._order.check and isinstance(self._hand, Live):
            self._rehearse(self._hand, actions)
        return actions

    def _rehearse(self, hand: Live, actions: t.Sequence[Action]) -> None:
        """In check mode: what the guard would deny is denied, and nothing is sent."""
        for action in actions:
            detail = action.detail
            disks = self._disks(detail.get("disks", ()))
            if action.kind == "create_snapshot":
                hand.create(detail["name"], disks, detail["memory"], detail["fsfreeze"])
            elif action.kind == "delete_snapshot":
                hand.delete(detail["name"], disks)
            elif action.kind == "revert_snapshot" and detail["memory"]:
                if self._now.executes:
                    hand.jobs.change("qmp", [("stop", {}), ("cont", {})])
                hand.load(
                    detail["name"], disks, t.cast(str, t.cast(Snapshot, self._now.find(detail["name"])).state_disk)
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

    def _look(self) -> None:
        """What is there now."""
        disks = snapshots.of_definition(self.definition)
        self._found = self._hand.look(disks)
        self._weigh(disks)

    def _weigh(self, disks: t.Sequence[Disk]) -> None:
        """What that means, with the notes as they are."""
        found = snapshots.collect(self._found, self._notes.notes)
        runs = self.actual.qemu is not None
        guest_runs = runs and executes(self.actual.run_state)
        intent = self.definition.intent
        self._now = Situation(self._order.vm, disks, found, intent, self._now.host_arch, runs, guest_runs)

    def _disks(self, names: t.Iterable[str]) -> list[Disk]:
        wanted = set(names)
        return [disk for disk in self._now.disks if disk.name in wanted]

    # -- what a task before us has left

    def _mend(self) -> list[Action]:
        """Finish what a killed task has begun; in check mode only see what would come of it."""
        pending = self._notes.pending
        if pending is None:
            return []
        errors: dict[str, t.Optional[str]] = {}
        if self._jobs is not None and not self._order.check:
            errors.update(self._jobs.settle(PREFIX))
            self._look()
        load_error = errors.get("snapshot-load")
        snapshot, runs = self._now.find(pending["name"]), self._now.runs
        qemu = self.actual.qemu
        same = qemu is not None and pending.get("qemu") == dataclasses.asdict(qemu)
        repair = snapshot_repair.decide(
            pending, snapshot, runs, same and not self._now.executes, self._order.wanted.state, load_error
        )
        self.warnings.append(repair.words)
        if not self._order.check:
            self._finish(repair, pending, load_error)
        elif repair.kind == snapshot_repair.KEEP and snapshot is not None:
            self._remember(snapshot, pending)
        elif repair.kind == snapshot_repair.REMOVE:
            self._found = {
                disk: [i for i in all_ if i["name"] != pending["name"]] for disk, all_ in self._found.items()
            }
            self._weigh(self._now.disks)
        if repair.kind in (snapshot_repair.NOTHING, snapshot_repair.KEEP):  # what is there does not change
            return []
        return [Action("repair_snapshot", detail={"name": pending["name"], "how": repair.kind})]

    def _finish(
        self, repair: snapshot_repair.Repair, pending: snapshot_notes.Note, load_error: t.Optional[str]
    ) -> None:
        snapshot = self._now.find(pending["name"])
        if pending.get("fsfreeze") and self._jobs is not None:
            self._thaw(self._jobs)
        if load_error is not None and isinstance(self._hand, Live):
            self._forget_pending()
            raise self._hand.unloaded(pending["name"], load_error)
        if repair.kind == snapshot_repair.KEEP and snapshot is not None:
            self._note(snapshot, pending)
        elif repair.kind == snapshot_repair.REMOVE and snapshot is not None:
            self._delete(snapshot.name, snapshot.pieces)
        elif repair.kind == snapshot_repair.RESUME and self._jobs is not None:
            self._jobs.ask("cont")
            self.actual = dataclasses.replace(self.actual, run_state="running")
            self._weigh(self._now.disks)
        if repair.kind != snapshot_repair.NOTHING:
            self.done.append("repair_snapshot")
        self._forget_pending()

    def _thaw(self, jobs: Jobs) -> None:
        """The runner thaws by itself; this is for one that was killed too. What is not frozen is left as it is."""
        try:
            jobs.request("guest", [("guest-fsfreeze-thaw", {})], _THAW)
        except MaqetError as error:
            self.warnings.append(f"A snapshot with fsfreeze was broken off, and the guest could not be thawed: {error}")

    # -- steps

    def _begin(self, op: str, name: str, **more: t.Any) -> None:
        self._notes.pending = {"op": op, "name": name, **more}
        snapshot_notes.store(self._paths, self._notes)

    def _forget_pending(self) -> None:
        """Write down what is so, without the notes of snapshots that are not there."""
        self._notes.pending = None
        there = {one.name for one in self._now.snapshots if one.note}
        self._notes.notes = {name: note for name, note in self._notes.notes.items() if name in there}
        snapshot_notes.store(self._paths, self._notes)

    def _create(self, action: Action) -> None:
        wanted, detail = self._order.wanted, action.detail
        note = {
            "description": wanted.description,
            "group": wanted.group,
            "disks": detail["disks"],
            "memory": detail["memory"],
            "fsfreeze": detail["fsfreeze"],
            "intent": self.definition.intent,
            "qemu_version": self._version(),
        }
        self._begin("create", wanted.name, **note)
        try:
            self._hand.create(wanted.name, self._disks(detail["disks"]), detail["memory"], detail["fsfreeze"])
        except MaqetError as error:
            more = room(self._disks(detail["disks"])[0]) if error.error_code == "job_failed" else ""
            if not may_go_on(error):
                self._clean_up(wanted.name)
            raise MaqetError(f"{error}{more}", error.error_code, **error.details) from None
        self._look()
        snapshot = self._now.find(wanted.name)
        if snapshot is None or any(disk not in snapshot.pieces for disk in detail["disks"]):
            raise MaqetError(f"Snapshot {wanted.name!r} is not there although QEMU said so.", "job_failed")
        self._note(snapshot, note)

    def _version(self) -> t.Optional[str]:
        """Of the QEMU whose state it is."""
        return self.actual.facts.get("qemu", {}).get("version") if self.actual.qemu is not None else None

    def _clean_up(self, name: str) -> None:
        """After a failure: nothing of the snapshot stays, and nothing is pending if that has worked."""
        try:
            self._look()
            left = self._now.find(name)
            if left is not None:
                self._hand.delete(name, self._disks(left.pieces))
                self._look()
            self._forget_pending()
        except (MaqetError, OSError) as error:
            self.warnings.append(
                f"What is left of snapshot {name!r} could not be removed, the next task tries: {error}"
            )

    def _note(self, snapshot: Snapshot, note: snapshot_notes.Note) -> None:
        self._remember(snapshot, note)
        self._forget_pending()

    def _remember(self, snapshot: Snapshot, note: snapshot_notes.Note) -> None:
        kept = {key: value for key, value in note.items() if key not in ("op", "name")}
        kept["dates"] = {disk: piece.date for disk, piece in snapshot.pieces.items()}
        self._notes.notes[snapshot.name] = kept
        self._weigh(self._now.disks)

    def _describe(self, action: Action) -> None:
        snapshot = t.cast(Snapshot, self._now.find(action.detail["name"]))
        given = {key: value for key, value in action.detail.items() if key != "name"}
        known = snapshot.note or {"memory": snapshot.state_disk is not None, "disks": list(snapshot.pieces)}
        self._note(snapshot, {**known, **given})

    def _delete(self, name: str, disks: t.Iterable[str]) -> None:
        self._begin("delete", name)
        left: t.Optional[t.Iterable[str]] = disks
        while left is not None:  # qemu-img makes a second one of the same name, and they go one by one
            self._hand.delete(name, self._disks(left))
            self._look()
            snapshot = self._now.find(name)
            left = None if snapshot is None else snapshot.pieces
        self._forget_pending()

    def _revert(self, action: Action) -> None:
        name, disks = action.detail["name"], self._disks(action.detail["disks"])
        snapshot = t.cast(Snapshot, self._now.find(name))
        if isinstance(self._hand, Live):
            self._load(self._hand, snapshot, disks)
        else:
            if snapshot.state_disk is not None and self._order.wanted.memory is None:
                self.warnings.append(
                    f"Snapshot {name!r} holds the guest's memory, which a VM that does not run cannot take up: it boots"
                    " from the disks. For the memory, start it with maqet_vm: state=paused, and revert then."
                )
            self._begin("revert", name)
            try:
                self._hand.apply(name, disks)
            except MaqetError as error:
                if not error.details.get("reverted_disks"):  # nothing has happened yet
                    self._forget_pending()
                raise
        self._forget_pending()
        self._look()

    def _load(self, hand: Live, snapshot: Snapshot, disks: t.Sequence[Disk]) -> None:
        runs = self._now.executes
        self._begin("revert", snapshot.name, live=True, resume=runs, qemu=dataclasses.asdict(self.actual.process))
        if runs:
            hand.jobs.ask("stop")
        try:
            hand.load(snapshot.name, disks, t.cast(str, snapshot.state_disk))
        except MaqetError as error:
            if error.error_code in ("policy_denied", "qmp_error", "audit_failed"):  # QEMU has not begun
                if runs:
                    hand.jobs.ask("cont")
                self._forget_pending()
            elif error.error_code == "job_failed":
                self._forget_pending()
            raise
        if runs:
            hand.jobs.ask("cont")

    # -- a revert that needs the VM stopped

    def _stop(self, _action: Action) -> None:
        ensure = self._ensure("stopped")
        self.stop_steps = ensure.work.stop_steps
        if self._jobs is not None:
            self._jobs.close()
        self.actual = ensure.actual
        self._hand = Offline(self._deadline)

    def _start(self, resume: bool) -> None:
        self.actual = self._ensure("running" if resume else "paused").actual

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


def _lost(why: str) -> str:
    return f"Descriptions and groups of the snapshots are lost, the snapshots are not: {why}"


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
