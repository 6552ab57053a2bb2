# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The room keeps its promises: nothing from outside, nothing heavy, no effects."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOM = Path(__file__).parents[3] / "plugins" / "module_utils" / "definition"
FILES = sorted(ROOM.glob("*.py"))
PROJECT = "ansible_collections.maqet.qemu.plugins.module_utils."
# What computes and nothing else; hashlib is for addresses of cards and for what must not be shown.
PURE = {"__future__", "dataclasses", "difflib", "hashlib", "ipaddress", "json", "math", "re", "typing"}


def imported(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module
            names.add(node.module)
    return names


def test_the_room_is_not_empty() -> None:
    assert {"intent.py", "render.py"} <= {file.name for file in FILES}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_imports(file: Path) -> None:
    for name in imported(ast.parse(file.read_text(encoding="utf-8"))):
        own = name.startswith(PROJECT) and name[len(PROJECT) :].split(".")[0] in ("definition", "errors")
        assert own or name in PURE, f"{file.name} imports {name}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_effects(file: Path) -> None:
    called = {
        node.func.id
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not called & {"open", "print", "input", "exec", "eval", "__import__"}
