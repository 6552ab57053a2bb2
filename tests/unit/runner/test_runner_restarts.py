# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which end is followed by a start, when, and when no more."""

from __future__ import annotations

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.ending import Ending, explain
from ansible_collections.maqet.qemu.plugins.module_utils.runner.restarts import (
    FIRST_PAUSE,
    LIMIT,
    LONGEST_PAUSE,
    STEADY,
    Decision,
    decide,
)
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import event

OFF = Ending("guest-shutdown", "")
QUIT = Ending("host-qmp-quit", "")
CRASH = explain(-11, [], "")


@pytest.mark.parametrize(
    ("reason", "on_failure", "always"),
    [
        ("host-qmp-quit", False, False),
        ("host-powerdown", False, False),
        ("host-signal", False, False),
        ("host-ui", False, False),
        ("guest-shutdown", False, True),
        ("guest-reset", False, True),
        ("host-qmp-system-reset", False, True),
        ("subsystem-reset", False, True),
        ("guest-panic", True, True),
        ("host-error", True, True),
        ("signal", True, True),
        ("qemu-error", True, True),
        ("host-down", True, True),
        ("unknown", True, True),
        ("of-tomorrow", True, True),
    ],
)
def test_policies(reason: str, on_failure: bool, always: bool) -> None:
    again = [decide(policy, Ending(reason, ""), 0, 5.0).pause is not None for policy in ("no", "on-failure", "always")]
    assert again == [False, on_failure, always]


def test_a_guest_that_powers_off_and_a_qemu_that_fails_at_it() -> None:
    end = explain(-6, [event("SHUTDOWN", guest=True, reason="guest-shutdown")], "")
    assert decide("on-failure", end, 0, 5.0) == Decision(FIRST_PAUSE, 1)


def test_who_was_told_to_quit_stays_down_however_it_ended() -> None:
    end = explain(-9, [event("SHUTDOWN", guest=False, reason="host-qmp-quit")], "")
    assert decide("always", end, 3, 5.0) == Decision(None, 0)


def test_pauses_grow_and_end() -> None:
    pauses, count = [], 0
    while True:
        decision = decide("on-failure", CRASH, count, 0.0)
        if decision.pause is None:
            break
        assert decision == Decision(decision.pause, count + 1)
        pauses.append(decision.pause)
        count = decision.count
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 60.0]
    assert decision == Decision(None, LIMIT, gave_up=True)
    assert (max(pauses), len(pauses)) == (LONGEST_PAUSE, LIMIT)


@pytest.mark.parametrize("count", [0, 1, LIMIT - 1, LIMIT, LIMIT + 5])
def test_one_that_has_run_long_enough_begins_a_new_row(count: int) -> None:
    assert decide("always", OFF, count, STEADY) == Decision(FIRST_PAUSE, 1)
    assert decide("always", OFF, count, STEADY - 0.1).gave_up == (count >= LIMIT)


@pytest.mark.parametrize("policy", ["no", "on-failure", "always"])
def test_no_start_again_is_no_row(policy: str) -> None:
    assert decide(policy, QUIT, LIMIT, 0.0) == Decision(None, 0)
    assert decide("no", CRASH, LIMIT, 0.0) == Decision(None, 0)


def test_a_policy_that_nobody_knows_starts_nothing() -> None:
    assert decide("sometimes", CRASH, 0, 0.0) == Decision(None, 0)
