# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The VMs that a host has: their stored definitions, and what is really going on."""

from __future__ import annotations

import dataclasses
import os
import time
import typing as t
import uuid

from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import merge
from ansible_collections.maqet.qemu.plugins.module_utils.definition.names import check_vm_name
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.nearest import suggestion
from ansible_collections.maqet.qemu.plugins.module_utils.host import emulators, files, locks, processes, status, watch
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.direct import DirectMonitor
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.refusal import QmpError
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import RunnerClient, Unread

# A runner whose QEMU has just ended tidies up and ends; this is far more than it needs, in seconds.
_BURIAL = 10.0
# How long a QEMU may take to say how it is doing before it counts as hung.
_LOOK = 10.0
# A connection breaks a moment before its process is gone.
_MOMENT = 2.0


@dataclasses.dataclass(frozen=True)
class Actual:
    """What is there. ``qemu`` and ``runner`` are live processes; ``facts`` the status of a QEMU that lives.

    ``problem``: why that QEMU could not be asked how it is doing; ``run_state`` is None then. ``unready``: processes
    of a start that was never finished, or that should have ended; nobody needs them. ``waiting``: QEMU has ended, and
    ``runner`` will start it again.
    """

    definition: t.Optional[Definition] = None
    qemu: t.Optional[processes.Process] = None
    runner: t.Optional[processes.Process] = None
    run_state: t.Optional[str] = None
    facts: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    problem: t.Optional[MaqetError] = None
    unready: tuple[processes.Process, ...] = ()
    waiting: bool = False

    @property
    def process(self) -> processes.Process:
        """QEMU's process, of a VM that runs: ``vm_not_running`` otherwise."""
        if self.qemu is None:
            raise MaqetError("The VM is not running.", "vm_not_running")
        return self.qemu

    @property
    def status(self) -> str:
        """One word for people: absent, stopped, restarting, or QEMU's own RunState."""
        if self.qemu is not None:
            return self.run_state or "unknown"
        if self.waiting:
            return "restarting"
        return "absent" if self.definition is None else "stopped"


def names(where: Layout) -> list[str]:
    """The VMs that are defined on this host for this user, sorted."""
    try:
        entries = sorted(os.listdir(where.vms))
    except FileNotFoundError:
        return []
    return [name for name in entries if os.path.exists(os.path.join(where.vms, name, "definition.json"))]


def load(paths: VmPaths) -> t.Optional[Definition]:
    """The stored definition of a VM, or None if there is no such VM; ``state_unsafe`` for one that is damaged."""
    data = files.read_json(paths.definition)
    if data is None and not os.path.exists(paths.definition):
        return None
    definition = Definition.from_json(data)
    try:
        uuid.UUID(definition.uuid)
        merge(definition.intent, {})
        sound = definition.name == paths.name
    except (ValueError, TypeError, KeyError, AttributeError, MaqetError):
        sound = False
    if not sound:
        raise MaqetError(
            f"{paths.definition} is damaged, or of another VM. Restore it from a backup, or move it away and define "
            "the VM again.",
            "state_unsafe",
            path=paths.definition,
        )
    return definition


def observe(where: Layout, name: str, seconds: float, look: bool = True) -> Actual:
    """Look at a VM without changing anything, in at most ``seconds``; with ``look`` off, QEMU is not asked.

    The status file is believed where the kernel agrees. Where it is lost, the locks tell that there is
    something, and the command lines what.
    """
    paths = where.vm(check_vm_name(name))
    definition = load(paths)
    facts = status.of_this_boot(paths)
    qemu, runner = _live(facts.get("qemu")), _live(facts.get("runner"))
    if qemu is None and (locks.is_held(paths.qemu_log) or definition is None):
        qemu = _search(paths, definition)
    if runner is None and locks.is_held(paths.home):
        runner = processes.with_arguments(("--vm", name), ("--state", where.state))
    if facts.get("phase") == "waiting" and qemu is None:
        return Actual(definition, runner=runner, facts=facts, waiting=runner is not None)
    if facts and facts.get("phase") not in ("ready", "waiting"):
        return Actual(definition, unready=tuple(process for process in (runner, qemu) if process is not None))
    if qemu is None:
        if runner is None:
            return Actual(definition)
        begun = time.monotonic()  # it tidies up and ends, or it will start its QEMU again, and says so in its status
        if _moved_on(paths, runner, min(seconds, _BURIAL)):
            return observe(where, name, max(0.0, seconds - (time.monotonic() - begun)), look)
        return Actual(definition, unready=(runner,))
    actual = Actual(definition, qemu, runner, None, facts)
    if not look:
        return actual
    return asked(paths, actual, seconds) or observe(where, name, seconds)


def asked(paths: VmPaths, actual: Actual, seconds: float) -> t.Optional[Actual]:
    """The same, and QEMU's own word for what the VM does; None if it has ended since, so that one must look again.

    Talks to sockets alone, so any thread may do it.
    """
    if actual.qemu is None:
        return actual
    try:
        return dataclasses.replace(actual, run_state=_run_state(paths, actual.runner, min(seconds, _LOOK)))
    except MaqetError as error:
        if actual.qemu.wait_gone(_MOMENT):
            return None
        return dataclasses.replace(actual, problem=error)


def _moved_on(paths: VmPaths, runner: processes.Process, seconds: float) -> bool:
    """Whether a runner without QEMU has done something within ``seconds``: ended, or changed what is in its folder."""
    pidfd = runner.open()
    if pidfd is None:
        return True
    try:
        with watch.Folder(paths.run) as folder:
            # None: it is on its way in or out, and does not need long for that.
            changed = status.of_this_boot(paths).get("phase") not in (None, "ready")
            return changed or bool(processes.wait_readable([pidfd, folder.fd], seconds))
    except FileNotFoundError:
        return bool(processes.wait_readable([pidfd], seconds))
    finally:
        os.close(pidfd)


def _search(paths: VmPaths, definition: t.Optional[Definition]) -> t.Optional[processes.Process]:
    """The QEMU of a VM whose status or definition is lost; ``qemu_unidentified`` if what lives cannot be told."""
    found = emulators.of_vm(paths, definition.uuid if definition else None)
    if found is None and definition is not None and locks.is_held(paths.qemu_log, locks.LETTING_GO):
        raise emulators.unidentified(paths, f"{paths.qemu_log} is locked, and no process is it beyond doubt")
    return None if found is None else found.process


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
    meant = suggestion(name, known)[2:]
    whose = "" if where.scope == "system" else " This user's VMs are not root's: become changes which ones you see."
    return MaqetError(
        f"There is no VM {name!r}. {meant + ' ' if meant else ''}{there}{whose}", "vm_not_found", known=known
    )


def _live(entry: t.Any) -> t.Optional[processes.Process]:
    process = processes.noted(entry)
    return process if process is not None and process.alive() else None


def _run_state(paths: VmPaths, runner: t.Optional[processes.Process], seconds: float) -> str:
    if runner is not None:
        try:
            with RunnerClient(paths.runner_socket, paths.name, seconds) as client:
                return str(client.request("status")["run_state"])
        except Unread:  # it is being replaced, or takes QEMU over: QEMU itself can be asked
            pass
    with DirectMonitor(paths.direct_socket, seconds) as monitor:
        try:
            return str(monitor.execute("query-status")["status"])
        except QmpError as error:
            raise error.of("query-status") from None
