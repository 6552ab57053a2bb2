# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drives a migration between two hosts."""

from __future__ import annotations

from ansible_collections.maqet.qemu.plugins.plugin_utils.migrate_action import MigrateAction as ActionModule

__all__ = ["ActionModule"]
