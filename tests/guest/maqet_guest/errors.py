# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exceptions of the builder."""

from __future__ import annotations


class GuestError(Exception):
    """The guest cannot be built; the text says why and what to do about it, in one line."""


class Unavailable(GuestError):
    """This system's sources have nothing of the kind, which is no fault: a test may skip."""
