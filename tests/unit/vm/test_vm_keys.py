# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How maqet_keys types: what it sends in which portions, when it stops, and what of a text can be read afterwards."""

from __future__ import annotations

import json
import time
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.keyboard import PROBE
from ansible_collections.maqet.qemu.plugins.module_utils.vm import keys
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import PATIENCE, Message
from ansible_collections.maqet.qemu.tests.unit.vm.stand_in import StandIn
from ansible_collections.maqet.qemu.tests.unit.vm.world import FakeVm

SECRET = "Tr0ub4dor-and-3"
LONG = "x" * 250  # three portions: a hundred of such keys fit into one


@pytest.fixture
def runner(vm: FakeVm, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[StandIn]:
    monkeypatch.setattr(keys, "layout", lambda: vm.where)
    with StandIn(vm) as server:
        yield server


def params(**given: t.Any) -> Message:
    rest = {"layout": "us", "hold_ms": 1, "timeout": PATIENCE, "reason": ""}
    return {"vm": "web", "keys": None, "text": None, **rest, **given}


def typing(check: bool = False, **given: t.Any) -> Message:
    return keys.run(keys.checked(params(**given), check, {"task": "type"}))


def failing(check: bool = False, **given: t.Any) -> MaqetError:
    with pytest.raises(MaqetError) as caught:
        typing(check, **given)
    return caught.value


def names(command: Message) -> str:
    return "-".join(key["data"] for key in command["arguments"]["keys"])


def test_keys_in_order_behind_a_probe(runner: StandIn) -> None:
    result = typing(keys=["ctrl-alt-f2", "ret"], hold_ms=2, reason="ticket 4711")
    assert (result["changed"], result["typed"], result["decision"]["decision"]) == (True, 2, "allow")
    assert len(result["audit"]) == 6 and result["events"] == []
    (asked,) = runner.asked
    assert asked["commands"][0] == PROBE
    assert [names(command) for command in asked["commands"][1:]] == ["ctrl-alt-f2", "ret"]
    assert {command["arguments"]["hold-time"] for command in asked["commands"][1:]} == {2}
    assert (asked["reason"], asked["context"], asked["allow_dangerous"]) == ("ticket 4711", {"task": "type"}, False)


def test_a_long_text_goes_in_portions_and_was_judged_before(runner: StandIn) -> None:
    result = typing(text=LONG + "\n")
    judged, *parts = runner.asked
    assert judged["explain"] and [names(command) for command in judged["commands"][1:]] == ["x", "ret"]
    assert [len(part["commands"]) - 1 for part in parts] == [100, 100, 51]
    assert all(part["commands"][0] == PROBE for part in parts)
    assert (result["typed"], len(result["audit"])) == (251, 2 * (251 + 3))


def test_it_takes_the_time_that_qemu_takes(runner: StandIn) -> None:
    begun = time.monotonic()
    typing(keys=["a", "shift-b"], hold_ms=50)
    assert 0.3 <= time.monotonic() - begun < PATIENCE


def test_check_mode_judges_all_and_sends_nothing(runner: StandIn) -> None:
    result = typing(check=True, text=LONG)
    assert (result["changed"], result["typed"], result["audit"]) == (True, 250, [])
    assert [asked["check"] for asked in runner.asked] == [True] and runner.sent == []
    runner.state = "paused"
    assert failing(check=True, text="x").error_code == "vm_paused"


@pytest.mark.parametrize("text", ["xyz", LONG + "y"])
def test_a_denial_comes_before_the_first_key_and_is_recorded(runner: StandIn, text: str) -> None:
    runner.denies = lambda command: command != PROBE and names(command) == "y"
    error = failing(text=text)
    assert error.error_code == "policy_denied" and error.details["decision"]["decision"] == "deny"
    assert error.details["audit"] == [{"phase": "deny"}], "one record, on the host too"
    assert (error.details["typed"], error.details["changed"]) == (0, False)
    denied = failing(check=True, text=text)
    assert denied.error_code == "policy_denied" and denied.details["audit"] == []


@pytest.mark.parametrize(
    ("words", "code"),
    [("VM not running", "vm_paused"), ("Input handler not found for event type key", "no_keyboard")],
)
def test_a_machine_that_does_not_listen(runner: StandIn, words: str, code: str) -> None:
    runner.refuses = lambda command: {"qmp_desc": words} if command == PROBE else None
    error = failing(text="x")
    assert (error.error_code, error.details["typed"], error.details["changed"]) == (code, 0, False)
    assert len(error.details["audit"]) == 2 and "responses" not in error.details


def test_a_failure_half_way_says_how_far_it_came(runner: StandIn) -> None:
    count = iter(range(1000))
    runner.refuses = lambda command: {"qmp_desc": "full"} if next(count) == 151 else None
    error = failing(text=LONG)
    assert error.error_code == "qmp_error"
    assert (error.details["typed"], error.details["changed"]) == (149, True), "two of 151 commands were probes"
    assert len(error.details["audit"]) == 2 * 152


@pytest.mark.parametrize(("event", "code"), [("STOP", "vm_paused"), ("SHUTDOWN", "vm_not_running")])
def test_a_guest_that_stops_ends_the_typing(runner: StandIn, event: str, code: str) -> None:
    runner.then = lambda: runner.tell(event) if runner.sent else None
    error = failing(text=LONG, hold_ms=1000)
    assert error.error_code == code and "after 100 of 250" in str(error)
    assert error.details["events"][0]["event"] == event and error.details["typed"] == 100


@pytest.mark.parametrize(("event", "warnings"), [("SHUTDOWN", 0), ("STOP", 1)])
def test_a_guest_that_stops_at_the_last_key_has_got_them_all(runner: StandIn, event: str, warnings: int) -> None:
    """The last key may be the reason: power, or the end of a line that says poweroff."""
    runner.then = lambda: runner.tell(event)
    result = typing(keys=["power"], hold_ms=60_000)
    assert [happened["event"] for happened in result["events"]] == [event]
    assert len(keys.warnings(result)) == warnings


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"text": ""}, "text"),
        ({"keys": []}, "keys"),
        ({"keys": ["a", "enter"]}, "keys[1]"),
        ({"keys": ["a"], "hold_ms": 0}, "hold_ms"),
        ({"keys": ["a"], "hold_ms": 60_001}, "hold_ms"),
        ({"keys": ["a"], "timeout": 0}, "timeout"),
        ({"text": "x" * 10_001}, "text"),
        ({"keys": ["a"], "vm": "../x"}, "name"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_asked(runner: StandIn, given: Message, option: str) -> None:
    error = failing(**given)
    assert (error.error_code, error.details["option"]) == ("invalid_option", option)
    assert "xxx" not in json.dumps([str(error), error.details]) and runner.asked == []


def test_a_text_is_not_repeated(runner: StandIn) -> None:
    given = params(text=f"root\n{SECRET}\n", reason=f"the password is {SECRET}, of root")
    shown = keys.shown(given)
    assert shown == {
        "text": {"redacted": True, "len": len(given["text"])},
        "reason": "the password is <redacted>, of <redacted>",
    }
    typing(**{key: given[key] for key in ("text", "reason")})
    assert SECRET not in runner.asked[0]["reason"]
    assert keys.shown(params(keys=["a"]))["text"] is None
