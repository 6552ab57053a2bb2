# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that emulates a TPM."""

from __future__ import annotations

from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.host import qemu


def find_swtpm() -> str:
    """The path of ``swtpm``; ``invalid_option`` where it is not installed."""
    found = qemu.find_program("swtpm")
    if found is None:
        raise invalid_option(
            "tpm", True, "needs swtpm, which is not installed on this host", "Install the package swtpm."
        )
    return found
