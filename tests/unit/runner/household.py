# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The VM ``web`` for a keeper: QEMUs that are shells with QEMU's command line and a monitor that a test speaks for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import subprocess
import time
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import files, processes
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.host.watch import Folder
from ansible_collections.maqet.qemu.plugins.module_utils.runner.emulator import Emulator
from ansible_collections.maqet.qemu.plugins.module_utils.runner.helpers import Crew
from ansible_collections.maqet.qemu.plugins.module_utils.runner.keeper import Keeper, Wishes
from ansible_collections.maqet.qemu.plugins.module_utils.runner.report import Report
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import (
    PATIENCE,
    UUID,
    Answer,
    Client,
    FakeMonitor,
    Message,
    event,
    records,
)

FACTS = {"binary": "/usr/bin/qemu-system-x86_64", "accel": "tcg", "uid": 1000}
_SCRIPT = "echo; read status; exit $status"


class FakeQemu:
    """A process and its monitor. ``obeys`` are the commands that it and its guest follow."""

    def __init__(self, house: House) -> None:
        self.obeys = set(house.obeys)
        line = ["/usr/bin/qemu-system-x86_64", "-c", _SCRIPT, "-name", "guest=web,debug-threads=on", "-uuid", UUID]
        line += ["-accel", "tcg", "-chardev", "socket,id=maqet-monitor,fd=5,server=on,wait=off"]
        pipes: t.Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        os.makedirs(house.paths.output, exist_ok=True)
        self.child = subprocess.Popen(line, executable="/bin/sh", cwd=house.paths.output, **pipes)
        assert self.child.stdout is not None
        self.child.stdout.readline()
        files.remove(house.paths.monitor_socket)
        obey: dict[str, Answer] = {"quit": self._quit, "system_powerdown": self._powerdown}
        self.monitor = FakeMonitor(house.paths.monitor_socket, {**obey, **house.answers}, house.greeting)
        process = processes.of_pid(self.child.pid)
        assert process is not None
        self.process = process

    def exit(self, status: int, *said: Message, client: t.Optional[Client] = None) -> None:
        """End, after these last events."""
        if client is not None:
            client.send(*said)
        assert self.child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.child.stdin.write(b"%d\n" % status)
            self.child.stdin.flush()
        self.child.wait()
        if client is not None:
            client.end()

    def kill(self) -> None:
        self.child.kill()
        self.child.wait()

    def close(self) -> None:
        self.kill()
        self.monitor.close()
        for pipe in (self.child.stdin, self.child.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    @property
    def asked(self) -> list[str]:
        """The commands that it got from us, but questions."""
        return [command for command in self.monitor.commands if not command.startswith("query-")]

    def _quit(self, client: Client, message: Message) -> None:
        client.send({"return": {}, "id": message["id"]})
        if "quit" in self.obeys:
            self.exit(0, event("SHUTDOWN", guest=False, reason="host-qmp-quit"), client=client)

    def _powerdown(self, client: Client, message: Message) -> None:
        client.send({"return": {}, "id": message["id"]}, event("POWERDOWN"))
        if "system_powerdown" in self.obeys:
            self.exit(0, event("SHUTDOWN", guest=True, reason="guest-shutdown"), client=client)


class House:
    """Layout and definition, and all QEMUs that were started. ``failures``: starts to come that fail."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.where = Layout(str(folder / "s"), str(folder / "r"), str(folder / "l"), "user", str(folder / "c"))
        self.paths = self.where.vm("web")
        for path in (self.paths.home, self.paths.run, self.paths.log):
            os.makedirs(path)
        self.obeys = {"quit", "system_powerdown"}
        self.answers: dict[str, Answer] = {}
        self.greeting: t.Union[Message, bytes, None] = None
        self.qemus: list[FakeQemu] = []
        self.failures: list[MaqetError] = []
        self.on_start: t.Callable[[FakeQemu], None] = lambda _qemu: None
        self.define()

    def close(self) -> None:
        for qemu in self.qemus:
            qemu.close()

    def define(self, **intent: t.Any) -> Definition:
        definition = Definition("web", UUID, intent)
        files.write_json(self.paths.definition, definition.to_json())
        return definition

    def run_qemu(self) -> FakeQemu:
        """A QEMU that was started by nobody in this test."""
        self.qemus.append(FakeQemu(self))
        return self.qemus[-1]

    def start(self, _definition: Definition, _where: Layout, _incoming: t.Any = None) -> Emulator:
        """In the place of ``emulator.start``."""
        if self.failures:
            raise self.failures.pop(0)
        qemu = self.run_qemu()
        found = Emulator(qemu.process, os.pidfd_open(qemu.process.pid), FACTS, self.paths.qemu_log, Crew(self.paths))
        found.popen = qemu.child
        self.on_start(qemu)
        return found

    def know(self, phase: str, qemu: t.Optional[FakeQemu] = None, **more: t.Any) -> None:
        """What a runner before wrote down."""
        process = qemu.process if qemu else processes.Process(1, 1)
        entry = {"pid": process.pid, "start": process.start, "version": "7.2.22", **FACTS}
        facts = {"vm": "web", "uuid": UUID, "boot_id": processes.boot_id(), "qemu": entry, "phase": phase, **more}
        files.write_json(self.paths.status, facts)

    def order(self, purpose: str) -> None:
        files.write_json(self.paths.order, {"word": "word", "purpose": purpose})

    def status(self) -> dict[str, t.Any]:
        return dict(files.read_json(self.paths.status) or {})

    def last_exit(self) -> dict[str, t.Any]:
        return dict(files.read_json(self.paths.last_exit) or {})

    def reasons(self) -> list[tuple[str, str]]:
        """The runner's own commands, with their reasons."""
        found = [record for record in records(self.paths.audit_log) if record.get("phase") == "intent"]
        return [(record["op"], record["reason"]) for record in found]

    def keep(self, scenario: t.Optional[t.Callable[[Life], t.Coroutine[t.Any, t.Any, None]]] = None) -> Keeper:
        """A keeper's whole life, with what happens in it; its error if it ends with one."""
        keeper = Keeper(self.where, self.paths, Report(self.paths, None), Wishes())
        self.keeper = keeper

        async def whole() -> None:
            life = Life(self, asyncio.ensure_future(keeper.live()))
            try:
                if scenario is not None:
                    await scenario(life)
                await asyncio.wait_for(life.task, PATIENCE)
            finally:
                life.task.cancel()

        asyncio.run(whole())
        return keeper


class Life:
    """A keeper that lives, seen from outside."""

    def __init__(self, house: House, task: asyncio.Task[None]) -> None:
        self.house = house
        self.task = task
        self._over = False

    async def until(self, phase: str, **facts: t.Any) -> dict[str, t.Any]:
        """The status, when it has this phase and these facts; the keeper's error if it ends before."""
        status = asyncio.ensure_future(asyncio.to_thread(self._look, {"phase": phase, **facts}))
        await asyncio.wait({status, self.task}, return_when=asyncio.FIRST_COMPLETED)
        if self.task.done() and not status.done():
            self._over = True
            with contextlib.suppress(FileNotFoundError):  # wakes the look
                pathlib.Path(self.house.paths.run, "over").touch()
            self.task.result()
        return await status

    def _look(self, wanted: dict[str, t.Any]) -> dict[str, t.Any]:
        end = time.monotonic() + PATIENCE
        with Folder(self.house.paths.run) as folder:
            while time.monotonic() < end and not self._over and os.path.exists(self.house.paths.run):
                status = self.house.status()
                ours = status.get("runner", {}).get("pid") == os.getpid()  # not what another one wrote down
                if ours and wanted.items() <= status.items():
                    return status
                processes.wait_readable([folder.fd], 1.0)
                with contextlib.suppress(BlockingIOError):
                    os.read(folder.fd, 65536)
        raise AssertionError(f"never {wanted}, but {self.house.status()}")
