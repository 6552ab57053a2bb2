# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose VM a name means: a plain user's own, or one of the system's that runs and may talk to that user."""

from __future__ import annotations

import os

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import SYSTEM, Layout, VmPaths


def of_system(where: Layout, name: str, system: Layout = SYSTEM) -> VmPaths | None:
    """The system's VM of this name, if a plain user who has none of that name can mean no other; else None.

    Only its runner's socket is looked for: a plain user sees nothing else of it.
    """
    if where.scope == "system" or os.path.exists(where.vm(name).definition):
        return None
    paths = system.vm(name)
    return paths if os.path.exists(paths.runner_socket) else None


def refuse_direct(name: str) -> MaqetError:
    """``mode: direct`` needs the monitor's own socket, which is closed to all but root."""
    return invalid_option(
        "mode",
        "direct",
        f"is not for {name}, a VM of the system",
        "Leave mode out: its runner asks the host's policy what this user may do. Or use become",
    )


def out_of_reach(name: str, error: MaqetError) -> MaqetError:
    """A runner of the system that does not answer a plain user, who can do nothing about it."""
    return MaqetError(
        f"The runner of {name}, a VM of the system, cannot be reached by this user. Use become to see why, or have "
        f"its administrator look after it. ({error})",
        error.error_code,
    )
