# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands for the guest's agent: judged, recorded and sent as QMP commands are, by the same gate into the same log."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import Caller
from ansible_collections.maqet.qemu.plugins.module_utils.guard.gate import Asker, Gate, Outcome
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Request
from ansible_collections.maqet.qemu.plugins.module_utils.qmp import addresses
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.protocol import MAX_LINE
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.refusal import QmpError
from ansible_collections.maqet.qemu.plugins.module_utils.runner import reply
from ansible_collections.maqet.qemu.plugins.module_utils.runner.agent import MAX_REPLY, Agent
from ansible_collections.maqet.qemu.plugins.module_utils.runner.batch import Answer, Batch, asker_of, requests, seconds
from ansible_collections.maqet.qemu.plugins.module_utils.runner.session import Session

# The agent has no event for the end of a program, so it has to be asked again and again: soon at first, in seconds,
# since most programs are short, then by and by less often.
_FIRST_PAUSE, _LONGEST_PAUSE, _GROWTH = 0.02, 1.0, 1.5
# Nor has it one for a new address, which somebody waits for to go on at once.
_ADDRESS_PAUSE = 0.1
# Of all answers to one request, as they travel to the client, with room for the rest of its line.
_MAX_ANSWERS = MAX_LINE - 8 * 1024 * 1024


@dataclasses.dataclass(frozen=True)
class _Order:
    """What holds for all commands of one request. ``end``: time.monotonic() when its time is up.

    ``address``: whether the one command is asked until there is an address, of which family and on which cards.
    ``gone`` is set when the client has hung up.
    """

    asker: Asker
    end: float
    max_reply: int
    wait: bool
    address: t.Optional[tuple[str, frozenset[str]]] = None
    gone: t.Optional[asyncio.Event] = None

    def begun(self) -> _Order:
        """The same for what comes after a command that was sent, and without which a guest may stay frozen."""
        return dataclasses.replace(self, gone=None)


class GuestDesk:
    """The operation ``guest`` of a runner. ``agent`` is None where the VM has no port for one."""

    def __init__(self, agent: t.Optional[Agent], gate: Gate, session: Session) -> None:
        self._agent = agent
        self._gate = gate
        self._session = session

    async def serve(
        self, message: t.Mapping[str, t.Any], caller: Caller, gone: t.Optional[asyncio.Event] = None
    ) -> Answer:
        """Judge all commands, then send them one after another; the first failure ends the list.

        ``gone`` is set when the client has hung up: then what only waits ends, and what was begun is carried through.
        """
        asked = requests(message, "guest")
        follows = message.get("wait_exit") is True
        order = _Order(
            asker_of(message, caller),
            time.monotonic() + seconds(message),
            _max_reply(message),
            message.get("wait_agent") is True,
            _address(message, asked),
            gone,
        )
        judged = [*asked, _status_of(_started(asked), 0)] if follows else asked
        if message.get("explain") is True:
            verdicts = await asyncio.to_thread(self._gate.judge_all, judged, order.asker)
            return {**vars(Batch(decisions=[verdict.as_dict() for verdict in verdicts])), "events": []}
        check = message.get("check") is True
        verdicts = await asyncio.to_thread(self._gate.admit, judged, order.asker, check)
        batch = Batch(decisions=[verdict.as_dict() for verdict in verdicts])
        if check:
            return {**vars(batch), "events": []}
        since = self._session.last_event
        try:
            for request in asked:
                await self._one(request, order.begun() if batch.responses else order, batch)
            if follows:
                await self._one(_status_of(asked[0], _pid(batch.responses[0])), order, batch, until_exit=True)
        except MaqetError as error:
            raise batch.fail(error, self._session.events(since)) from None
        return {**vars(batch), "events": self._session.events(since)}

    async def _one(self, request: Request, order: _Order, batch: Batch, until_exit: bool = False) -> None:
        ticket = await asyncio.to_thread(self._gate.ask, request, order.asker)
        outcome = Outcome("success")
        try:
            ask = self._until_exit if until_exit else self._until_address if order.address else self._send
            batch.responses.append(await ask(ticket.command, ticket.arguments, order))
            if len(json.dumps(batch.responses)) > _MAX_ANSWERS:
                batch.responses.pop()
                raise reply.too_large(request.command, "with those before it, it does not fit into one result")
        except QmpError as error:
            outcome = Outcome("failed", error.error_class, error.desc)
            raise _refused(request.command, error) from None
        except MaqetError as error:
            outcome = Outcome("failed", error.error_code, str(error))
            raise
        finally:
            batch.audit += await asyncio.to_thread(self._gate.close, ticket, outcome)

    async def _send(self, command: str, arguments: t.Mapping[str, t.Any], order: _Order) -> t.Any:
        if self._agent is None:
            raise MaqetError(
                "The VM has no port for a guest agent. Give maqet_vm 'agent: true' and restart the VM; the guest "
                "needs the agent too (Linux distributions call its package qemu-guest-agent).",
                "guest_agent_unavailable",
                sent=False,
            )
        left = order.end - time.monotonic()
        if left <= 0:  # its client has been told that it took too long, so it must not happen now
            raise MaqetError(f"There was no time left for {command}; it was not sent.", "guest_timeout", sent=False)
        return await self._agent.execute(command, arguments, left, order.max_reply, order.wait, order.gone)

    async def _until_exit(self, command: str, arguments: t.Mapping[str, t.Any], order: _Order) -> t.Any:
        """One question, put until the program has ended."""
        pause = _FIRST_PAUSE
        while True:
            status = await self._send(command, arguments, order)
            if not isinstance(status, dict) or status.get("exited") is not False:
                return status
            if order.end - time.monotonic() <= pause:
                raise MaqetError(
                    f"The program has not ended in time; it goes on in the guest as process {arguments['pid']}. Raise "
                    f"'timeout', or ask for it later with the command {command}.",
                    "guest_timeout",
                    pid=arguments["pid"],
                )
            await _rest(pause, order, f"; the program goes on in the guest as process {arguments['pid']}")
            pause = min(pause * _GROWTH, _LONGEST_PAUSE)

    async def _until_address(self, command: str, arguments: t.Mapping[str, t.Any], order: _Order) -> t.Any:
        """One question, put until the answer has an address that others can use."""
        pause = _FIRST_PAUSE
        family, macs = order.address or ("any", frozenset())
        told: t.Optional[list[Answer]] = None
        while True:
            try:
                answer = await self._send(command, arguments, order)
            except MaqetError as error:
                if error.error_code != "guest_timeout" or told is None:
                    raise
                raise _no_address(told) from None
            told = addresses.of_agent(answer)
            if addresses.usable(told, family, macs):
                return answer
            if order.end - time.monotonic() <= pause:
                raise _no_address(told)
            await _rest(pause, order, "")
            pause = min(pause * _GROWTH, _ADDRESS_PAUSE)


async def _rest(pause: float, order: _Order, fate: str) -> None:
    """Until the next question, in ``pause`` seconds, of which there is none if the client has hung up by then."""
    if order.gone is None:
        await asyncio.sleep(pause)
        return
    try:
        await asyncio.wait_for(order.gone.wait(), pause)
    except asyncio.TimeoutError:
        return
    raise MaqetError(f"Its client has hung up, so it was not asked again{fate}.", "client_gone")


def _no_address(told: list[Answer]) -> MaqetError:
    return MaqetError(
        f"The guest has got no address in time; the last that its agent named: {addresses.in_words(told)}.",
        "guest_timeout",
        addresses=told,
    )


def _address(message: t.Mapping[str, t.Any], asked: list[Request]) -> t.Optional[tuple[str, frozenset[str]]]:
    wanted = message.get("wait_address")
    if wanted is None:
        return None
    if len(asked) != 1 or asked[0].command != "guest-network-get-interfaces":
        problem = "'wait_address' goes with one command, guest-network-get-interfaces."
        raise MaqetError(problem, "invalid_request")
    family, macs = (wanted.get("family"), wanted.get("macs")) if isinstance(wanted, dict) else (None, None)
    if family not in addresses.FAMILIES or not isinstance(macs, list) or not all(map(addresses.hardware, macs)):
        problem = "'wait_address' has a 'family' (any, ipv4 or ipv6) and 'macs', a list of MAC addresses."
        raise MaqetError(problem, "invalid_request")
    return family, frozenset(macs)


def _started(asked: list[Request]) -> Request:
    if len(asked) != 1 or asked[0].command != "guest-exec":
        raise MaqetError("'wait_exit' goes with one command, guest-exec.", "invalid_request")
    return asked[0]


def _status_of(request: Request, pid: int) -> Request:
    return dataclasses.replace(request, command="guest-exec-status", arguments={"pid": pid})


def _pid(started: t.Any) -> int:
    """The process that the agent says it has started; its word is checked like anybody's."""
    pid = started.get("pid") if isinstance(started, dict) else None
    if not isinstance(pid, int) or isinstance(pid, bool) or not 0 < pid < 1 << 63:
        raise MaqetError("The guest's agent answered guest-exec without a process.", "guest_unreachable")
    return pid


def _max_reply(message: t.Mapping[str, t.Any]) -> int:
    value = message.get("max_reply", MAX_REPLY)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_LINE:
        raise MaqetError(f"'max_reply' must be a number of bytes, from 1 to {MAX_LINE}.", "invalid_request")
    return int(value)


def _refused(command: str, error: QmpError) -> MaqetError:
    hint = ""
    if error.error_class == "CommandNotFound":
        hint = " The agent is too old for the command, or its administrator has switched it off (--block-rpcs)."
    return MaqetError(
        f"The guest's agent refused {command}: {error.error_class}: {error.desc}.{hint}",
        "guest_error",
        command=command,
        guest_class=error.error_class,
        guest_desc=error.desc,
    )
