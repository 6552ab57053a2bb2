# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that all modules share."""

from __future__ import annotations


class ModuleDocFragment:
    """Attributes, and what every module needs on the host."""

    DOCUMENTATION = r"""
options:
  _context:
    description:
      - Who runs which task from where, for the audit. The collection's action plugin fills it in, over whatever it is
        given.
    type: dict
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff
      mode.
    support: full
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: linux
  action:
    description: Has an action plugin, which tells the audit who runs which task from where.
    support: full
  async:
    description: Supports being used with the C(async) keyword.
    support: full
requirements:
  - Python 3.9 or later on the managed host
"""
