# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The VMs that a host has: their stored definitions, and what is really going on."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.names import check_vm_name
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import files, processes
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.direct import DirectMonitor
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import RunnerClient

# A runner whose QEMU has just ended tidies up and ends; this is far more than it needs, in seconds.
_BURIAL = 10.0


@dataclasses.dataclass(frozen=True)
class Actual:
    """What is there. ``qemu`` and ``runner`` are live processes; ``facts`` the status of a QEMU that lives."""

    definition: t.Optional[Definition] = None
    qemu: t.Optional[processes.Process] = None
    runner: t.Optional[processes.Process] = None
    run_state: t.Optional[str] = None
    facts: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)

    @property
    def process(self) -> processes.Process:
        """QEMU's process, of a VM that runs: ``vm_not_running`` otherwise."""
        if self.qemu is None:
            raise MaqetError("The VM is not running.", "vm_not_running")
        return self.qemu

    @property
    def status(self) -> str:
        """One word for people: absent, stopped, or QEMU's own RunState."""
        if self.qemu is not None:
            return self.run_state or "unknown"
        return "absent" if self.definition is None else "stopped"


def names(where: Layout) -> list[str]:
    """The VMs that are defined on this host for this user, sorted."""
    try:
        entries = sorted(os.listdir(where.vms))
    except FileNotFoundError:
        return []
    return [name for name in entries if os.path.exists(os.path.join(where.vms, name, "definition.json"))]


def load(paths: VmPaths) -> t.Optional[Definition]:
    """The stored definition of a VM, or None if there is no such VM."""
    data = files.read_json(paths.definition)
    return None if data is None else Definition.from_json(data)


def observe(where: Layout, name: str, seconds: float, look: bool = True) -> Actual:
    """Look at a VM without changing anything, in at most ``seconds``; with ``look`` off, QEMU is not asked."""
    paths = where.vm(check_vm_name(name))
    definition = load(paths)
    facts = files.read_json(paths.status) or {}
    if facts.get("phase") != "ready" or facts.get("boot_id") != processes.boot_id():
        return Actual(definition)
    qemu, runner = _live(facts["qemu"]), _live(facts["runner"])
    if qemu is None:
        if runner is not None:
            runner.wait_gone(min(seconds, _BURIAL))
        return Actual(definition)
    if not look:
        return Actual(definition, qemu, runner, None, facts)
    try:
        return Actual(definition, qemu, runner, _run_state(paths, runner, seconds), facts)
    except MaqetError:
        if qemu.alive():
            raise
        return observe(where, name, seconds)  # it ended between our two looks


def demand(where: Layout, name: str, seconds: float, look: bool = True) -> Actual:
    """Observe a VM that must be there and run: ``vm_not_found`` or ``vm_not_running`` otherwise."""
    actual = observe(where, name, seconds, look)
    if actual.definition is None and actual.qemu is None:
        raise not_found(where, name)
    if actual.qemu is None:
        raise MaqetError(f"VM {name} is not running. Start it with maqet_vm: state=running.", "vm_not_running")
    return actual


def not_found(where: Layout, name: str) -> MaqetError:
    """``vm_not_found``, with the names that are there."""
    known = names(where)
    there = f"Defined here: {', '.join(known)}." if known else "None is defined here."
    whose = "" if where.scope == "system" else " This user's VMs are not root's: become changes which ones you see."
    return MaqetError(f"There is no VM {name!r}. {there}{whose}", "vm_not_found", known=known)


def _live(entry: t.Mapping[str, t.Any]) -> t.Optional[processes.Process]:
    process = processes.Process(entry["pid"], entry["start"])
    return process if process.alive() else None


def _run_state(paths: VmPaths, runner: t.Optional[processes.Process], seconds: float) -> str:
    if runner is not None:
        with RunnerClient(paths.runner_socket, paths.name, seconds) as client:
            return str(client.request("status")["run_state"])
    with DirectMonitor(paths.direct_socket, seconds) as monitor:
        return str(monitor.execute("query-status")["status"])
