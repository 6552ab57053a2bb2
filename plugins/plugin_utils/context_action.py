# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells our modules who runs which task from where, for the audit; everything else is Ansible's own way.

Each module has a file of its name in ``plugins/action`` that names this class. A redirect of one to another would
be shorter, but then ``module_defaults`` of the one would reach the other.
"""

from __future__ import annotations

import platform
import typing as t

from ansible.plugins.action.normal import ActionModule as NormalAction
from ansible_collections.maqet.qemu.plugins.module_utils.task import CONTEXT
from ansible_collections.maqet.qemu.plugins.plugin_utils.controller import user

# Options that hold whatever the user wants to tell QEMU or the audit: passwords too.
_FREE = ("arguments", "commands", "reason", "text")


class ContextAction(NormalAction):  # type: ignore[misc]
    """The normal action plugin, with one hidden argument added."""

    def run(self, tmp: t.Any = None, task_vars: t.Optional[dict[str, t.Any]] = None) -> dict[str, t.Any]:
        """Add the context and run the module. A NUL, which newer Ansibles trip over themselves, is refused in words."""
        self._task._ds = _unquoted(getattr(self._task, "_ds", None))
        for option, value in self._task.args.items():
            if isinstance(value, str) and "\0" in value:
                code = "invalid_command" if option == "command" else "invalid_option"
                shown = "" if option in _FREE else f"{value!r} "
                text = f"{option}: {shown}holds a NUL. Leave it out: no name and no path can have one."
                return {"failed": True, "changed": False, "msg": text, "error_code": code, "audit": []}
        self._task.args = {**self._task.args, CONTEXT: self._context(task_vars or {})}
        return dict(super().run(tmp, task_vars))

    def _context(self, task_vars: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        return {
            "host": platform.node(),
            "user": user(),
            "task": self._task.get_name(),
            "play": str(task_vars.get("ansible_play_name", "")),
            "target": str(task_vars.get("inventory_hostname", "")),
        }


def _unquoted(source: t.Any) -> t.Any:
    """What a failed task is to be shown as: where it stands, without the text that stands there.

    From 2.19 on Ansible quotes the source of a task that fails (of an ad-hoc one: its options), at any
    verbosity, and has no public way for a plugin to say that it holds passwords.
    """
    try:
        from ansible._internal._datatag._tags import Origin
    except ImportError:  # 2.18 quotes nothing
        return source
    origin = source if isinstance(source, Origin) else Origin.get_tag(source)
    if origin is None:
        return None
    if origin.path:
        # Without a line number the file is not opened.
        return Origin(path=f"{origin.path}:{origin.line_num}" if origin.line_num else origin.path)
    return Origin(description=origin.description)
