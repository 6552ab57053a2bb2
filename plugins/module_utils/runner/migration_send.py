# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sending side of a migration. What fails before the guest is handed over is taken back, and the guest goes on.

1. The disks that are copied are mirrored to the other QEMU by NBD, a connection each, until they are equal.
2. The memory is sent, while the guest runs, until the rest takes no longer than the guest may stand still.
3. QEMU stops the guest, and waits before the disks change hands. The mirrors are ended: both sides are equal now.
4. QEMU sends the rest, and says ``completed`` when the other one has said that it has all.
5. ``handed_over`` is written down. Then the other runner is told, which writes down ``taken``, and the guest goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_disks import node_name, rate_name
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.passing import Passed
from ansible_collections.maqet.qemu.plugins.module_utils.host import migration
from ansible_collections.maqet.qemu.plugins.module_utils.host.migration import Mark
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.runner import migration_link as link
from ansible_collections.maqet.qemu.plugins.module_utils.runner.migration_own import Own, Signals
from ansible_collections.maqet.qemu.plugins.module_utils.runner.migration_receive import CAPABILITIES
from ansible_collections.maqet.qemu.plugins.module_utils.runner.session import Session, now

log = logging.getLogger("maqet.migration")

# QEMU's own (migration/options.c), in bytes a second and in milliseconds. They are said each time, for QEMU goes by
# what an earlier migration that was broken off was told.
BANDWIDTH, DOWNTIME_LIMIT = 128 << 20, 300

Message = t.Mapping[str, t.Any]
Answer = t.Dict[str, t.Any]

_JOB = "maqet-migration-"
_TARGET = "maqet-migrated-"
# QEMU's words for a migration that is over, and for one that may still be going on.
_OVER = ("completed", "failed", "cancelled")
# RunStates from which a guest can be sent; the others are on their way to another one, or have lost their guest.
_SENDABLE = ("running", "paused", "suspended")
# How long QEMU may take to give up what it was doing, and the other runner to let the guest go on, in seconds.
_GIVING_UP = 30.0
_TAKING = 60.0


class Sender:
    """One migration away from here. ``gone``: whoever asked for it has hung up, and wants it no more."""

    def __init__(self, paths: VmPaths, session: Session, own: Own, message: Message, gone: asyncio.Event) -> None:
        self._paths = paths
        self._session = session
        self._own = own
        self._message = message
        self._gone = gone
        self._id = str(message["migration"])
        self._folder = str(message["folder"])
        self._disks = [str(disk) for disk in message.get("disks", ())]
        self._signals = Signals(session, float(message["timeout"]))
        self._control: t.Optional[socket.socket] = None
        self._watching: list[asyncio.Task[t.Any]] = []
        self._begun = time.monotonic()
        self._stopped: t.Optional[float] = None

    async def run(self) -> Answer:
        """All of it; the figures. ``migration_undecided`` if the other runner has not answered after the handover."""
        state = await self._session.run_state()
        if state not in _SENDABLE:
            raise MaqetError(
                f"VM {self._paths.name} is '{state}': only a guest that runs or is paused can be sent.",
                "migration_refused",
            )
        mark = Mark(self._id, migration.SENDING, str(self._message["peer"]), state != "paused")
        await asyncio.to_thread(migration.write, self._paths, mark)
        try:
            try:
                await self._all_of_it(mark.resume)
                mark = mark.moved(migration.HANDED_OVER)
                await asyncio.to_thread(migration.write, self._paths, mark)
            except BaseException as error:
                await self._taken_back(mark.moved(migration.SENDING), error)
                raise
            return await self._hand_over(mark)
        finally:
            self._hang_up()
            self._signals.close()

    async def _all_of_it(self, resume: bool) -> None:
        """Up to the moment at which the other QEMU has everything, and ours stands still."""
        about = {"id": self._id, "channel": "control"}
        self._control = await link.open_channel(self._folder, {**about, "resume": resume})
        self._watch(self._listen(self._control))
        self._watch(self._leave())
        await self._set_up()
        self._tell("disks" if self._disks else "memory")
        for disk in self._disks:
            await self._mirror(disk)
        await self._ready()
        self._tell("memory")
        stream = await link.open_channel(self._folder, {**about, "channel": "memory"})
        with stream:
            arguments: t.Any = {"uri": "fd:"}
            passed = Passed(os.dup(stream.fileno()), "getfd", lambda name: arguments.update(uri=f"fd:{name}"))
            await self._own.passing("migrate", arguments, [passed])
        await self._memory("pre-switchover")
        self._tell("switchover")
        await end_mirrors(self._own, force=False)
        await self._own("migrate-continue", {"state": "pre-switchover"})
        await self._memory("completed")

    def _watch(self, work: t.Coroutine[t.Any, t.Any, None]) -> None:
        self._watching.append(asyncio.ensure_future(work))

    async def _listen(self, control: socket.socket) -> None:
        """What the other runner says; it has nothing to say before the end."""
        try:
            message = await link.receive(control)
        except (OSError, ValueError) as error:
            message = {"error": link.unreachable(str(error)).as_dict()}
        self._signals.put("control", message)

    async def _leave(self) -> None:
        await self._gone.wait()
        self._signals.put("gone")

    def _hang_up(self) -> None:
        for task in self._watching:
            task.cancel()
        self._watching = []
        if self._control is not None:
            self._control.close()
            self._control = None

    async def _set_up(self) -> None:
        converge = bool(self._message.get("auto_converge"))
        wanted = [{"capability": name, "state": True} for name in CAPABILITIES]
        wanted.append({"capability": "auto-converge", "state": converge})
        await self._own("migrate-set-capabilities", {"capabilities": wanted})
        limits = {
            "max-bandwidth": self._message.get("bandwidth") or BANDWIDTH,
            "downtime-limit": self._message.get("downtime_limit") or DOWNTIME_LIMIT,
        }
        await self._own("migrate-set-parameters", limits)

    async def _mirror(self, disk: str) -> None:
        connected = await link.connect(self._folder, link.DISKS)
        with connected:
            server: t.Any = {"type": "fd", "str": ""}
            passed = Passed(os.dup(connected.fileno()), "getfd", lambda name: server.update(str=name))
            node = {"driver": "nbd", "node-name": f"{_TARGET}{disk}", "server": server, "export": disk}
            await self._own.passing("blockdev-add", node, [passed])
        job = {"job-id": f"{_JOB}{disk}", "device": await self._top(disk), "target": f"{_TARGET}{disk}"}
        top = disk in self._message.get("overlays", ())
        mirror = {**job, "sync": "top" if top else "full", "copy-mode": "write-blocking", "auto-dismiss": False}
        bandwidth = self._message.get("bandwidth")
        await self._own("blockdev-mirror", {**mirror, **({"speed": bandwidth} if bandwidth else {})})

    async def _top(self, disk: str) -> str:
        """The node that the guest's device has: a mirror takes no other, such as what is below a filter."""
        shown = {one.get("inserted", {}).get("node-name") for one in await self._own.look("query-block")}
        return rate_name(disk) if rate_name(disk) in shown else node_name(disk)

    async def _ready(self) -> None:
        """Until all mirrors are equal to their disks, and stay so."""
        waiting = {f"{_JOB}{disk}" for disk in self._disks}

        def wanted(kind: str, value: t.Any) -> t.Optional[bool]:
            self._demand_going_on(kind, value)
            if kind == "event" and value["event"] == "JOB_STATUS_CHANGE" and value["data"]["status"] == "ready":
                waiting.discard(value["data"]["id"])
                self._tell("disks", left=len(waiting))
            return None if waiting else True

        if waiting:
            await self._signals.until(wanted)

    async def _memory(self, status: str) -> None:
        """Until QEMU's migration is in ``status``; ``migration_failed`` with QEMU's reason if it ends before."""

        def wanted(kind: str, value: t.Any) -> t.Optional[str]:
            if kind == "event" and value["event"] == "STOP":
                self._stopped = time.monotonic()
            if kind == "event" and value["event"] == "MIGRATION_PASS":
                return "pass"
            if kind == "event" and value["event"] == "MIGRATION":
                now_in = str(value["data"]["status"])
                return now_in if now_in == status or now_in in _OVER else None
            if kind == "ended":
                raise MaqetError("The runner or its QEMU ends in the middle of the migration.", "migration_failed")
            # The rest that is sent while the guest stands still is a matter of milliseconds, and is waited for: what
            # QEMU says at its end is the truth, whatever becomes of those who watch.
            if status != "completed":
                self._demand_going_on(kind, value)
            return None

        while True:
            found = await self._signals.until(wanted)
            if found == "pass":
                await self._tell_memory()
            elif found == status:
                return
            else:
                state = await self._own.look("query-migrate")
                why = str(state.get("error-desc") or "the connection, or the QEMU on the other host, is gone")
                raise MaqetError(f"QEMU's migration ended as {found}: {why}.", "migration_failed", reason=why)

    def abort(self) -> None:
        """The runner leaves, or QEMU has ended: there is no use in waiting any more."""
        self._signals.put("ended")

    def _demand_going_on(self, kind: str, value: t.Any) -> None:
        if kind == "gone":
            raise MaqetError("The task that wanted the migration is gone.", "migration_cancelled")
        if kind == "control":
            if value is not None and isinstance(value.get("error"), dict):
                raise MaqetError.from_dict(value["error"])
            raise link.unreachable("it hung up")
        if kind == "event" and value["event"] == "JOB_STATUS_CHANGE":
            about = value["data"]
            if str(about["id"]).startswith(_JOB) and about["status"] in ("aborting", "concluded"):
                disk = about["id"][len(_JOB) :]
                raise MaqetError(
                    f"Disk {disk} could not be copied: its mirror has ended.", "migration_failed", disk=disk
                )

    async def _tell_memory(self) -> None:
        with contextlib.suppress(MaqetError):
            ram = (await self._own.look("query-migrate")).get("ram", {})
            self._tell("memory", **{key: ram.get(key) for key in ("total", "remaining", "transferred")})

    def _tell(self, phase: str, **more: t.Any) -> None:
        """An event of ours, for whoever watches."""
        data = {"id": self._id, "phase": phase, **more}
        self._session.take({"event": migration.EVENT, "data": data, "timestamp": now()})

    async def _taken_back(self, mark: Mark, error: BaseException) -> None:
        """Have the guest go on here; what becomes of that is in the error's details."""
        try:
            state = await roll_back(self._paths, mark, self._own, self._hang_up)
            self._tell("taken back")
            log.warning("migration %s was taken back: %s", mark.id, error)
            if isinstance(error, MaqetError):
                error.details.update(taken_back=True, run_state=state)
        except MaqetError as other:
            log.error("migration %s could not be taken back: %s", mark.id, other)
            if isinstance(error, MaqetError):
                error.details.update(taken_back=False, problem=str(other))

    async def _hand_over(self, mark: Mark) -> Answer:
        """From here on the guest never runs here again, unless the other host says that it will not run it."""
        self._tell("handed over")
        control = t.cast(socket.socket, self._control)
        try:
            await link.send(control, {"do": "take"})
            answer = await self._signals.until(
                lambda kind, value: (value or {}) if kind == "control" else None, _TAKING
            )
            problem = MaqetError.from_dict(answer["error"]) if "error" in answer else None
            if problem is None and answer.get("ok") is not True:
                problem = link.unreachable("it hung up")
        except (OSError, MaqetError) as error:
            problem = link.unreachable(str(error))
        figures = await self._figures()
        if problem is not None:
            raise MaqetError(
                f"VM {self._paths.name} was handed over to {mark.peer}, which has not said that it runs there: "
                f"{problem}",
                "migration_undecided",
                **figures,
            )
        await asyncio.to_thread(migration.write, self._paths, mark.moved(migration.CONFIRMED))
        self._tell("arrived")
        log.info("migration %s: the VM runs on %s", mark.id, mark.peer)
        theirs = answer.get("audit")
        self._own.audit += theirs if isinstance(theirs, list) else []
        return {**figures, "run_state": answer.get("run_state")}

    async def _figures(self) -> Answer:
        """In milliseconds and bytes; ``downtime`` is QEMU's, ``stopped`` what the guest really stood still."""
        done = time.monotonic()
        about: t.Dict[str, t.Any] = {}
        with contextlib.suppress(MaqetError):
            about = await self._own.look("query-migrate")
        figures = {
            "downtime": about.get("downtime"),
            "total_time": round(1000 * (done - self._begun)),
            "memory_transferred": about.get("ram", {}).get("transferred"),
        }
        if self._stopped is not None:
            figures["stopped"] = round(1000 * (done - self._stopped))
        return figures


async def roll_back(paths: VmPaths, mark: Mark, own: Own, hang_up: t.Callable[[], None] = lambda: None) -> str:
    """Have QEMU give up what it was doing for a migration, and the guest go on; its RunState. The mark goes last.

    Also for a runner that finds a QEMU in the middle of one. ``hang_up`` tells the other side that nothing comes any
    more: before the guest goes on here, and when QEMU has let go of it, see :func:`_cancel`.
    """
    signals = Signals(own.session, _GIVING_UP)
    try:
        status = (await own.look("query-migrate")).get("status")
        if status not in (None, "none", *_OVER):
            with contextlib.suppress(MaqetError):
                await own("migrate_cancel")
            await _over(own, signals)
        await end_mirrors(own, force=True)
        hang_up()
        if mark.resume and await own.session.run_state() != "running":
            await own("cont")
        state = await own.session.run_state()
    finally:
        signals.close()
    await asyncio.to_thread(migration.forget, paths)
    return state


async def _over(own: Own, signals: Signals) -> None:
    """Until QEMU has given up its migration."""

    def wanted(kind: str, value: t.Any) -> t.Optional[bool]:
        told = kind == "event" and value["event"] == "MIGRATION" and value["data"]["status"] in _OVER
        return True if told else None

    if (await own.look("query-migrate")).get("status") not in _OVER:
        await signals.until(wanted)


async def _cancel(own: Own, job: str, force: bool) -> None:
    """Cancel a mirror, unless it ends by itself meanwhile: then its error, if it has one, is found later.

    One that is ready is not forced: that has damaged the heap of a QEMU 7.2 whose guest was writing, one time in four,
    so that it ended by SIGABRT. Without force it ends as soon as its last writes have come to the other side.
    """
    try:
        await own("block-job-cancel", {"device": job, "force": force})
    except MaqetError as error:
        if error.error_code != "qmp_error" or not any(
            one["id"] == job and one["status"] == "concluded" for one in await own.look("query-jobs")
        ):
            raise


async def end_mirrors(own: Own, force: bool) -> None:
    """End all mirrors of a migration, and let go of their targets.

    Without ``force`` each ends when the target is equal to its disk; ``migration_failed`` if one does not come to that.
    The disk stays the one that the guest has: a mirror that is ready ends so when it is cancelled (QEMU QMP reference,
    block-job-cancel).
    """
    signals = Signals(own.session, _GIVING_UP)
    try:
        jobs = {str(one["id"]): one for one in await own.look("query-jobs") if str(one["id"]).startswith(_JOB)}
        for job, about in jobs.items():
            if about["status"] != "concluded":
                await _cancel(own, job, force and about["status"] != "ready")
        waiting = {
            str(one["id"])
            for one in await own.look("query-jobs")
            if str(one["id"]) in jobs and one["status"] != "concluded"
        }

        def wanted(kind: str, value: t.Any) -> t.Optional[bool]:
            if kind == "event" and value["event"] == "JOB_STATUS_CHANGE" and value["data"]["status"] == "concluded":
                waiting.discard(str(value["data"]["id"]))
            return None if waiting else True

        if waiting:
            await signals.until(wanted)
        problems = []
        for one in await own.look("query-jobs"):
            if str(one["id"]) in jobs:
                if "error" in one:
                    problems.append(f"{one['id'][len(_JOB) :]}: {one['error']}")
                await own("job-dismiss", {"id": one["id"]})
        for node in await own.look("query-named-block-nodes", {"flat": True}):
            if str(node["node-name"]).startswith(_TARGET):
                await own("blockdev-del", {"node-name": node["node-name"]})
        if problems and not force:
            raise MaqetError(f"A disk could not be copied: {'; '.join(problems)}.", "migration_failed")
    finally:
        signals.close()
