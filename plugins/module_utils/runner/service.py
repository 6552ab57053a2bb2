# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a client may ask of a runner. Every QMP command on its way to QEMU passes through :meth:`Service.qmp`."""

from __future__ import annotations

import asyncio
import time
import typing as t
from dataclasses import replace

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import Caller
from ansible_collections.maqet.qemu.plugins.module_utils.guard.gate import NOT_SENT, Asker, Gate, Outcome, Ticket
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Request
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.refusal import QmpError
from ansible_collections.maqet.qemu.plugins.module_utils.runner import frozen
from ansible_collections.maqet.qemu.plugins.module_utils.runner.agent import Agent
from ansible_collections.maqet.qemu.plugins.module_utils.runner.batch import (
    Answer,
    Batch,
    asker_of,
    groups,
    requests,
    seconds,
)
from ansible_collections.maqet.qemu.plugins.module_utils.runner.guest import GuestDesk
from ansible_collections.maqet.qemu.plugins.module_utils.runner.migration import Migration
from ansible_collections.maqet.qemu.plugins.module_utils.runner.session import Session


class Service:
    """One VM's operations. ``facts`` are those of the status that never change."""

    def __init__(
        self,
        session: Session,
        gate: Gate,
        facts: t.Mapping[str, t.Any],
        agent: t.Optional[Agent] = None,
        migration: t.Optional[Migration] = None,
    ) -> None:
        #: The same for commands to the guest's agent.
        self.guest = GuestDesk(agent, gate, session).serve
        #: What moves the VM to another host, or takes it from there.
        self.migration = migration
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
        asked, asker = requests(message), asker_of(message, caller)
        explain, check = message.get("explain") is True, bool(message.get("check"))
        end = time.monotonic() + seconds(message)
        if message.get("witness") is not None:
            await asyncio.to_thread(self._gate.confront, message["witness"])
        if explain:
            verdicts = await asyncio.to_thread(self._gate.judge_all, asked, asker)
        else:
            verdicts = await asyncio.to_thread(self._gate.admit, asked, asker, check)
        batch = Batch(decisions=[verdict.as_dict() for verdict in verdicts])
        if check or explain:
            return {**vars(batch), "events": []}
        since = self._session.last_event
        for group in groups(asked, verdicts):
            try:
                await self._together(group, asker, end, batch)
            except MaqetError as error:
                raise batch.fail(error, self._session.events(since)) from None
        return {**vars(batch), "events": self._session.events(since)}

    async def migrate(self, message: t.Mapping[str, t.Any], caller: Caller, gone: asyncio.Event) -> Answer:
        """A step of a migration. ``gone`` is set when whoever asks for it has hung up."""
        if self.migration is None:
            raise MaqetError("The runner has no operation 'migrate'.", "invalid_request")
        return await self.migration.perform(message, caller, gone)

    async def frozen(self, message: t.Mapping[str, t.Any], caller: Caller) -> Answer:
        """The same while the guest's file systems are frozen."""
        return await frozen.serve(self.guest, self.qmp, message, caller)

    async def _together(self, requests: list[Request], asker: Asker, end: float, batch: Batch) -> None:
        """Commands that get leave together, sent one after another."""
        tickets = await asyncio.to_thread(self._gate.ask_all, requests, asker)
        outcomes: list[Outcome] = []
        try:
            for ticket in tickets:
                batch.responses.append(await self._send(ticket, end, outcomes))
        finally:
            outcomes += [NOT_SENT] * (len(tickets) - len(outcomes))
            batch.audit += await asyncio.to_thread(self._gate.close_all, list(zip(tickets, outcomes)))

    async def _send(self, ticket: Ticket, end: float, outcomes: list[Outcome]) -> t.Any:
        """One command: its answer, or the error. What came of it is added to ``outcomes``."""
        begun, outcome = time.monotonic_ns(), Outcome("success")
        try:
            left = end - time.monotonic()
            if left <= 0:  # its client has been told that it took too long, so it must not happen now
                raise MaqetError(f"There was no time left for {ticket.command}; it was not sent.", "qmp_timeout")
            return await self._session.execute(ticket.command, ticket.arguments, left, ticket.passed)
        except QmpError as error:
            outcome = Outcome("failed", error.error_class, error.desc)
            raise error.of(ticket.command) from None
        except MaqetError as error:
            outcome = Outcome("failed", error.error_code, str(error))
            raise
        finally:
            outcomes.append(replace(outcome, times=(begun, time.monotonic_ns())))
