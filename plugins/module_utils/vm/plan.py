# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be done to get from the actual to the desired: decided in one place, without touching anything."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.changes import LIVE, RECREATE, RESTART, Difference
from ansible_collections.maqet.qemu.plugins.module_utils.definition.live import Change
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.vm.making import Job

STATES = ("present", "running", "stopped", "paused", "restarted", "absent")

# RunStates in which the guest executes, or will as soon as something that it waits for comes (QEMU QMP reference).
_EXECUTING = ("running", "colo", "finish-migrate", "suspended", "watchdog")


def executes(run_state: t.Optional[str]) -> bool:
    """Whether the guest runs in this RunState."""
    return run_state in _EXECUTING


@dataclasses.dataclass(frozen=True)
class Action:
    """One step; ``impact`` says what it costs the guest: live, restart or recreate."""

    kind: str
    impact: str = LIVE
    detail: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    #: What a running QEMU is to be told; not for results.
    change: t.Optional[Change] = None

    def as_dict(self) -> dict[str, t.Any]:
        """As it stands in a task's result."""
        return {"action": self.kind, "impact": self.impact, **self.detail}


@dataclasses.dataclass(frozen=True)
class Situation:
    """The actual, reduced to what decides. ``run_state`` is None if QEMU does not run."""

    defined: bool
    run_state: t.Optional[str]
    #: Whether a QEMU that runs has a runner; whether it is to have another one; whether one will start it again.
    runner: bool = True
    upgrade: bool = False
    waiting: bool = False

    @property
    def runs(self) -> bool:
        return self.run_state is not None

    @property
    def executes(self) -> bool:
        return executes(self.run_state)


def plan(
    state: str, now: Situation, difference: Difference, jobs: t.Sequence[Job], allow_restart: bool
) -> list[Action]:
    """The steps to ``state`` for any state but absent, in their order; none if all is as desired.

    ``difference`` is between the stored intent and the wanted one. A running VM is not restarted
    for it unless ``allow_restart``: that is ``restart_required`` with the options that ask for it.
    """
    _check_shrinking(now, jobs)
    costly = _costly(now, difference, jobs) if now.runs else []
    restarting = now.runs and (state == "restarted" or (bool(costly) and state != "stopped"))
    if restarting and costly and state != "restarted" and not allow_restart:
        resume = "" if difference.restart else _resumed(now, difference)
        raise MaqetError(
            f"These changes need a restart of the running VM: {', '.join(costly)}. {resume}"
            "Set allow_restart: true of maqet_vm to have it restarted, or stop it first.",
            "restart_required",
            options=costly,
        )
    actions = [Action("stop", RESTART)] if now.runs and (restarting or state == "stopped") else []
    if now.runs and not actions:
        actions += _runner(now)
    if now.waiting and state in ("stopped", "paused", "restarted", "running"):
        actions.append(Action("cancel_restart"))
    told = [] if costly or not now.runs or actions[:1] == [Action("stop", RESTART)] else _told(difference)
    actions += [action for action in told if action.kind.startswith("unplug")]
    actions += [_job(job, RESTART if costly else LIVE) for job in jobs]
    actions += [action for action in told if not action.kind.startswith("unplug")]
    if not now.defined or difference:
        kind = "redefine" if now.defined else "define"
        actions.append(Action(kind, RESTART if costly else LIVE, {"options": difference.options}))
    runs_then = now.runs and not any(action.kind == "stop" for action in actions)
    return actions + _to_run_state(state, now, runs_then)


def _costly(now: Situation, difference: Difference, jobs: t.Sequence[Job]) -> list[str]:
    """What a running VM cannot be given: options, or disks whose file must be made although nobody changed them."""
    costly = difference.restart + _asking(now, difference)
    return costly or ([] if "disks" in difference.steps else [job.disk for job in jobs])


def _asking(now: Situation, difference: Difference) -> list[str]:
    """Options of which a guest that stands still lets nothing go."""
    steps = {} if now.executes else difference.steps
    return [option for option, these in steps.items() if any(step.asks_guest for step in these)]


def _resumed(now: Situation, difference: Difference) -> str:
    """What else helps where nothing but that is in the way."""
    if not _asking(now, difference):
        return ""
    return "Its guest is paused, and lets go of devices when it runs: resume it in a task of its own. Or: "


def _told(difference: Difference) -> list[Action]:
    steps = (step for steps in difference.steps.values() for step in steps)
    return [Action(step.kind, LIVE, step.detail, step) for step in steps]


def _runner(now: Situation) -> list[Action]:
    """A QEMU that goes on running needs a runner, and may be given another one."""
    if not now.runner:
        return [Action("adopt")]
    return [Action("upgrade_runner")] if now.upgrade else []


def _to_run_state(state: str, now: Situation, runs: bool) -> list[Action]:
    """From a VM that is defined, and runs or not, to what ``state`` asks of its QEMU."""
    if state == "stopped":
        return []
    if state == "present":  # as it was: one that we stopped for a change comes back
        if runs or not now.runs:
            return []
        return [Action("start"), Action("resume")] if now.executes else [Action("start")]
    actions = [] if runs else [Action("start")]
    executes = runs and now.executes
    if state == "paused":
        return [*actions, Action("pause")] if executes else actions
    return actions if executes else [*actions, Action("resume")]


def plan_absent(
    now: Situation, owned: t.Sequence[str], purge: bool, state: t.Sequence[str] = (), remains: bool = False
) -> list[Action]:
    """The steps to ``absent``. Disks go only with ``purge``, and only the ``owned`` files.

    So does the ``state`` that the guest keeps beside its disks: the folders of its UEFI variables and of its TPM.
    ``remains``: whether logs or notes are there, also of a VM whose removal was broken off.
    """
    actions = [Action("stop", RESTART)] if now.runs else []
    actions += [Action("cancel_restart")] if now.waiting else []
    if purge:
        actions += [Action("delete_disk", RECREATE, {"path": path}) for path in owned]
        actions += [Action("delete_state", RECREATE, {"path": path}) for path in state]
    return [*actions, Action("undefine", RECREATE)] if now.defined or now.runs or remains or actions else []


def _check_shrinking(now: Situation, jobs: t.Sequence[Job]) -> None:
    """A guest that still runs, or that was stopped only for this, has not been made ready to lose the end of a disk."""
    for job in jobs:
        if job.kind == "shrink_disk" and now.runs:
            problem = f"is less than disk {job.disk} has, and the VM runs"
            raise invalid_option("disks", job.size, problem, "Stop it first, in a task of its own")


def _job(job: Job, grown: str) -> Action:
    detail: dict[str, t.Any] = {"disk": job.disk, "path": job.file.path, "size": job.size}
    if job.file.backing:
        detail["base"] = job.file.backing
    if job.source is not None:
        detail["clone"] = job.source.path
    return Action(job.kind, {"grow_disk": grown, "shrink_disk": RECREATE}.get(job.kind, LIVE), detail)
