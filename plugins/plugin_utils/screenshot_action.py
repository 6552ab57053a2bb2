# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of ``maqet_screenshot`` that runs on the controller: put the picture where ``dest`` says.

The module returns the picture itself, so it comes by whatever way and as whatever user the task runs, and is the very
one that was taken. A file fetched by name could be another by then.
"""

from __future__ import annotations

import base64
import os
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.host.files import write_atomic
from ansible_collections.maqet.qemu.plugins.plugin_utils.context_action import ContextAction


class ScreenshotAction(ContextAction):
    """The module, and then its picture as a file here."""

    def run(self, tmp: t.Any = None, task_vars: t.Optional[dict[str, t.Any]] = None) -> dict[str, t.Any]:
        """Run the module and take the picture out of its result."""
        given = self._task.args.get("dest")
        if given is not None and self._task.async_val:
            return _failed(f"dest: {given!r} needs a task that waits. Leave async out, or dest.", "invalid_option")
        result = super().run(tmp, task_vars)
        content = result.pop("content", None)
        if given is None or result.get("failed"):
            return result
        dest = self._destination(str(given))
        if content is not None:
            try:
                os.makedirs(os.path.dirname(dest), exist_ok=True)
                write_atomic(dest, base64.b64decode(content))
            except OSError as error:
                text = f"dest: {given!r} cannot be written: {error.filename}: {error.strerror}. Name another file here."
                return {**result, **_failed(text, "invalid_option"), "changed": True}
        return {**result, "dest": dest}

    def _destination(self, given: str) -> str:
        path = str(self._loader.path_dwim(given))
        if given.endswith("/") or os.path.isdir(path):
            path = os.path.join(path, f"{self._task.args['vm']}.png")
        return os.path.abspath(path)


def _failed(text: str, code: str) -> dict[str, t.Any]:
    return {"failed": True, "changed": False, "msg": text, "error_code": code}
