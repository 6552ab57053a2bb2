# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands to one VM: a task each, and many in one task."""

from __future__ import annotations

import contextlib
import statistics
import time
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.qmp.asked import Asked, through_runner
from ansible_collections.maqet.qemu.tests.bench import figures
from ansible_collections.maqet.qemu.tests.bench.figures import Figure
from ansible_collections.maqet.qemu.tests.bench.playbooks import Object, items_of, ping, seconds_of, task
from ansible_collections.maqet.qemu.tests.bench.raw import Raw
from ansible_collections.maqet.qemu.tests.bench.room import Room

KEYS: t.Final = ("qmp_task_vs_ping", "qmp_batch_ms", "qmp_batch_vs_raw")
_QUERY: t.Final = b'{"execute": "query-status"}\n'


def measure(room: Room) -> list[Figure]:
    """All three with one VM that is paused, so that nothing else runs."""
    (name,) = room.names(1)
    with room.vms([name]):
        return [_tasks(room, name), *_batch(room, name)]


def query(vm: str) -> Object:
    """Options of a maqet_qmp that asks one thing."""
    return {"vm": vm, "command": "query-status"}


def many(vm: str, count: int) -> Object:
    """Options of a maqet_qmp that asks it that often."""
    return {"vm": vm, "commands": [{"command": "query-status"}] * count, "timeout": 300}


def _tasks(room: Room, vm: str) -> Figure:
    """A loop of 50 pings, a loop of 50 queries, and again, in one playbook: each loop against the one before it.

    Of each loop the median of its items counts, of all turns the medians of these.
    """
    loop = list(range(room.count(50, 2)))
    turn = [ping(loop=loop), task("query", "maqet_qmp", query(vm), loop=loop)]
    warm = room.warm(ping(), task("query", "maqet_qmp", query(vm)))
    found = room.play.run([*warm, *turn * room.count(5)])
    pings, queries = (items_of(found, name) for name in ("ping", "query"))
    value = statistics.median(queries) / statistics.median(pings)
    detail = {"ping_ms": figures.median_of(pings, 1e3), "query_ms": figures.median_of(queries, 1e3)}
    return figures.valued("qmp_task_vs_ping", figures.ratios(queries, pings), value, loop=len(loop), **detail)


def _batch(room: Room, vm: str) -> list[Figure]:
    """1,000 queries in one task, of which a ping task of the same playbook is taken off.

    The raw socket is that of the VM's second monitor: the same QEMU, before and after the playbook. For the profile the
    same batch is sent once more by the module's own client, without Ansible.
    """
    count = room.count(1000, 50)
    turn = [ping(), task("batch", "maqet_qmp", many(vm, count))]
    warm = room.warm(ping(), task("query", "maqet_qmp", query(vm)))
    raw = _round_trips(room, vm, count)
    found = room.play.run([*warm, *turn * room.count(7)])
    raw += _round_trips(room, vm, count)
    client = _through_client(room, vm, count)
    pings, batches = (seconds_of(found, name) for name in ("ping", "batch"))
    each = [1e3 * spent / count for spent in figures.above(batches, pings)]
    trip = 1e3 * statistics.median(raw)
    return [
        figures.made("qmp_batch_ms", each, commands=count, task_ms=figures.median_of(batches, 1e3), client_ms=client),
        figures.made("qmp_batch_vs_raw", [one / trip for one in each], raw_ms=figures.short(trip)),
    ]


def _through_client(room: Room, vm: str, count: int) -> float:
    """Milliseconds for one of that many queries that the runner gets at once from a client on this machine."""
    begun = time.perf_counter()
    through_runner(room.paths(vm).runner_socket, vm, Asked([{"execute": "query-status", "arguments": {}}] * count, 300))
    return figures.short(1e3 * (time.perf_counter() - begun) / count)


def _round_trips(room: Room, vm: str, count: int) -> list[float]:
    with contextlib.closing(Raw(room.paths(vm).direct_socket)) as raw:
        return [raw.round_trip(_QUERY) for _number in range(count)]
