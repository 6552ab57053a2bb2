# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many new VMs by one task: against bare QEMUs, and against a loop of maqet_vm."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.maqet.qemu.tests.bench import bare, figures
from ansible_collections.maqet.qemu.tests.bench.figures import Figure
from ansible_collections.maqet.qemu.tests.bench.playbooks import WARM, ping, seconds_of, task
from ansible_collections.maqet.qemu.tests.bench.room import VM, Room, gone, several

KEYS: t.Final = ("start50_vs_bare", "one_task_vs_loop")


def measure(room: Room) -> list[Figure]:
    """All VMs are left paused, so that no guest takes time from what is measured."""
    (name,) = room.names(1, "model")
    with room.vms([name]) as (model,):
        against_bare = _bare(room, model["qemu_pid"])
    return [against_bare, _loop(room)]


def _bare(room: Room, pid: int) -> Figure:
    """One maqet_vms task less a ping task, then as many QEMUs started as ours are and as many at once; in turns."""
    names, at_once = room.names(room.count(50, 2)), 2 * len(os.sched_getaffinity(0))
    ours, theirs = [], []
    start = task("start", "maqet_vms", several(names, "paused"))
    for _turn in range(room.count(5)):
        found = room.play.run([*room.warm(ping(), task("start", "maqet_vms", gone(names))), ping(), start])
        room.clear(names)
        ours += figures.above(seconds_of(found, "start"), seconds_of(found, "ping"))
        with bare.running(pid, room.folder / "bare", names, at_once) as spent:
            theirs.append(spent)
    detail = {"vms": len(names), "at_once": at_once, "task_s": figures.median_of(ours)}
    return figures.made("start50_vs_bare", figures.ratios(ours, theirs), **detail, bare_s=figures.median_of(theirs))


def _loop(room: Room) -> Figure:
    """The same VMs by a loop of maqet_vm and by one maqet_vms, in one playbook, in turns; whole tasks."""
    names = room.names(room.count(20, 2))
    end = task(WARM, "maqet_vms", gone(names))
    one = task("one", "maqet_vms", several(names, "paused"))
    loop = task("loop", "maqet_vm", {"name": "{{ item }}", **VM, "state": "paused"}, loop=names)
    found = room.play.run([end, *[one, end, loop, end] * room.count(3)])
    ones, loops = seconds_of(found, "one"), seconds_of(found, "loop")
    detail = {"vms": len(names), "one_s": figures.median_of(ones), "loop_s": figures.median_of(loops)}
    return figures.made("one_task_vs_loop", figures.ratios(loops, ones), **detail)
