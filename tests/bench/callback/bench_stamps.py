# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback that writes when each task began and ended to the descriptor ``$MAQET_BENCH_FD``, a line of JSON each.

Times are of the monotonic clock, which all processes of a machine share. A task begins when Ansible says so to its
callbacks and ends when its result is in their hands: between two tasks there is next to nothing.
"""

from __future__ import annotations

import json
import os
import time
import typing as t

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: bench_stamps
type: aggregate
short_description: times of tasks as JSON lines for the bench
description: Writes name, begin, end, status and the short part of the result to the descriptor MAQET_BENCH_FD.
author: The maqet.qemu authors
"""

# What is long, and what no figure is made of.
_LONG = ("audit", "decisions", "diff", "invocation", "responses", "results")


class CallbackModule(CallbackBase):  # type: ignore[misc]  # ansible-core has no type stubs
    """One line a task. A loop is one task, whose line says when each of its items ended."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "bench_stamps"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._fd = int(os.environ["MAQET_BENCH_FD"])
        self._begun = 0.0
        self._items: list[float] = []

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        self._begun, self._items = time.monotonic(), []

    def v2_runner_item_on_ok(self, result: t.Any) -> None:
        self._items.append(time.monotonic())

    def v2_runner_on_ok(self, result: t.Any) -> None:
        self._told("ok", result, time.monotonic())

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        self._told("failed", result, time.monotonic())

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        self._told("unreachable", result, time.monotonic())

    def _told(self, status: str, outcome: t.Any, ended: float) -> None:
        # Public names since ansible-core 2.19; 2.18 has them with an underscore only.
        task, result = (
            getattr(outcome, name) if hasattr(outcome, name) else getattr(outcome, f"_{name}")
            for name in ("task", "result")
        )
        kept = result if status != "ok" else {key: value for key, value in result.items() if key not in _LONG}
        line = {"name": task.get_name(), "begun": self._begun, "ended": ended, "status": status, "result": kept}
        line["items"] = self._items
        with os.fdopen(os.dup(self._fd), "wb") as pipe:
            pipe.write(json.dumps(line, default=str).encode() + b"\n")
