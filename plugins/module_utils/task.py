# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only door between our rooms and Ansible. Short, for what it imports second is quick: see ``code_cache``."""

from __future__ import annotations

from ansible_collections.maqet.qemu.plugins.module_utils import code_cache  # noqa: F401  # pylint: disable=unused-import
from ansible_collections.maqet.qemu.plugins.module_utils.boundary import CONTEXT, HIDDEN, Task, run, typed

__all__ = ["CONTEXT", "HIDDEN", "Task", "run", "typed"]
