# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard import commands
from ansible_collections.maqet.qemu.plugins.module_utils.guard.arguments import RULES, Scope
from ansible_collections.maqet.qemu.plugins.module_utils.guard.judge import Request, judge
from hypothesis import given
from hypothesis import strategies as st

NOWHERE = Scope()

PLAIN = [
    # command, class, rule, level
    ("query-status", "read", "class-read", "info"),
    ("query-version", "introspect", "class-introspect", "info"),
    ("qmp_capabilities", "introspect", "class-introspect", "info"),
    ("cont", "guest", "class-guest", "info"),
    ("send-key", "guest", "class-guest", "info"),
    ("quit", "availability", "class-availability", "warning"),
    ("device_del", "availability", "class-availability", "warning"),
    ("blockdev-del", "availability", "class-availability", "warning"),
    ("system_reset", "availability", "class-availability", "warning"),
    ("system_powerdown", "availability", "class-availability", "warning"),
]

CONSENT = [
    "human-monitor-command",
    "inject-nmi",
    "device-list-properties",
    "qom-list-properties",
    "x-query-roms",
    "x-blockdev-change",
    "query-s390x-cpu-polarization",
]

#: Denied with and without consent: the powers that no rule of this release can judge.
NEVER = sorted(
    name
    for name, klass in commands.CLASS_OF.items()
    if name not in RULES
    and name not in commands.CONSENT
    and (name in commands.POWERED or klass in ("disclosure", "host-net", "host-file", "host-exec"))
)


@pytest.mark.parametrize(("name", "klass", "rule", "level"), PLAIN)
@pytest.mark.parametrize("consent", [False, True])
def test_allowed_by_class(name: str, klass: str, rule: str, level: str, consent: bool) -> None:
    verdict = judge(Request(name, {}, consent), NOWHERE)
    assert (verdict.decision, verdict.command_class, verdict.rule, verdict.level) == ("allow", klass, rule, level)
    assert verdict.as_dict() == {
        "decision": "allow", "class": klass, "rule": rule, "reason": verdict.reason, "level": level
    }  # fmt: skip


@pytest.mark.parametrize("name", CONSENT)
def test_by_consent_only(name: str) -> None:
    refused = judge(Request(name, {}), NOWHERE)
    assert (refused.decision, refused.rule) == ("deny", "consent")
    assert "allow_dangerous: true" in str(refused.as_dict()["remedy"])
    allowed = judge(Request(name, {}, True), NOWHERE)
    assert (allowed.decision, allowed.rule, allowed.level) == ("allow", "consent", "warning")


@pytest.mark.parametrize("consent", [1, "true", "yes", [True], None])
def test_only_true_is_consent(consent: t.Any) -> None:
    assert not judge(Request("inject-nmi", {}, consent), NOWHERE).allowed


@pytest.mark.parametrize("name", NEVER)
def test_consent_opens_no_other_row(name: str, scope: Scope) -> None:
    for consent in (False, True):
        verdict = judge(Request(name, {}, consent), scope)
        assert (verdict.decision, verdict.rule) == ("deny", "argument-rules")
        assert name in verdict.reason and verdict.command_class in verdict.reason


def test_the_powers_that_no_rule_judges_are_many() -> None:
    assert len(NEVER) == 46
    assert {"migrate", "device_add", "object-add", "qom-get", "qom-set", "getfd", "transaction", "blockdev-add"} <= set(
        NEVER
    )


def test_every_command_has_a_verdict_and_the_sum_is_pinned() -> None:
    """How far the built-in policy opens QEMU: a change of this sum is a change of the policy."""
    rules: dict[tuple[str, str], int] = {}
    for name in commands.CLASS_OF:
        verdict = judge(Request(name), NOWHERE)
        rules[verdict.decision, verdict.rule] = rules.get((verdict.decision, verdict.rule), 0) + 1
    assert rules == {
        ("allow", "class-read"): 56,
        ("allow", "class-introspect"): 23,
        ("allow", "class-guest"): 44,
        ("allow", "class-availability"): 42,
        ("deny", "consent"): 32,
        ("deny", "argument-rules"): 50,
    }


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("memsave", {"val": 0, "size": 16, "filename": "mem.bin"}),
        ("pmemsave", {"val": 0, "size": 16, "filename": "mem.bin"}),
        ("screendump", {"filename": "screen.png", "format": "png", "device": "vga", "head": 0}),
        ("dump-guest-memory", {"paging": False, "protocol": "file:core.elf"}),
    ],
)
def test_dumps_into_the_output_folder(name: str, arguments: dict[str, t.Any], scope: Scope) -> None:
    verdict = judge(Request(name, arguments), scope)
    assert (verdict.decision, verdict.command_class, verdict.level) == ("allow", "host-file", "info")
    elsewhere = {key: "file:/etc/x" if key == "protocol" else "/etc/x" if key == "filename" else value
                 for key, value in arguments.items()}  # fmt: skip
    for consent in (False, True):
        refused = judge(Request(name, elsewhere, consent), scope)
        assert (refused.decision, refused.rule) == ("deny", "argument-rules")
        assert "/etc/x" in refused.reason
    foreign = judge(Request(name, arguments), NOWHERE)
    assert not foreign.allowed and "no output folder" in foreign.reason


@pytest.mark.parametrize(
    ("name", "known", "rule", "hint"),
    [
        ("query-statu", {"query-status", "quit"}, "unknown-command", "did you mean query-status?"),
        ("query-status", {"quit"}, "unknown-command", "no command query-status"),
        ("query-statu", None, "unclassified", "did you mean query-status?"),
        ("brand-new-thing", {"brand-new-thing"}, "unclassified", "nobody has classified"),
        ("exec-oob", None, "unclassified", "nobody has classified"),
        ("__com.redhat_quit", None, "unclassified", "nobody has classified"),
        ("quit\n", {"quit"}, "name-syntax", r"'quit\n'"),
        ("", None, "name-syntax", "''"),
    ],
)
def test_unknown_means_deny(name: str, known: set[str] | None, rule: str, hint: str) -> None:
    scope = Scope(known=None if known is None else frozenset(known))
    for consent in (False, True):
        verdict = judge(Request(name, {}, consent), scope)
        assert (verdict.decision, verdict.rule) == ("deny", rule)
        assert hint in verdict.reason
        assert verdict.remedy


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (None, "not NoneType"),
        ([], "not list"),
        ("x", "not str"),
        ({1: 2}, "key of type int"),
        ({"a": {"b": {2: 3}}}, "key of type int"),
        ({"a": float("nan")}, "nan"),
        ({"a": [float("inf")]}, "inf"),
        ({"a": b"x"}, "type bytes"),
        ({"a": (1, 2)}, "type tuple"),
        ({"a": {1, 2}}, "type set"),
        ({"a": "\ud800"}, "surrogate"),
        ({"\ud800": 1}, "surrogate"),
    ],
)
def test_arguments_that_are_no_json(arguments: t.Any, text: str) -> None:
    verdict = judge(Request("query-status", arguments), NOWHERE)
    assert (verdict.decision, verdict.rule) == ("deny", "argument-shape")
    assert text in verdict.reason


def test_arguments_nested_without_end() -> None:
    deep: dict[str, t.Any] = {}
    for _level in range(50_000):
        deep = {"a": deep}
    verdict = judge(Request("query-status", deep), NOWHERE)
    assert (verdict.decision, verdict.rule) == ("deny", "argument-shape")
    assert "nested" in verdict.reason


@given(
    st.sampled_from(sorted(commands.CLASS_OF)), st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=4)
)
def test_consent_never_widens_what_does_not_ask_for_it(name: str, arguments: dict[str, t.Any]) -> None:
    without = judge(Request(name, arguments), NOWHERE)
    with_it = judge(Request(name, arguments, True), NOWHERE)
    if without.rule != "consent":
        assert with_it == without
