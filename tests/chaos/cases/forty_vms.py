# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many VMs at once: each is its own, and none gets anything of another's."""

from __future__ import annotations

import random
import threading
import traceback
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ansible_collections.maqet.qemu.plugins.module_utils.guard.chain import read, verify
from ansible_collections.maqet.qemu.tests.chaos.case import Broken, Figures, check, percentiles
from ansible_collections.maqet.qemu.tests.chaos.guests import Watcher, counting, unbroken
from ansible_collections.maqet.qemu.tests.chaos.world import FORCE, Result, World, short

NAME: t.Final = "forty_vms"
TITLE: t.Final = "VMs started and stopped by 8 tasks at once"
FULL: t.Final = 40
ROUND: t.Final = 4
SHORT: t.Final = 8

WORKERS: t.Final = 8


def run(world: World, rounds: int, rng: random.Random) -> Figures:
    """Start all, look at each while all run, stop all; eight tasks at a time throughout."""
    names = [f"vm{number:02}" for number in range(rounds)]
    rng.shuffle(names)
    figures = Figures(tried=rounds)
    bad: dict[str, str] = {}
    lock = threading.Lock()
    facts: dict[str, Result] = {}
    times: dict[str, list[float]] = {"start": [], "stop": []}

    def start(name: str) -> None:
        begun = world.vm(name, state="running", **counting(world.folder, name))
        facts[name] = begun["vm"]
        times["start"].append(1000 * begun["seconds"])

    def look(name: str) -> None:
        _look(world, name, facts[name])

    def stop(name: str) -> None:
        stopped = world.vm(name, state="stopped", **FORCE)
        times["stop"].append(1000 * stopped["seconds"])
        _own_files(world, name)
        world.remove(name)

    def tried(step: t.Callable[[str], None], name: str) -> None:
        if name in bad:
            return
        try:
            step(name)
        except Exception as error:
            with lock:
                bad[name] = str(error) if isinstance(error, Broken) else traceback.format_exc()

    with ThreadPoolExecutor(WORKERS) as pool:
        for step in (start, look, stop):
            list(pool.map(lambda name, step=step: tried(step, name), names))  # type: ignore[misc]
    if not bad:
        try:
            world.check_empty()
        except Broken as error:
            bad["all"] = str(error)
    figures.done = rounds - len(bad)
    figures.evidence = [f"{name}: {what}" for name, what in bad.items()] + ([world.evidence()] if bad else [])
    figures.extra = {f"{step}, ms": percentiles(values) for step, values in times.items()}
    return figures


def _look(world: World, name: str, started: Result) -> None:
    """Its QEMU says its name and uuid, the runner speaks of its processes, and its guest counts."""
    asked = world.module("maqet_qmp", vm=name, commands=[{"command": c} for c in ("query-name", "query-uuid")])
    check(not asked["failed"], "maqet_qmp failed:", short(asked))
    said = asked["responses"][0]["name"], asked["responses"][1]["UUID"]
    check(said == (name, started["uuid"]), f"the QEMU of {name} says that it is", said)
    pids = [process.pid for process in world.qemus(name)], [process.pid for process in world.runners(name)]
    check(pids == ([started["qemu_pid"]], [started["runner_pid"]]), f"processes of {name}: {pids},", started)
    with Watcher(world.paths(name).serial_log, name) as guest:
        guest.counted(3)


def _own_files(world: World, name: str) -> None:
    """Its serial log has its own guest's words only, its audit log its own commands only."""
    paths = world.paths(name)
    check(unbroken(Path(paths.serial_log).read_bytes(), name) > 0, f"the guest of {name} has said nothing")
    records = read(paths.audit_log)
    check(records and {record.get("vm") for record in records} == {name}, f"the audit log of {name} has others' records")
    report = verify(paths.audit_log, complete=True)
    check(report.ok, f"the audit log of {name}:", report.problem)
