# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception of the builder."""

from __future__ import annotations


class GuestError(Exception):
    """The guest cannot be built; the text says why and what to do about it, in one line."""
