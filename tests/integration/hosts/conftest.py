# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the tests that need whole hosts."""

from __future__ import annotations

from ansible_collections.maqet.qemu.tests.hosts.plugin import host_run, nspawn_host

__all__ = ["host_run", "nspawn_host"]
