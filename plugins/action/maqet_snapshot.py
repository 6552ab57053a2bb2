# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells the module who runs which task from where."""

from __future__ import annotations

from ansible_collections.maqet.qemu.plugins.plugin_utils.context_action import ContextAction as ActionModule

__all__ = ["ActionModule"]
