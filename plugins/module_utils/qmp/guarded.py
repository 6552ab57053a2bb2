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
from ansible_collections.maqet.qemu.plugins.module_utils.guard.arguments import Scope
from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import Caller, myself
from ansible_collections.maqet.qemu.plugins.module_utils.guard.gate import Gate, Outcome
from ansible_collections.maqet.qemu.plugins.module_utils.guard.judge import Request
from ansible_collections.maqet.qemu.plugins.module_utils.guard.log import AuditLog
from ansible_collections.maqet.qemu.plugins.module_utils.guard.record import VmIdentity
from ansible_collections.maqet.qemu.plugins.module_utils.host.files import make_folder
from ansible_collections.maqet.qemu.plugins.module_utils.host.hostkey import host_key
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.asked import Answer, Asked, Target, no_event
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.direct import DirectMonitor
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.refusal import QmpError


def send(target: Target, asked: Asked) -> Answer:
    """Judge all of ``asked``, then send it; the same answer, and the same errors, as from a runner."""
    if not asked.check:
        make_folder(os.path.dirname(target.audit_log))
    requests = [
        Request(command["execute"], dict(command.get("arguments") or {}), asked.allow_dangerous)
        for command in asked.commands
    ]
    caller = myself(dict(asked.context))
    with DirectMonitor(target.socket, asked.seconds) as monitor:
        gate = _gate(target, monitor)
        if not asked.check:
            gate.key = host_key(target.audit_key) if target.audit_key else None
            with contextlib.suppress(MaqetError):  # a log that cannot be written refuses the commands, in better words
                orphans.adopt(gate.log)
        verdicts = gate.admit(requests, caller, asked.reason, asked.check)
        answer: Answer = {"decisions": [verdict.as_dict() for verdict in verdicts], "responses": [], "audit": []}
        answer["events"] = monitor.events
        if asked.check:
            return answer
        try:
            for request in requests:
                _one(gate, monitor, request, caller, asked.reason, answer)
            if asked.wait_for_event:
                _await_event(monitor, asked, answer)
        except MaqetError as error:
            error.details = {**answer, **error.details}
            raise
        return answer


def _gate(target: Target, monitor: DirectMonitor) -> Gate:
    try:
        known = frozenset(command["name"] for command in monitor.execute("query-commands"))
    except QmpError as error:
        raise MaqetError(
            f"QMP monitor {target.socket}: it does not say which commands it knows: {error.error_class}: {error.desc}.",
            "monitor_unreachable",
            socket=target.socket,
        ) from None
    identity = VmIdentity(target.name, target.uuid, target.pid, target.start, monitor.version, target.socket)
    if target.uuid is None and "query-uuid" in known:  # a storage daemon has none
        identity = dataclasses.replace(identity, uuid=monitor.execute("query-uuid")["UUID"])
    return Gate(identity, Scope(target.output, known), AuditLog(target.audit_log), "direct")


def _one(gate: Gate, monitor: DirectMonitor, request: Request, caller: Caller, reason: str, answer: Answer) -> None:
    ticket = gate.ask(request, caller, reason)
    outcome = Outcome("success")
    try:
        answer["responses"].append(monitor.execute(ticket.command, ticket.arguments))
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
