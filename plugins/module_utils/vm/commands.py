# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``maqet_qmp`` does: check the names, choose the way, send, and say what went wrong in words.

What only direct mode or an error needs is imported there: most tasks go to a runner and succeed.
"""

from __future__ import annotations

import contextlib
import os
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.names import check_vm_name
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.guard.commands import LOOKING, class_of
from ansible_collections.maqet.qemu.plugins.module_utils.guard.names import check_name
from ansible_collections.maqet.qemu.plugins.module_utils.guard.redact import (
    redact,
    redact_error,
    redact_event,
    scrub_reply,
    secrets,
)
from ansible_collections.maqet.qemu.plugins.module_utils.host.locks import locked
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths, direct_lock, layout
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.asked import (
    Answer,
    Asked,
    Target,
    through_monitor,
)
from ansible_collections.maqet.qemu.plugins.module_utils.vm.reach import send
from ansible_collections.maqet.qemu.plugins.module_utils.vm.whose import of_system, refuse_direct


class Plan(t.NamedTuple):
    """One task's options, checked. ``single``: it gave ``command``, and expects one response."""

    asked: Asked
    single: bool
    vm: t.Optional[str]
    socket: t.Optional[str]
    direct: bool
    who: str


def shown(params: t.Mapping[str, t.Any]) -> tuple[dict[str, t.Any], set[str]]:
    """The options as a result may repeat them, and the secrets that it must not."""
    clean: dict[str, t.Any] = {}
    hidden: set[str] = set()
    if params["arguments"]:
        clean["arguments"] = redact(params["command"], params["arguments"])[0]
        hidden |= secrets(params["command"], params["arguments"])
    if params["commands"]:
        clean["commands"] = []
        for item in params["commands"]:
            arguments = item.get("arguments") or {}
            clean["commands"].append({**item, "arguments": redact(item["command"], arguments)[0]})
            hidden |= secrets(item["command"], arguments)
    return clean, hidden


def checked(params: t.Mapping[str, t.Any], check: bool, context: t.Mapping[str, t.Any], who: str) -> Plan:
    """The task's options, refused where they cannot be; no VM has been looked at."""
    single = params["commands"] is None
    items = [{"command": params["command"], "arguments": params["arguments"]}] if single else params["commands"]
    if params["timeout"] <= 0:
        raise invalid_option("timeout", params["timeout"], "is no time to wait", "Give seconds, more than 0")
    try:
        commands = [{"execute": check_name(item["command"]), "arguments": item["arguments"] or {}} for item in items]
    except MaqetError as error:
        if not check and not params["explain"]:
            error.details["audit"] = _record_refusal(params, items, context)
        raise
    asked = Asked(
        commands,
        params["timeout"],
        params["allow_dangerous"],
        check,
        redact_error(params["reason"], shown(params)[1]),  # it may quote a password of any of the commands
        context,
        params["wait_for_event"],
        params["explain"],
        params["policy"],
        params["witness"],
    )
    if asked.policy is not None:
        _check_policy(asked.policy)
    direct = params["mode"] == "direct" or params["socket"] is not None
    return Plan(asked, single, params["vm"], params["socket"], direct, who)


def _check_policy(policy: t.Mapping[str, t.Any]) -> None:
    """Refuse a policy that cannot be before any VM is looked up."""
    from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import tighten

    tighten("task", policy)


def _record_refusal(
    params: t.Mapping[str, t.Any], items: t.Sequence[t.Mapping[str, t.Any]], context: t.Mapping[str, t.Any]
) -> list[dict[str, t.Any]]:
    """A name that is none was refused before any VM was looked up. If the named VM has a log, it belongs there."""
    from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import myself
    from ansible_collections.maqet.qemu.plugins.module_utils.guard.gate import Asker, Gate
    from ansible_collections.maqet.qemu.plugins.module_utils.guard.log import AuditLog
    from ansible_collections.maqet.qemu.plugins.module_utils.guard.record import VmIdentity
    from ansible_collections.maqet.qemu.plugins.module_utils.guard.scope import Scope
    from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Request

    try:
        path = layout().vm(check_vm_name(params["vm"])).audit_log
        if not os.path.exists(path):
            return []
        gate = Gate(VmIdentity(params["vm"]), Scope(params["vm"]), AuditLog(path), "module")
        reason = redact_error(params["reason"], shown(params)[1])
        asker = Asker(myself(dict(context)), reason)
        gate.admit([Request(item["command"], {}) for item in items], asker)
    except MaqetError as error:
        return list(error.details.get("audit", []))
    return []


def run(plan: Plan) -> Answer:
    """Send a task's commands and return its result; MaqetError carries what had been done until then."""
    try:
        answer = _send(plan)
    except MaqetError as error:
        details = error.details
        _scrub(details, plan)
        details["changed"] = any(_changes(plan, index) for index in range(len(details.get("responses", []))))
        if plan.single and "decisions" in details:
            details["decision"] = details.pop("decisions")[0]
        raise
    changed = not plan.asked.explain and any(_changes(plan, index) for index in range(len(plan.asked.commands)))
    _scrub(answer, plan)
    return {"changed": changed, **(_one(answer) if plan.single else answer)}


def _scrub(answer: Answer, plan: Plan) -> None:
    """Take credentials that are in answers and events by chance out of a result."""
    if answer.get("responses"):
        sent = zip(plan.asked.commands, answer["responses"])
        answer["responses"] = [scrub_reply(command["execute"], response) for command, response in sent]
    if answer.get("events"):
        answer["events"] = [redact_event(event) for event in answer["events"]]


def warnings(result: Answer, plan: Plan) -> list[str]:
    """What the user should see of commands that are allowed but not harmless."""
    decisions = result.get("decisions") or [result["decision"]]
    return [
        f"{command['execute']} is of the class {decision['class']}; it is audited as a warning."
        for command, decision in zip(plan.asked.commands, decisions)
        if decision["level"] == "warning" and decision["decision"] == "allow" and not plan.asked.explain
    ]


def _changes(plan: Plan, index: int) -> bool:
    return class_of(plan.asked.commands[index]["execute"]) not in LOOKING


def _one(answer: Answer) -> Answer:
    single = {"decision": answer["decisions"][0], "audit": answer["audit"], "events": answer["events"]}
    return {**single, "response": answer["responses"][0]} if answer["responses"] else single


def _send(plan: Plan) -> Answer:
    where = layout()
    if plan.socket is not None:
        return _direct(_stranger(where, plan.socket), where, plan)
    paths = where.vm(check_vm_name(plan.vm))
    if plan.direct:
        if of_system(where, paths.name) is not None:
            raise refuse_direct(paths.name)
        return _direct(_ours(where, paths, plan), where, plan)
    return send(where, paths.name, plan.asked)


def _ours(where: Layout, paths: VmPaths, plan: Plan) -> Target:
    from ansible_collections.maqet.qemu.plugins.module_utils.vm.control import target
    from ansible_collections.maqet.qemu.plugins.module_utils.vm.observe import demand

    return target(where, paths, demand(where, paths.name, plan.asked.seconds, look=False))


def _stranger(where: Layout, path: str) -> Target:
    """A QEMU of somebody else: its log is named by its socket, as no VM of ours can be named."""
    name = "@" + os.path.abspath(path).strip("/").replace("/", "-")
    return Target(where, path, name, os.path.join(where.log, f"{name}.audit.jsonl"))


def _direct(to: Target, where: Layout, plan: Plan) -> Answer:
    """A monitor serves one client at a time, so we queue for it, among ourselves at least."""
    lock = direct_lock(where.run, to.name)
    what = f"The direct monitor of {to.name}"
    with contextlib.nullcontext() if not plan.asked.sends else locked(lock, plan.asked.seconds, plan.who, what):
        return through_monitor(to, plan.asked)
