# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes `ansible_collections.maqet.qemu` importable from this checkout, whatever folder it lies in."""

from __future__ import annotations

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_COLLECTIONS = _ROOT / ".dev" / "collections"


def _link_checkout() -> None:
    """The same link that `./dev` makes, for a pytest that was called without it."""
    link = _COLLECTIONS / "ansible_collections" / "maqet" / "qemu"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(_ROOT)


_link_checkout()
sys.path.insert(0, str(_COLLECTIONS))
