# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard.conditions import (
    argument_matches,
    dotted,
    unmet,
    value_matches,
)
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("wanted", "value", "expected"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("a*", "ab", True),
        ("*", "", True),
        ("*b*", "abc", True),
        ("a*b*c", "aXbYc", True),
        ("a*b*c", "acb", False),
        ("a*a", "a", False),
        ("tcp:10.0.0.*", "tcp:10.0.0.7:1", True),
        ("tcp:*", "tcp:x\ny", False),
        ("*", "exec:id", False),
        ("exec:*", "exec:id", False),
        ("exec:*", "exec:*", True),
        ("exec:id", "exec:id", True),
        ("*", "json:{}", False),
        ("*", "fd:3", False),
        ("[ab]", "a", False),
        ("?", "a", False),
        (1, 1, True),
        (1, "1", True),
        ("1", 1, True),
        (1, "01", False),
        (1, True, False),
        (True, 1, False),
        (True, True, True),
        (True, "true", False),
        (None, None, True),
        (None, "", False),
        (0, None, False),
        (1.0, 1, True),
        (1.5, "1.5", False),
        ("1..5", 3, True),
        ("1..5", "3", True),
        ("1..5", "03", False),
        ("1..5", 6, False),
        ("1..5", 5.5, False),
        ("-3..-1", -2, True),
        ("1..5", True, False),
        ("1..5", "1..5", True),
        ("1..5", "x", False),
        ("1..5", [3], False),
        ("*", {"a": 1}, False),
        ("*", ["a"], False),
        (1, [1], False),
    ],
)
def test_values(wanted: t.Any, value: t.Any, expected: bool) -> None:
    assert value_matches(wanted, value) is expected


def test_programs_stand_letter_by_letter() -> None:
    assert argument_matches({"script": ("/usr/*",)}, "script", "/usr/bin/x")
    assert not argument_matches({"script": ("/usr/*",)}, "script", "/usr/bin/x", globs=False)
    assert argument_matches({"script": ("/usr/bin/x",)}, "script", "/usr/bin/x", globs=False)


def test_places_are_named_without_their_numbers() -> None:
    assert dotted("options[0].file[12].driver") == "options[].file[].driver"
    assert argument_matches({"a[].b": (1,)}, "a[7].b", 1)
    assert not argument_matches({"a[].b": (1,)}, "a.b", 1)
    assert not argument_matches({}, "a", "a")


MIGRATE = {"channels[].addr.host": ("10.0.0.7",), "channels[].addr.port": ("4444..4450",), "resume": (False,)}


def channel(**address: t.Any) -> dict[str, t.Any]:
    return {"channel-type": "main", "addr": address}


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        ({}, None),
        ({"channels": []}, None),
        ({"channels": [channel(host="10.0.0.7", port="4444")], "resume": False}, None),
        ({"channels": [channel(host="10.0.0.7")]}, None),
        ({"channels": [channel(host="10.0.0.7"), channel(host="10.0.0.8")]}, "channels[1].addr.host"),
        ({"channels": [channel(port="4451")]}, "channels[0].addr.port"),
        ({"channels": [channel(host=["10.0.0.7"])]}, "channels[0].addr.host"),
        ({"channels": channel(host="10.0.0.8")}, "channels"),
        ({"channels": ["10.0.0.8"]}, "channels[0]"),
        ({"channels": [{"addr": "10.0.0.8"}]}, "channels[0].addr"),
        ({"resume": True}, "resume"),
        ({"resume": None}, "resume"),
        ({"resume": {"x": 1}}, "resume"),
    ],
)
def test_conditions_of_a_command(arguments: dict[str, t.Any], where: str | None) -> None:
    found = unmet(MIGRATE, arguments)
    assert (None if found is None else found[0]) == where


def test_the_sentence_says_what_is_possible_and_not_what_was_given() -> None:
    found = unmet({"a": ("x", 1, True, None)}, {"a": "hunter2"})
    assert found == ("a", "the policy lets a be only 'x', 1, true, null")
    assert unmet({"a": ()}, {"a": 1}) == ("a", "the policy lets a be only no value at all")
    many = unmet({"a": tuple(range(10))}, {"a": "x"})
    assert many is not None and many[1].endswith("7 and 2 more")


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from("abc"), JSON, max_size=3))
def test_whatever_is_at_a_named_place_is_measured(arguments: dict[str, t.Any]) -> None:
    """What meets the conditions has nothing at the named places but what they allow."""
    if unmet({"a.b[]": ("x",), "c": ("x",)}, arguments) is None:
        assert arguments.get("c", "x") == "x"
        inner = arguments.get("a", {}).get("b", []) if isinstance(arguments.get("a", {}), dict) else None
        assert inner is not None and all(item == "x" for item in inner)
