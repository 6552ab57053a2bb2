# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGKILL of the runner under QMP traffic: the guest does not notice, the next task takes over, the log knows all."""

from __future__ import annotations

import random
import threading
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import of_pid
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import RunnerClient
from ansible_collections.maqet.qemu.tests.chaos import chains
from ansible_collections.maqet.qemu.tests.chaos.case import Figures, check, percentiles, play
from ansible_collections.maqet.qemu.tests.chaos.guests import Watcher, counting
from ansible_collections.maqet.qemu.tests.chaos.world import Result, World, short

NAME: t.Final = "kill_runner"
TITLE: t.Final = "kill -9 the runner under QMP traffic"
FULL: t.Final = 100

VM = "orphan"
CLIENTS: t.Final = 4
#: From the start of the next task's process to the answer to its command, in milliseconds; of p99.
LIMIT: t.Final = 1000.0
# With fewer values p99 is the slowest of all, and says more about the machine's other work.
_ENOUGH: t.Final = 20
_SECONDS: t.Final = 60.0


class Client(threading.Thread):
    """Makes one character device after another, each of a name of its own: QEMU can be asked later which it got."""

    def __init__(self, path: str, number: int) -> None:
        super().__init__(daemon=True)
        self._path, self._number = path, number
        self.sent: list[str] = []
        self.answered: list[str] = []
        self.refused: list[str] = []
        self.begun = threading.Event()

    def run(self) -> None:
        try:
            with RunnerClient(self._path, VM, _SECONDS) as client:
                while True:
                    self._one(client, f"c{self._number}-{len(self.sent)}")
        except MaqetError as error:
            if error.error_code != "runner_unreachable":
                self.refused.append(str(error))
        except OSError as error:
            self.refused.append(repr(error))
        finally:
            self.begun.set()

    def _one(self, client: RunnerClient, label: str) -> None:
        arguments = {"id": label, "backend": {"type": "null", "data": {}}}
        self.sent.append(label)
        client.request("qmp", commands=[{"execute": "chardev-add", "arguments": arguments}], timeout=_SECONDS)
        self.answered.append(label)
        self.begun.set()


def run(world: World, rounds: int, rng: random.Random) -> Figures:
    """The runner is killed a drawn time after all clients have had their first answer."""
    adopted: list[float] = []
    silences: list[float] = []
    counts = {"answered": 0, "unanswered": 0, "of these known to QEMU": 0}

    def each(mine: random.Random) -> None:
        facts = world.vm(VM, state="running", **counting(world.folder, VM))["vm"]
        with Watcher(world.paths(VM).serial_log, VM) as guest:
            guest.counted()
            clients = _traffic(world)
            _kill(facts, mine.uniform(0, 0.5))
            answer = world.module("maqet_qmp", vm=VM, command="query-chardev")
            adopted.append(1000 * float(answer["seconds"]))
            for client in clients:
                client.join(_SECONDS)
            check(not answer["failed"], "the next task:", short(answer))
            _adopted(world, facts)
            guest.counted(3)
            guest.check()
            silences.append(1000 * guest.longest)
        _log_is_true(world, clients, {str(device["label"]) for device in answer["response"]}, counts)
        world.remove(VM)

    figures = play(world, rounds, rng, each)
    times = percentiles(adopted)
    if len(adopted) >= _ENOUGH and times["p99"] > LIMIT:
        figures.evidence.append(
            f"a task took {times['p99']:g} ms (p99) to adopt and be answered; {LIMIT:g} are allowed"
        )
    figures.extra = {
        "adopted and answered, ms": times,
        "guest's silence, ms": percentiles(silences),
        "commands": counts,
    }
    return figures


def _traffic(world: World) -> list[Client]:
    clients = [Client(world.paths(VM).runner_socket, number) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        check(client.begun.wait(_SECONDS) and not client.refused, "no traffic:", client.refused)
    return clients


def _kill(facts: Result, seconds: float) -> None:
    runner = of_pid(facts["runner_pid"])
    assert runner is not None
    check(not runner.wait_gone(seconds), "the runner ended by itself")
    runner.kill()
    check(runner.wait_gone(10), "the runner survived SIGKILL")


def _adopted(world: World, before: Result) -> None:
    now = world.info(VM)
    check(now["status"] == "running" and now["qemu_pid"] == before["qemu_pid"], "another QEMU:", before, now)
    check(now["runner_pid"] not in (None, before["runner_pid"]), "no new runner:", now)
    pids = [process.pid for process in world.runners(VM)]
    check(pids == [now["runner_pid"]], "runners:", pids)


def _log_is_true(world: World, clients: list[Client], known: set[str], counts: dict[str, int]) -> None:
    """Answered commands have their results, commands that QEMU got have their intents, and none is left open."""
    records = chains.whole(world.paths(VM).audit_log)
    chains.check_closed(records)
    of: dict[str, dict[str, Result]] = {}
    for record in records:
        if record.get("op") == "chardev-add":
            of.setdefault(str(record["args"].get("id")), {})[str(record["phase"])] = record
    for client in clients:
        check(not client.refused, "a client was refused:", client.refused)
        for label in client.answered:
            result = of.get(label, {}).get("result", {})
            check(result.get("res") == "success", f"{label} was answered, and its record is", of.get(label))
        counts["answered"] += len(client.answered)
        open_ones = set(client.sent) - set(client.answered)
        counts["unanswered"] += len(open_ones)
        counts["of these known to QEMU"] += len(open_ones & known)
    ours = {label for label in known if label[:1] == "c" and "-" in label and label[1:2].isdigit()}
    check(ours <= set(of), "QEMU got commands that the log does not know:", ours - set(of))
    missing = {label for client in clients for label in client.answered} - known
    check(not missing, "answered, and QEMU does not know of it:", missing)
