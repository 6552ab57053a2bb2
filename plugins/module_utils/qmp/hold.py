# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What callers may not do to a QEMU whose guest moves to another host, or has moved: all but looking."""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import Layer
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy_schema import ALL_CLASSES
from ansible_collections.maqet.qemu.plugins.module_utils.host import migration
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths

_HELD = Layer("migration", consent=False, classes={klass: "deny" for klass in ALL_CLASSES if klass != "read"})


def layer(paths: VmPaths) -> t.Optional[Layer]:
    """What the VM's mark takes away at this moment; a damaged one takes away the same."""
    try:
        mark = migration.read(paths)
    except (MaqetError, OSError):
        return _HELD
    return _HELD if mark is not None and mark.held else None
