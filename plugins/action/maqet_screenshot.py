# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells the module who runs which task from where, and puts its picture on the controller if it is wanted there."""

from __future__ import annotations

from ansible_collections.maqet.qemu.plugins.plugin_utils.screenshot_action import ScreenshotAction as ActionModule

__all__ = ["ActionModule"]
