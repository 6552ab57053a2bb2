# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices and their properties: the part of device_add that QEMU's schema does not tell."""

from __future__ import annotations


def kind_of_property(driver: object, name: object) -> str | None:
    """The kind of a property; None if nobody has classified it."""
    return None


def denied_driver(driver: object) -> bool:
    """Whether a driver reaches the host by itself, whatever its properties."""
    return True
