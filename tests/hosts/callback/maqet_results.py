# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback that writes each task's result as a line of JSON to ``$MAQET_TEST_RESULTS``, for tests to read.

The json callback has left ansible-core, and what is printed for people changes from release to release.

It also puts ``$MAQET_TEST_PAYLOADS`` in the place where Ansible keeps the archives that it has made of modules. That is
a new folder for each run otherwise, and to make them anew costs more than all else that a run of one task does.
"""

from __future__ import annotations

import json
import os
import typing as t

from ansible import constants
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: maqet_results
type: aggregate
short_description: task results as JSON lines for tests
description: Writes host, task, status and result to the file that MAQET_TEST_RESULTS names.
author: The maqet.qemu authors
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]  # ansible-core has no type stubs
    """One line per host and task; loop items are in the task's own ``results``."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "maqet_results"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        own = os.path.join(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache")  # not there before the first task
        os.symlink(os.environ["MAQET_TEST_PAYLOADS"], own)

    def _record(self, status: str, outcome: t.Any) -> None:
        # Public names since ansible-core 2.19; 2.18 has them with an underscore only.
        host, task, result = (
            getattr(outcome, name) if hasattr(outcome, name) else getattr(outcome, f"_{name}")
            for name in ("host", "task", "result")
        )
        line = {"host": host.get_name(), "task": task.get_name(), "status": status, "result": result}
        with open(os.environ["MAQET_TEST_RESULTS"], "a", encoding="utf-8") as file:
            file.write(json.dumps(line, default=str) + "\n")

    def v2_runner_on_ok(self, result: t.Any) -> None:
        self._record("ok", result)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        self._record("ignored" if ignore_errors else "failed", result)

    def v2_runner_on_skipped(self, result: t.Any) -> None:
        self._record("skipped", result)

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        self._record("unreachable", result)
