# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGKILL of QEMU: it is said what ended it, and done what the VM's policy says."""

from __future__ import annotations

import os
import random
import time
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import of_pid
from ansible_collections.maqet.qemu.tests.chaos.case import Dice, Figures, check, percentiles, play
from ansible_collections.maqet.qemu.tests.chaos.changes import status, until
from ansible_collections.maqet.qemu.tests.chaos.guests import Watcher, counting
from ansible_collections.maqet.qemu.tests.chaos.world import FORCE, Result, World, short

NAME: t.Final = "kill_qemu"
TITLE: t.Final = "kill -9 QEMU, with restart_policy no, on-failure and always in turn"
FULL: t.Final = 50

VM = "mortal"
POLICIES: t.Final = ("no", "on-failure", "always")
# The first start again comes after a pause of a second, and takes as long as any start.
_AGAIN_SECONDS: t.Final = 60.0


def run(world: World, rounds: int, rng: random.Random) -> Figures:
    """A guest that counts is killed after some ticks, at a moment that is drawn."""
    again: list[float] = []
    tried: dict[str, int] = {}

    def each(mine: Dice) -> None:
        policy = mine.turn(POLICIES)
        tried[policy] = tried.get(policy, 0) + 1
        options = {**counting(world.folder, VM), "restart_policy": policy}
        before = world.vm(VM, state="running", **options)["vm"]
        with Watcher(world.paths(VM).serial_log, VM) as guest:
            guest.counted(mine.randint(1, 20))
        if policy == "no":
            _stays_down(world, before)
        else:
            again.append(1000 * _comes_back(world, before))
            world.vm(VM, state="stopped", **FORCE)
        _nothing_left(world)
        _starts(world)
        world.remove(VM)

    figures = play(world, rounds, rng, each)
    figures.extra = {"policies": tried, "running again, ms": percentiles(again)}
    return figures


def _kill(facts: Result) -> None:
    qemu = of_pid(facts["qemu_pid"])
    assert qemu is not None
    qemu.kill()
    check(qemu.wait_gone(10), "QEMU survived SIGKILL")


def _said(facts: Result) -> None:
    last = facts.get("last_exit") or {}
    check((last.get("reason"), last.get("signal")) == ("signal", 9), "last_exit is", last)


def _stays_down(world: World, before: Result) -> None:
    """Its runner has nothing more to do, and goes."""
    runner = of_pid(before["runner_pid"])
    _kill(before)
    check(runner is None or runner.wait_gone(30), "the runner stays")
    now = world.info(VM)
    check(now["status"] == "stopped", "its status is", now["status"])
    _said(now)


def _comes_back(world: World, before: Result) -> float:
    """By itself: seconds from the kill until the runner says that it is ready again."""
    paths = world.paths(VM)
    begun = time.monotonic()
    _kill(before)

    def ready() -> Result | None:
        said = status(paths.status)
        new = said.get("qemu", {}).get("pid") not in (None, before["qemu_pid"])
        return said if new and said.get("phase") == "ready" else None

    until(paths.run, ready, _AGAIN_SECONDS, "a QEMU that is ready again")
    took = time.monotonic() - begun
    now = world.info(VM)
    check(now["status"] == "running" and now["qemu_pid"] != before["qemu_pid"], "it should run again:", now)
    _said(now)
    with Watcher(paths.serial_log, VM) as guest:
        guest.counted(2)
    check(len(world.qemus(VM)) == 1 and len(world.runners(VM)) == 1, world.qemus(VM), world.runners(VM))
    return took


def _nothing_left(world: World) -> None:
    paths = world.paths(VM)
    check(not world.qemus(VM) and not world.runners(VM), "processes:", world.qemus(VM), world.runners(VM))
    check(not os.path.exists(paths.run), "left in the run folder:", paths.run)


def _starts(world: World) -> None:
    """The next start is a start as any other."""
    started = world.vm(VM, state="running")
    check(started["changed"] and started["vm"]["status"] == "running", "the next start:", short(started))
    with Watcher(world.paths(VM).serial_log, VM) as guest:
        guest.counted(2)
