# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A newer runner takes over from one that is busy: no command fails, and the guest does not notice."""

from __future__ import annotations

import random
import shutil
import threading
import typing as t
from pathlib import Path

from ansible_collections.maqet.qemu.tests.chaos import chains
from ansible_collections.maqet.qemu.tests.chaos.case import Figures, check, percentiles, play
from ansible_collections.maqet.qemu.tests.chaos.changes import status
from ansible_collections.maqet.qemu.tests.chaos.guests import Watcher, counting
from ansible_collections.maqet.qemu.tests.chaos.world import Result, World, short

NAME: t.Final = "upgrade"
TITLE: t.Final = "runner replaced by a newer one under load"
FULL: t.Final = 20
SHORT: t.Final = 1

VM = "evergreen"
_SECONDS: t.Final = 60.0


class Client(threading.Thread):
    """Sends one command after another until it is told to end; the first that fails ends it, too."""

    def __init__(self, world: World) -> None:
        super().__init__(daemon=True)
        self._world = world
        self._told = threading.Event()
        self._news = threading.Condition()
        self.answered = 0
        self.failed: list[str] = []

    def run(self) -> None:
        while not self._told.is_set() and not self.failed:
            problem: str | None
            try:
                problem = self.once()
            except Exception as error:  # whatever it is, the case must hear of it
                problem = repr(error)
            with self._news:
                if problem:
                    self.failed.append(problem)
                elif problem is not None:
                    self.answered += 1
                self._news.notify_all()

    def once(self) -> str | None:
        """One command in a task of its own; what went wrong, or nothing. None: there was no command any more."""
        result = self._world.module("maqet_qmp", vm=VM, command="query-status", timeout=_SECONDS)
        return short(result) if result["failed"] else ""

    def more(self, number: int) -> None:
        """Wait until it has been answered so many times more; Broken if a command fails."""
        with self._news:
            wanted = self.answered + number
            self._news.wait_for(lambda: self.answered >= wanted or bool(self.failed), _SECONDS)
            check(self.answered >= wanted and not self.failed, "a command failed, or none was answered:", self.failed)

    def tell(self) -> None:
        """No more commands."""
        self._told.set()

    def end(self) -> int:
        """Wait for the last one; how many were answered."""
        self.join(_SECONDS)
        check(not self.failed, "a command failed:", self.failed)
        return self.answered


class Caller(Client):
    """The same from one process that lasts (``caller.py``): more commands, closer to each other."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._process = world.python("caller", VM)

    def once(self) -> str | None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:  # the end of its words, which has to come after it was told
            return None if self._told.is_set() else f"the caller ended with status {self._process.wait()}"
        return line.strip()

    def tell(self) -> None:
        assert self._process.stdin is not None
        self._told.set()
        self._process.stdin.close()

    def end(self) -> int:
        assert self._process.stdout is not None
        self.join(_SECONDS)
        rest = self._process.stdout.read().splitlines()  # sent before it was told, and answered after we last listened
        self._process.stdout.close()
        self._process.wait(_SECONDS)
        check(not any(rest), "a command failed:", rest)
        self.answered += len(rest)
        return super().end()


def run(world: World, rounds: int, rng: random.Random) -> Figures:
    """Each round has a runner that differs by a comment, and so by its digest."""
    took: list[float] = []
    silences: list[float] = []
    answered: list[int] = []

    def each(mine: random.Random) -> None:
        before = world.vm(VM, state="running", **counting(world.folder, VM))["vm"]
        digest = status(world.paths(VM).status)["runner"]["digest"]
        tree = variant(world, mine.getrandbits(32))
        with Watcher(world.paths(VM).serial_log, VM) as guest:
            guest.counted()
            clients = [Client(world), Client(world), Caller(world), Caller(world)]
            for client in clients:
                client.start()
            try:
                for client in clients:
                    client.more(mine.randint(1, 3))
                upgraded = world.module("maqet_vm", tree=tree, name=VM, runner="upgrade")
                check(not upgraded["failed"] and upgraded["changed"], "the upgrade:", short(upgraded))
                took.append(1000 * float(upgraded["seconds"]))
                for client in clients:
                    client.more(2)
            finally:
                for client in clients:
                    client.tell()
            answered.append(sum(client.end() for client in clients))
            guest.check()
            silences.append(1000 * guest.longest)
        _replaced(world, before, digest)
        _all_recorded(world, answered[-1])
        world.remove(VM)

    figures = play(world, rounds, rng, each)
    figures.extra = {
        "commands answered": sum(answered),
        "upgrade task, ms": percentiles(took),
        "guest's silence, ms": percentiles(silences),
    }
    return figures


def variant(world: World, number: int) -> Path:
    """Our plugins with one comment more in the runner; the folder to import them from."""
    tree = world.folder / f"newer-{number}"
    ours = world.collections / "ansible_collections/maqet/qemu/plugins"
    theirs = tree / "ansible_collections/maqet/qemu/plugins"
    shutil.copytree(ours, theirs, ignore=shutil.ignore_patterns("__pycache__"))
    with (theirs / "module_utils/runner/daemon.py").open("a", encoding="utf-8") as file:
        file.write(f"# {number}\n")
    return tree


def _replaced(world: World, before: Result, digest: str) -> None:
    now = world.info(VM)
    check(now["qemu_pid"] == before["qemu_pid"] and now["status"] == "running", "another QEMU:", before, now)
    check(now["runner_pid"] not in (None, before["runner_pid"]), "the same runner:", now)
    new = status(world.paths(VM).status)["runner"]["digest"]
    check(new != digest, "a runner of the same digest:", new)
    pids = [process.pid for process in world.runners(VM)]
    check(pids == [now["runner_pid"]], "runners:", pids)


def _all_recorded(world: World, answered: int) -> None:
    """Each command of the load is in the log, with its result, and none is in it twice as a success."""
    records = chains.whole(world.paths(VM).audit_log)
    chains.check_closed(records)
    done = [r for r in records if r["phase"] == "result" and r.get("op") == "query-status" and r["res"] == "success"]
    check(len(done) >= answered, f"{answered} commands were answered, {len(done)} have their result in the log")
