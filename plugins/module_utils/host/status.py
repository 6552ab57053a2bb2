# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a runner wrote down of itself and its QEMU, for those who come later: tasks, and the next runner."""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import files, processes
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths


def of_this_boot(paths: VmPaths) -> dict[str, t.Any]:
    """The status of a VM; {} if there is none, or it is of an earlier boot, or it makes no sense."""
    facts = read_object(paths.status)
    if facts.get("boot_id") != processes.boot_id():
        return {}
    return facts if all(isinstance(facts.get(key, {}), dict) for key in ("qemu", "runner")) else {}


def read_object(path: str) -> dict[str, t.Any]:
    """The JSON object in a file; {} if there is no file, or something else in it."""
    try:
        found = files.read_json(path)
    except MaqetError:
        return {}
    return found if isinstance(found, dict) else {}
