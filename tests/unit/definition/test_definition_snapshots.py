# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task may ask of snapshots, and what it may not ask at once."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.snapshots import Wanted, wanted
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError

PLAIN: dict[str, t.Any] = {
    "state": "present",
    "name": "one",
    "description": None,
    "memory": None,
    "disks": None,
    "fsfreeze": False,
    "group": None,
    "keep": None,
    "allow_restart": False,
}


def test_plain() -> None:
    assert wanted(PLAIN) == Wanted("present", "one")


def test_everything() -> None:
    given = {"description": "für später", "disks": ["a", "b"], "group": "g", "keep": 3, "memory": False}
    found = wanted({**PLAIN, **given, "fsfreeze": True})
    assert found == Wanted("present", "one", "für später", False, ("a", "b"), True, "g", 3)


@pytest.mark.parametrize("name", ["a", "1a", "vm-20260101T120000", "_", "a.b:c+d@e", "x" * 255])
def test_names(name: str) -> None:
    assert wanted({**PLAIN, "name": name}).name == name


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("name", "", "is not a name for a snapshot"),
        ("name", "7", "is a number"),
        ("name", "00", "is a number"),
        ("name", "x" * 256, "is not a name"),
        ("name", "-a", "is not a name"),
        ("name", "a b", "is not a name"),
        ("name", "a\n", "is not a name"),
        ("name", "schnee\u2603", "is not a name"),
        ("name", "a/b", "is not a name"),
        ("description", "two\nlines", "control character"),
        ("description", "x" * 1025, "more than 1024"),
        ("disks", [], "names no disk"),
        ("disks", ["a", "a"], "named twice"),
        ("group", "", "is not a name for a group"),
        ("keep", 0, "out of range"),
        ("keep", 2, "needs a group"),
    ],
)
def test_what_cannot_be(option: str, value: t.Any, words: str) -> None:
    with pytest.raises(MaqetError, match=words) as caught:
        wanted({**PLAIN, option: value})
    assert (caught.value.error_code, caught.value.details["option"]) == ("invalid_option", option)


@pytest.mark.parametrize("state", ["absent", "reverted"])
@pytest.mark.parametrize(
    "given", [{"description": "x"}, {"disks": ["a"]}, {"fsfreeze": True}, {"group": "g"}, {"group": "g", "keep": 1}]
)
def test_what_only_a_new_one_has(state: str, given: dict[str, t.Any]) -> None:
    with pytest.raises(MaqetError, match=f"does not go with state: {state}"):
        wanted({**PLAIN, "state": state, **given})


def test_what_does_not_go_together() -> None:
    with pytest.raises(MaqetError, match="memory: true"):
        wanted({**PLAIN, "memory": True, "fsfreeze": True})
    with pytest.raises(MaqetError, match="state: absent"):
        wanted({**PLAIN, "state": "absent", "memory": False})
    assert wanted({**PLAIN, "state": "reverted", "memory": False}).memory is False
