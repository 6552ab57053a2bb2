# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""QEMU's own no: what a monitor answers to a command that it does not carry out (QEMU, qmp-spec, "Error")."""

from __future__ import annotations

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError


class QmpError(Exception):
    """A refusal: its error class and text."""

    def __init__(self, error_class: str, desc: str) -> None:
        super().__init__(desc)
        self.error_class = error_class
        self.desc = desc

    def of(self, command: str) -> MaqetError:
        """The refusal of ``command`` as a task reports it, the same from a runner and from a monitor."""
        return MaqetError(
            f"QEMU refused {command}: {self.error_class}: {self.desc}",
            "qmp_error",
            command=command,
            qmp_class=self.error_class,
            qmp_desc=self.desc,
        )
