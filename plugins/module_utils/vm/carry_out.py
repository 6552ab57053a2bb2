# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One task about one VM from its lock to its result, for every module that makes VMs be what a task says."""

from __future__ import annotations

import contextlib
import typing as t
from types import MappingProxyType

from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, as_maqet
from ansible_collections.maqet.qemu.plugins.module_utils.host.locks import locked
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.host.systemd import advice
from ansible_collections.maqet.qemu.plugins.module_utils.vm.control import Control
from ansible_collections.maqet.qemu.plugins.module_utils.vm.ensure import Desired, Ensure
from ansible_collections.maqet.qemu.plugins.module_utils.vm.facts import before_after, facts
from ansible_collections.maqet.qemu.plugins.module_utils.vm.neighbours import Leaving
from ansible_collections.maqet.qemu.plugins.module_utils.vm.observe import load

Result = t.Dict[str, t.Any]
Wish = t.Callable[[t.Optional[Definition]], Desired]


class Worker(t.Protocol):
    """What is needed of a task."""

    check: bool

    @property
    def context(self) -> dict[str, t.Any]:
        """For the audit."""

    @property
    def who(self) -> str:
        """For whoever waits for us."""

    def warn(self, text: str) -> None:
        """Tell the user."""


def carry_out(
    task: Worker,
    where: Layout,
    name: str,
    reason: str,
    seconds: float,
    wish: Wish,
    leaving: Leaving = MappingProxyType({}),
) -> Result:
    """Make VM ``name`` what ``wish`` says, which is asked with the stored definition once nobody else can change it.

    ``seconds``: how long another task on the same VM is waited for. ``reason`` is for the audit. ``leaving``: of check
    mode, other VMs that would have ended by now.
    """
    paths = where.vm(name)
    control = Control(where, paths, reason, task.context)
    # Check mode changes nothing, not even a lock.
    lock = contextlib.nullcontext() if task.check else locked(paths.lock, seconds, task.who, f"VM {name}")
    with lock:
        wanted = wish(load(paths))
        work = Ensure(where, wanted, control, leaving)
        actions = work.decide(task.check)
        result: Result = {
            "changed": bool(actions),
            "actions": [action.as_dict() for action in actions],
            "diff": before_after(work.actual, wanted.state, actions, work.work.difference),
            "audit": control.audit,
        }
        if work.kept():
            result["kept"] = work.kept()
        if work.actual.qemu is not None and work.actual.definition is None:
            task.warn(f"QEMU {work.actual.qemu.pid} runs as VM {name}, whose definition is gone: it is ended.")
        if not task.check:
            _perform(task, where, work, control)
            found = {"stop_steps": work.work.stop_steps, "events": work.work.events}
            result.update({key: value for key, value in found.items() if value})
            if wanted.waits:
                result["waited"] = work.work.waited
        known = {} if work.work.addresses is None else {"addresses": work.work.addresses}
        return {"vm": {**facts(paths, work.actual), **known}, **result}


def _perform(task: Worker, where: Layout, work: Ensure, control: Control) -> None:
    try:
        work.perform()
    except (MaqetError, OSError) as failure:
        error = as_maqet(failure)
        changed = work.changed or "cont" in error.details.get("stop_steps", ())
        done = {"vm": facts(work.paths, work.actual), "audit": control.audit, "changed": changed}
        error.details = {**done, **error.details}
        raise error from None
    hint = advice(where) if "start" in work.work.done else None
    if hint:
        task.warn(hint)
    if "adopt" in work.work.done:
        task.warn(f"The runner of VM {work.paths.name} was gone, its QEMU not. A new one has taken it over.")
