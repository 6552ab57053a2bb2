# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A name means a user's own VM, else a running one of the system."""

from __future__ import annotations

import pathlib

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.vm.whose import of_system, out_of_reach, refuse_direct


def layout(folder: pathlib.Path, scope: str) -> Layout:
    state, run, log = (str(folder / scope / part) for part in ("s", "r", "l"))
    return Layout(state, run, log, scope)


def touch(path: str) -> None:
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(path).touch()


def test_whose_it_is(tmp_path: pathlib.Path) -> None:
    mine, system = layout(tmp_path, "user"), layout(tmp_path, "system")
    assert of_system(mine, "web", system) is None
    touch(system.vm("web").runner_socket)
    assert of_system(mine, "web", system) == system.vm("web")
    assert of_system(system, "web", system) is None
    assert of_system(mine, "db", system) is None
    touch(mine.vm("web").definition)
    assert of_system(mine, "web", system) is None


def test_errors_say_what_to_do() -> None:
    assert "Leave mode out" in str(refuse_direct("web"))
    error = out_of_reach("web", MaqetError("gone", "runner_unreachable"))
    assert error.error_code == "runner_unreachable" and "Use become" in str(error)
