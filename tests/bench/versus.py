# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures that need peers: community.libvirt with its daemon, and maqet with its runner."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.maqet.qemu.tests.bench import figures, peers
from ansible_collections.maqet.qemu.tests.bench.figures import Figure
from ansible_collections.maqet.qemu.tests.bench.playbooks import WARM, Object, ping, seconds_of, task
from ansible_collections.maqet.qemu.tests.bench.qmp import many
from ansible_collections.maqet.qemu.tests.bench.room import VM, Room, gone, several

KEYS: t.Final = ("qmp_vs_maqet_cli", "start_vs_libvirt")
# libvirt's bindings are for the system's interpreter.
_THEIRS: t.Final = {"vars": {"ansible_python_interpreter": peers.SYSTEM_PYTHON}}


def measure(room: Room) -> list[Figure]:
    """Peers were fetched before; their daemons run in this world, and no longer than their figure."""
    return [_maqet(room), _libvirt(room)]


def _maqet(room: Room) -> Figure:
    """One query of 1,000 in one task less a ping task, against one call of ``maqet qmp run``; in turns.

    Both go through a runner, to a QEMU that has the same memory and no guest.
    """
    (name,) = room.names(1)
    count, theirs = room.count(1000, 50), peers.Maqet(room.folder / "maqet")
    theirs.add("bench", VM["memory"])
    ours, calls = [], []
    batch = task("batch", "maqet_qmp", many(name, count))
    with room.vms([name]), theirs.running("bench"):
        for _turn in range(room.count(5)):
            found = room.play.run([ping(WARM), task(WARM, "maqet_qmp", many(name, 1)), ping(), batch])
            ours += figures.above(seconds_of(found, "batch"), seconds_of(found, "ping"))
            calls.append(_call(theirs))
    detail = {"maqet_call_ms": figures.median_of(calls, 1e3), "ours_ms": figures.median_of(ours, 1e3 / count)}
    return figures.made("qmp_vs_maqet_cli", figures.ratios(calls, [spent / count for spent in ours]), **detail)


def _call(theirs: peers.Maqet) -> float:
    begun = time.perf_counter()
    if "running" not in theirs.run("qmp", "run", "bench", "query-status"):
        raise RuntimeError("maqet does not say how its VM is doing")
    return time.perf_counter() - begun


def _libvirt(room: Room) -> Figure:
    """One maqet_vms task of 50 VMs, then loops of 10 by community.libvirt: define, and start. Whole tasks, per VM.

    All are to run, and are new. Nothing is taken off on either side.
    """
    mine, number = room.names(room.count(50, 3)), room.count(10, 2)
    ours, theirs = [], []
    with peers.libvirtd(room.folder / "libvirt"):
        room.play.run(_defined_and_started(["warm"]))
        for turn in range(room.count(3)):
            names = room.names(number, f"libvirt-{turn}")
            clear = task(WARM, "maqet_vms", gone(mine))
            tasks = [ping(WARM), clear, task("ours", "maqet_vms", several(mine, "running")), clear]
            try:
                found = room.play.run([*tasks, *_defined_and_started(names)])
            finally:
                room.clear(mine)
                peers.destroy(names)
            ours += [spent / len(mine) for spent in seconds_of(found, "ours")]
            theirs.append(sum(seconds_of(found, "define") + seconds_of(found, "start")) / number)
        peers.destroy(["warm"])
    detail = {"vms": len(mine), "ours_s": figures.median_of(ours), "libvirt_s": figures.median_of(theirs)}
    return figures.made("start_vs_libvirt", figures.ratios(theirs, ours), **detail)


def _defined_and_started(names: t.Sequence[str]) -> list[Object]:
    module, xml = "community.libvirt.virt", peers.domain("{{ item }}", VM["memory"])
    return [
        task("define", module, {"command": "define", "xml": xml}, loop=list(names), **_THEIRS),
        task("start", module, {"name": "{{ item }}", "state": "running"}, loop=list(names), **_THEIRS),
    ]
