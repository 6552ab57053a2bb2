# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is at the controller."""

from __future__ import annotations

import getpass


def user() -> str:
    """The name of the user who runs Ansible; empty if there is none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a uid without a name, as in some containers
        return ""
