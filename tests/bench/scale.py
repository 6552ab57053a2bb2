# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""More and more VMs on one host, all paused: time and memory against their number, and the lines through that."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.qmp.asked import Asked, through_runner
from ansible_collections.maqet.qemu.tests.bench import figures, proc
from ansible_collections.maqet.qemu.tests.bench.figures import Figure
from ansible_collections.maqet.qemu.tests.bench.playbooks import Object, ping, seconds_of, task
from ansible_collections.maqet.qemu.tests.bench.qmp import query
from ansible_collections.maqet.qemu.tests.bench.room import Room, gone, several, stopped

KEYS: t.Final = (
    "info200_vs_ping",
    "scale_start_ms",
    "scale_info_ms",
    "scale_qmp_ms",
    "scale_client_ms",
    "scale_stop_ms",
    "scale_memory_mb",
)
#: Figure -> what of a step it is made of.
_OF_STEP: t.Final = {key: key.partition("_")[2] for key in KEYS[1:]}


def measure(room: Room) -> list[Figure]:
    """Once for each number. A figure's value is the slope of the line; its spread the cost of a VM in each step.

    Times are tasks less a ping task, but for ``scale_client_ms``: what a module needs for one query to each runner,
    one after another, without Ansible. Memory is that of the runners (PSS).
    """
    with room.vms(room.names(1, "warm")):
        pass  # what the first VM of a host costs once
    steps: dict[int, Object] = {}
    against_ping: list[float] = []
    for count in room.count_series((25, 50, 100, 200), (1, 2)):
        steps[count], against_ping = _step(room, room.names(count))
        room.say(f"{count} VMs: {steps[count]}")
    return [
        figures.made("info200_vs_ping", against_ping, vms=max(steps)),
        *(_line(key, {count: step[what] for count, step in steps.items()}) for key, what in _OF_STEP.items()),
    ]


def _line(key: str, points: dict[int, float]) -> Figure:
    through = figures.line([(float(count), value) for count, value in points.items()])
    told = {str(count): figures.short(value) for count, value in points.items()}
    each = [value / count for count, value in points.items()]
    detail = {"points": told, "at_none": figures.short(through.base), "bend": figures.short(through.bend)}
    return figures.valued(key, each, through.slope, **detail)


def _step(room: Room, names: t.Sequence[str]) -> tuple[Object, list[float]]:
    """One number of VMs: what each deed took in ms, memory in MB; and facts of all against a ping task."""
    warm = room.warm(ping(), task("start", "maqet_vms", gone(["none"])))
    start = [*warm, ping(), task("start", "maqet_vms", several(names, "paused"))]
    look = [
        *room.warm(ping(), task("info", "maqet_vm_info", {}), task("qmp", "maqet_qmp", query(names[0]))),
        *[ping(), task("info", "maqet_vm_info", {})] * room.count(5),
        *(ping(), task("qmp", "maqet_qmp", query("{{ item }}"), loop=list(names))),
        *(*warm, ping(), task("stop", "maqet_vms", stopped(names))),
    ]
    try:
        begun = room.play.run(start)
        (facts,) = [one.result["vms"] for one in begun if one.name == "start"]
        memory = proc.total_pss_mb(outcome["vm"]["runner_pid"] for outcome in facts)
        client = _ask_all(room, names)
        found = [*begun, *room.play.run(look)]
    finally:
        room.clear(names)
    pings, infos = seconds_of(found, "ping"), seconds_of(found, "info")
    middle = figures.median_of(pings)
    step = {
        "start_ms": 1e3 * (seconds_of(found, "start")[0] - middle),
        "info_ms": 1e3 * (figures.median_of(infos) - middle),
        "qmp_ms": 1e3 * (seconds_of(found, "qmp")[0] - middle),
        "client_ms": client,
        "stop_ms": 1e3 * (seconds_of(found, "stop")[0] - middle),
        "memory_mb": memory,
    }
    return step, figures.ratios(infos, pings[1 : 1 + len(infos)])


def _ask_all(room: Room, names: t.Sequence[str]) -> float:
    """Milliseconds for one query to each runner."""
    asked = Asked([{"execute": "query-status", "arguments": {}}], 60)
    begun = time.perf_counter()
    for name in names:
        through_runner(room.paths(name).runner_socket, name, asked)
    return 1e3 * (time.perf_counter() - begun)
