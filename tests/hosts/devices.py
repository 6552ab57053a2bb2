# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this machine's /dev has for tests."""

from __future__ import annotations

from pathlib import Path

import pytest


def needs_macvtap_nodes() -> None:
    """Skip where the kernel does not make the nodes of macvtaps, as in most containers."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text("utf-8").splitlines()]
    if not any(place == "/dev" and kind == "devtmpfs" for _what, place, kind, *_options in mounts):
        pytest.skip("/dev is no devtmpfs, so macvtaps have no nodes there")
