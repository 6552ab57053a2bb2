# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be done to the snapshots of a VM: decided in one place, without touching anything."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.maqet.qemu.plugins.module_utils.definition.changes import LIVE, RESTART
from ansible_collections.maqet.qemu.plugins.module_utils.definition.defaults import effective
from ansible_collections.maqet.qemu.plugins.module_utils.definition.limits import OF_SYSTEMD
from ansible_collections.maqet.qemu.plugins.module_utils.definition.snapshots import Wanted
from ansible_collections.maqet.qemu.plugins.module_utils.definition.unsaid import spelled_out
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.vm.plan import Action
from ansible_collections.maqet.qemu.plugins.module_utils.vm.snapshots import Disk, Snapshot

# What the guest's memory does not depend on. Whatever else differs, QEMU may refuse to load it, or crash the guest.
_UNSEEN = frozenset({"labels", "policy", "restart_policy", "shutdown_timeout", "vnc", *OF_SYSTEMD})
_UNSEEN_OF_DISKS = ("size", "throttle", "cache", "aio", "discard", "detect_zeroes")


@dataclass(frozen=True)
class Situation:
    """The VM as it is, as far as it decides. ``executes``: it runs, and so does its guest."""

    vm: str
    disks: t.Sequence[Disk]
    snapshots: t.Sequence[Snapshot]
    intent: t.Mapping[str, t.Any]
    host_arch: str
    runs: bool = False
    executes: bool = False

    def find(self, name: str) -> t.Optional[Snapshot]:
        """The snapshot of this name."""
        return next((one for one in self.snapshots if one.name == name), None)

    @property
    def able(self) -> list[str]:
        """The names of the disks that can have snapshots."""
        return [disk.name for disk in self.disks if disk.able]


def plan(wanted: Wanted, now: Situation) -> list[Action]:
    """The steps to what is wanted, in their order; none if all is so. Every reason not to begin is found here."""
    snapshot = now.find(wanted.name)
    if wanted.state == "absent":
        return [] if snapshot is None else [_delete(snapshot)]
    if wanted.state == "reverted":
        return _revert(wanted, now, _there(wanted, now, snapshot))
    made = [_create(wanted, now)] if snapshot is None else _kept(wanted, now, snapshot)
    return made + [_delete(one, wanted.keep) for one in expired(wanted, now)]


def expired(wanted: Wanted, now: Situation) -> list[Snapshot]:
    """The oldest snapshots of the group beyond the number to keep; never the one of the task itself, which counts."""
    if wanted.keep is None:
        return []
    others = [one for one in now.snapshots if one.note.get("group") == wanted.group and one.name != wanted.name]
    return others[: max(0, len(others) + 1 - wanted.keep)]


def chosen(wanted: Wanted, now: Situation) -> list[str]:
    """The disks of a new snapshot; ``invalid_option`` for one that cannot have any."""
    by_name = {disk.name: disk for disk in now.disks}
    for name in wanted.disks or ():
        if name not in by_name:
            there = ", ".join(by_name) or "none"
            raise invalid_option("disks", name, f"is no disk of VM {now.vm}", f"It has: {there}.")
        if by_name[name].readonly:
            raise invalid_option("disks", name, "is read-only, so there is nothing to go back to", "Leave it out.")
    candidates = [disk for disk in now.disks if not disk.readonly and (not wanted.disks or disk.name in wanted.disks)]
    for disk in candidates:
        if disk.file.driver != "qcow2":
            raise invalid_option(
                "disks",
                disk.name,
                f"is a {disk.file.driver} image ({disk.file.path}), which cannot hold snapshots",
                "Convert it to qcow2 (qemu-img convert -O qcow2), make it readonly, or name the other disks in 'disks' "
                "for a snapshot without this one.",
            )
    if not candidates:
        raise invalid_option(
            "vm", now.vm, "has no disk that can hold a snapshot", "Give it a qcow2 disk that is not readonly."
        )
    return [disk.name for disk in candidates]


def with_memory(wanted: Wanted, now: Situation) -> bool:
    """Whether a new snapshot holds the guest's memory."""
    if wanted.memory is None:
        return now.runs and not wanted.fsfreeze and wanted.disks is None
    return wanted.memory


def _create(wanted: Wanted, now: Situation) -> Action:
    disks, memory = chosen(wanted, now), with_memory(wanted, now)
    if memory and not now.runs:
        raise _not_running(now.vm, "has no memory to keep", "Start it, or leave 'memory' out")
    if memory:
        left_out = [disk.name for disk in now.disks if not disk.readonly and disk.name not in disks]
        if left_out:
            raise invalid_option(
                "disks",
                list(wanted.disks or ()),
                f"leaves out {', '.join(left_out)}, and the guest's memory fits only all disks of the same moment",
                "Leave 'disks' out, or set memory: false.",
            )
    freeze = wanted.fsfreeze and now.runs
    if freeze and not now.executes:
        raise invalid_option(
            "fsfreeze", True, "needs a guest that runs, and this one is paused", "Resume the VM, or leave fsfreeze out."
        )
    if freeze and not effective(now.intent, now.host_arch)["agent"]:
        raise invalid_option(
            "fsfreeze", True, "needs the guest's agent, for which the VM has no port", "Give maqet_vm agent: true."
        )
    detail = {"name": wanted.name, "memory": memory, "disks": disks, "fsfreeze": freeze}
    return Action("create_snapshot", detail=detail)


def _kept(wanted: Wanted, now: Situation, snapshot: Snapshot) -> list[Action]:
    """One that is there stays what it is: it must be what the task describes, and may get another description."""
    _demand_whole(snapshot, _of(now, snapshot) if wanted.disks is None else wanted.disks)
    has = snapshot.state_disk is not None
    if wanted.memory is not None and wanted.memory != has:
        raise MaqetError(
            f"Snapshot {snapshot.name!r} of VM {now.vm} is there {'with' if has else 'without'} the guest's memory, "
            f"and memory: {str(wanted.memory).lower()} asks for another. Use another name, or remove it first.",
            "snapshot_mismatch",
        )
    given = {"description": wanted.description, "group": wanted.group}
    changed = {key: value for key, value in given.items() if value is not None and value != snapshot.note.get(key)}
    if not changed:
        return []
    return [Action("describe_snapshot", detail={"name": snapshot.name, **changed})]


def _revert(wanted: Wanted, now: Situation, snapshot: Snapshot) -> list[Action]:
    disks = _of(now, snapshot)
    _demand_whole(snapshot, disks)
    has, memory = snapshot.state_disk is not None, wanted.memory
    if memory and not has:
        raise MaqetError(
            f"Snapshot {snapshot.name!r} of VM {now.vm} holds no memory. Leave 'memory' out.", "snapshot_mismatch"
        )
    if memory and not now.runs:
        raise _not_running(now.vm, "cannot take memory up", "Start it with maqet_vm: state=paused, and revert then")
    load = has and now.runs and memory is not False
    detail = {"name": snapshot.name, "memory": load, "disks": disks}
    if load:
        _demand_same(now, snapshot)
        return [Action("revert_snapshot", detail=detail)]
    revert = Action("revert_snapshot", RESTART if now.runs else LIVE, detail)
    if not now.runs:
        return [revert]
    if not wanted.allow_restart:
        why = "memory: false asks for its disks only" if has else "it holds no memory"
        raise MaqetError(
            f"VM {now.vm} runs, and a revert to {snapshot.name!r} needs it stopped, since {why}. Set allow_restart: "
            "true to have it stopped and started again, or stop it first.",
            "restart_required",
        )
    again = [Action("start"), Action("resume")] if now.executes else [Action("start")]
    return [Action("stop", RESTART), revert, *again]


def _delete(snapshot: Snapshot, keep: t.Optional[int] = None) -> Action:
    detail: dict[str, t.Any] = {"name": snapshot.name, "disks": list(snapshot.pieces)}
    if keep is not None:
        detail["keep"] = keep
    return Action("delete_snapshot", detail=detail)


def _there(wanted: Wanted, now: Situation, snapshot: t.Optional[Snapshot]) -> Snapshot:
    if snapshot is None:
        known = [one.name for one in now.snapshots]
        there = f"It has: {', '.join(known)}." if known else "It has none."
        raise MaqetError(f"VM {now.vm} has no snapshot {wanted.name!r}. {there}", "snapshot_not_found", known=known)
    return snapshot


def _of(now: Situation, snapshot: Snapshot) -> list[str]:
    """The disks that it was made of, as far as the VM still has them."""
    return [disk for disk in now.able if disk in snapshot.note.get("disks", now.able)]


def _demand_whole(snapshot: Snapshot, disks: t.Iterable[str]) -> None:
    missing = [disk for disk in disks if disk not in snapshot.pieces]
    if missing:
        raise MaqetError(
            f"Snapshot {snapshot.name!r} is on {', '.join(snapshot.pieces)}, and not on {', '.join(missing)}. Remove "
            "it (state: absent) and make it anew, or use another name.",
            "snapshot_incomplete",
            missing=missing,
        )


def _demand_same(now: Situation, snapshot: Snapshot) -> None:
    """Memory is loaded only into the machine that it was saved of, as far as the definitions tell."""
    before = snapshot.note.get("intent")
    if before is None:  # not made by us, or its note is lost: QEMU will say
        return
    then, today = _seen(before, now.host_arch), _seen(now.intent, now.host_arch)
    options = [option for option in today if then.get(option, today[option]) != today[option]]
    if options:
        raise MaqetError(
            f"The VM has changed since snapshot {snapshot.name!r}: {', '.join(options)}. Its memory fits only the "
            "machine that it was saved of. Set these options back, or set memory: false to revert the disks alone.",
            "snapshot_mismatch",
            options=options,
        )


def _seen(intent: t.Mapping[str, t.Any], host_arch: str) -> dict[str, t.Any]:
    """The machine that a guest sees. A disk's size goes back with the disk."""
    everything = spelled_out(effective(intent, host_arch))
    whole = {option: value for option, value in everything.items() if option not in _UNSEEN}
    whole["disks"] = [
        {key: value for key, value in disk.items() if key not in _UNSEEN_OF_DISKS} for disk in whole["disks"]
    ]
    return whole


def _not_running(vm: str, problem: str, remedy: str) -> MaqetError:
    return MaqetError(f"VM {vm} does not run, so it {problem}. {remedy}.", "vm_not_running")


def before_after(
    before: t.Sequence[t.Mapping[str, t.Any]], actions: t.Sequence[Action], wanted: Wanted
) -> dict[str, dict[str, t.Any]]:
    """Ansible's diff: what is known of each snapshot in advance, the same in check mode as for real."""
    kept = ("memory", "disks", "description", "group")
    old = {one["name"]: {key: one[key] for key in kept} for one in before}
    new = dict(old)
    result: dict[str, dict[str, t.Any]] = {"before": {"snapshots": old}, "after": {"snapshots": new}}
    for action in actions:
        name = action.detail.get("name", "")
        if action.kind == "create_snapshot":
            said = {"description": wanted.description, "group": wanted.group}
            new[name] = {"memory": action.detail["memory"], "disks": action.detail["disks"], **said}
        elif action.kind == "describe_snapshot":
            new[name] = {**new[name], **{key: value for key, value in action.detail.items() if key != "name"}}
        elif action.kind == "delete_snapshot":
            new.pop(name, None)
        elif action.kind == "revert_snapshot":
            result["before"]["state"], result["after"]["state"] = "as it is now", f"as in snapshot {name}"
    return result
