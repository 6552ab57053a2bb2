# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole table."""

from __future__ import annotations

from ansible_collections.maqet.qemu.tests.integration.local.attacks.proofs_files import FILES
from ansible_collections.maqet.qemu.tests.integration.local.attacks.proofs_powers import POWERS

PROOFS = FILES + POWERS
FURTHER = ()
ATTACKS = PROOFS + FURTHER
