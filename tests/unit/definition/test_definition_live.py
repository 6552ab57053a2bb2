# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a running QEMU takes, and what needs a restart."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.changes import diff
from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import merge, normalise

Steps = t.Optional[t.List[t.Tuple[str, t.Any]]]
A, B = {"name": "a", "size": "1G"}, {"name": "b", "size": "2G"}
USER = {"type": "user"}


def steps(option: str, before: t.Any, after: t.Any, **others: t.Any) -> Steps:
    """The kinds of steps with what they are about; None for a restart."""
    old, new = ({**others, option: value} for value in (before, after))
    found = diff(merge({}, normalise(old)), merge({}, normalise(new)), "x86_64")
    assert found.options == [option]
    if found.restart:
        assert option not in found.steps
        return None
    return [(step.kind, next(iter(step.detail.values()))) for step in found.steps[option]]


@pytest.mark.parametrize(
    ("before", "after", "others", "expected"),
    [
        ([A], [A, B], {}, [("plug_disk", "b")]),
        ([A, B], [B], {}, [("unplug_disk", "a")]),
        ([A], [B], {}, [("unplug_disk", "a"), ("plug_disk", "b")]),
        ([A, B], [B, A], {}, []),
        ([A], [{**A, "size": "2G"}], {}, []),
        ([A], [{**A, "size": "2G"}, B], {}, [("plug_disk", "b")]),
        ([A], [{**A, "size": "512M"}], {}, None),
        ([A], [{**A, "readonly": True}], {}, None),
        ([A], [{**A, "size": "2G", "readonly": True}], {}, None),
        ([A], [A, {**B, "interface": "scsi"}], {}, None),
        (
            [{**A, "interface": "scsi"}],
            [{**A, "interface": "scsi"}, {**B, "interface": "scsi"}],
            {},
            [("plug_disk", "b")],
        ),
        ([A], [A, {**B, "interface": "sata"}], {}, None),
        ([A, {**B, "interface": "sata"}], [A], {}, None),
        ([A], [A, B], {"machine": "pc"}, [("plug_disk", "b")]),
        ([A], [A, B], {"machine": "microvm"}, None),
    ],
)
def test_disks(before: t.Any, after: t.Any, others: dict[str, t.Any], expected: Steps) -> None:
    assert steps("disks", before, after, **others) == expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([], [USER], [("plug_network", 0)]),
        ([USER], [USER, USER, USER], [("plug_network", 1), ("plug_network", 2)]),
        ([USER, USER, USER], [USER], [("unplug_network", 2), ("unplug_network", 1)]),
        ([USER], [{**USER, "model": "e1000"}], None),
        ([USER, {**USER, "model": "e1000"}], [{**USER, "model": "e1000"}], None),
    ],
)
def test_networks(before: t.Any, after: t.Any, expected: Steps) -> None:
    assert steps("networks", before, after) == expected


def test_what_is_not_listed_needs_a_restart() -> None:
    assert steps("memory", "1G", "2G") is None


def test_each_plug_can_be_taken_back() -> None:
    (step,) = diff({}, merge({}, normalise({"disks": [A]})), "x86_64").steps["disks"]
    back = step.reversed()
    assert (back.kind, back.before, back.after, back.detail) == ("unplug_disk", step.after, None, step.detail)
    assert back.reversed() == step
