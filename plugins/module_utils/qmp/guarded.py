# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``mode: direct``: the module is guard and scribe itself, on a monitor that it holds for a moment."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard import orphans
from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import myself
from ansible_collections.maqet.qemu.plugins.module_utils.guard.gate import Asker, Gate, Outcome
from ansible_collections.maqet.qemu.plugins.module_utils.guard.log import AuditLog
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import Layer, tighten
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy_file import VmPolicySource
from ansible_collections.maqet.qemu.plugins.module_utils.guard.record import VmIdentity
from ansible_collections.maqet.qemu.plugins.module_utils.guard.schema import Schema
from ansible_collections.maqet.qemu.plugins.module_utils.guard.scope import Scope
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Request
from ansible_collections.maqet.qemu.plugins.module_utils.host import schema_cache
from ansible_collections.maqet.qemu.plugins.module_utils.host.files import make_folder
from ansible_collections.maqet.qemu.plugins.module_utils.host.hostkey import host_key
from ansible_collections.maqet.qemu.plugins.module_utils.qmp import hold
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.asked import Answer, Asked, Target, no_event
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.direct import DirectMonitor
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.host_policy import host_policy
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.refusal import QmpError


def send(target: Target, asked: Asked) -> Answer:
    """Judge all of ``asked``, then send it; the same answer, and the same errors, as from a runner."""
    if asked.sends:
        make_folder(os.path.dirname(target.audit_log))
    requests = [
        Request(command["execute"], dict(command.get("arguments") or {}), asked.allow_dangerous)
        for command in asked.commands
    ]
    tighter = () if asked.policy is None else (tighten("task", asked.policy),)
    asker = Asker(myself(dict(asked.context)), asked.reason, tighter)
    with DirectMonitor(target.socket, asked.seconds) as monitor:
        gate = _gate(target, monitor)
        if asked.sends:
            gate.key = host_key(target.where.audit_key)
        if asked.witness is not None:
            gate.confront(asked.witness)
        verdicts = gate.judge_all(requests, asker) if asked.explain else gate.admit(requests, asker, asked.check)
        answer: Answer = {"decisions": [verdict.as_dict() for verdict in verdicts], "responses": [], "audit": []}
        answer["events"] = monitor.events
        if not asked.sends:
            return answer
        with contextlib.suppress(MaqetError):  # a log that cannot be written refuses the commands, in better words
            orphans.adopt(gate.log)
        try:
            for request in requests:
                _one(gate, monitor, request, asker, answer)
            if asked.wait_for_event:
                _await_event(monitor, asked, answer)
        except MaqetError as error:
            error.details = {**answer, **error.details}
            raise
        return answer


def _gate(target: Target, monitor: DirectMonitor) -> Gate:
    schema = _schema(target, monitor)
    identity = VmIdentity(target.name, target.uuid, target.pid, target.start, monitor.version, target.socket)
    if target.uuid is None and "query-uuid" in schema.commands:  # a storage daemon has none
        identity = dataclasses.replace(identity, uuid=monitor.execute("query-uuid")["UUID"])
    where = target.where
    own = None if target.definition is None else VmPolicySource(target.definition)
    vm = None if target.home is None else target.name
    scope = Scope(vm, target.home, schema, *_user(target))
    return Gate(
        identity,
        scope,
        AuditLog(target.audit_log),
        "direct",
        host_policy(where),
        lambda: tuple(filter(None, (own.current() if own else None, _held(target)))),
    )


def _held(target: Target) -> t.Optional[Layer]:
    """A VM of ours that moves to another host is left alone."""
    return None if target.home is None else hold.layer(target.where.vm(target.name))


def _user(target: Target) -> tuple[t.Optional[int], t.Optional[int]]:
    """Whose files QEMU opens by their names: the owner of the VM's output folder, if that is not who we are."""
    if target.home is None:
        return None, None
    try:
        found = os.stat(f"{target.home}/output")
    except OSError:  # no file is named there either, then
        return None, None
    return (found.st_uid, found.st_gid) if found.st_uid != os.geteuid() else (None, None)


def _schema(target: Target, monitor: DirectMonitor) -> Schema:
    """This QEMU's schema: as a runner has kept it for its program and version, else asked for."""
    key = schema_cache.key_of(f"/proc/{target.pid or monitor.peer}/exe", monitor.build)
    known = schema_cache.load(target.where.cache, key) if key else None
    schema = Schema.from_json(known) if known is not None else None
    if schema is not None:
        return schema
    try:
        schema = Schema.of(monitor.execute("query-qmp-schema"))
    except QmpError as error:
        raise MaqetError(
            f"QMP monitor {target.socket}: it does not say which commands it knows: {error.error_class}: {error.desc}.",
            "monitor_unreachable",
            socket=target.socket,
        ) from None
    return schema  # not kept: the guest has run, and a QEMU that it has taken over could teach us lies about others


def _one(gate: Gate, monitor: DirectMonitor, request: Request, asker: Asker, answer: Answer) -> None:
    ticket = gate.ask(request, asker)
    outcome = Outcome("success")
    try:
        answer["responses"].append(monitor.execute(ticket.command, ticket.arguments, ticket.passed))
    except QmpError as error:
        outcome = Outcome("failed", error.error_class, error.desc)
        raise error.of(request.command) from None
    except MaqetError as error:
        outcome = Outcome("failed", error.error_code, str(error))
        raise
    finally:
        answer["audit"] += gate.close(ticket, outcome)


def _await_event(monitor: DirectMonitor, asked: Asked, answer: Answer) -> None:
    seen: list[dict[str, t.Any]] = list(monitor.events)
    try:
        while not any(event["event"] == asked.wait_for_event for event in seen):
            monitor.events.clear()
            seen.append(monitor.next_event())
    except (MaqetError, socket.timeout):
        raise no_event(asked) from None
    finally:
        answer["events"] = seen
