# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Conditions on arguments: which values a policy's values are, and where they are looked for."""

from __future__ import annotations

import time
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard.conditions import (
    argument_matches,
    dotted,
    unmet,
    value_matches,
)
from ansible_collections.maqet.qemu.plugins.module_utils.guard.judge import judge
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import parse
from ansible_collections.maqet.qemu.plugins.module_utils.guard.scope import Rights, Scope
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Request, Verdict
from hypothesis import given
from hypothesis import strategies as st

# wanted, value, whether it is meant; all of them with globs
VALUES: list[tuple[t.Any, t.Any, bool]] = [
    ("tap0", "tap0", True),
    ("tap0", "tap1", False),
    ("tap0", "tap0\n", False),
    ("TAP0", "tap0", False),
    ("", "", True),
    (True, True, True),
    (True, 1, False),
    (1, True, False),
    (True, "true", False),
    (False, None, False),
    (None, None, True),
    (None, "null", False),
    (1, 1, True),
    (1, 1.0, True),
    (1.5, 1.5, True),
    (1, 2, False),
    (4444, "4444", True),
    ("4444", 4444, True),
    (4444, "04444", False),
    (4444, "4444 ", False),
    ("0x10", 16, False),
    (1.5, "1.5", False),
    ("1..5", 1, True),
    ("1..5", 5, True),
    ("1..5", 6, False),
    ("1..5", 2.5, True),
    ("1..5", "3", True),
    ("1..5", "03", False),
    ("1..5", " 3", False),
    ("1..5", "\u0663", False),
    ("1..5", "3.0", False),
    ("1..5", True, False),
    ("1..5", float("nan"), False),
    ("1..5", float("inf"), False),
    ("5..1", 3, False),
    ("-5..-1", -3, True),
    ("-5..-1", "-3", True),
    ("0..18446744073709551615", 2**64 - 1, True),
    ("tap*", "tap0", True),
    ("tap*", "tap", True),
    ("tap*", "xtap", False),
    ("*.qcow2", "a.qcow2", True),
    ("a*b*c", "axxbyyc", True),
    ("a*b*c", "ac", False),
    ("ab*ba", "aba", False),
    ("*", "anything", True),
    ("a*", "a\nb", False),
    ("a*", "a\x7f", False),
    ("a?", "ab", False),
    ("a[bc]", "ab", False),
    ("a.*", "axb", False),
    # What these begin is a program, a descriptor or a tree of options.
    ("*", "exec:id", False),
    ("exec:*", "exec:id", False),
    ("exec:cat *", "exec:cat x; id", False),
    ("fd:*", "fd:4", False),
    ("json:*", 'json:{"driver": "file"}', False),
    ("exec:cat *", "exec:cat *", True),  # letter by letter
    ("1", ["1"], False),
    ("*", ["a"], False),
    ("*", {"a": 1}, False),
    ("*", 1, False),
    ("*", None, False),
    ("*", True, False),
    (1, {"a": 1}, False),
    (None, {}, False),
]


@pytest.mark.parametrize(("wanted", "value", "meant"), VALUES)
def test_values(wanted: t.Any, value: t.Any, meant: bool) -> None:
    assert value_matches(wanted, value) is meant


@pytest.mark.parametrize(("wanted", "value"), [(one, two) for one, two, meant in VALUES if meant and "*" in str(one)])
def test_without_globs_a_star_is_a_star(wanted: str, value: str) -> None:
    assert value_matches(wanted, value, globs=False) is (wanted == value)


def test_a_glob_takes_linear_steps() -> None:
    began = time.process_time()
    assert not value_matches("a*" * 1000 + "b", "a" * 4000 + "c")
    assert not value_matches("*a" * 1000 + "*b*", "a" * 4000)
    assert time.process_time() - began < 1


def test_places_as_policies_write_them() -> None:
    assert dotted("options[0].file[12][3].x") == "options[].file[][].x"
    assert dotted("a[x].b") == "a[x].b"
    assert argument_matches({"a[].b": ("x", "y*")}, "a[7].b", "yes")
    assert not argument_matches({"a[].b": ("x", "y*")}, "a[7].b", "yes", globs=False)
    assert not argument_matches({"a[].b": ("x",)}, "a.b", "x")
    assert not argument_matches({}, "a", "x")
    assert not argument_matches({"a": ()}, "a", "x")


MET: list[tuple[str, tuple[t.Any, ...], t.Any, t.Optional[str]]] = [
    ("uri", ("a",), {"uri": "a"}, None),
    ("uri", ("a",), {}, None),  # what is absent meets it
    ("uri", ("a",), {"uri": "b"}, "uri"),
    ("uri", (), {"uri": "b"}, "uri"),
    ("a.b", (1,), {"a": {"b": 1}}, None),
    ("a.b", (1,), {"a": {"c": 2}}, None),
    ("a.b", (1,), {"a": {"b": 2}}, "a.b"),
    ("a[].b", (1,), {"a": [{"b": 1}, {"c": 3}, {"b": 1}]}, None),
    ("a[].b", (1,), {"a": [{"b": 1}, {"b": 2}]}, "a[1].b"),
    ("a[][]", (1,), {"a": [[1], [1, 2]]}, "a[1][1]"),
    ("a[]", ("x",), {"a": []}, None),
    # Where there is another kind of thing than the policy says, that does not slip through.
    ("a.b", (1,), {"a": 1}, "a"),
    ("a.b", (1,), {"a": [{"b": 1}]}, "a"),
    ("a[].b", (1,), {"a": {"b": 1}}, "a"),
    ("a[].b", (1,), {"a": [[{"b": 1}]]}, "a[0]"),
    ("a", (1,), {"a": {"b": 1}}, "a"),
    ("a", ("*",), {"a": None}, "a"),
    ("a[]", ("*",), {"a": "x"}, "a"),
]


@pytest.mark.parametrize(("path", "wanted", "arguments", "where"), MET)
def test_where_a_condition_is_not_met(
    path: str, wanted: tuple[t.Any, ...], arguments: t.Any, where: t.Optional[str]
) -> None:
    found = unmet({path: wanted}, arguments)
    assert (found[0] if found else None) == where


def test_the_sentence_names_what_may_be_and_not_what_was() -> None:
    found = unmet({"uri": ("a\n", None, True, 7, *"bcdefgh")}, {"uri": "hunter2"})
    assert found is not None
    assert found[1] == r"the policy lets uri be only 'a\n', null, true, 7, 'b', 'c', 'd', 'e' and 3 more"
    assert unmet({"uri": ()}, {"uri": 1}) == ("uri", "the policy lets uri be only no value at all")


def sent(scope: Scope, command: str, arguments: dict[str, t.Any], **conditions: list[t.Any]) -> Verdict:
    named = {name.replace("__", "[].").replace("_", "."): values for name, values in conditions.items()}
    rule = {"decision": "allow", "arguments": named}
    policy = parse({"version": 1, "commands": {command: rule}}, "/etc/maqet/policy.yml")
    return judge(Request(command, arguments, True), scope, Rights(policy, policy.layer("web1")))


def test_a_program_is_opened_letter_by_letter_alone(scope: Scope) -> None:
    program = {"uri": "exec:/usr/local/bin/save"}
    assert sent(scope, "migrate", dict(program), uri=["exec:/usr/local/bin/save"]).allowed
    for pattern in ("exec:*", "*", "exec:/usr/local/bin/*", "exec:/usr/local/bin/sav*"):
        assert not sent(scope, "migrate", dict(program), uri=[pattern]).allowed
    assert sent(scope, "migrate", {"uri": "tcp:10.0.0.1:4444"}, uri=["tcp:10.0.0.1:4444"]).allowed


def test_a_program_of_a_list_too(newest: t.Any, home: t.Any) -> None:
    scope = Scope("web1", str(home), newest)
    channel = {"channel-type": "main", "addr": {"transport": "exec", "args": ["/bin/save", "x"]}}
    path = "channels[].addr.args[]"
    for values, allowed in (
        (["/bin/save", "x"], True),
        (["/bin/*", "x"], False),
        (["*"], False),
        (["/bin/save"], False),
    ):
        rule = {"decision": "allow", "arguments": {path: values}}
        policy = parse({"version": 1, "commands": {"migrate": rule}}, "/etc/maqet/policy.yml")
        verdict = judge(Request("migrate", {"channels": [channel]}), scope, Rights(policy, policy.layer("web1")))
        assert verdict.allowed is allowed, (values, verdict)


def test_paths_are_opened_by_roots_alone(scope: Scope) -> None:
    verdict = sent(scope, "screendump", {"filename": "/etc/shadow"}, filename=["/etc/shadow"])
    assert not verdict.allowed


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)),
    max_leaves=8,
)
PATHS = st.from_regex(r"[abc](\[\]){0,2}(\.[abc](\[\]){0,2}){0,2}", fullmatch=True)
PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.sampled_from(["*", "a*b", "1..9"])
)


@given(st.dictionaries(PATHS, st.lists(PLAIN, max_size=3).map(tuple), max_size=3), JSON)
def test_nothing_raises(conditions: dict[str, tuple[t.Any, ...]], value: t.Any) -> None:
    found = unmet(conditions, value if isinstance(value, dict) else {"a": value})
    assert found is None or dotted(found[0]) in conditions or any(path.startswith(found[0][:1]) for path in conditions)


@given(PLAIN, JSON)
def test_without_globs_never_more_matches(wanted: t.Any, value: t.Any) -> None:
    assert value_matches(wanted, value) or not value_matches(wanted, value, globs=False)
