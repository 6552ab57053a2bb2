# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What both modes call before and after they send a command: judge, record, open, let through or refuse.

    ticket = gate.ask(request, asker)      # the intent is on disk, files are open; MaqetError if refused
    ... send ticket.command with ticket.arguments, and ticket.passed before it ...
    records = gate.close(ticket, Outcome("success"))

``ask`` and ``close`` wait for the disk (milliseconds); they may be called from any thread. ``ask_all`` and
``close_all`` do the same for several commands, and wait once.
"""

from __future__ import annotations

import copy
import time
import typing as t
from dataclasses import dataclass, field, replace

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard import commands, opener
from ansible_collections.maqet.qemu.plugins.module_utils.guard import record as records
from ansible_collections.maqet.qemu.plugins.module_utils.guard.agent import judge_guest
from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import Caller
from ansible_collections.maqet.qemu.plugins.module_utils.guard.entry import Source
from ansible_collections.maqet.qemu.plugins.module_utils.guard.judge import judge
from ansible_collections.maqet.qemu.plugins.module_utils.guard.log import AuditLog
from ansible_collections.maqet.qemu.plugins.module_utils.guard.names import is_name, shown
from ansible_collections.maqet.qemu.plugins.module_utils.guard.passing import Passed
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import BUILTIN, Layer
from ansible_collections.maqet.qemu.plugins.module_utils.guard.record import Context, VmIdentity
from ansible_collections.maqet.qemu.plugins.module_utils.guard.redact import redact_error, secrets
from ansible_collections.maqet.qemu.plugins.module_utils.guard.scope import Grants, Rights, Scope
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Request, Verdict
from ansible_collections.maqet.qemu.plugins.module_utils.guard.witness import check_witness, checked


@dataclass(frozen=True)
class Asker:
    """Who asks, why, and what this very task takes away from the policy."""

    caller: Caller
    reason: str = ""
    tighter: tuple[Layer, ...] = ()
    #: Only of a caller who may write the VM's definition; the gate believes it.
    granted: Grants = field(default_factory=Grants)


@dataclass(frozen=True)
class Outcome:
    """What became of a command that was sent."""

    res: str  # "success" or "failed"
    error_class: str | None = None  # QEMU's, such as GenericError
    error: str | None = None
    #: time.monotonic_ns when it was sent and when the outcome was known; None: since leave was given, until now.
    times: tuple[int, int] | None = None


#: Of commands that had leave to be sent when one before them failed.
NOT_SENT: t.Final = Outcome("failed", "not_sent", "it was not sent: a command of the same list failed before it")


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
    opened: opener.Opened = field(default_factory=opener.Opened)

    @property
    def passed(self) -> t.Sequence[Passed]:
        """Descriptors that must reach QEMU before the command; whoever sends it closes them."""
        return self.opened.passed


class Gate:
    """Guard and audit of one QEMU.

    ``identity`` and ``scope`` may be replaced by new objects when the runner learns more; a request is
    judged and recorded with what is set when it asks. ``policy`` is where the host's policy comes from,
    ``tighter`` answers with what the VM's own definition takes away from it.
    """

    def __init__(
        self,
        identity: VmIdentity,
        scope: Scope,
        log: AuditLog,
        via: str,
        policy: Source | None = None,
        tighter: t.Callable[[], tuple[Layer, ...]] = tuple,
    ) -> None:
        self.identity = identity
        self.scope = scope
        self.log = log
        self.via = via  # "ipc" or "direct"
        self.policy = policy
        self._tighter = tighter
        #: This host's key for marking in records what was removed from them.
        self.key: bytes | None = None

    def rights(self, asker: Asker) -> Rights:
        """What the policies say at this moment of this VM and of who asks."""
        policy = BUILTIN if self.policy is None else self.policy.current()
        caller = asker.caller
        role = policy.role_of(-1 if caller.uid is None else caller.uid, caller.groups)
        return Rights(policy, policy.layer(self.scope.vm), (*self._tighter(), *asker.tighter), role)

    def confront(self, witness: t.Any) -> None:
        """Raise MaqetError ``audit_tampered`` when the log does not hold the record that ``witness`` saw."""
        error = check_witness(self.log.path, checked(witness))
        if error is not None:
            raise error

    def judge_all(self, requests: t.Iterable[Request], asker: Asker) -> list[Verdict]:
        """The verdict on each request. Nothing is recorded, opened or raised."""
        rights = self.rights(asker)
        return [self._judge(request, rights, asker) for request in requests]

    def admit(self, requests: t.Sequence[Request], asker: Asker, check: bool = False) -> list[Verdict]:
        """Judge a list completely before its first command is sent.

        When any is denied, each denial is recorded (unless ``check``) and MaqetError ``policy_denied``
        names the first. What passes must still ask for itself.
        """
        rights = self.rights(asker)
        verdicts = [self._judge(request, rights, asker) for request in requests]
        refused = [(i, r, v) for i, (r, v) in enumerate(zip(requests, verdicts), 1) if not v.allowed]
        if refused:
            recorded = [] if check else [(r, v) for _i, r, v in refused]
            kept, trouble = self._record_denials(recorded, asker, rights)
            number, request, verdict = refused[0]
            where = f"command {number} of {len(requests)}, " if len(requests) > 1 else ""
            raise _denied(request, verdict, kept, where, trouble)
        return verdicts

    def ask(self, request: Request, asker: Asker) -> Ticket:
        """Ask leave to send ``request``.

        Allowed: the intent is on disk, the files are open, and the ticket is returned. Denied: the
        denial is recorded and MaqetError ``policy_denied`` is raised. Raises ``audit_failed`` when an
        intent cannot be recorded, ``file_refused`` when a file cannot be opened: then nothing may be sent.
        """
        return self.ask_all([request], asker)[0]

    def ask_all(self, asked: t.Iterable[Request], asker: Asker) -> list[Ticket]:
        """The same for several requests, all or none of which get a ticket. Each ticket must be closed, sent or not."""
        # Copies: what is judged and recorded is what the ticket lets through, whatever the caller does later.
        requests = [replace(request, arguments=_copied(request.arguments)) for request in asked]
        rights = self.rights(asker)
        verdicts = [self._judge(request, rights, asker) for request in requests]
        both = list(zip(requests, verdicts))
        denied = [(request, verdict) for request, verdict in both if not verdict.allowed]
        if denied:
            kept, trouble = self._record_denials(denied, asker, rights)
            raise _denied(*denied[0], kept, "", trouble)
        since, context = time.monotonic_ns(), self._context(asker, rights)
        try:
            intents = self.log.append_all(
                [records.intent(request, verdict, context, _files(verdict)) for request, verdict in both]
            )
        except MaqetError as error:
            raise _unrecorded(error, requests[0].command, sent=False) from error
        tickets = [
            Ticket(request.command, request.arguments, verdict, intent, _hidden(request), since)
            for (request, verdict), intent in zip(both, intents)
        ]
        for ticket in tickets:
            self._open(ticket, tickets)
        return tickets

    def _open(self, ticket: Ticket, tickets: list[Ticket]) -> None:
        """Open its files; if that fails, all ``tickets`` are closed again."""
        try:
            ticket.opened.take(opener.perform(ticket.verdict.openings, self.scope.uid, self.scope.gid))
        except MaqetError as error:
            refused = Outcome("failed", error.error_code, str(error))
            outcomes = [(other, refused if other is ticket else NOT_SENT) for other in tickets]
            error.details["audit"] = self.close_all(outcomes)
            raise

    def own(self, request: Request, asker: Asker, why: str) -> Ticket:
        """Leave for a command that is our own code's, not a caller's wish: it is recorded, and not judged."""
        rights = self.rights(asker)
        verdict = Verdict("allow", commands.class_of(request.command) or "unknown", "runner", why)
        since = time.monotonic_ns()
        try:
            intent = self.log.append(records.intent(request, verdict, self._context(asker, rights)))
        except MaqetError as error:
            raise _unrecorded(error, request.command, sent=False) from error
        return Ticket(request.command, request.arguments, verdict, intent, frozenset(), since)

    def close(self, ticket: Ticket, outcome: Outcome) -> list[dict[str, t.Any]]:
        """Record what became of the command; returns its intent and its result.

        Raises MaqetError ``audit_failed`` (``sent: true``) when the result cannot be recorded.
        """
        return self.close_all([(ticket, outcome)])

    def close_all(self, ended: t.Sequence[tuple[Ticket, Outcome]]) -> list[dict[str, t.Any]]:
        """The same for several commands: their intents and then their results, as they stand in the log."""
        after = []
        for ticket, outcome in ended:
            ticket.opened.close()
            if outcome.res != "success":
                ticket.opened.discard()
            begun, known = outcome.times or (ticket.since, time.monotonic_ns())
            after.append(
                records.result(
                    *(ticket.intent, outcome.res, outcome.error_class, outcome.error, (known - begun) / 1e6),
                    hidden=ticket.secrets,
                )
            )
        try:
            results = self.log.append_all(after)
        except MaqetError as error:
            raise _unrecorded(error, ended[0][0].command, sent=True) from error
        return [*(ticket.intent for ticket, _outcome in ended), *results]

    def _judge(self, request: Request, rights: Rights, asker: Asker) -> Verdict:
        if request.channel == "guest":
            return judge_guest(request, rights)
        return judge(request, replace(self.scope, granted=asker.granted), rights)

    def turn_away(self, caller: Caller, verdict: Verdict) -> None:
        """Record that a caller was refused before it could ask for anything."""
        asker = Asker(caller)
        self._record_denials([(Request("connect"), verdict)], asker, self.rights(asker))

    def _context(self, asker: Asker, rights: Rights) -> Context:
        policy = rights.policy
        return Context(
            self.identity,
            asker.caller,
            self.via,
            asker.reason,
            policy_id=policy.id,
            policy_sha256=policy.sha256,
            key=self.key,
        )

    def _record_denials(
        self, denied: list[tuple[Request, Verdict]], asker: Asker, rights: Rights
    ) -> tuple[list[dict[str, t.Any]], str | None]:
        """Record denials; returns the records, and why not all of them could be written."""
        kept: list[dict[str, t.Any]] = []
        try:
            context = self._context(asker, rights)
            for request, verdict in denied:
                kept.append(self.log.append(records.denial(request, verdict, context)))
        except MaqetError as error:
            # A denial stands whether or not it could be written down.
            return kept, str(error)
        return kept, None


def _files(verdict: Verdict) -> list[dict[str, t.Any]]:
    return [{"arg": one.where, "path": one.path, "as": one.how} for one in verdict.openings]


def _hidden(request: Request) -> frozenset[str]:
    return frozenset(secrets(request.command, request.arguments))


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
    message = f"{where}{name}: denied by the rule {verdict.rule}: {why}. {verdict.remedy or ''}".rstrip()
    return MaqetError(message if trouble is None else f"{message} Also, {trouble}", code, **details)


def _unrecorded(error: MaqetError, command: str, sent: bool) -> MaqetError:
    """The log's own error, with what it means for the command."""
    fate = f"{command} was sent and has run; its outcome is not recorded" if sent else f"{command} was not sent"
    return MaqetError(f"{fate}: {error}", error.error_code, command=command, sent=sent, **error.details)
