# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many tasks at once on one VM, which want different things of it: they wait for each other, or say why not."""

from __future__ import annotations

import collections
import importlib
import random
import re
import typing as t

from ansible_collections.maqet.qemu.tests.chaos.case import Broken, Figures, check, percentiles, play
from ansible_collections.maqet.qemu.tests.chaos.world import FORCE, MODULES, NOTHING, Result, World, short

NAME: t.Final = "thirty_two_tasks"
TITLE: t.Final = "32 tasks at once on one VM, mixed states"
FULL: t.Final = 20
SHORT: t.Final = 1

VM = "crowd"
TASKS: t.Final = 32
# Not what the test is about: 32 tasks of a second or so each, one after another, on a machine with other work.
_PATIENCE: t.Final = 150
_WANTED: t.Final[tuple[Result, ...]] = (
    {"state": "present", "memory": "32"},
    {"state": "present", "memory": "40"},
    {"state": "running", "allow_restart": True, "memory": "36"},
    {"state": "running"},
    {"state": "running"},
    {"state": "paused"},
    {"state": "stopped"},
    {"state": "stopped"},
    {"state": "restarted"},
    {"state": "absent", "purge": True},
)


def run(world: World, rounds: int, rng: random.Random) -> Figures:
    """A task is good if it succeeds, or fails with a code of the documentation of its module."""
    documented = codes("maqet_vm")
    outcomes: collections.Counter[str] = collections.Counter()
    times: list[float] = []

    def each(mine: random.Random) -> None:
        results = _crowd(world, mine)
        for result in results:
            outcomes[result.get("error_code", "failed") if result["failed"] else "success"] += 1
            times.append(1000 * float(result["seconds"]))
        bad = [result for result in results if result["failed"] and result.get("error_code") not in documented]
        check(not bad, f"{len(bad)} failed without a documented code, the first:", *map(short, bad[:1]))
        _consistent(world)

    figures = play(world, rounds, rng, each)
    figures.extra = {"tasks": sum(outcomes.values()), "outcomes": dict(outcomes), "task, ms": percentiles(times)}
    return figures


def codes(module: str) -> set[str]:
    """The words that a module's documentation promises under ``error_code``."""
    text = importlib.import_module(f"{MODULES}.{module}").RETURN
    found = re.search(r"^error_code:\n(.*?)^(?=\S|\Z)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise Broken(f"{module} documents no error_code")
    return set(re.findall(r"V\((\w+)\)", found[1]))


def _crowd(world: World, mine: random.Random) -> list[Result]:
    tasks = []
    for _number in range(TASKS):
        wanted = dict(mine.choice(_WANTED))
        given = {"accel": "tcg"} if wanted["state"] in ("present", "running") else {}
        tasks.append(world.begin("maqet_vm", name=VM, timeout=_PATIENCE, **given, **wanted, **FORCE))
    return [task.result(_PATIENCE * 2) for task in tasks]


def _consistent(world: World) -> None:
    """What is left is a VM as any other: it can be had running, with one QEMU and one runner, and be taken away."""
    check(len(world.qemus(VM)) < 2, "two QEMUs of one VM")
    world.vm(VM, state="running", allow_restart=True, **NOTHING, **FORCE)
    again = world.vm(VM, state="running", **NOTHING)
    check(again["changed"] is False, "a second run still found something to do:", short(again))
    qemus, runners = world.qemus(VM), world.runners(VM)
    check([process.pid for process in qemus] == [again["vm"]["qemu_pid"]], "QEMUs", qemus, again["vm"])
    check([process.pid for process in runners] == [again["vm"]["runner_pid"]], "runners", runners, again["vm"])
    world.remove(VM)
