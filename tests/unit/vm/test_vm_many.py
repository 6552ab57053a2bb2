# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a list asks of each of many VMs, and what is said of them all."""

from __future__ import annotations

import functools
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils import task as door
from ansible_collections.maqet.qemu.plugins.module_utils.definition.options import SPEC
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.vm import many, outcomes

TYPED = functools.partial(door.typed, SPEC)


def wishes(*vms: t.Any, **defaults: t.Any) -> dict[str, t.Any]:
    return many.wishes(vms, defaults, TYPED)


def test_what_an_entry_says_counts_instead_of_the_default() -> None:
    found = wishes(
        {"name": "a"},
        {"name": "b", "memory": "2G", "labels": {"x": "1"}, "force": "yes"},
        memory=64,
        state="running",
        labels={"role": "web"},
        stop_timeout="5",
    )
    assert list(found) == ["a", "b"]
    assert [wish.given["memory"] for wish in found.values()] == [64, 2048]
    assert [wish.given["labels"] for wish in found.values()] == [{"role": "web"}, {"x": "1"}]
    assert {wish.state for wish in found.values()} == {"running"}
    assert wishes("a", state="paused")["a"].state == "paused"
    assert [(wish.patience.stop_timeout, wish.patience.force) for wish in found.values()] == [(5.0, False), (5.0, True)]


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(MaqetError) as caught:
        wishes(
            {"name": "good"},
            {"name": "bad", "memory": "banana"},
            {"memory": 5},
            5,
            "good",
            {"name": "c", "memroy": 5},
            {"name": "d", "state": "up"},
            {"name": "e", "cpus": "many"},
        )
    assert caught.value.error_code == "invalid_option"
    assert [text.partition(":")[0] for text in caught.value.details["wrong"]] == [
        "vms[1] (bad)", "vms[2]", "vms[3]", "vms[4] (good)", "vms[5] (c)", "vms[6] (d)", "vms[7] (e)",
    ]  # fmt: skip
    for words in (
        "memory: 'banana'",
        "vms[2]: missing required arguments: name",
        "vms[3]: vms: 5 is no VM",
        "name: 'good' is there twice",
        "memroy: there is no such option. Did you mean memory?",
        "value of state must be one of",
    ):
        assert words in str(caught.value)


def test_defaults_have_no_name() -> None:
    with pytest.raises(MaqetError, match="cannot hold a name"):
        wishes({"name": "a"}, name="b")


def test_who_is_not_listed_goes_as_the_defaults_say() -> None:
    defaults = {"purge": True, "stop_timeout": 3, "memory": "4G", "state": "running"}
    found = many.unlisted(["a", "b", "c"], ["b"], defaults, TYPED)
    assert list(found) == ["a", "c"]
    assert {(wish.state, wish.purge, wish.patience.stop_timeout) for wish in found.values()} == {("absent", True, 3.0)}
    assert {tuple(wish.given) for wish in found.values()} == {()}
    assert not many.unlisted(["a"], [], {}, TYPED)["a"].purge


def test_an_empty_list_does_not_remove_everything() -> None:
    with pytest.raises(MaqetError, match=r"would remove all VMs of this host \(a, b\)"):
        many.check_purge([], ["a", "b"])
    many.check_purge(["c"], ["a", "b"])
    many.check_purge([], [])


def test_who_gives_back_comes_first() -> None:
    states = {"a": "running", "b": "absent", "c": "present", "d": "stopped", "e": "restarted"}
    found = wishes(*({"name": name, "state": state} for name, state in states.items()))
    assert many.waves(found) == [["b", "d"], ["a", "c", "e"]]
    assert many.waves(wishes({"name": "a"})) == [["a"]]
    assert many.waves({}) == []


@pytest.mark.parametrize(
    ("max_fail", "of", "most"),
    [(None, 5, None), ("0", 5, 0), ("2", 5, 2), ("10%", 50, 5), (" 10% ", 9, 0), ("100%", 3, 3)],
)
def test_how_many_may_fail(max_fail: str | None, of: int, most: int | None) -> None:
    limit = many.limit(max_fail, of)
    assert limit.most == most
    assert limit.exceeded(of) == (most is not None and of > most)
    assert not limit.exceeded(most or 0)


@pytest.mark.parametrize("max_fail", ["", "-1", "many", "101%", "1.5", "%"])
def test_what_is_no_number(max_fail: str) -> None:
    with pytest.raises(MaqetError, match=r"max_fail: .* is no number of VMs"):
        many.limit(max_fail, 5)


def test_passwords_are_not_repeated() -> None:
    shown = many.to_show([{"name": "a", "vnc": {"password": "tr0ub4dor"}, "cloud_init": {"user_data": "secret"}}, "x"])
    assert "tr0ub4dor" not in str(shown) and "secret" not in str(shown)
    assert shown[0]["name"] == "a" and shown[1] == "x"


def test_one_result_of_all() -> None:
    ok = {"name": "a", "changed": True, "audit": [{"seq": 1}], "diff": {"before": {"x": 1}, "after": {"x": 2}}}
    same = {"name": "b", "changed": False, "audit": [], "diff": {"before": {}, "after": {}}}
    error = MaqetError("It broke.", "qemu_failed", changed=True, audit=[{"seq": 9}], log="words", name="other")
    bad = outcomes.failed("c", error)
    left = outcomes.not_begun("d", 0)
    result = outcomes.summary([ok, same, bad, left])
    assert result["changed"] is True
    assert result["diff"] == {"before": {"a": {"x": 1}}, "after": {"a": {"x": 2}}}
    assert result["audit"] == [{"seq": 1}, {"seq": 9}]
    assert [vm["name"] for vm in result["vms"]] == ["a", "b", "c", "d"]
    assert result["vms"][2]["log"] == "words" and result["vms"][2]["failed"]
    assert result["vms"][3]["skipped"] and not result["vms"][3]["changed"]
    failure = outcomes.failure(result["vms"], result)
    assert failure is not None and failure.error_code == "vms_failed"
    assert str(failure) == "1 of 4 VMs failed, 1 not begun. c: It broke."
    assert failure.details == result
    assert outcomes.failure(result["vms"][:2], result) is None


def test_many_failures_are_counted_rather_than_quoted() -> None:
    bad = [outcomes.failed(f"v{number}", MaqetError("No.", "x")) for number in range(9)]
    text = str(outcomes.failure(bad, {}))
    assert text.startswith("9 of 9 VMs failed. v0: No.; ") and text.endswith("v4: No.; and 4 others, see vms")


@pytest.mark.parametrize(
    ("state", "runs", "starts"),
    [
        ("running", False, True),
        ("running", True, False),
        ("paused", False, True),
        ("restarted", True, True),
        ("stopped", False, False),
        ("absent", True, False),
        ("present", False, False),
        (None, False, False),
    ],
)
def test_who_will_be_started(state: str | None, runs: bool, starts: bool) -> None:
    assert many.will_start(state, runs) is starts
