# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a client may ask of a runner. Every QMP command on its way to QEMU passes through :meth:`Service.qmp`."""

from __future__ import annotations

import asyncio
import dataclasses
import time
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import Caller
from ansible_collections.maqet.qemu.plugins.module_utils.guard.gate import Asker, Gate, Outcome
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import tighten
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Request
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.refusal import QmpError
from ansible_collections.maqet.qemu.plugins.module_utils.runner.session import Session

# A client that says nothing of time gets this many seconds for all its commands.
DEFAULT_TIMEOUT = 30.0

Answer = t.Dict[str, t.Any]


@dataclasses.dataclass
class _Batch:
    """What has come of a list of commands so far; all of it is returned, also when one fails."""

    decisions: list[Answer] = dataclasses.field(default_factory=list)
    responses: list[t.Any] = dataclasses.field(default_factory=list)
    audit: list[Answer] = dataclasses.field(default_factory=list)

    def fail(self, error: MaqetError, events: list[Answer]) -> MaqetError:
        """The same error, with everything that had happened before it."""
        error.details = {**vars(self), "events": events, **error.details}
        return error


class Service:
    """One VM's operations. ``facts`` are those of the status that never change."""

    def __init__(self, session: Session, gate: Gate, facts: t.Mapping[str, t.Any]) -> None:
        self._session = session
        self._gate = gate
        self._facts = facts

    async def status(self) -> Answer:
        """What runs here, and QEMU's own word for how it is doing.

        Events after ``last_event`` may be part of it already; none that it lacks has a number up to there.
        """
        last = self._session.last_event
        return {**self._facts, "run_state": await self._session.run_state(), "last_event": last}

    async def qmp(self, message: t.Mapping[str, t.Any], caller: Caller) -> Answer:
        """Judge all commands, then send them one after another; the first failure ends the list."""
        requests, asker = _requests(message), _asker(message, caller)
        explain, check = message.get("explain") is True, bool(message.get("check"))
        end = time.monotonic() + _seconds(message)
        if message.get("witness") is not None:
            await asyncio.to_thread(self._gate.confront, message["witness"])
        if explain:
            verdicts = await asyncio.to_thread(self._gate.judge_all, requests, asker)
        else:
            verdicts = await asyncio.to_thread(self._gate.admit, requests, asker, check)
        batch = _Batch(decisions=[verdict.as_dict() for verdict in verdicts])
        if check or explain:
            return {**vars(batch), "events": []}
        since = self._session.last_event
        for request in requests:
            try:
                await self._one(request, asker, end, batch)
            except MaqetError as error:
                raise batch.fail(error, self._session.events(since)) from None
        return {**vars(batch), "events": self._session.events(since)}

    async def _one(self, request: Request, asker: Asker, end: float, batch: _Batch) -> None:
        ticket = await asyncio.to_thread(self._gate.ask, request, asker)
        outcome = Outcome("success")
        try:
            seconds = end - time.monotonic()
            if seconds <= 0:  # its client has been told that it took too long, so it must not happen now
                raise MaqetError(f"There was no time left for {request.command}; it was not sent.", "qmp_timeout")
            response = await self._session.execute(ticket.command, ticket.arguments, seconds, ticket.passed)
            batch.responses.append(response)
        except QmpError as error:
            outcome = Outcome("failed", error.error_class, error.desc)
            raise error.of(request.command) from None
        except MaqetError as error:
            outcome = Outcome("failed", error.error_code, str(error))
            raise
        finally:
            batch.audit += await asyncio.to_thread(self._gate.close, ticket, outcome)


def _requests(message: t.Mapping[str, t.Any]) -> list[Request]:
    commands = message.get("commands")
    if not isinstance(commands, list) or not all(isinstance(command, dict) for command in commands):
        raise MaqetError("'commands' must be a list of objects with 'execute' and 'arguments'.", "invalid_request")
    odd = sorted({str(key) for command in commands for key in command} - {"execute", "arguments"})
    if odd:  # exec-oob would be a second door, an id somebody else's answer
        raise MaqetError(f"A command has 'execute' and 'arguments', and no {odd[0][:40]!r}.", "invalid_request")
    consent = message.get("allow_dangerous") is True
    return [Request(command.get("execute"), command.get("arguments") or {}, consent) for command in commands]


def _asker(message: t.Mapping[str, t.Any], caller: Caller) -> Asker:
    policy = message.get("policy")
    return Asker(caller, str(message.get("reason") or ""), () if policy is None else (tighten("task", policy),))


def _seconds(message: t.Mapping[str, t.Any]) -> float:
    value = message.get("timeout", DEFAULT_TIMEOUT)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise MaqetError("'timeout' must be a number of seconds, more than 0.", "invalid_request")
    return float(value)
