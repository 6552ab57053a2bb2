# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a task that was killed."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.vm.snapshot_repair import decide
from ansible_collections.maqet.qemu.plugins.module_utils.vm.snapshots import Piece, Snapshot

WHOLE = Snapshot("one", {"a": Piece(1, 0, 5), "b": Piece(1, 0, 0)})
HALF = Snapshot("one", {"a": Piece(1, 0, 5)})
CREATE = {"op": "create", "name": "one", "disks": ["a", "b"], "memory": True}
DELETE = {"op": "delete", "name": "one"}
OFFLINE = {"op": "revert", "name": "one"}
LIVE = {**OFFLINE, "live": True, "resume": True}


@pytest.mark.parametrize(
    ("pending", "snapshot", "kind"),
    [
        (CREATE, WHOLE, "keep"),
        (CREATE, HALF, "remove"),
        ({**CREATE, "memory": False}, WHOLE, "remove"),
        (CREATE, None, "nothing"),
        (DELETE, WHOLE, "remove"),
        (DELETE, HALF, "remove"),
        (DELETE, None, "nothing"),
    ],
)
@pytest.mark.parametrize("runs", [False, True])
@pytest.mark.parametrize("state", ["present", "reverted"])
def test_made_and_removed(
    pending: dict[str, t.Any], snapshot: t.Optional[Snapshot], kind: str, runs: bool, state: str
) -> None:
    repair = decide(pending, snapshot, runs, False, state)
    assert repair.kind == kind and "'one'" in repair.words and "broken off" in repair.words


@pytest.mark.parametrize(
    ("pending", "runs", "paused", "load_error", "kind"),
    [
        (LIVE, True, True, None, "resume"),
        (LIVE, True, False, None, "nothing"),
        (LIVE, True, True, "bad stream", "nothing"),
        ({**LIVE, "resume": False}, True, True, None, "nothing"),
        (OFFLINE, True, False, None, "nothing"),
        (OFFLINE, True, True, None, "nothing"),
    ],
)
def test_gone_back(pending: dict[str, t.Any], runs: bool, paused: bool, load_error: t.Optional[str], kind: str) -> None:
    assert decide(pending, WHOLE, runs, paused, "present", load_error).kind == kind


@pytest.mark.parametrize("pending", [OFFLINE, LIVE])
def test_disks_of_two_times(pending: dict[str, t.Any]) -> None:
    assert decide(pending, WHOLE, False, False, "reverted").kind == "nothing", "it is done again"
    for state in ("present", "absent"):
        with pytest.raises(MaqetError, match="Revert again") as caught:
            decide(pending, WHOLE, False, False, state)
        assert caught.value.error_code == "snapshot_unfinished"
