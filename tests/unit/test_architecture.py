# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The import arrows between the rooms of `plugins/`, and what may travel to a host with `maqet_qmp`.

Source: read with `ast`, at every depth, also inside functions and under `TYPE_CHECKING`, for Ansible ships whatever
a static scan finds.
"""

from __future__ import annotations

import ast
import typing as t
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
PROJECT = "ansible_collections.maqet.qemu"
UTILS = f"{PROJECT}.plugins.module_utils"

# Which parts of module_utils each of its rooms may import, besides `errors`. A part is a room or a module of one.
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "code_cache": {"host.files"},
    "definition": {"definition"},
    "guard": {"guard"},
    "host": {"host"},
    "qmp": {"qmp", "host", "guard"},
    "runner": {"runner", "guard", "qmp", "host", "definition", "code_cache"},
    "vm": {"vm", "definition", "host", "qmp", "guard", "runner.bundle", "runner.launch", "runner.premises"},
    "boundary": {"guard"},
    "task": {"code_cache", "boundary"},
}
# The same for the kinds of plugins outside module_utils.
PLUGIN_ARROWS: dict[str, set[str]] = {
    "modules": {"task", "vm", "qmp", "guard", "definition", "host"},
    "action": {"task"},
    "callback": {"guard"},
    "filter": {"guard", "host"},
    "doc_fragments": set(),
    "inventory": {"host"},
    "lookup": {"guard"},
    "plugin_utils": {"task", "guard", "host", "qmp", "definition", "vm.outcomes"},
}
# What the payload of maqet_qmp must not hold.
FAST_PATH = f"{PROJECT}.plugins.modules.maqet_qmp"
TOO_HEAVY = (f"{UTILS}.runner", "asyncio", "qemu")


class Import(t.NamedTuple):
    """One imported name, dotted and absolute; `*` at the end stands for what cannot be known from the source."""

    name: str
    line: int


Sources = t.Mapping[str, str]  # dotted module name -> source; a package's __init__.py goes by the package's name


def within(name: str, part: str) -> bool:
    """Whether a dotted name is `part` or lies inside it."""
    return name == part or name.startswith(f"{part}.")


def imports(module: str, source: str, known: t.Container[str], packages: t.Container[str] = ()) -> t.Iterator[Import]:
    """Every import in a source. `from a import b` is a.b if that is a module known here, else a."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = node.level - 1 if module in packages else node.level
                base = ".".join([*module.split(".")[: len(module.split(".")) - up], *([base] if base else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield Import(inner if inner in known else base, node.lineno)
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in ("__import__", "import_module", "importlib.import_module"):
                first = node.args[0] if node.args else None
                name = first.value if isinstance(first, ast.Constant) else None
                yield Import(name if isinstance(name, str) else "*", node.lineno)


def wrong_import(module: str, imported: str) -> str | None:
    """What is wrong with this module importing that name; None if nothing is."""
    in_utils = within(module, UTILS)
    if in_utils:
        room = module[len(UTILS) + 1 :].split(".")[0]
        allowed = ARROWS.get(room)
    else:
        room = module[len(f"{PROJECT}.plugins.") :].split(".")[0]
        allowed = PLUGIN_ARROWS.get(room)
    if allowed is None:
        return f"no arrow is known for {room}: add it to {Path(__file__).name}"
    if imported == "*":
        return "imports something that only a run can tell"
    if within(imported, "ansible"):
        return (
            "only boundary.py and the plugins outside module_utils import ansible"
            if in_utils and room != "boundary"
            else None
        )
    if not within(imported, "ansible_collections"):
        return None
    if within(imported, UTILS):
        part = imported[len(UTILS) + 1 :]
        everyones = set() if room == "errors" else {"errors"}
        if any(within(part, to) for to in allowed | everyones):
            return None
    elif not in_utils and any(within(imported, f"{PROJECT}.plugins.{kind}") for kind in ("plugin_utils", room)):
        return None
    return f"{room} imports from " + (", ".join(sorted({*allowed, "errors"})) if room != "errors" else "nothing")


def violations(sources: Sources, packages: t.Container[str] = ()) -> list[str]:
    """Every import against the arrows, as `module:line: imports name: why`."""
    found = []
    for module, source in sorted(sources.items()):
        # Read even where there is no import, so that a room without arrows is told.
        for name, line in [*imports(module, source, sources, packages), Import("", 0)]:
            why = wrong_import(module, name)
            if why is not None:
                found.append(f"{module}:{line}: imports {name or 'nothing'}: {why}")
    return found


def reached(start: str, sources: Sources, packages: t.Container[str] = ()) -> dict[str, str]:
    """All that a module imports, directly or through ours: name -> the module that imports it."""
    found: dict[str, str] = {start: "the test"}
    waiting = [start]
    while waiting:
        module = waiting.pop()
        for name, _line in imports(module, sources[module], sources, packages):
            parts = name.split(".")
            for one in (".".join(parts[:length]) for length in range(1, len(parts) + 1)):  # its packages come along
                if one not in found:
                    found[one] = module
                    waiting += [one] if one in sources else []
    return found


def too_heavy(start: str, sources: Sources, packages: t.Container[str] = ()) -> list[str]:
    """What `start` reaches and must not, as `name, by importer`."""
    everything = reached(start, sources, packages)
    return [f"{name}, by {by}" for name, by in sorted(everything.items()) if any(within(name, h) for h in TOO_HEAVY)]


def read_project() -> tuple[dict[str, str], set[str]]:
    """(sources, names of packages) of everything under plugins/."""
    sources, packages = {}, set()
    for path in sorted(PLUGINS.rglob("*.py")):
        parts = [*PROJECT.split("."), "plugins", *path.relative_to(PLUGINS).with_suffix("").parts]
        if parts[-1] == "__init__":
            parts.pop()
            packages.add(".".join(parts))
        sources[".".join(parts)] = path.read_text("utf-8")
    return sources, packages


def test_the_arrows_hold() -> None:
    sources, packages = read_project()
    assert f"{UTILS}.errors" in sources, f"{PLUGINS} is not the folder of the plugins"
    assert "\n".join(violations(sources, packages)) == ""


def test_what_maqet_qmp_carries_is_light() -> None:
    sources, packages = read_project()
    assert FAST_PATH in sources
    assert too_heavy(FAST_PATH, sources, packages) == []


# --- the test's own proof: each wrong source is found, each right one is not ---------------------------------------


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("module_utils.errors", f"from {UTILS}.errors import x"),
        ("module_utils.definition.disk", f"from {UTILS}.host.paths import x"),
        ("module_utils.guard.gate", f"def late():\n    from {UTILS}.qmp import x"),
        ("module_utils.guard.gate", "from ..qmp import client"),
        ("module_utils.host.paths", f"import {UTILS}.guard.gate as g"),
        ("module_utils.qmp.direct", f"from {UTILS}.runner.launch import x"),
        ("module_utils.runner.server", f"from {UTILS} import vm"),
        ("module_utils.runner.server", f"from {UTILS}.vm import plan"),
        ("module_utils.vm.plan", f"from {UTILS}.runner import session"),
        ("module_utils.host.files", f"from {UTILS}.guard.gate import x"),
        ("module_utils.vm.plan", f"import {UTILS}.task"),
        ("module_utils.vm.plan", "from ansible.module_utils.basic import AnsibleModule"),
        ("module_utils.vm.plan", "import importlib\nimportlib.import_module('ansible.errors')"),
        ("module_utils.vm.plan", "def f(name):\n    return __import__(name)"),
        ("module_utils.vm.plan", "from ansible_collections.other.collection.plugins.module_utils import x"),
        ("module_utils.boundary", f"from {UTILS}.runner.launch import x"),
        ("module_utils.new_room.file", "import os"),
        ("modules.maqet_vm", f"from {UTILS}.runner.launch import x"),
        ("modules.maqet_vm", f"from {UTILS} import *"),
        ("new_kind.plugin", ""),
    ],
)
def test_a_wrong_import_is_found(module: str, source: str) -> None:
    sources = {f"{PROJECT}.plugins.{module}": source, f"{UTILS}.runner.session": "", f"{UTILS}.vm": ""}
    found = violations(sources)
    assert found
    assert all(line.startswith(f"{PROJECT}.plugins.{module}:") for line in found)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("module_utils.errors", "import typing"),
        ("module_utils.definition.disk", f"from {UTILS}.errors import x\nfrom {UTILS}.definition.sizes import y"),
        ("module_utils.guard.gate", "from . import names"),
        ("module_utils.vm.plan", f"from {UTILS}.runner import bundle\nfrom {UTILS}.runner.launch import x"),
        ("module_utils.boundary", f"from ansible.module_utils.basic import AnsibleModule\nimport {UTILS}.guard.names"),
        ("modules.maqet_vm", f"from ansible.module_utils.basic import AnsibleModule\nfrom {UTILS} import task"),
        ("action.maqet_vm", f"from ansible.plugins.action import ActionBase\nfrom {UTILS}.task import x"),
    ],
)
def test_a_right_import_is_not_found(module: str, source: str) -> None:
    known = ("guard", "guard.names", "runner.bundle", "task")
    sources = {f"{UTILS}.{name}": "" for name in known}
    assert violations({**sources, f"{PROJECT}.plugins.{module}": source}) == []


@pytest.mark.parametrize(
    "late",
    [
        "def f():\n    import asyncio",
        "import typing as t\nif t.TYPE_CHECKING:\n    from qemu.qmp import QMPClient",
        f"from {UTILS}.runner.bundle import x",
        "from ..runner import bundle",
    ],
)
def test_weight_is_found_through_others(late: str) -> None:
    sources = {
        FAST_PATH: f"from {UTILS} import task",
        f"{UTILS}.task": f"def f():\n    from {UTILS}.qmp.direct import x",
        f"{UTILS}.qmp.direct": late,
        f"{UTILS}.runner.bundle": "",
    }
    assert too_heavy(FAST_PATH, sources)
    assert too_heavy(FAST_PATH, {**sources, f"{UTILS}.qmp.direct": "import socket"}) == []
