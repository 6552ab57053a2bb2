# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What both modes call before and after they send a command: judge, record, let through or refuse.

    ticket = gate.ask(request, caller)     # the intent is on disk; MaqetError if refused
    ... send ticket.command with ticket.arguments ...
    records = gate.close(ticket, Outcome("success"))

``ask`` and ``close`` wait for the disk (milliseconds); they may be called from any thread.
"""

from __future__ import annotations

import copy
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard import record as records
from ansible_collections.maqet.qemu.plugins.module_utils.guard.arguments import Scope
from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import Caller
from ansible_collections.maqet.qemu.plugins.module_utils.guard.entry import Source, by_role
from ansible_collections.maqet.qemu.plugins.module_utils.guard.judge import Request, Verdict, judge
from ansible_collections.maqet.qemu.plugins.module_utils.guard.log import AuditLog
from ansible_collections.maqet.qemu.plugins.module_utils.guard.names import is_name, shown
from ansible_collections.maqet.qemu.plugins.module_utils.guard.record import Context, VmIdentity
from ansible_collections.maqet.qemu.plugins.module_utils.guard.redact import redact_error, secrets


@dataclass(frozen=True)
class Outcome:
    """What became of a command that was sent."""

    res: str  # "success" or "failed"
    error_class: str | None = None  # QEMU's, such as GenericError
    error: str | None = None


@dataclass(frozen=True)
class Ticket:
    """Leave to send one command, once. Send these arguments: they are the ones that were judged."""

    command: str
    arguments: dict[str, t.Any]
    verdict: Verdict
    intent: dict[str, t.Any]
    #: Texts that must not be shown: what redaction removed.
    secrets: frozenset[str]
    #: time.monotonic_ns when leave was given.
    since: int


class Gate:
    """Guard and audit of one QEMU.

    ``identity`` and ``scope`` may be replaced by new objects when the runner learns more (the pid,
    the version, the answer to query-commands); a request is judged and recorded with what is set
    when it asks.
    """

    def __init__(
        self, identity: VmIdentity, scope: Scope, log: AuditLog, via: str, policy: Source | None = None
    ) -> None:
        self.identity = identity
        self.scope = scope
        self.log = log
        self.via = via  # "ipc" or "direct"
        self.policy = policy

    def judge_all(self, requests: t.Iterable[Request], caller: Caller) -> list[Verdict]:
        """The verdict on each request. Nothing is recorded and nothing is raised."""
        return [self._judge(request, caller) for request in requests]

    def _judge(self, request: Request, caller: Caller) -> Verdict:
        barred = by_role(self.policy.current(), caller, request.command) if self.policy is not None else None
        return barred or judge(request, self.scope)

    def turn_away(self, caller: Caller, verdict: Verdict) -> None:
        """Record that a caller was refused before it could ask for anything."""
        self._record_denials([(Request("connect"), verdict)], caller, "")

    def admit(
        self, requests: t.Sequence[Request], caller: Caller, reason: str = "", check: bool = False
    ) -> list[Verdict]:
        """Judge a list completely before its first command is sent.

        When any is denied, each denial is recorded (unless ``check``) and MaqetError ``policy_denied``
        names the first. What passes must still ask for itself.
        """
        verdicts = self.judge_all(requests, caller)
        refused = [(i, r, v) for i, (r, v) in enumerate(zip(requests, verdicts), 1) if not v.allowed]
        if refused:
            recorded = [] if check else [(r, v) for _i, r, v in refused]
            kept, trouble = self._record_denials(recorded, caller, reason)
            number, request, verdict = refused[0]
            where = f"command {number} of {len(requests)}, " if len(requests) > 1 else ""
            raise _denied(request, verdict, kept, where, trouble)
        return verdicts

    def ask(self, request: Request, caller: Caller, reason: str = "") -> Ticket:
        """Ask leave to send ``request``.

        Allowed: the intent is on disk, and the ticket is returned. Denied: the denial is recorded
        and MaqetError ``policy_denied`` is raised. Raises ``audit_failed`` when an intent cannot be
        recorded: then nothing may be sent.
        """
        # A copy: what is judged and recorded is what the ticket lets through, whatever the caller does later.
        request = Request(request.command, _copied(request.arguments), request.allow_dangerous)
        verdict = self._judge(request, caller)
        if not verdict.allowed:
            kept, trouble = self._record_denials([(request, verdict)], caller, reason)
            raise _denied(request, verdict, kept, "", trouble)
        since = time.monotonic_ns()
        try:
            intent = self.log.append(records.intent(request, verdict, self._context(caller, reason)))
        except MaqetError as error:
            raise _unrecorded(error, request.command, sent=False) from error
        hidden = frozenset(secrets(request.command, request.arguments))
        return Ticket(request.command, request.arguments, verdict, intent, hidden, since)

    def close(self, ticket: Ticket, outcome: Outcome) -> list[dict[str, t.Any]]:
        """Record what became of the command; returns its intent and its result.

        Raises MaqetError ``audit_failed`` (``sent: true``) when the result cannot be recorded.
        """
        duration = (time.monotonic_ns() - ticket.since) / 1e6
        after = records.result(
            ticket.intent, outcome.res, outcome.error_class, outcome.error, duration, hidden=ticket.secrets
        )
        try:
            return [ticket.intent, self.log.append(after)]
        except MaqetError as error:
            raise _unrecorded(error, ticket.command, sent=True) from error

    def _context(self, caller: Caller, reason: str) -> Context:
        return Context(self.identity, caller, self.via, reason)

    def _record_denials(
        self, denied: list[tuple[Request, Verdict]], caller: Caller, reason: str
    ) -> tuple[list[dict[str, t.Any]], str | None]:
        """Record denials; returns the records, and why not all of them could be written."""
        kept: list[dict[str, t.Any]] = []
        try:
            for request, verdict in denied:
                kept.append(self.log.append(records.denial(request, verdict, self._context(caller, reason))))
        except MaqetError as error:
            # A denial stands whether or not it could be written down.
            return kept, str(error)
        return kept, None


def _copied(arguments: t.Any) -> t.Any:
    try:
        return copy.deepcopy(arguments)
    except (TypeError, ValueError, RecursionError, copy.Error):  # no JSON: the judge says so of the original
        return arguments


def _denied(
    request: Request, verdict: Verdict, kept: list[dict[str, t.Any]], where: str, trouble: str | None
) -> MaqetError:
    name = request.command if is_name(request.command) else shown(request.command)
    why = redact_error(verdict.reason, secrets(request.command, request.arguments))
    details: dict[str, t.Any] = {"command": name, "decision": {**verdict.as_dict(), "reason": why}, "audit": kept}
    details["remedy"] = verdict.remedy
    if trouble is not None:
        details["audit_error"] = trouble
    code = "invalid_command" if verdict.rule == "name-syntax" else "policy_denied"
    message = f"{where}{name}: denied by the rule {verdict.rule}: {why}. {verdict.remedy}"
    return MaqetError(message if trouble is None else f"{message} Also, {trouble}", code, **details)


def _unrecorded(error: MaqetError, command: str, sent: bool) -> MaqetError:
    """The log's own error, with what it means for the command."""
    fate = f"{command} was sent and has run; its outcome is not recorded" if sent else f"{command} was not sent"
    return MaqetError(f"{fate}: {error}", error.error_code, command=command, sent=sent, **error.details)
