# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting and stopping one VM, each as a task between two pings."""

from __future__ import annotations

import os
import statistics
import threading
import time
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import of_pid, wait_readable
from ansible_collections.maqet.qemu.tests.bench import figures
from ansible_collections.maqet.qemu.tests.bench.figures import Figure
from ansible_collections.maqet.qemu.tests.bench.playbooks import WARM, Object, PlayError, Timed, ping, seconds_of, task
from ansible_collections.maqet.qemu.tests.bench.room import END, VM, Room, gone

KEYS: t.Final = ("start_one_task_vs_ping", "start_defined_vs_ping", "stop_lag_ms")
# A stop that takes longer is none, in seconds.
_STOP: t.Final = 60.0


class Watch:
    """Tells when processes ended, by a clock that the playbook's callback has too."""

    def __init__(self) -> None:
        self.ends: list[float | None] = []
        self._threads: list[threading.Thread] = []

    def add(self, pid: int) -> None:
        """Watch a process that lives; RuntimeError if it does not."""
        process = of_pid(pid)
        fd = None if process is None else process.open()
        if fd is None:
            raise RuntimeError(f"QEMU {pid} had ended before it was to be stopped")
        self.ends.append(None)
        self._threads.append(threading.Thread(target=self._wait, args=(len(self.ends) - 1, fd)))
        self._threads[-1].start()

    def _wait(self, index: int, fd: int) -> None:
        try:
            if wait_readable([fd], _STOP):
                self.ends[index] = time.monotonic()
        finally:
            os.close(fd)

    def all(self) -> list[float]:
        """The ends of all that were added, in their order."""
        for thread in self._threads:
            thread.join()
        if None in self.ends:
            raise PlayError("a QEMU has not ended though its task had")
        return [end for end in self.ends if end is not None]


def measure(room: Room) -> list[Figure]:
    """One playbook: ping, a new VM that is to run, stop; ping, the same VM started again, stop; and so on.

    ``stop_lag_ms``: from the end of QEMU's process until the callback has the task's result, less what a ping takes
    from its last statement on (``library/bench_stamp.py``).
    """
    rounds = room.count(11)
    names, watch = room.names(rounds + 1, "one"), Watch()
    tasks = room.warm(ping(), *_life(names[0]))
    for name in names[1:]:
        tasks += _life(name)
    tasks.append(task(WARM, "maqet_vms", gone(names)))

    def told(one: Timed) -> None:
        if one.name in ("new", "defined"):
            watch.add(one.result["vm"]["qemu_pid"])

    found = room.play.run(tasks, told)
    return [
        _above("start_one_task_vs_ping", found, "new"),
        _above("start_defined_vs_ping", found, "defined"),
        _lag(found, watch.all()),
    ]


def _life(name: str) -> list[Object]:
    vm, parts = {"name": name, **VM}, []
    for start in ("new", "defined"):
        parts += [
            ping(f"before {start}"),
            task(start, "maqet_vm", {**vm, "state": "running"}),
            task("stamp", "bench_stamp"),
            task("stop", "maqet_vm", {"name": name, "state": "stopped", **END}),
        ]
    return parts


def _above(key: str, found: t.Sequence[Timed], name: str) -> Figure:
    pings, starts = seconds_of(found, f"before {name}"), seconds_of(found, name)
    detail = {"ping_s": figures.median_of(pings), "task_s": figures.median_of(starts)}
    return figures.made(key, figures.above(starts, pings), **detail)


def _lag(found: t.Sequence[Timed], ends: t.Sequence[float]) -> Figure:
    lags, tail = above_tail(found, ends)
    detail = {"ping_tail_ms": figures.short(1e3 * tail), "stop_s": figures.median_of(seconds_of(found, "stop"))}
    return figures.made("stop_lag_ms", lags, **detail)


def above_tail(found: t.Sequence[Timed], ends: t.Sequence[float]) -> tuple[list[float], float]:
    """Of each stop the ms from its QEMU's end to its own, above a ping's tail; and that tail in seconds. Pure."""
    tail = statistics.median(one.ended - one.result["stamp"] for one in found if one.name == "stamp")
    stops = [one.ended for one in found if one.name == "stop"]
    return [1e3 * (ended - end - tail) for ended, end in zip(stops, ends, strict=True)], tail
