# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A QEMU in our care: its session, and guard, audit and socket through which others may ask it things."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard import orphans
from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import myself
from ansible_collections.maqet.qemu.plugins.module_utils.guard.entry import Entry
from ansible_collections.maqet.qemu.plugins.module_utils.guard.gate import Gate
from ansible_collections.maqet.qemu.plugins.module_utils.guard.log import AuditLog
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import Policy
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy_file import VmPolicySource
from ansible_collections.maqet.qemu.plugins.module_utils.guard.record import VmIdentity
from ansible_collections.maqet.qemu.plugins.module_utils.guard.schema import Schema
from ansible_collections.maqet.qemu.plugins.module_utils.guard.scope import Scope
from ansible_collections.maqet.qemu.plugins.module_utils.host import schema_cache
from ansible_collections.maqet.qemu.plugins.module_utils.host.hostkey import host_key
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.qmp import hold
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.ending import DEAD
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.host_policy import host_policy
from ansible_collections.maqet.qemu.plugins.module_utils.runner.agent import Agent
from ansible_collections.maqet.qemu.plugins.module_utils.runner.emulator import Emulator
from ansible_collections.maqet.qemu.plugins.module_utils.runner.helpers import EVENT as HELPER_EXITED
from ansible_collections.maqet.qemu.plugins.module_utils.runner.helpers import Helper
from ansible_collections.maqet.qemu.plugins.module_utils.runner.migration import Migration
from ansible_collections.maqet.qemu.plugins.module_utils.runner.server import Server
from ansible_collections.maqet.qemu.plugins.module_utils.runner.service import Service
from ansible_collections.maqet.qemu.plugins.module_utils.runner.session import Session, now

log = logging.getLogger("maqet.desk")

# How long QEMU may take for a command of our own, in seconds.
_OWN = 10.0
# A helper ends a moment before its QEMU, whose sockets close first.
_MOMENT = 2.0


@dataclasses.dataclass
class Desk:
    """``facts`` are those of the status."""

    definition: Definition
    emulator: Emulator
    session: Session
    service: Service
    server: Server
    facts: t.Mapping[str, t.Any]
    _telling: set[asyncio.Future[None]] = dataclasses.field(default_factory=set)

    async def close(self, leaving: bool = False) -> None:
        """Answer what is open, and hang up on both sides. With ``leaving`` clients are told that QEMU goes on."""
        for task in self._telling:
            task.cancel()
        if self.service.migration is not None:
            self.service.migration.close()
        await self.server.close(leaving)
        await self.session.close()

    async def recover(self) -> None:
        """Of a QEMU that was taken over in the middle of a migration: put that in order."""
        if self.service.migration is not None:
            await self.service.migration.recover()

    def helper_gone(self, ended: asyncio.Event) -> t.Callable[[Helper], None]:
        """What to do when a helper is gone: tell of it, unless it went because QEMU has ``ended``."""

        async def tell(helper: Helper) -> None:
            if await soon(ended, _MOMENT) or self._told(helper):
                return
            status = await asyncio.to_thread(helper.status)
            log.error(
                "the helper %s, pid %d, has ended before QEMU, status %s", helper.kind, helper.process.pid, status
            )
            data = {"helper": helper.kind, "pid": helper.process.pid, "status": status}
            self.session.take({"event": HELPER_EXITED, "data": data, "timestamp": now()})

        def begin(helper: Helper) -> None:
            task = asyncio.ensure_future(tell(helper))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

        return begin

    def _told(self, helper: Helper) -> bool:
        """Whether the runner before us has said so already."""
        events = (event for event in self.session.events(0) if event.get("event") == HELPER_EXITED)
        return any(event.get("data", {}).get("pid") == helper.process.pid for event in events)

    async def send(self, command: str, reason: str, arguments: t.Optional[t.Mapping[str, t.Any]] = None) -> bool:
        """A command of the runner's own, guarded and recorded like any other; whether QEMU has taken it.

        The definition's word is the consent that it may need.
        """
        sent = {"execute": command, "arguments": dict(arguments or {})}
        request = {"commands": [sent], "reason": reason, "timeout": _OWN, "allow_dangerous": True}
        try:
            await self.service.qmp(request, myself({"module": "runner"}))
        except MaqetError as error:
            log.error("%s: %s", command, error)
            return False
        return True

    async def powered_down(self, seconds: float, ended: asyncio.Event) -> bool:
        """Press the power button and give the guest so long; whether QEMU has ended."""
        try:
            state = await self.session.run_state()
        except MaqetError:
            return ended.is_set()
        if state in (*DEAD, "prelaunch") or seconds <= 0:
            return ended.is_set()
        reason = "the runner was asked to have the guest power off"
        if state == "paused":
            await self.send("cont", reason)
        if await self.send("system_powerdown", reason):
            await soon(ended, seconds)
        return ended.is_set()


async def soon(event: asyncio.Event, seconds: float) -> bool:
    """Wait for ``event``, at most so long; whether it has come."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except asyncio.TimeoutError:
        return False
    return True


async def open_desk(
    where: Layout, definition: Definition, qemu: Emulator, session: Session, facts: t.Mapping[str, t.Any]
) -> Desk:
    """Everything around a QEMU that has been greeted; its socket is open when this returns."""
    schema = await _schema(session, where, qemu.program)
    # Not made in the thread: Python 3.9 gives a lock to the loop that runs where the lock is made.
    agent = Agent(where.vm(definition.name).agent_socket, session) if definition.intent.get("agent") else None
    service, server = await asyncio.to_thread(_server, definition, where, schema, session, facts, agent)
    await server.listen(where.vm(definition.name).runner_socket)
    return Desk(definition, qemu, session, service, server, facts)


async def _schema(session: Session, where: Layout, program: str) -> Schema:
    """This QEMU's schema: remembered by its program and version, else asked for."""
    key = schema_cache.key_of(program, session.build)
    known = schema_cache.load(where.cache, key) if key else None
    schema = Schema.from_json(known) if known is not None else None
    if schema is None:
        schema = Schema.of(await session.schema())
        if key:
            schema_cache.store(where.cache, key, schema.to_json())
    return schema


def _server(
    definition: Definition,
    where: Layout,
    schema: Schema,
    session: Session,
    facts: t.Mapping[str, t.Any],
    agent: t.Optional[Agent],
) -> tuple[Service, Server]:
    """Guard, audit and socket."""
    qemu, paths = facts["qemu"], where.vm(definition.name)
    identity = VmIdentity(
        definition.name, definition.uuid, qemu["pid"], qemu["start"], session.version, paths.monitor_socket
    )
    theirs = qemu["uid"] if where.scope == "system" else None
    scope = Scope(definition.name, paths.home, schema, theirs, theirs)
    policy, own = host_policy(where, _new_policy), VmPolicySource(paths.definition)
    gate = Gate(
        identity,
        scope,
        AuditLog(paths.audit_log),
        "ipc",
        policy,
        lambda: tuple(filter(None, (own.current(), hold.layer(paths)))),
    )
    gate.key = host_key(paths.audit_key)
    _take_over(gate, definition.intent.get("extra_args", ()))
    hello = {"vm": definition.name, "uuid": definition.uuid, **facts["runner"]}
    mode = 0o666 if where.scope == "system" else 0o600  # the kernel says who connects, the policy what they may
    service = Service(session, gate, facts, agent, Migration(paths, definition, session, gate))
    return service, Server(service, session, hello, Entry(policy, gate.turn_away), mode)


def _new_policy(policy: Policy) -> None:
    """One line of the log for each policy that we come to obey."""
    log.info("the policy is %s, sha256 %s", policy.id, policy.sha256 or "none")
    for words in (policy.problem, *policy.warnings):
        if words:
            log.warning("%s", words)


def _take_over(gate: Gate, words: t.Sequence[str]) -> None:
    """Say in the log what became of commands whose runner was killed, and that there is a runner again.

    For a QEMU with ``words`` of its user's own, these are named.
    """
    try:
        for record in orphans.start(gate.log, gate.identity, words)[:-1]:
            log.warning("%s (record %d): its outcome is not known", record["op"], record["intent"]["seq"])
    except MaqetError as error:  # commands are refused as long as that is so, but the guest may run
        log.error("%s", error)
