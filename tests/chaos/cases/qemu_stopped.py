# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGSTOP of QEMU while commands are pending: they time out, nobody else waits, and SIGCONT mends it."""

from __future__ import annotations

import json
import random
import signal
import time
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.guard.chain import read, verify
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import of_pid
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import RunnerClient
from ansible_collections.maqet.qemu.tests.chaos.case import Figures, check, percentiles, play
from ansible_collections.maqet.qemu.tests.chaos.guests import Watcher, counting
from ansible_collections.maqet.qemu.tests.chaos.world import World, short

NAME: t.Final = "qemu_stopped"
TITLE: t.Final = "SIGSTOP of QEMU while commands are pending"
FULL: t.Final = 10
SHORT: t.Final = 1

VM = "frozen"
#: What the runner can answer without QEMU must not wait for it, in seconds.
PROMPT: t.Final = 1.0
_TIMEOUT: t.Final = 2.0


def run(world: World, rounds: int, rng: random.Random) -> Figures:
    """Several commands pending, of several clients, and others that ask the runner alone."""
    prompt: list[float] = []

    def each(mine: random.Random) -> None:
        facts = world.vm(VM, state="running", **counting(world.folder, VM))["vm"]
        qemu = of_pid(facts["qemu_pid"])
        assert qemu is not None
        with Watcher(world.paths(VM).serial_log, VM) as guest:
            guest.counted()
        qemu.kill(signal.SIGSTOP)
        pending = [
            world.begin("maqet_qmp", vm=VM, command=mine.choice(_COMMANDS), timeout=_TIMEOUT, mode="ipc")
            for _number in range(mine.randint(1, 4))
        ]
        prompt.extend(1000 * seconds for seconds in _others(world, 5))
        _time_out([task.result() for task in pending])
        qemu.kill(signal.SIGCONT)
        _recovered(world, facts)
        world.remove(VM)

    figures = play(world, rounds, rng, each)
    figures.extra = {"others served, ms": percentiles(prompt)}
    return figures


_COMMANDS = ("query-status", "query-block", "query-cpus-fast", "query-chardev")


def _others(world: World, times: int) -> list[float]:
    """Clients that need no QEMU: connected, greeted, and given a verdict; the seconds that each took."""
    took = []
    for _time in range(times):
        begun = time.monotonic()
        with RunnerClient(world.paths(VM).runner_socket, VM, 10) as client:
            answer = client.request("qmp", commands=[{"execute": "query-status"}], explain=True, timeout=10)
        took.append(time.monotonic() - begun)
        check(answer["decisions"][0]["decision"] == "allow", "the verdict was", json.dumps(answer))
    check(max(took) < PROMPT, f"others were served after {max(took):.2f} s")
    return took


def _time_out(results: list[dict[str, t.Any]]) -> None:
    for result in results:
        check(result["failed"] and result.get("error_code") == "qmp_timeout", "it should have timed out:", short(result))
        check(result.get("outcome_unknown") is True, "it does not say that its outcome is unknown:", short(result))
        check(result["seconds"] < _TIMEOUT + 10, f"it took {result['seconds']:.1f} s")


def _recovered(world: World, facts: dict[str, t.Any]) -> None:
    """The same runner and QEMU, commands are answered again, the guest went on, the chain is whole."""
    answered = world.module("maqet_qmp", vm=VM, command="query-status")
    check(not answered["failed"] and answered["response"]["running"], "after SIGCONT:", short(answered))
    now = world.info(VM)
    check((now["runner_pid"], now["qemu_pid"]) == (facts["runner_pid"], facts["qemu_pid"]), "other processes:", now)
    with Watcher(world.paths(VM).serial_log, VM) as guest:
        guest.counted()
    log = world.paths(VM).audit_log
    report = verify(log, complete=True)
    check(report.ok, "the audit log:", report.problem)
    phases: dict[str, list[str]] = {}
    for record in read(log):
        phases.setdefault(str(record.get("op_id")), []).append(record["phase"])
    open_ones = [op for op, seen in phases.items() if seen == ["intent"]]
    check(not open_ones, "intents without a result:", open_ones)
