# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether there is room for an image before it is written: a full disk hurts every VM on it."""

from __future__ import annotations

import os

from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option


def check_one(option: str, needed: int, folder: str) -> None:
    """``invalid_option`` if ``needed`` bytes do not fit into the file system of ``folder``, which may not exist yet."""
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    about = os.statvfs(folder)
    free = about.f_bavail * about.f_frsize
    if needed > free:
        raise invalid_option(
            option,
            needed,
            f"bytes ({_words(needed)}) are needed in {folder}, where {_words(free)} are free",
            "Make room there, or ask for less",
        )


def _words(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.1f} {unit}" if unit != "bytes" else f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
