# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a migration takes away from callers: all but looking, whoever they are and whatever they consent to."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard.judge import judge
from ansible_collections.maqet.qemu.plugins.module_utils.guard.scope import Rights, Scope
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Request
from ansible_collections.maqet.qemu.plugins.module_utils.host import migration
from ansible_collections.maqet.qemu.plugins.module_utils.host.migration import Mark
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.qmp import hold
from ansible_collections.maqet.qemu.tests.unit.guard.schemas import schema


@pytest.fixture
def paths(tmp_path: pathlib.Path) -> VmPaths:
    return VmPaths("web", str(tmp_path), str(tmp_path), str(tmp_path))


def allowed(paths: VmPaths, command: str) -> bool:
    layer = hold.layer(paths)
    rights = Rights().tightened(*([layer] if layer else []))
    return judge(Request(command, {}, True), Scope("web", paths.home, schema("7.2")), rights).allowed


@pytest.mark.parametrize("phase", migration.PHASES)
def test_commands_while_it_moves(paths: VmPaths, phase: str) -> None:
    migration.write(paths, Mark("1", phase, "b"))
    held = phase in migration.HELD
    assert allowed(paths, "query-status")
    for command in ("cont", "stop", "quit", "system_reset", "migrate-continue", "human-monitor-command"):
        assert not (held and allowed(paths, command)), command
    assert allowed(paths, "cont") is not held


def test_without_a_mark_nothing_is_taken_away(paths: VmPaths) -> None:
    assert hold.layer(paths) is None and allowed(paths, "cont")


def test_a_damaged_mark_holds(paths: VmPaths) -> None:
    pathlib.Path(paths.migration).write_text("{", "utf-8")
    assert not allowed(paths, "cont")
