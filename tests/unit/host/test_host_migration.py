# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The marks of a migration: what they forbid, and that a damaged one is not taken for none."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import migration
from ansible_collections.maqet.qemu.plugins.module_utils.host.migration import Mark
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths


@pytest.fixture
def paths(tmp_path: pathlib.Path) -> VmPaths:
    (tmp_path / "web").mkdir()
    return VmPaths("web", str(tmp_path / "web"), str(tmp_path / "run/web"), str(tmp_path / "log"))


def test_it_is_what_was_written(paths: VmPaths) -> None:
    assert migration.read(paths) is None
    mark = Mark("1", migration.RECEIVING, "hv1", False, "pc-q35-7.2", "tcg", ("/a", "/b"))
    migration.write(paths, mark)
    assert migration.read(paths) == mark
    assert mark.moved(migration.TAKEN) == Mark("1", migration.TAKEN, "hv1", False, "pc-q35-7.2", "tcg", ("/a", "/b"))
    migration.forget(paths)
    migration.forget(paths)
    assert migration.read(paths) is None


@pytest.mark.parametrize(
    ("phase", "held", "not_ours"),
    [
        (migration.SENDING, True, False),
        (migration.HANDED_OVER, True, True),
        (migration.CONFIRMED, True, True),
        (migration.RECEIVING, True, True),
        (migration.TAKEN, False, False),
        (migration.ARRIVED, False, False),
        (migration.DISCARDED, True, True),
    ],
)
def test_what_a_mark_forbids(phase: str, held: bool, not_ours: bool) -> None:
    mark = Mark("1", phase, "hv2")
    assert (mark.held, mark.not_ours) == (held, not_ours)
    if held:
        error = migration.refusal("web", mark)
        assert error.error_code == ("vm_migrated" if phase in ("handed_over", "confirmed") else "vm_migrating")
        assert "hv2" in str(error) and error.details["migration"]["phase"] == phase


@pytest.mark.parametrize(
    "content",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"id": "1", "phase": "sending"}',
        json.dumps({"id": "1", "phase": "elsewhere", "peer": "b", "made": []}),
        json.dumps({"id": 1, "phase": "sending", "peer": "b", "made": []}),
        json.dumps({"id": "1", "phase": "sending", "peer": "b", "made": [], "more": 1}),
    ],
)
def test_a_damaged_mark_is_not_none(paths: VmPaths, content: str) -> None:
    """Somebody may run the VM elsewhere."""
    pathlib.Path(paths.migration).write_text(content, "utf-8")
    with pytest.raises(MaqetError) as error:
        migration.read(paths)
    assert error.value.error_code == "state_unsafe"


def test_all_phases_are_known() -> None:
    told: t.Set[str] = {*migration.HELD, migration.TAKEN, migration.ARRIVED}
    assert told == set(migration.PHASES)
