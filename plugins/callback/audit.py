# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Gathers the audit records of a run on the controller, and watches that no host's chain was tampered with."""

from __future__ import annotations

DOCUMENTATION = r"""
name: audit
type: aggregate
short_description: Gather the audit records of a run in one file, and witness their chains
version_added: 0.1.0
author:
  - The maqet.qemu authors (@maqet)
description:
  - Takes the audit records out of the results of all tasks, on all hosts, also of loops, retries, C(async), failures
    and ignored errors, and appends them to one file on the controller, a JSON object a line.
  - Each line has C(host), C(play), C(task), C(user), C(controller), C(time) (of the controller), C(run), which the
    lines of one run have in common, C(log), which tells apart the logs of two users' VMs of one name, and
    the C(record) as it is in the host's log.
  - The controller is a witness of each chain. Where it was seen to end is kept in a second file, whose name ends with
    C(.witness.json), and the next records must go on from there. A record that was edited (C(changed)), that does
    not continue the one that was seen before it (C(fork)), that has the number of another one, or that came after one
    with a higher number (C(rewind)), and numbers that nobody here has seen (C(gap)), are told as warnings.
  - A gap is told at the end of the run. It is no proof of tampering, for somebody may have worked without this
    callback. The marks of runners that take over, and of full files, come by no task; one missing record in such a
    place is not told.
  - At the end of a run there is a line for each log, with the number of records, of denials and of problems.
requirements:
  - enable in configuration
notes:
  - A callback cannot fail a run. The playbook C(maqet.qemu.audit_report) can, with C(audit_report_strict).
  - Results of tasks with C(no_log) are hidden from callbacks. Their records stay on the host, and the summary counts
    the tasks.
  - Ad-hoc commands need C(bin_ansible_callbacks = true) under C([defaults]).
  - Two names of one host in the inventory are two hosts here, and each is told of gaps that the other one leaves.
options:
  path:
    description:
      - File that the records are appended to. It is made with the mode 0600, and so is its folder with 0700.
      - A relative path is relative to the folder of the configuration file, and in the environment to the folder that
        Ansible runs in.
    type: path
    default: ~/.ansible/maqet/audit.jsonl
    env:
      - name: MAQET_AUDIT_PATH
    ini:
      - section: callback_maqet_audit
        key: path
seealso:
  - module: maqet.qemu.maqet_audit_info
  - plugin: maqet.qemu.audit_report
    plugin_type: lookup
"""

EXAMPLES = r"""
ansible_cfg: |
  [defaults]
  callbacks_enabled = maqet.qemu.audit

  [callback_maqet_audit]
  path = /var/log/maqet-fleet/audit.jsonl
"""

import platform
import typing as t

from ansible.plugins.callback import CallbackBase
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_chain import Problem
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_run import Origin, Run
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_take import is_hidden, records_in
from ansible_collections.maqet.qemu.plugins.plugin_utils.controller import user

_OURS = "maqet.qemu."


class CallbackModule(CallbackBase):  # type: ignore[misc]  # ansible-core has no type stubs
    """Hands every result on to :class:`Run`, and shows what that says."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "maqet.qemu.audit"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._play = ""
        self._run: t.Optional[Run] = None

    def set_options(self, task_keys: t.Any = None, var_options: t.Any = None, direct: t.Any = None) -> None:
        """Read the options, and begin."""
        super().set_options(task_keys=task_keys, var_options=var_options, direct=direct)
        self._run = Run(str(self.get_option("path")))

    def v2_playbook_on_play_start(self, play: t.Any) -> None:
        """Remember which play it is."""
        self._play = str(play.get_name())

    def v2_runner_on_ok(self, result: t.Any) -> None:
        """A task is done; of a loop, all its items."""
        self._take(result)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        """A task has failed, which others may ignore."""
        self._take(result)

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        """A host is gone; of a loop, some items may have been done."""
        self._take(result)

    def v2_runner_item_on_ok(self, result: t.Any) -> None:
        """An item of a loop is done: not at the end alone, which an interrupted run never reaches."""
        self._take(result, part=True)

    def v2_runner_item_on_failed(self, result: t.Any) -> None:
        """An item of a loop has failed."""
        self._take(result, part=True)

    def v2_runner_retry(self, result: t.Any) -> None:
        """A task with ``until`` was not content; its last result alone comes as the task's."""
        self._take(result, part=True)

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        """The end of the run."""
        if self._run is None:
            return
        try:
            for problem in self._run.end():
                self._warn(problem)
        except OSError as error:
            self._unwritten(error)
        lines = self._run.summary()
        if lines:
            self._display.banner("AUDIT")
            for line in lines:
                self._display.display(line)
            self._display.display("")

    def _take(self, outcome: t.Any, part: bool = False) -> None:
        # Public names since ansible-core 2.19; 2.18 has them with an underscore only.
        host, task, fields, result = (
            getattr(outcome, name) if hasattr(outcome, name) else getattr(outcome, f"_{name}")
            for name in ("host", "task", "task_fields", "result")
        )
        if self._run is None:
            return
        name = str(fields.get("delegate_to") or host.get_name())
        if not part and str(task.action).startswith(_OURS) and is_hidden(result):
            self._run.hide(name)
        records = records_in(result)
        if not records:
            return
        title = str(fields.get("name") or task.get_name())
        origin = Origin(name, self._play, title, user(), platform.node())
        try:
            for problem in self._run.take(origin, records):
                self._warn(problem)
            if self._run.store.notice:
                self._display.warning(f"audit: {self._run.store.notice}")
                self._run.store.notice = None
        except OSError as error:
            self._unwritten(error)

    def _warn(self, problem: Problem) -> None:
        self._display.warning(f"audit: {problem.host}, VM {problem.vm}: {problem.kind}: {problem.text}")

    def _unwritten(self, error: OSError) -> None:
        path = self._run.store.path if self._run else ""
        self._display.warning(
            f"audit: {error.filename or path}: {error.strerror or error}. Records of this run are not written here; "
            "make the path writable, or name another one with MAQET_AUDIT_PATH."
        )
