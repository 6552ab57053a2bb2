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
    try:
        found = sorted(os.path.join(paths.disks, name) for name in os.listdir(paths.disks))
    except FileNotFoundError:
        return []
    return [path for path in found if path not in used]


def state(paths: VmPaths) -> list[str]:
    """What the guest keeps beside its disks."""
    return [path for path in (paths.nvram, paths.tpm) if os.path.lexists(path)]


def forget(paths: VmPaths, purge: bool) -> None:
    """Remove logs and notes of a VM whose definition is gone; with ``purge`` what QEMU wrote at a caller's wish too."""
    notes = (paths.last_exit, paths.last_start, paths.runner_env, paths.disks_log, paths.snapshots, paths.seed)
    for path in (paths.serial_log, paths.qemu_log, paths.runner_log, *notes):
        for name in (path, f"{path}.1"):
            files.remove(name)
    for name in glob.glob(paths.helper_logs):
        files.remove(name)
    if purge:
        files.remove(paths.output)
    for folder in (paths.output, paths.disks, paths.home):
        with contextlib.suppress(OSError):  # not empty: what is in it is the user's
            os.rmdir(folder)
