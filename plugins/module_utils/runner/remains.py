# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a QEMU leaves on the host: notes of its start and end for people, and files that must go."""

from __future__ import annotations

import contextlib
import logging
import os
import time
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.host import files, links, locks, processes
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.qmp import exits
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.ending import Ending
from ansible_collections.maqet.qemu.plugins.module_utils.runner.restarts import Decision

log = logging.getLogger("maqet.remains")


def missed(paths: VmPaths) -> None:
    """Note the end of a QEMU that ended while there was no runner; before the next one's start replaces its traces."""
    missing = exits.unexplained(paths)
    with contextlib.suppress(OSError):  # a note for people
        if missing is not None:
            files.write_json(paths.last_exit, {**missing, "time": time.time()})


def begun(paths: VmPaths, qemu: t.Mapping[str, t.Any]) -> None:
    """Note that a QEMU was started, so that its end will be missed."""
    note = {"boot_id": processes.boot_id(), "time": time.time(), "pid": qemu["pid"], "start": qemu["start"]}
    with contextlib.suppress(OSError):
        files.write_json(paths.last_start, note)


def ended(
    paths: VmPaths, end: Ending, qemu: t.Optional[t.Mapping[str, t.Any]], uptime: float, decision: Decision
) -> None:
    """Note why it ended, for maqet_vm_info. A host that cannot be written to loses the note, and nothing else."""
    note: dict[str, t.Any] = {**end.as_dict(), "time": time.time(), "uptime": round(uptime, 1)}
    note["restarts"] = decision.count
    if decision.gave_up:
        note["gave_up"] = True
    if qemu:
        note["qemu"] = {key: qemu.get(key) for key in ("pid", "start", "version")}
    try:
        files.write_json(paths.last_exit, note)
    except OSError as error:
        log.warning("why it ended is not kept: %s", error)
    _close(paths)


def sweep(paths: VmPaths) -> None:
    """Leave nothing in the run folder but the lock of a task that waits for that."""
    _close(paths)
    for path in (paths.status, paths.events, paths.order):
        files.remove(path)
    locks.discard(paths.lock)


def _close(paths: VmPaths) -> None:
    ports = (paths.agent_socket, paths.serial_socket)
    for path in (paths.runner_socket, paths.monitor_socket, paths.direct_socket, *ports):
        files.remove(path)
    for folder in (os.path.dirname(paths.vnc_socket), paths.cables):
        files.remove(folder)
    links.forget(paths.name)
