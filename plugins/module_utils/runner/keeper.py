# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of one VM under one runner: take over or start a QEMU, attend it to its end, and see what follows."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.defaults import effective
from ansible_collections.maqet.qemu.plugins.module_utils.definition.sizes import MIB
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import files, migration, processes
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import ADOPT, START, Layout, VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.qmp import ending
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.ending import Ending
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.events import EventFile
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.protocol import PROTOCOL
from ansible_collections.maqet.qemu.plugins.module_utils.runner import (
    adoption,
    cables,
    emulator,
    libraries,
    remains,
    restarts,
)
from ansible_collections.maqet.qemu.plugins.module_utils.runner.desk import Desk, open_desk, soon
from ansible_collections.maqet.qemu.plugins.module_utils.runner.emulator import Emulator
from ansible_collections.maqet.qemu.plugins.module_utils.runner.report import Report, watchdog_seconds
from ansible_collections.maqet.qemu.plugins.module_utils.runner.session import Session

log = logging.getLogger("maqet.keeper")


class Wishes:
    """What we are told by signals, see ``daemon.py``."""

    def __init__(self) -> None:
        self.leave = False
        self.power_off = False
        self.told: t.Optional[asyncio.Event] = None

    def leave_early(self, _number: int, _frame: t.Any) -> t.NoReturn:
        """A signal before there is an event loop that could have its own answer."""
        raise asked_to_end()

    def listen(self) -> None:
        """From now on :attr:`told` says that there is something to read."""
        told = self.told = asyncio.Event()

        def note(wish: str) -> None:
            setattr(self, wish, True)
            told.set()

        loop = asyncio.get_running_loop()
        for number, wish in ((signal.SIGTERM, "leave"), (signal.SIGINT, "leave"), (signal.SIGPWR, "power_off")):
            loop.add_signal_handler(number, note, wish)


def asked_to_end() -> MaqetError:
    """Nothing has been begun that could not be given up."""
    return MaqetError("The runner was asked to end before QEMU was ready.", "runner_failed")


class Keeper:
    """One VM. ``lives``: there is a QEMU whose guest may have run, so that nothing of it may be given up."""

    def __init__(self, where: Layout, paths: VmPaths, report: Report, wishes: Wishes) -> None:
        self._where = where
        self._paths = paths
        self._report = report
        self._wishes = wishes
        self._restarts = int(report.known.get("restarts") or 0)
        self.lives = False

    async def live(self) -> None:
        """Return when QEMU has ended for good, or when we were asked to leave; MaqetError if there is none to keep."""
        self._wishes.listen()
        self._feed_watchdog()
        desk = await self._first()
        while desk is not None:
            why = await self._attend(desk)
            if why == "left":
                log.info("asked to leave; QEMU goes on without a runner")
                return
            if why == "lost":
                log.warning("the conversation with QEMU broke; QEMU lives, and is taken over again")
                desk = await self._adopt(desk.definition, desk.emulator)
                continue
            self.lives = False
            end = await asyncio.to_thread(self._explain, desk)
            desk = await self._after(desk.facts, end, processes.age(desk.emulator.process))

    def _feed_watchdog(self) -> None:
        seconds = watchdog_seconds()
        if seconds is not None:
            self._report.alive()
            asyncio.get_running_loop().call_later(seconds, self._feed_watchdog)

    def _definition(self) -> Definition:
        return Definition.from_json(files.read_json(self._paths.definition))

    # --- how it begins ---

    async def _first(self) -> t.Optional[Desk]:
        """The QEMU to keep: one that lives, a new one, or none because the last one's end says so."""
        definition, known = self._definition(), self._report.known
        found = adoption.find(definition, self._paths, known)
        if found is not None:
            return await self._adopt(definition, found)
        mark = migration.read(self._paths)
        if (
            mark is not None
            and mark.not_ours
            and not (mark.phase == migration.RECEIVING and self._report.purpose == START)
        ):
            raise migration.refusal(self._paths.name, mark)
        if self._report.purpose == START:
            self._restarts = 0
            return await self._start(definition)
        if not known:
            if self._report.purpose == ADOPT:
                raise _not_running(self._paths.name, "")
            return await self._start(definition, resume="start of the host")  # or of the unit by hand
        if known.get("phase") == "waiting":
            return await self._again(known, float(known.get("pause") or 0))
        if known.get("phase") != "ready":
            raise MaqetError("The start of this VM was broken off before it was ready.", "runner_failed")
        events = EventFile(self._paths.events).load()
        end = ending.explain(None, events, files.tail(self._paths.qemu_log, 5))
        desk = await self._after(known, end, 0.0)
        if desk is None and self._report.purpose == ADOPT:
            raise _not_running(self._paths.name, f" Its last QEMU: {end.detail}.")
        return desk

    async def _adopt(self, definition: Definition, found: Emulator) -> Desk:
        self.lives = True
        session = Session(definition.name, EventFile(self._paths.events))
        try:
            await adoption.connect(session, definition, self._paths)
            desk = await self._open(definition, found, session, adopted=True)
        except BaseException:
            await session.close()
            raise
        log.info("took over QEMU %s, pid %d, of VM %s", session.version, found.process.pid, definition.name)
        return desk

    async def _start(self, definition: Definition, resume: str = "") -> Desk:
        """Start QEMU. Its guest waits for a task to let it go on, or does at once for the reason ``resume``.

        One that comes from another host is waited for.
        """
        mark = migration.read(self._paths)
        incoming = mark if mark is not None and mark.phase == migration.RECEIVING else None
        if mark is not None and mark.phase == migration.SENDING:  # its QEMU has ended, so it has not arrived elsewhere
            migration.forget(self._paths)
        remains.missed(self._paths)
        kept = EventFile(self._paths.events)
        kept.forget()
        facts = {"boot_id": processes.boot_id(), "runner": myself(), "restarts": self._restarts}
        self._report.starting(facts)
        qemu = emulator.start(definition, self._where, incoming)
        libraries.complete()  # while QEMU comes up
        session = Session(definition.name, kept)
        try:
            self._report.starting({**facts, "qemu": qemu.facts})
            await self._greet(session, qemu)
            cables.share(self._paths)
            remains.begun(self._paths, qemu.facts)
            desk = await self._open(definition, qemu, session)
        except BaseException:
            qemu.process.kill()  # nobody has been told of it, and its guest has not run
            qemu.crew.end()
            await session.close()
            raise
        self.lives = True
        log.info("VM %s runs as QEMU %s, pid %d", definition.name, session.version, qemu.process.pid)
        if incoming is not None:
            return desk
        target = definition.intent.get("balloon_target")
        if target:
            await desk.send("balloon", "balloon_target of the definition", {"value": target * MIB})
        if resume:
            await desk.send("cont", resume)
        return desk

    async def _open(self, definition: Definition, qemu: Emulator, session: Session, adopted: bool = False) -> Desk:
        facts = {
            "vm": definition.name,
            "uuid": definition.uuid,
            "boot_id": processes.boot_id(),
            "runner": myself(),
            "qemu": {**qemu.facts, "version": session.version},
            "restarts": self._restarts,
        }
        desk = await open_desk(self._where, definition, qemu, session, facts)
        if adopted:
            await desk.recover()
        libraries.complete()
        self._report.ready(facts)
        return desk

    async def _greet(self, session: Session, qemu: Emulator) -> None:
        """Greet a QEMU that we have started, or find out why it is not there."""
        told = t.cast(asyncio.Event, self._wishes.told)
        with watched(qemu) as ended:
            connecting = asyncio.ensure_future(session.connect(self._paths.monitor_socket))
            await first(connecting, ended.wait(), told.wait())
            error = connecting.exception() if connecting.done() and not connecting.cancelled() else None
            if connecting.done() and not connecting.cancelled() and error is None:
                return
            if told.is_set():
                raise asked_to_end()
            # The connection breaks a moment before the process is gone; a QEMU that talks nonsense must be ended.
            if not await soon(ended, 5):
                raise MaqetError(f"QEMU's monitor did not come up: {error}", "qemu_failed")
        raise emulator.failure(qemu.exit_status(), self._paths, qemu.crew)

    # --- while it lives ---

    async def _attend(self, desk: Desk) -> str:
        """Wait for what ends our care: ``ended`` (QEMU has), ``left`` (we were asked to) or ``lost`` (its monitor)."""
        told = t.cast(asyncio.Event, self._wishes.told)
        with watched(desk.emulator) as ended, desk.emulator.crew.watched(desk.helper_gone(ended)):
            await first(ended.wait(), told.wait(), desk.session.broken())
            if self._wishes.power_off and not ended.is_set():
                await self._power_off(desk, ended)
            if not ended.is_set() and not told.is_set():
                await soon(ended, 5)  # QEMU's end breaks the connection a moment before
            why = "ended" if ended.is_set() else "left" if told.is_set() else "lost"
            await desk.close(leaving=why == "left")
            return why

    async def _power_off(self, desk: Desk, ended: asyncio.Event) -> None:
        """The power button, then ``quit``, then the kernel: the host goes down, or this unit is stopped."""
        seconds = float(self._option("shutdown_timeout"))
        self._report.stopping(seconds + 60)
        if await desk.powered_down(seconds, ended):
            return
        log.warning("the guest has not powered off within %g s: QEMU is ended", seconds)
        await desk.send("quit", "the guest did not power off in time")
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None:
                desk.emulator.process.kill(number)
            if await soon(ended, 15):
                return

    # --- how it ends ---

    def _explain(self, desk: Desk) -> Ending:
        status = desk.emulator.exit_status()
        desk.emulator.close()
        return ending.explain(status, desk.session.events(0), desk.emulator.last_words())

    async def _after(self, facts: t.Mapping[str, t.Any], end: Ending, uptime: float) -> t.Optional[Desk]:
        """Keep why it ended; start it again if the VM's policy says so, else leave nothing behind."""
        decision = restarts.decide(self._option("restart_policy"), end, self._restarts, uptime)
        log.info("VM %s: %s", self._paths.name, end.detail)
        self._restarts = decision.count
        remains.ended(self._paths, end, facts.get("qemu"), uptime, decision)
        if decision.pause is None or self._wishes.power_off or self._wishes.leave or self._moved():
            remains.sweep(self._paths)
            return None
        return await self._again(facts, decision.pause)

    async def _again(self, facts: t.Mapping[str, t.Any], pause: float) -> t.Optional[Desk]:
        """Wait, and start it again; None if we were asked to end meanwhile, or if it came up too seldom."""
        waiting = {**facts, "boot_id": processes.boot_id(), "runner": myself(), "restarts": self._restarts}
        try:
            self._report.waiting(waiting, pause)
            log.info("started again in %g s", pause)
            if await soon(t.cast(asyncio.Event, self._wishes.told), pause):
                remains.sweep(self._paths)
                return None
            return await self._start(self._definition(), resume=f"restart_policy: {self._option('restart_policy')}")
        except (MaqetError, OSError) as error:  # it did not come up: the next attempt, or the end of them
            log.error("%s", error)
            end = _not_come_up(error)
        return await self._after(facts, end, 0.0)

    def _moved(self) -> bool:
        """Whether the VM belongs to another host: then nobody starts it here."""
        try:
            mark = migration.read(self._paths)
        except MaqetError as error:
            log.error("%s", error)
            return True
        return mark is not None and mark.not_ours

    def _option(self, option: str) -> t.Any:
        """A live option of the VM as it is now; the default's of a VM that has been removed meanwhile."""
        try:
            intent = self._definition().intent
        except MaqetError:
            intent = {}
        return effective(intent, os.uname().machine)[option]


def myself() -> dict[str, t.Any]:
    """This runner, as the status tells of it."""
    own = processes.of_pid(os.getpid())
    archive = os.path.basename(os.path.dirname(sys.modules["__main__"].__file__ or ""))
    return {
        "pid": os.getpid(),
        "start": own.start if own else 0,
        "digest": archive.partition("runner-")[2].partition(".")[0],
        "protocol": PROTOCOL,
        "python": sys.executable,
        "python_version": ".".join(map(str, sys.version_info[:3])),
    }


@contextlib.contextmanager
def watched(qemu: Emulator) -> t.Iterator[asyncio.Event]:
    """An event that is set when QEMU ends, for the length of a block."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def end() -> None:  # a pidfd stays readable, and would wake the loop for ever
        loop.remove_reader(qemu.pidfd)
        ended.set()

    loop.add_reader(qemu.pidfd, end)
    try:
        yield ended
    finally:
        loop.remove_reader(qemu.pidfd)


async def first(*waits: t.Awaitable[t.Any]) -> None:
    """Wait for one of them; cancel the others, and see them end: what they hold is about to be closed."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _not_come_up(error: t.Union[MaqetError, OSError]) -> Ending:
    """A start that failed, as the end of what it was to start."""
    status = error.details.get("qemu_status") if isinstance(error, MaqetError) else None
    return ending.explain(status or 1, [], str(error))


def _not_running(name: str, why: str) -> MaqetError:
    return MaqetError(f"VM {name} is not running.{why} Start it with maqet_vm: state=running.", "vm_not_running")
