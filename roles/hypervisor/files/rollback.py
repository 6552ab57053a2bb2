# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts files back and runs commands: ``python rollback.py DATA``, DATA being JSON in base64, that nothing expands.

``files``: path -> content, or null for a file that was not there. ``commands``: each is run, whatever the others did.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys

_data = json.loads(base64.b64decode(sys.argv[1]))
for _path, _content in _data["files"].items():
    if os.path.lexists(_path):
        os.unlink(_path)
    if _content is not None:
        _mode = 0o600 if _path.endswith(".nmconnection") else 0o644
        with open(os.open(_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _mode), "w", encoding="utf-8") as _file:
            _file.write(_content)
sys.exit(max([subprocess.call(command) for command in _data["commands"]], default=0))
