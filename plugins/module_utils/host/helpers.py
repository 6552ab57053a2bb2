# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that serve one QEMU, such as the emulator of its TPM: which of them live, whoever started them.

Each has a log in the VM's home as its stderr, and with it a lock on the log. So the kernel says whether one lives, and
only then is it looked for. What has that very file as its stderr is beyond doubt: nobody but the runner can open it.
"""

from __future__ import annotations

import glob
import os
import signal
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.host import locks, processes
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths

# How long one may take to obey SIGTERM, in seconds.
_OBEYING = 5.0


def living(paths: VmPaths) -> dict[str, list[processes.Process]]:
    """The helpers of a VM that live, by their kind. More than one of a kind are one program's."""
    held = {}
    for path in glob.glob(paths.helper_logs):
        if not path.endswith(".1") and locks.is_held(path):
            held[_kind(path)] = os.stat(path, follow_symlinks=False)
    found: dict[str, list[processes.Process]] = {}
    for process, stderr in _stderrs() if held else ():
        for kind, log in held.items():
            if os.path.samestat(stderr, log):
                found.setdefault(kind, []).append(process)
    return found


def end(process: processes.Process) -> None:
    """Have one end that nobody needs any more."""
    process.kill(signal.SIGTERM)
    if not process.wait_gone(_OBEYING):
        process.kill()
        process.wait_gone(_OBEYING)


def _kind(path: str) -> str:
    return os.path.basename(path)[len("helper-") : -len(".log")]


def _stderrs() -> t.Iterator[tuple[processes.Process, os.stat_result]]:
    """Every process whose stderr we may look at, and that file."""
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        process = processes.of_pid(int(entry))
        try:
            stderr = os.stat(f"/proc/{entry}/fd/2")
        except OSError:
            continue
        if process is not None and process.alive():  # it was the same one while we looked
            yield process, stderr
