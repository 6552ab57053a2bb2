# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds a kernel and an initramfs for tests. Standard library only; imports inside are relative, since it also runs
outside of any collection, with the system's plain ``python3``."""
