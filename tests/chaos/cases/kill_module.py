# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGKILL of a module's process at any moment: the next run puts things in order, without help."""

from __future__ import annotations

import collections
import os
import random
import typing as t
from pathlib import Path

from ansible_collections.maqet.qemu.plugins.module_utils.host.files import remove
from ansible_collections.maqet.qemu.tests.chaos.case import Figures, check, percentiles, play
from ansible_collections.maqet.qemu.tests.chaos.world import FORCE, NOTHING, Result, World, halves, short

NAME: t.Final = "kill_module"
TITLE: t.Final = "kill -9 the module's process at a random moment of start, stop, change, absent"
FULL: t.Final = 200
ROUND: t.Final = 4
SHORT: t.Final = 4

VM = "victim"
_DISK: t.Final = {"disks": [{"name": "own", "size": "1M"}]}
#: Kind of task: whether its VM is there and runs before it, and its options.
KINDS: t.Final[dict[str, tuple[bool, Result]]] = {
    "start": (False, {"state": "running", **NOTHING, **_DISK}),
    "stop": (True, {"state": "stopped", **FORCE}),
    "change": (True, {"state": "running", "memory": "48", "allow_restart": True, **FORCE}),
    "absent": (True, {"state": "absent", "purge": True, **FORCE}),
}
# As often a task may end before its time has come, before we give up drawing times.
_DRAWS = 20


def run(world: World, rounds: int, rng: random.Random) -> Figures:
    """Each kind in turn; the moment is drawn from the time that the kind takes when nobody disturbs it."""
    times = {kind: _undisturbed(world, kind) for kind in KINDS}
    kinds = iter([kind for _round in range(rounds) for kind in KINDS])
    figures = Figures()
    hit: collections.Counter[str] = collections.Counter()
    repairs: list[float] = []

    def each(mine: random.Random) -> None:
        kind = mine.choice(list(KINDS)) if world.again is not None else next(kinds)
        _kill(world, kind, times[kind], mine)
        hit[kind] += 1
        repairs.append(1000 * _converges(world, kind))

    play(world, rounds, rng, each, figures)
    figures.extra = {"killed": dict(hit), "next run, ms": percentiles(repairs)}
    return figures


def _undisturbed(world: World, kind: str) -> float:
    """Seconds that a task of this kind takes."""
    _prepare(world, kind)
    took = float(world.vm(VM, **KINDS[kind][1])["seconds"])
    world.remove(VM)
    world.clear()
    return took


def _prepare(world: World, kind: str) -> None:
    if KINDS[kind][0]:
        world.vm(VM, state="running", **NOTHING, **_DISK)


def _kill(world: World, kind: str, seconds: float, mine: random.Random) -> None:
    """Have one task of this kind killed; draws again when it was quicker than its killer."""
    for _draw in range(_DRAWS):
        if mine.random() < 0.2:  # the installation of the runner's archive must stand it, too
            remove(world.where.runners)
            remove(world.where.cache)
        _prepare(world, kind)
        if world.begin("maqet_vm", name=VM, **KINDS[kind][1]).kill_after(mine.uniform(0, 1.05 * seconds)):
            break
        world.remove(VM)
    else:
        check(False, f"a task that {kind}s was never slower than {seconds:.2f} s")
    check(len(world.qemus(VM)) < 2, "two QEMUs right after the kill")


def _converges(world: World, kind: str) -> float:
    """The same task again reaches its state, and a third has nothing to do; seconds that the second took."""
    options = KINDS[kind][1]
    second = world.vm(VM, **options)
    lives = len(world.qemus(VM))
    check(lives == (1 if options["state"] == "running" else 0), f"{lives} QEMUs after the next run:", short(second))
    check(len(world.runners(VM)) == lives, f"{len(world.runners(VM))} runners of {lives} QEMUs")
    third = world.vm(VM, **options)
    check(third["changed"] is False, "a third run still found something to do:", short(third))
    facts = third["vm"]
    check(facts["status"] == options["state"], "it should be", options["state"], "and is", facts["status"])
    if facts["status"] != "absent":
        check("memory" not in options or facts["definition"]["memory"] == int(options["memory"]), facts["definition"])
    check(not halves(world.where), "half a file:", halves(world.where))
    world.remove(VM)
    left = os.listdir(world.where.vms)
    check(not left, "files of a VM that was removed:", *Path(world.where.vms).rglob("*"))
    return float(second["seconds"])
