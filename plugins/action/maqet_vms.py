# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells the module who runs which task from where, and shows how far it is if that is wanted."""

from __future__ import annotations

from ansible_collections.maqet.qemu.plugins.plugin_utils.vms_action import VmsAction as ActionModule

__all__ = ["ActionModule"]
