# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The room stands alone and is light: it travels in every payload and starts with every runner."""

from __future__ import annotations

import ast
import pathlib
import subprocess
import sys

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard import gate

FOLDER = pathlib.Path(gate.__file__).parent
FILES = sorted(FOLDER.glob("*.py"))
PROJECT = "ansible_collections.maqet.qemu.plugins.module_utils."
ROOM = ("errors", "guard")
HEAVY = {
    "asyncio",
    "yaml",
    "pathlib",
    "subprocess",
    "ansible",
    "logging",
    "tempfile",
    "ssl",
    "socket",  # but late and in journal.py: whoever writes a log has it loaded, to speak to QEMU
    "email",
    "random",
}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_it_imports_its_own_room_and_the_standard_library(file: pathlib.Path) -> None:
    names: list[str] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(str(node.module))
    own = [name for name in names if name.startswith("ansible_collections")]
    assert [name for name in own if not name[len(PROJECT) :].startswith(ROOM)] == []
    heavy = HEAVY - {"socket"} if file.name == "journal.py" else HEAVY
    assert heavy.isdisjoint(name.split(".")[0] for name in names if name not in own)


def test_nothing_heavy_comes_along() -> None:
    # gate.py stands 6 folders below the one that holds ansible_collections.
    root = FOLDER.parents[5]
    probe = (
        f"import sys; sys.path.insert(0, {str(root)!r})\n"
        f"before = set(sys.modules)\nimport {PROJECT}guard.gate\n"
        "print(' '.join(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", probe], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = done.stdout.split()
    assert f"{PROJECT}guard.gate" in loaded
    assert sorted(HEAVY.intersection(loaded)) == []
