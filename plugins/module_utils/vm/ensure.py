# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making a VM be what is desired: observe, plan, then carry out the plan, or take back what was begun."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import types
import typing as t
import uuid

from ansible_collections.maqet.qemu.plugins.module_utils.definition.changes import Difference, diff
from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import merge
from ansible_collections.maqet.qemu.plugins.module_utils.definition.live import Change
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition
from ansible_collections.maqet.qemu.plugins.module_utils.definition.waits import Wait, check_possible
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.host import files, migration
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.host.starting import forbid_restart
from ansible_collections.maqet.qemu.plugins.module_utils.runner.launch import adopt, is_current, launch, upgrade
from ansible_collections.maqet.qemu.plugins.module_utils.vm import (
    belongings,
    disks,
    making,
    neighbours,
    networks,
    preflight,
)
from ansible_collections.maqet.qemu.plugins.module_utils.vm.control import Control
from ansible_collections.maqet.qemu.plugins.module_utils.vm.live import Live
from ansible_collections.maqet.qemu.plugins.module_utils.vm.observe import Actual, not_found, observe
from ansible_collections.maqet.qemu.plugins.module_utils.vm.plan import Action, Situation, executes, plan, plan_absent
from ansible_collections.maqet.qemu.plugins.module_utils.vm.revive import revive
from ansible_collections.maqet.qemu.plugins.module_utils.vm.stop import Patience, stop, sweep
from ansible_collections.maqet.qemu.plugins.module_utils.vm.unit import Unit
from ansible_collections.maqet.qemu.plugins.module_utils.vm.waiting import Watch

# What a failure takes back, as long as the guest has not run.
_TAKEN_BACK = ("limit", "autostart", *making.MAKING, "define", "redefine", "start")
# How long a runner may take to come back for a VM that is to be stopped anyway, in seconds.
_REVIVAL = 5.0
# States that a QEMU which does not answer must not be able to prevent.
_ENDING = ("stopped", "absent", "restarted")


@dataclasses.dataclass(frozen=True)
class Desired:
    """What one task asks of one VM. ``given`` is the normalised part of the definition that it manages."""

    name: str
    state: str
    given: t.Mapping[str, t.Any]
    patience: Patience
    allow_restart: bool = False
    purge: bool = False
    upgrade: bool = False
    waits: t.Sequence[Wait] = ()


@dataclasses.dataclass
class _Work:
    """A plan and what carrying it out needs and yields."""

    actions: list[Action]
    definition: t.Optional[Definition]
    jobs: list[making.Job]
    difference: Difference
    done: list[str] = dataclasses.field(default_factory=list)
    stop_steps: list[str] = dataclasses.field(default_factory=list)
    events: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    waited: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    addresses: t.Optional[list[dict[str, t.Any]]] = None


class Ensure:
    """One VM on its way to :class:`Desired`. First :meth:`decide`, which changes nothing, then :meth:`perform`."""

    def __init__(
        self,
        where: Layout,
        desired: Desired,
        control: Control,
        leaving: neighbours.Leaving = types.MappingProxyType({}),
    ) -> None:
        """``leaving``: of check mode, other VMs that would have ended by now."""
        self._where = where
        self._leaving = leaving
        self._desired = desired
        self._control = control
        self.paths = where.vm(desired.name)
        self._unit = Unit(where, self.paths)
        self._undo: list[t.Callable[[], None]] = []
        self._before: t.Optional[str] = None  # RunState of a QEMU that we stopped
        self.actual = Actual()
        self.work = _Work([], None, [], Difference())

    def decide(self, check: bool = False) -> list[Action]:
        """Observe and plan; every reason not to begin is found here. With ``check`` nothing at all is written."""
        desired = self._desired
        self.actual = observe(self._where, desired.name, desired.patience.timeout)
        self._demand_ours()
        stored = self.actual.definition
        if self.actual.problem is not None and desired.state not in _ENDING:
            raise self.actual.problem
        if stored is None and self.actual.qemu is not None and desired.state != "absent":
            raise _orphan(desired.name, self.actual.qemu.pid)
        now = self._situation()
        if desired.waits and (desired.state in ("stopped", "absent") or (desired.state == "present" and not now.runs)):
            raise invalid_option(
                "wait_for", str(desired.waits[0]), f"cannot come with state: {desired.state}", "Use state: running"
            )
        if desired.state == "absent":
            if desired.purge:
                neighbours.check_unneeded(self.images(), self.paths)
            belonging = belongings.state(self.paths)
            remains = belongings.remains(self.paths, desired.purge)
            self.work.actions = plan_absent(now, self.images(), desired.purge, belonging, remains)
            return self.work.actions
        if stored is None and not desired.given and desired.state in ("stopped", "paused", "restarted"):
            raise not_found(self._where, desired.name)
        identity = _identity(stored, desired)
        intent = merge(stored.intent if stored else {}, desired.given)
        check_possible(desired.waits, intent)
        difference = diff(stored.intent if stored else {}, intent, os.uname().machine)
        resolved = self._disks(intent, difference)
        actions = plan(desired.state, now, difference, resolved.jobs, desired.allow_restart)
        stops = sum(action.kind == "stop" for action in actions)  # the old guest keeps the old limits to its end
        actions[stops:stops] = self._unit.plan(stored.intent if stored else {}, intent)
        if difference or stored is None or any(action.kind == "start" for action in actions):
            preflight.check_definition(intent, self._where, remember=not check)
            networks.check_definition(intent, self._where, desired.name)
        kinds = {action.kind for action in actions}
        if "start" in kinds:
            ended = neighbours.ending(self.paths, self._leaving) if self._leaving else []
            preflight.check_start(intent, *ended, *([stored.intent] if stored and now.runs else []))
        if kinds & {"start", "plug_network"}:
            networks.check_start(intent)
        definition = Definition(desired.name, identity, intent, resolved.files)
        if kinds & {"start", "plug_disk", "change_medium"}:
            neighbours.check_start(definition, self.paths, self._leaving)
        self.work = _Work(actions, definition, resolved.jobs, difference)
        return actions

    def _demand_ours(self) -> None:
        """Nobody touches a VM that moves between hosts, or has moved; with consent, what is left of it may go."""
        mark = migration.read(self.paths)
        actual = self.actual
        if mark is None or not mark.held or (mark.phase == migration.SENDING and actual.qemu is None):
            return
        if self._desired.state != "absent" or not self._desired.patience.force or not mark.not_ours:
            raise migration.refusal(self._desired.name, mark)
        left = tuple(process for process in (actual.runner, actual.qemu, *actual.unready) if process is not None)
        self.actual = Actual(actual.definition, unready=left)  # its guest is not to be asked anything

    def _disks(self, intent: t.Mapping[str, t.Any], difference: Difference) -> disks.Resolved:
        """A VM can be stopped also when the file of a disk is gone."""
        stored = self.actual.definition
        if stored is not None and self._desired.state == "stopped" and "disks" not in difference.options:
            return disks.Resolved(stored.files, [])
        return disks.resolve(intent.get("disks", ()), stored, self.paths, self._desired.patience.force)

    def _situation(self) -> Situation:
        actual = self.actual
        run_state = (actual.run_state or "unknown") if actual.qemu else None
        old = self._desired.upgrade and not is_current(actual.facts.get("runner", {}).get("digest"))
        return Situation(actual.definition is not None, run_state, actual.runner is not None, old, actual.waiting)

    def perform(self) -> None:
        """Carry out the plan, then wait for what the task waits for.

        What fails before the guest has run is taken back; a guest that was stopped for it runs again.
        """
        watch: t.Optional[Watch] = None
        try:
            for folder in (self.paths.home, self.paths.run, self._where.runners, self._where.cache):
                files.forget_unfinished(folder)
            making.forget_unfinished(self.paths)
            if self.actual.unready:
                sweep(self.paths, self.actual)
            try:
                for action in self.work.actions:
                    if watch is None and action.kind == "resume":
                        watch = self._watch()
                    self._step(action)
                    self.work.done.append(action.kind)
            except BaseException as error:
                self._recover(error)
                raise
            if self._desired.waits:
                watch = watch or self._watch()
                watch.wait()
        finally:
            if watch is not None:
                self.work.events, self.work.waited = watch.events, watch.waited
                self.work.addresses = watch.addresses
                self._control.audit += watch.audit
                watch.close()
            with contextlib.suppress(MaqetError):
                self.actual = observe(self._where, self._desired.name, self._desired.patience.timeout)

    @property
    def changed(self) -> bool:
        """Whether something was done and not taken back, also when the task has failed."""
        done = self.work.done
        return "resume" in done or any(kind not in _TAKEN_BACK for kind in done)

    def _recover(self, error: BaseException) -> None:
        """After a failure: end a QEMU whose guest has not run, take back, and have a stopped guest run again."""
        done = self.work.done
        if "start" in done and "resume" not in done:
            self._abandon()
        for step in reversed(self._undo):  # newest first; what cannot be taken back must not hide why we are here
            with contextlib.suppress(OSError, MaqetError):
                step()
        if "stop" in done and "redefine" in done and isinstance(error, MaqetError):
            error.details["restored"] = self._run_again()

    def _run_again(self) -> bool:
        """The VM as it was, started again after a change that failed; True if it runs."""
        try:
            launch(self._where, self._desired.name, self._desired.patience.timeout)
            self.actual = observe(self._where, self._desired.name, self._desired.patience.timeout)
            if executes(self._before):
                self._send("cont")
        except (MaqetError, OSError):
            return False
        return True

    def _abandon(self) -> None:
        """End whatever lives of a start that has failed."""
        left = observe(self._where, self._desired.name, self._desired.patience.timeout, look=False)
        living = tuple(process for process in (left.runner, left.qemu, *left.unready) if process is not None)
        sweep(self.paths, Actual(unready=living))

    def _step(self, action: Action) -> None:
        if action.change is not None:
            self._change(action.change)
            return
        {
            "stop": self._stop,
            "limit": self._limit,
            "autostart": self._autostart,
            "create_disk": self._disk,
            "clone_disk": self._disk,
            "grow_disk": self._disk,
            "shrink_disk": self._disk,
            "define": self._define,
            "redefine": self._define,
            "start": self._start,
            "resume": lambda _action: self._send("cont"),
            "pause": lambda _action: self._send("stop"),
            "adopt": self._adopt,
            "upgrade_runner": self._upgrade,
            "cancel_restart": lambda _action: sweep(self.paths, self.actual),
            "delete_disk": lambda gone: files.remove(gone.detail["path"]),
            "delete_state": lambda gone: files.remove(gone.detail["path"]),
            "undefine": self._undefine,
        }[action.kind](action)

    def _watch(self) -> Watch:
        desired, asker = self._desired, self._control.asker
        return Watch(self._where, desired.name, self.actual, desired.waits, desired.patience.timeout, asker)

    def _send(self, command: str) -> None:
        self._control.send(self.actual, command, self._desired.patience.timeout)

    def _stop(self, _action: Action) -> None:
        self._before = self.actual.run_state
        if self.actual.runner is None:
            self._revive()
        self.work.stop_steps = stop(self._control, self.paths, self.actual, self._desired.patience)
        self.actual = Actual(self.actual.definition)

    def _revive(self) -> None:
        """Who ends a VM wants a runner there that sees how, and that knows that it was wanted.

        Without one the end is still possible, but no runner may come up later and take it for a failure.
        """
        try:
            revive(self._where, self._desired.name, _REVIVAL)
            self.actual = observe(self._where, self._desired.name, self._desired.patience.timeout)
        except MaqetError:
            forbid_restart(self.paths)

    def _live(self) -> Live:
        definition = t.cast(Definition, self.work.definition)
        stored = t.cast(Definition, self.actual.definition)
        return Live(self._where, self._control, self.actual, stored, definition, self._desired.patience.timeout)

    def _change(self, change: Change) -> None:
        live = self._live()  # of the definitions as they are now: what takes it back needs the same two
        live.perform(change)
        self._undo.append(lambda: live.perform(change.reversed()))

    def _disk(self, action: Action) -> None:
        job = next(job for job in self.work.jobs if job.disk == action.detail["disk"])
        if job.kind == "grow_disk" and self.actual.qemu is not None:
            self._live().grow(job)
            return
        self._made_home()
        making.perform(job, self.paths)
        self._undo.append(lambda: making.undo(job))

    def _limit(self, _action: Action) -> None:
        """Before the definition is written, so that a task which ends in between leaves a difference to mend."""
        before = self.actual.definition.intent if self.actual.definition else {}
        self._unit.limit(t.cast(Definition, self.work.definition).intent)
        self._undo.append(lambda: self._unit.limit(before))

    def _autostart(self, action: Action) -> None:
        enabled = bool(action.detail["enabled"])
        self._unit.autostart(enabled)
        self._undo.append(lambda: self._unit.autostart(not enabled))

    def _define(self, _action: Action) -> None:
        definition = t.cast(Definition, self.work.definition)  # every plan that defines has one
        before = self.actual.definition
        self._made_home()
        files.write_json(self.paths.definition, definition.to_json())
        if not definition.intent.get("cloud_init"):
            files.remove(self.paths.seed)
        if before is None:
            self._undo.append(lambda: files.remove(self.paths.definition))
            self._undo.append(lambda: files.remove(self.paths.runner_log))
        else:
            self._undo.append(lambda: files.write_json(self.paths.definition, before.to_json()))
        self.actual = dataclasses.replace(self.actual, definition=definition)

    def _made_home(self) -> None:
        if not os.path.isdir(self.paths.home):
            files.make_folder(self.paths.home)
            self._undo.append(lambda: files.remove(self.paths.home))

    def _start(self, _action: Action) -> None:
        """Launch the runner. KVM is proved here, where somebody waits for the proof to end."""
        definition = t.cast(Definition, self.work.definition)
        preflight.prove(definition.intent, self._where)
        sweep(self.paths, self.actual)
        try:
            launch(self._where, self._desired.name, self._desired.patience.timeout)
        except MaqetError:
            self._abandon()
            raise
        self._look_again()
        if self.actual.qemu is None:
            raise MaqetError(f"VM {self._desired.name} ended right after its start.", "vm_exited")

    def _adopt(self, _action: Action) -> None:
        adopt(self._where, self._desired.name, self._desired.patience.timeout)
        self._look_again()

    def _upgrade(self, _action: Action) -> None:
        upgrade(self._where, self._desired.name, self.actual.runner, self._desired.patience.timeout)
        self._look_again()

    def _look_again(self) -> None:
        """A QEMU that was started or taken over is what the rest of the plan is about."""
        self.actual = observe(self._where, self._desired.name, self._desired.patience.timeout)
        if self.actual.problem is not None:
            raise self.actual.problem

    def _undefine(self, _action: Action) -> None:
        """The definition goes first: from then on the VM is gone, whatever is left of its files."""
        files.remove(self.paths.definition)
        self._unit.forget()
        sweep(self.paths, self.actual)
        belongings.forget(self.paths, self._desired.purge)

    def images(self) -> list[str]:
        """Those that the VM owns."""
        return belongings.images(self.paths, self.actual.definition)

    def kept(self) -> list[str]:
        """What removing the VM leaves on the host for want of ``purge``."""
        purged = self._desired.state != "absent" or self._desired.purge
        return [] if purged else self.images() + belongings.state(self.paths)


def _identity(stored: t.Optional[Definition], desired: Desired) -> str:
    """The VM's UUID: the user's or one by chance, decided once. Addresses, users and records hang on it."""
    wanted = desired.given.get("uuid")
    if stored is None:
        return str(wanted or uuid.uuid4())
    if wanted not in (None, stored.uuid):
        raise invalid_option(
            "uuid",
            wanted,
            f"is not that of VM {desired.name}, which is {stored.uuid} as long as the VM exists",
            "Remove it, or remove the VM with state: absent and define it anew.",
        )
    return stored.uuid


def _orphan(name: str, pid: int) -> MaqetError:
    """A QEMU whose definition is gone: what it runs with is not known, so it cannot be made what a task says."""
    return MaqetError(
        f"QEMU {pid} runs as VM {name}, whose definition is gone. Restore {name}'s definition.json from a backup, or "
        "end it with state: absent, and define the VM again.",
        "qemu_orphaned",
        qemu_pid=pid,
    )
