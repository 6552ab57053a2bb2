# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the test guest: ``python3 tests/guest/build.py --output DIR`` (see README.md)."""

from __future__ import annotations

import sys

from maqet_guest.main import main

if __name__ == "__main__":
    sys.exit(main())
