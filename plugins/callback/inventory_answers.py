# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes down what each host has answered, for the inventory plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
name: inventory_answers
type: stdout
short_description: Answers of hypervisor hosts, for the inventory plugin
version_added: 0.1.0
author:
  - The maqet.qemu authors (@maqet)
description:
  - P(maqet.qemu.maqet#inventory) reads hypervisor hosts by a playbook of its own, and this is how it gets their
    answers. It is of no use to anybody else.
  - Each result is a line of JSON in a file, written as soon as it has come. Nothing is printed.
options:
  answers:
    description:
      - The file, which must be there.
    type: path
    required: true
    env:
      - name: MAQET_INVENTORY_ANSWERS
"""

import json
import typing as t

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):  # type: ignore[misc]  # ansible-core has no type stubs
    """A line for each host: its name, what became of the task, and the result."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "maqet.qemu.inventory_answers"

    def v2_runner_on_ok(self, result: t.Any) -> None:
        """The host has answered."""
        self._note("ok", result)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        """The module could not be run there, or says itself that it has failed."""
        self._note("failed", result)

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        """There was no way to the host."""
        self._note("unreachable", result)

    def _note(self, status: str, outcome: t.Any) -> None:
        # Public names since ansible-core 2.19; 2.18 has them with an underscore only.
        host, result = (
            getattr(outcome, name) if hasattr(outcome, name) else getattr(outcome, f"_{name}")
            for name in ("host", "result")
        )
        line = json.dumps({"host": host.get_name(), "status": status, "result": result}, default=str)
        with open(self.get_option("answers"), "a", encoding="utf-8") as file:
            file.write(line + "\n")
