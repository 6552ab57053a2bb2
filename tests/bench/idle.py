# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runners whose VMs nobody asks anything: what each costs."""

from __future__ import annotations

import contextlib
import os
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import of_pid, wait_readable
from ansible_collections.maqet.qemu.tests.bench import figures, proc
from ansible_collections.maqet.qemu.tests.bench.figures import Figure
from ansible_collections.maqet.qemu.tests.bench.room import Room

KEYS: t.Final = ("runner_pss_mb", "runner_idle_wakeups")


def measure(room: Room) -> list[Figure]:
    """50 VMs at once, paused. The runs of a figure are its runners: the median of their memory, the most wake-ups."""
    names = room.names(room.count(50, 2))
    with room.vms(names) as vms:
        pids = [vm["runner_pid"] for vm in vms]
        memory = [proc.pss_mb(pid) for pid in pids]
        wakeups = _wakeups(pids, room.count(10, 1))
        qemus = proc.total_pss_mb(vm["qemu_pid"] for vm in vms)
    return [
        figures.made("runner_pss_mb", memory, vms=len(names), qemu_mb=figures.short(qemus / len(names))),
        figures.valued("runner_idle_wakeups", wakeups, max(wakeups), all_runners=sum(wakeups)),
    ]


def _wakeups(pids: t.Sequence[int], seconds: float) -> list[int]:
    """Voluntary context switches of each process in a window of time, which is what is measured. None may end in it."""
    before = [proc.voluntary_switches(pid) for pid in pids]
    with contextlib.ExitStack() as stack:
        fds = []
        for process in map(of_pid, pids):
            fd = None if process is None else process.open()
            if fd is None:
                raise RuntimeError("a runner has ended by itself")
            fds.append(fd)
            stack.callback(os.close, fd)
        if wait_readable(fds, seconds):
            raise RuntimeError("a runner has ended by itself")
    return [proc.voluntary_switches(pid) - count for pid, count in zip(pids, before, strict=True)]
