# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What belongs to a VM on the host, and goes with it or stays."""

from __future__ import annotations

import contextlib
import glob
import os
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition
from ansible_collections.maqet.qemu.plugins.module_utils.host import files
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths


def images(paths: VmPaths, definition: t.Optional[Definition]) -> list[str]:
    """The images in the VM's own folder, also of disks that it no longer has; not a file that is only used."""
    used = {file.path for file in definition.files.values() if not file.owned} if definition else set()
    return [path for path in (os.path.join(paths.disks, name) for name in _names(paths.disks)) if path not in used]


def state(paths: VmPaths) -> list[str]:
    """What the guest keeps beside its disks."""
    return [path for path in (paths.nvram, paths.tpm) if os.path.lexists(path)]


def remains(paths: VmPaths, purge: bool) -> bool:
    """Whether :func:`forget` would find something: a task that removes a VM may be killed half-way."""
    if any(os.path.lexists(path) for path in _notes(paths)) or (purge and os.path.isdir(paths.output)):
        return True
    return any(os.path.isdir(folder) and not _names(folder) for folder in _folders(paths))


def forget(paths: VmPaths, purge: bool) -> None:
    """Remove logs and notes of a VM whose definition is gone; with ``purge`` what QEMU wrote at a caller's wish too."""
    for path in _notes(paths):
        files.remove(path)
    if purge:
        files.remove(paths.output)
    for folder in _folders(paths):
        with contextlib.suppress(OSError):  # not empty: what is in it is the user's
            os.rmdir(folder)


def _notes(paths: VmPaths) -> list[str]:
    """Ours alone: nobody misses them when the VM is gone."""
    logs = (paths.serial_log, paths.qemu_log, paths.runner_log, paths.migration_log)
    notes = (
        paths.last_exit,
        paths.last_start,
        paths.runner_env,
        paths.disks_log,
        paths.snapshots,
        paths.seed,
        paths.migration,
    )
    ours = [name for path in (*logs, *notes) for name in (path, f"{path}.1")]
    return [*ours, *sorted(glob.glob(paths.helper_logs))]


def _folders(paths: VmPaths) -> tuple[str, ...]:
    return (paths.output, paths.disks, paths.home)


def _names(folder: str) -> list[str]:
    """In order; none of a folder that is not there."""
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
