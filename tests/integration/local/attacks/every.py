# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole table."""

from __future__ import annotations

from ansible_collections.maqet.qemu.tests.integration.local.attacks import (
    further_blocks,
    further_devices,
    further_files,
    further_found,
    further_headers,
    further_nets,
    further_nodes,
    further_objects,
)
from ansible_collections.maqet.qemu.tests.integration.local.attacks.proofs_files import FILES
from ansible_collections.maqet.qemu.tests.integration.local.attacks.proofs_powers import POWERS

PROOFS = FILES + POWERS
FURTHER = (
    *(further_files.SPELLINGS + further_files.CHARDEVS),
    *(further_nets.NETDEVS + further_nets.SERVERS + further_nets.MIGRATION),
    *(further_headers.HEADERS + further_nodes.NODES),
    *(further_blocks.FILENAMES + further_blocks.STORED + further_blocks.EXPORTS),
    *(further_objects.OBJECTS + further_devices.DEVICES + further_devices.QOM),
    *(further_devices.TRACING + further_devices.RUNNER + further_found.FOUND),
)
ATTACKS = PROOFS + FURTHER
