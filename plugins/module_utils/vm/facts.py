# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of a VM, as modules return them under ``vm``."""

from __future__ import annotations

import typing as t
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.maqet.qemu.plugins.module_utils.definition.changes import Difference
from ansible_collections.maqet.qemu.plugins.module_utils.definition.hidden import hide, hide_both
from ansible_collections.maqet.qemu.plugins.module_utils.definition.seed import without_secrets
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import migration
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import age, noted
from ansible_collections.maqet.qemu.plugins.module_utils.qmp import exits
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import RunnerClient
from ansible_collections.maqet.qemu.plugins.module_utils.runner.launch import is_current
from ansible_collections.maqet.qemu.plugins.module_utils.vm.networks import network_facts
from ansible_collections.maqet.qemu.plugins.module_utils.vm.observe import Actual, asked, observe
from ansible_collections.maqet.qemu.plugins.module_utils.vm.plan import Action, executes

#: What else is to be known of a VM.
More = t.Callable[[VmPaths, Actual], t.Dict[str, t.Any]]
Seen = t.Union[Actual, MaqetError]

# QEMUs that are asked at once. Their runners share this host's processors, so more would gain nothing.
_AT_ONCE = 16


def facts(paths: VmPaths, actual: Actual) -> dict[str, t.Any]:
    """Everything that is known of a VM without asking more of it. Values that do not apply are None."""
    known, definition = actual.facts, actual.definition
    qemu = known.get("qemu", {})
    runs = actual.qemu is not None
    return {
        "name": paths.name,
        "status": actual.status,
        "uuid": definition.uuid if definition else known.get("uuid"),
        "definition": without_secrets(hide(definition.intent)) if definition else None,
        "disks": {name: file.path for name, file in definition.files.items()} if definition else {},
        "networks": network_facts(definition, runs),
        "qemu_pid": actual.qemu.pid if actual.qemu else None,
        "qemu_uid": qemu.get("uid"),
        "runner_pid": actual.runner.pid if actual.runner else None,
        "runner": _runner(actual),
        "qemu_version": qemu.get("version"),
        "qemu_binary": qemu.get("binary"),
        "accel": qemu.get("accel"),
        "helpers": {kind: _pid(entry) for kind, entry in qemu.get("helpers", {}).items()} if runs else {},
        "uptime": round(age(actual.qemu), 1) if actual.qemu else None,
        "sockets": _sockets(paths, definition) if runs else {},
        "home": paths.home if definition else None,
        "output": paths.output if definition else None,
        "serial_log": paths.serial_log if definition else None,
        "audit_log": paths.audit_log,
        "restarts": known.get("restarts", 0),
        "last_exit": _last_exit(paths, actual),
        "migration": _migration(paths),
        **({"error": str(actual.problem)} if actual.problem else {}),
    }


def _sockets(paths: VmPaths, definition: Definition | None) -> dict[str, str]:
    """Those of a VM that runs; of its ports, the ones that it was given."""
    intent = definition.intent if definition else {}
    ports = {"serial": paths.serial_socket} if intent.get("serial") == "socket" else {}
    if intent.get("display") == "vnc" and "port" not in intent.get("vnc", {}):
        ports["vnc"] = paths.vnc_socket
    return {"runner": paths.runner_socket, "direct": paths.direct_socket, **ports}


def _runner(actual: Actual) -> dict[str, t.Any] | None:
    """What the runner of a VM is; None where there is none."""
    if actual.runner is None:
        return None
    known = actual.facts.get("runner", {})
    told = {key: known.get(key) for key in ("digest", "protocol", "python", "python_version")}
    return {"pid": actual.runner.pid, **told, "current": is_current(known.get("digest"))}


def _pid(entry: t.Any) -> t.Optional[int]:
    """The pid of a process of which there is a note, if it lives."""
    process = noted(entry)
    return process.pid if process is not None and process.alive() else None


def _migration(paths: VmPaths) -> dict[str, t.Any] | None:
    """Its way from or to another host, if there is one; of one that cannot be read, that.

    Of another user's VM no file is to be seen.
    """
    try:
        mark = migration.read(paths)
    except PermissionError:
        return None
    except MaqetError as error:
        return {"phase": "unknown", "error": str(error)}
    return None if mark is None else mark.as_dict()


def _last_exit(paths: VmPaths, actual: Actual) -> t.Any:
    """How the last QEMU ended; of one that runs, the one before it."""
    missing = exits.unexplained(paths) if actual.qemu is None and not actual.waiting else None
    return missing or exits.last(paths)


def look_through_runner(paths: VmPaths, seconds: float) -> dict[str, t.Any]:
    """What the runner of another user's VM says of it, in at most ``seconds``: more is not to be seen."""
    with RunnerClient(paths.runner_socket, paths.name, seconds) as client:
        known = client.request("status")
    qemu, runner = noted(known.get("qemu")), noted(known.get("runner"))
    actual = Actual(None, qemu, runner, str(known.get("run_state")), known)
    return facts(paths, actual)


def look(where: Layout, chosen: t.Sequence[str], seconds: float, more: More = lambda *_: {}) -> list[dict[str, t.Any]]:
    """Observe VMs. One whose files are damaged is reported as such, and does not spoil the rest.

    Their QEMUs are asked how they are doing at the same time, each for at most ``seconds``: asking one costs little but
    waiting. ``more`` adds to the facts of each.
    """
    places = {name: where.vm(name) for name in chosen}
    found: dict[str, Seen] = {name: _seen(where, name, seconds, False) for name in chosen}
    running = {name: one for name, one in found.items() if isinstance(one, Actual) and one.qemu is not None}
    if running:
        with ThreadPoolExecutor(min(len(running), _AT_ONCE)) as pool:
            answers = pool.map(lambda name: asked(places[name], running[name], seconds), running)
        for name, answer in zip(running, answers):
            found[name] = answer or _seen(where, name, seconds, True)
    return [_told(places[name], found[name], more) for name in chosen]


def _seen(where: Layout, name: str, seconds: float, ask: bool) -> Seen:
    try:
        return observe(where, name, seconds, ask)
    except MaqetError as error:
        return error


def _told(paths: VmPaths, seen: Seen, more: More) -> dict[str, t.Any]:
    try:
        if isinstance(seen, MaqetError):
            raise seen
        return {**facts(paths, seen), **more(paths, seen)}
    except MaqetError as error:
        return {**facts(paths, Actual()), "status": "unknown", "error": str(error)}


def before_after(
    actual: Actual, state: str, actions: t.Sequence[Action], difference: Difference
) -> dict[str, dict[str, t.Any]]:
    """Ansible's diff: the changed options and the status, the same in check mode as for real."""
    before, after = map(without_secrets, hide_both(difference.before, difference.after))
    if actions:
        before["status"] = _word(actual)
        after["status"] = _then(before["status"], state, {action.kind for action in actions})
    return {"before": before, "after": after}


def _word(actual: Actual) -> str:
    """The status as the states of a task have it: QEMU knows more kinds of not running."""
    if actual.qemu is None:
        return actual.status
    return "running" if executes(actual.run_state) else "paused"


def _then(before: str, state: str, kinds: set[str]) -> str:
    if state == "absent":
        return "absent"
    if "resume" in kinds:
        return "running"
    if kinds & {"start", "pause"}:
        return "paused"
    return "stopped" if kinds & {"stop", "cancel_restart"} or before == "absent" else before
