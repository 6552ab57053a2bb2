# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders that cannot be written to: refused with a word that is documented, the guest untouched, all is well later."""

from __future__ import annotations

import contextlib
import os
import random
import re
import time
import typing as t
from pathlib import Path

from ansible_collections.maqet.qemu.tests.chaos import chains, mounts
from ansible_collections.maqet.qemu.tests.chaos.case import Dice, Figures, check, play
from ansible_collections.maqet.qemu.tests.chaos.cases.thirty_two_tasks import codes
from ansible_collections.maqet.qemu.tests.chaos.guests import HERTZ, Watcher, counting, more
from ansible_collections.maqet.qemu.tests.chaos.world import FORCE, NOTHING, Result, World, short

NAME: t.Final = "disk_full"
TITLE: t.Final = "state, log and runtime folder full in turn; log folder missing and read-only, log not writable"

VM, OTHER = "brim", "latecomer"
_MIB: t.Final = 1024 * 1024
#: Of the file systems that are filled.
_SIZE: t.Final = 64 * _MIB


class Fault(t.NamedTuple):
    """``strike`` breaks the folder and returns what mends it; ``refuses``: tasks that cannot be done meanwhile."""

    folder: str
    strike: t.Callable[[World], t.Callable[[], None]]
    refuses: t.Sequence[str]


def _fill(folder: str) -> t.Callable[[], None]:
    """To the last byte. The filler is written until nothing more goes in."""
    path = os.path.join(folder, "filler")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        for size in (_MIB, 4096, 1):
            with contextlib.suppress(OSError):
                while os.write(fd, b"\0" * size) == size:
                    pass
    finally:
        os.close(fd)
    left = os.statvfs(folder)
    check(left.f_bavail == 0, f"{folder} still has room: {left.f_bavail} blocks")
    return lambda: os.unlink(path)


def _away(folder: str) -> t.Callable[[], None]:
    os.rename(folder, f"{folder}.away")

    def back() -> None:
        if os.path.isdir(folder):  # made anew meanwhile
            os.rename(folder, f"{folder}.new")
        os.rename(f"{folder}.away", folder)

    return back


def _read_only(path: str) -> t.Callable[[], None]:
    mounts.read_only(path)
    return lambda: mounts.unmount(path)


FAULTS: t.Final[dict[str, Fault]] = {
    "state full": Fault("state", lambda world: _fill(world.where.state), ("redefine", "start")),
    "log full": Fault("log", lambda world: _fill(world.where.log), ("command", "stop")),
    "run full": Fault("run", lambda world: _fill(world.where.run), ("start",)),
    "log missing": Fault("above log", lambda world: _away(world.where.log), ("command", "stop")),
    "log read-only": Fault("log", lambda world: _read_only(world.where.log), ("command", "stop", "start")),
    "log not writable": Fault("log", lambda world: _read_only(world.paths(VM).audit_log), ("command", "stop")),
}
FULL: t.Final = len(FAULTS)
ROUND: t.Final = 3
SHORT: t.Final = 1


def run(world: World, rounds: int, rng: random.Random) -> Figures:
    """Each fault in turn."""
    told: dict[str, dict[str, str]] = {}

    def each(mine: Dice) -> None:
        name = mine.turn(list(FAULTS))
        with _file_system(world, FAULTS[name].folder):
            told[name] = _strike(world, FAULTS[name])

    figures = play(world, rounds, rng, each)
    figures.extra = {"told": told}
    return figures


@contextlib.contextmanager
def _file_system(world: World, folder: str) -> t.Iterator[None]:
    """A small one over a folder of ours, as long as the block runs."""
    where = world.where
    path = {"state": where.state, "log": where.log, "run": where.run, "above log": os.path.dirname(where.log)}[folder]
    mounts.tmpfs(path, _SIZE)
    try:
        for ours in (where.state, where.log, where.run):
            os.makedirs(ours, exist_ok=True)
        yield
    finally:
        mounts.unmount(path)


def _strike(world: World, fault: Fault) -> dict[str, str]:
    """What each kind of task says while the fault lasts."""
    facts = world.vm(VM, state="running", **counting(world.folder, VM))["vm"]
    serial = world.paths(VM).serial_log
    quiet = fault.folder == "state"  # what the guest says is lost then; that it went on shows afterwards
    with Watcher(serial, VM) as guest:
        first, begun = guest.counted(3), time.monotonic()
        mend = fault.strike(world)
        try:
            told = _tasks(world, fault)
            check([p.pid for p in world.qemus(VM)] == [facts["qemu_pid"]], "the VM's QEMU:", world.qemus(VM))
            check(not world.qemus(OTHER) or told["start"] == "success", "the QEMU of a start that has failed")
            if not quiet:
                guest.counted(3)
                guest.check()
        finally:
            mend()
        if quiet:
            _went_on(serial, first, begun)
        else:
            guest.counted(3)
            guest.check()
    _recovered(world, facts)
    return told


def _tasks(world: World, fault: Fault) -> dict[str, str]:
    """One task of each kind; those that cannot be done must be refused, and all in documented words."""
    tasks: dict[str, tuple[str, Result]] = {
        "command": ("maqet_qmp", {"vm": VM, "command": "query-status"}),
        "redefine": ("maqet_vm", {"name": VM, "labels": {"written": "now"}}),
        "start": ("maqet_vm", {"name": OTHER, "state": "running", **NOTHING}),
        "stop": ("maqet_vm", {"name": VM, "state": "stopped", "timeout": 10, **FORCE}),
    }
    told = {}
    for kind, (module, options) in tasks.items():
        if kind == "stop" and kind not in fault.refuses:
            continue  # it may well succeed, and the guest is still needed
        if kind == "start" and fault.folder == "above log":
            continue  # it would make the folder anew, which mends the fault
        result = world.module(module, **options)
        told[kind] = str(result.get("error_code", "no code")) if result["failed"] else "success"
        known = not result["failed"] or told[kind] in codes(module) | {"audit_failed"}
        check(known, f"{kind}: {told[kind]} is no documented code:", short(result))
        refused = result["failed"] if kind in fault.refuses else True
        check(refused, f"{kind} should have been refused:", short(result))
        if kind in ("command", "stop") and kind in fault.refuses:
            check(told[kind] == "audit_failed", f"{kind} was refused with", told[kind], short(result))
    return told


def _went_on(serial: str, first: int, begun: float) -> None:
    """The guest's counter has gone up all the time, though what it said was lost."""
    more(serial, 3)
    said = [
        int(number, 16) for number in re.findall(rb"%s ([0-9a-f]{8})\r?\n" % VM.encode(), Path(serial).read_bytes())
    ]
    check(said == sorted(set(said)), "the counter went back:", said)
    expected = first + (time.monotonic() - begun) * HERTZ
    check(said[-1] > first + (expected - first) / 2, f"the counter is at {said[-1]}, and should be at {expected:.0f}")


def _recovered(world: World, facts: Result) -> None:
    """The same processes; every kind of task works; the log is whole."""
    answer = world.module("maqet_qmp", vm=VM, command="query-status")
    check(not answer["failed"] and answer["response"]["running"], "a command afterwards:", short(answer))
    now = world.vm(VM, labels={"written": "later"})["vm"]
    same = (now["qemu_pid"], now["runner_pid"]) == (facts["qemu_pid"], facts["runner_pid"])
    check(same and now["status"] == "running", "other processes, or not running:", now)
    world.vm(OTHER, state="running", **NOTHING)
    world.remove(OTHER)
    world.vm(VM, state="stopped", **FORCE)
    # A result may have found no room. Its intent is then closed as unknown, by the next runner at the latest.
    world.vm(VM, state="running")
    chains.check_closed(chains.whole(world.paths(VM).audit_log))
    world.remove(VM)
    world.check_empty()
