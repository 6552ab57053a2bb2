# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The receiving side of a migration: disks by QEMU's NBD server, memory by one stream, and the other runner's word.

QEMU is started with ``-incoming defer`` and ``-S``, so that its guest does nothing before it is told to.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import socket
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_disks import node_name
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.passing import Passed
from ansible_collections.maqet.qemu.plugins.module_utils.host import files, migration
from ansible_collections.maqet.qemu.plugins.module_utils.host.migration import Mark
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.runner import migration_link as link
from ansible_collections.maqet.qemu.plugins.module_utils.runner.migration_own import Own, Signals

log = logging.getLogger("maqet.migration")

Message = t.Mapping[str, t.Any]
Answer = t.Dict[str, t.Any]
Arrive = t.Callable[[Mark, Own], t.Awaitable[Answer]]

#: What both QEMUs are told of: tell of each step, hear that the other side has all, stop before the disks change hands.
CAPABILITIES = ("events", "return-path", "pause-before-switchover")
# How long QEMU may take from having everything to saying so, in seconds.
_LOADED = 30.0


class Receiver:
    """One migration that comes here. ``arrive`` is called when the other runner says that it was handed over."""

    def __init__(self, paths: VmPaths, mark: Mark, own: Own, arrive: Arrive) -> None:
        self._paths = paths
        self._mark = mark
        self._own = own
        self._arrive = arrive
        self._listening: t.Optional[socket.socket] = None
        self._served: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, message: Message) -> Answer:
        """Be ready for the other runner in the folder of ``message``, with the disks that it names."""
        folder = str(message["folder"])
        wanted = [{"capability": name, "state": True} for name in CAPABILITIES]
        await self._own("migrate-set-capabilities", {"capabilities": wanted})
        disks = [str(disk) for disk in message.get("disks", ())]
        if disks:
            await self._export(folder, disks)
        self._listening = link.listen(folder, link.RUNNER)
        self._served.append(os.path.join(folder, link.RUNNER))
        self._spawn(self._accept(self._listening))
        return {}

    def close(self) -> None:
        """Let nobody in any more, and hang up."""
        for task in list(self._tasks):
            if task is not asyncio.current_task():
                task.cancel()
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        for path in self._served:
            files.remove(path)
        self._served = []

    def finish(self) -> None:
        """The guest is here: no more is let in. The conversation with the other runner goes on."""
        for path in self._served:
            files.remove(path)
        self._served = []

    async def _export(self, folder: str, disks: t.Sequence[str]) -> None:
        with link.listen(folder, link.DISKS) as listening:
            self._served.append(os.path.join(folder, link.DISKS))
            address: t.Any = {"type": "fd", "data": {"str": ""}}
            passed = Passed(os.dup(listening.fileno()), "getfd", lambda name: address["data"].update(str=name))
            await self._own.passing("nbd-server-start", {"addr": address}, [passed])
        for disk in disks:
            export = {"type": "nbd", "id": f"migration-{disk}", "node-name": node_name(disk)}
            await self._own("block-export-add", {**export, "name": disk, "writable": True})

    def _spawn(self, work: t.Coroutine[t.Any, t.Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connected, _address = await loop.sock_accept(listening)
            self._spawn(self._serve(connected))

    async def _serve(self, connected: socket.socket) -> None:
        with connected:
            try:
                about = await link.receive(connected)
                if about is None:
                    return
                if about.get("id") != self._mark.id:
                    raise MaqetError("That is another migration.", "migration_unknown")
                if about.get("channel") == "memory":
                    await self._memory(connected)
                    await link.send(connected, {"ok": True})
                elif about.get("channel") == "control":
                    self._mark = dataclasses.replace(self._mark, resume=about.get("resume") is not False)
                    await asyncio.to_thread(migration.write, self._paths, self._mark)
                    await link.send(connected, {"ok": True})
                    await self._control(connected)
                else:
                    raise MaqetError(f"There is no channel {about.get('channel')!r}.", "invalid_request")
            except MaqetError as error:
                log.error("%s", error)
                await _tell(connected, {"error": error.as_dict()})
            except (OSError, ValueError) as error:
                log.warning("the other runner: %s", error)

    async def _memory(self, connected: socket.socket) -> None:
        arguments: t.Any = {"uri": "fd:"}
        passed = Passed(os.dup(connected.fileno()), "getfd", lambda name: arguments.update(uri=f"fd:{name}"))
        await self._own.passing("migrate-incoming", arguments, [passed])

    async def _control(self, connected: socket.socket) -> None:
        """The other runner says that it has handed over, or hangs up."""
        message = await link.receive(connected)
        if message is None:
            await self._given_up()
        elif message.get("do") == "take":
            await self._loaded()
            told = len(self._own.audit)
            answer = await self._arrive(self._mark, self._own)
            await link.send(connected, {"ok": True, **answer, "audit": self._own.audit[told:]})
            self.close()

    async def _loaded(self) -> None:
        """Until QEMU says that it has everything, which the other one has heard from it already."""
        signals = Signals(self._own.session, _LOADED)
        try:
            if await self._own.session.run_state() == "inmigrate":
                await signals.until(
                    lambda kind, value: (
                        True
                        if kind == "event" and value["event"] == "MIGRATION" and value["data"]["status"] == "completed"
                        else None
                    )
                )
        finally:
            signals.close()

    async def _given_up(self) -> None:
        """The other runner is gone. A guest that is here waits for who knows what became of it; half a one is no use.

        That half may go: the other side hands nothing over before we have all.
        """
        if await self._own.session.run_state() == "inmigrate":
            log.warning("migration %s was broken off before all had come", self._mark.id)
            await self._own("quit")
        else:
            log.warning(
                "migration %s: the other runner is gone; the guest waits for a task that settles it", self._mark.id
            )


async def _tell(connected: socket.socket, message: t.Dict[str, t.Any]) -> None:
    with contextlib.suppress(OSError):  # it has hung up
        await link.send(connected, message)
