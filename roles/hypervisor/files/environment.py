# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says of a virtual environment whether it is the one that this Python would make: ``absent``, ``fits`` or ``stale``.

``python environment.py FOLDER registry|wheels|distribution``. Stale is one of another version of Python, whose
libraries the new one does not see, and one that sees the system's packages where it should not, or the other way round.
"""

from __future__ import annotations

import os
import sys


def settings(folder: str) -> dict[str, str]:
    """What ``pyvenv.cfg`` says; nothing if there is none (venv, "How venvs work")."""
    try:
        with open(os.path.join(folder, "pyvenv.cfg"), encoding="utf-8") as file:
            lines = [line.partition("=") for line in file]
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return {key.strip(): value.strip() for key, _equals, value in lines}


def judge(found: dict[str, str], version: tuple[int, ...], source: str, runs: bool) -> str:
    """The word for an environment with these settings; ``runs``: whether its interpreter is there."""
    if not found:
        return "absent"
    same = found.get("version", "").split(".")[:2] == [str(part) for part in version[:2]]
    sees = found.get("include-system-site-packages") == "true"
    return "fits" if same and runs and sees == (source == "distribution") else "stale"


if __name__ == "__main__":
    _folder, _source = sys.argv[1:]
    _runs = os.access(os.path.join(_folder, "bin", "python"), os.X_OK)
    sys.stdout.write(judge(settings(_folder), tuple(sys.version_info), _source, _runs))
