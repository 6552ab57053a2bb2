# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a runner does when its VM moves to another host, or comes from there. The marks are in ``host/migration.py``.

=============  ===============================================================================================
``look``       what the other host must know of this QEMU: its machine, and whether anything is in the way
``send``       all of it: copy disks and memory, hand over, and hear that the other host runs it
``receive``    be ready for what the other runner sends
``take``       let the guest go on here, if it was handed over: asked for by who knows that it was
``discard``    never do that: what has come is of no use
``recover``    wait for one that is being taken back; take it back, if nobody does
``reclaim``    let the guest go on here again after it was handed over: the other host will never
=============  ===============================================================================================
"""

from __future__ import annotations

import asyncio
import logging
import os
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_disks import node_name, rate_name
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import Caller, myself
from ansible_collections.maqet.qemu.plugins.module_utils.guard.gate import Asker, Gate
from ansible_collections.maqet.qemu.plugins.module_utils.host import migration
from ansible_collections.maqet.qemu.plugins.module_utils.host.migration import Mark
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.runner.migration_own import Own
from ansible_collections.maqet.qemu.plugins.module_utils.runner.migration_receive import Receiver
from ansible_collections.maqet.qemu.plugins.module_utils.runner.migration_send import Sender, roll_back
from ansible_collections.maqet.qemu.plugins.module_utils.runner.session import Session

log = logging.getLogger("maqet.migration")

Message = t.Mapping[str, t.Any]
Answer = t.Dict[str, t.Any]


class Migration:
    """The migrations of one VM under one runner: one at a time."""

    def __init__(self, paths: VmPaths, definition: Definition, session: Session, gate: Gate) -> None:
        self._paths = paths
        self._definition = definition
        self._session = session
        self._gate = gate
        self._sender: t.Optional[Sender] = None
        self._receiver: t.Optional[Receiver] = None
        self._turn_or_none: t.Optional[asyncio.Lock] = None

    @property
    def _turn(self) -> asyncio.Lock:
        """One at a time sends, takes, refuses or takes back: each looks at the mark, and then writes it.

        Made in the event loop, as Python 3.9 wants it.
        """
        if self._turn_or_none is None:
            self._turn_or_none = asyncio.Lock()
        return self._turn_or_none

    async def perform(self, message: Message, caller: Caller, gone: asyncio.Event) -> Answer:
        """A step that a task asks for; only for who could define this VM."""
        if caller.uid != os.geteuid():
            raise MaqetError("A migration is for whoever may define this VM, its runner's own user.", "policy_denied")
        asker = Asker(caller, str(message.get("reason") or ""))
        own = Own(self._session, self._gate, asker)
        steps: t.Dict[str, t.Callable[[Message, Own], t.Awaitable[Answer]]] = {
            "look": self._look,
            "send": lambda *_: self._send(message, own, gone),
            "receive": self._receive,
            "take": self._take,
            "discard": self._discard,
            "reclaim": self._reclaim,
            "recover": self._recover,
        }
        step = steps.get(str(message.get("do")))
        if step is None:
            raise MaqetError(f"A migration has no step {message.get('do')!r}.", "invalid_request")
        try:
            return {**await step(message, own), "audit": own.audit}
        except MaqetError as error:
            error.details["audit"] = own.audit
            raise

    async def recover(self) -> None:
        """After another runner of this VM was lost in the middle: take back, or go on, as the mark says."""
        own = Own(self._session, self._gate, Asker(myself({"module": "runner"}), "a migration that was broken off"))
        try:
            await self._recover({}, own)
        except (MaqetError, OSError) as error:  # the QEMU that was taken over matters more
            log.error("what is left of a migration: %s", error)

    def close(self) -> None:
        """The runner leaves, or its QEMU has ended."""
        if self._receiver is not None:
            self._receiver.close()
        if self._sender is not None:
            self._sender.abort()

    # --- steps ---

    async def _look(self, _message: Message, own: Own) -> Answer:
        machine = str(await own.look("qom-get", {"path": "/machine", "property": "type"}))
        state = await own.look("query-migrate")
        shown = {one.get("inserted", {}).get("node-name") for one in await own.look("query-block")}
        nodes = {str(node["node-name"]): node for node in await own.look("query-named-block-nodes", {"flat": True})}
        disks = {}
        for name in self._definition.files:
            node = nodes.get(node_name(name))
            if node is not None:
                seen = {node_name(name), rate_name(name)} & shown
                saved = [str(one["name"]) for one in node["image"].get("snapshots", ())]
                disks[name] = {"size": node["image"]["virtual-size"], "snapshots": saved, "plain": bool(seen)}
        suffix = "-machine"
        return {
            "machine": machine[: -len(suffix)] if machine.endswith(suffix) else machine,
            "blocked": [str(why) for why in state.get("blocked-reasons", ())],
            "disks": disks,
            "run_state": await self._session.run_state(),
        }

    async def _send(self, message: Message, own: Own, gone: asyncio.Event) -> Answer:
        async with self._turn:
            mark = await asyncio.to_thread(migration.read, self._paths)
            if mark is not None and mark.held:
                raise migration.refusal(self._paths.name, mark)
            self._sender = Sender(self._paths, self._session, own, message, gone)
            try:
                return await self._sender.run()
            finally:
                self._sender = None

    async def _recover(self, _message: Message, own: Own) -> Answer:
        async with self._turn:
            mark = await asyncio.to_thread(migration.read, self._paths)
            if mark is not None and mark.phase == migration.SENDING:
                log.warning("migration %s to %s was broken off: it is taken back", mark.id, mark.peer)
                await roll_back(self._paths, mark, own)
            elif mark is not None and mark.phase == migration.TAKEN:
                await self._go_on(mark, own)
        return {"run_state": await self._session.run_state()}

    async def _receive(self, message: Message, own: Own) -> Answer:
        mark = await self._demand(migration.RECEIVING, message)
        if self._receiver is not None:
            self._receiver.close()
        self._receiver = Receiver(self._paths, mark, own, self._arrive)
        return await self._receiver.open(message)

    async def _take(self, message: Message, own: Own) -> Answer:
        return await self._arrive(await self._demand(migration.RECEIVING, message), own)

    async def _arrive(self, mark: Mark, own: Own) -> Answer:
        """It was handed over: it is ours from now on, and goes on."""
        state = await self._session.run_state()
        if state == "inmigrate":
            raise MaqetError(
                f"VM {self._paths.name} has not come completely: it cannot go on here.", "migration_failed"
            )
        async with self._turn:
            mark = await self._demand(migration.RECEIVING, {"migration": mark.id})  # nobody has refused it meanwhile
            return await self._go_on(await self._moved(mark, migration.TAKEN), own)

    async def _go_on(self, mark: Mark, own: Own) -> Answer:
        if self._receiver is not None:
            self._receiver.finish()
        if await own.look("query-block-exports"):  # also those that a runner before us has made
            await own("nbd-server-stop")
        if mark.resume and await self._session.run_state() != "running":
            await own("cont")
        await self._moved(mark, migration.ARRIVED)
        log.info("migration %s: the VM runs here", mark.id)
        return {"run_state": "running" if mark.resume else "paused"}

    async def _discard(self, message: Message, _own: Own) -> Answer:
        async with self._turn:
            mark = await asyncio.to_thread(migration.read, self._paths)
            if mark is not None and mark.id == message.get("migration") and mark.phase == migration.DISCARDED:
                return {}
            await self._moved(await self._demand(migration.RECEIVING, message), migration.DISCARDED)
        self.close()
        return {}

    async def _reclaim(self, message: Message, own: Own) -> Answer:
        async with self._turn:
            mark = await self._demand(migration.HANDED_OVER, message)
            await asyncio.to_thread(migration.forget, self._paths)
            if mark.resume:
                await own("cont")
        return {"run_state": await self._session.run_state()}

    async def _demand(self, phase: str, message: Message) -> Mark:
        mark = await asyncio.to_thread(migration.read, self._paths)
        if mark is None or mark.id != message.get("migration") or mark.phase != phase:
            found = "nothing" if mark is None else f"{mark.phase} {mark.id}"
            raise MaqetError(
                f"This host knows {found} of VM {self._paths.name}, not {phase} {message.get('id')}.",
                "migration_unknown",
            )
        return mark

    async def _moved(self, mark: Mark, phase: str) -> Mark:
        mark = mark.moved(phase)
        await asyncio.to_thread(migration.write, self._paths, mark)
        return mark
