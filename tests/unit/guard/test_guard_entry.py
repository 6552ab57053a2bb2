# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The door: who may come in, what is said to who may not, and how often that is recorded."""

from __future__ import annotations

import time

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard import entry as room
from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import Caller
from ansible_collections.maqet.qemu.plugins.module_utils.guard.entry import QUIET, Entry
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import Policy, parse, unusable
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Verdict

FILE = "/etc/maqet/policy.yml"


class Door:
    """An entry with a policy, a clock and a record that tests can look at."""

    path = FILE

    def __init__(self) -> None:
        self.policy = parse({"version": 1, "roles": {"viewer": {"users": [1000], "groups": [20]}}}, FILE)
        self.recorded: list[tuple[Caller, Verdict]] = []
        self.now = 1.1
        self.entry = Entry(self, lambda caller, verdict: self.recorded.append((caller, verdict)))

    def current(self) -> Policy:
        return self.policy

    def turns_away(self, uid: int, *groups: int) -> MaqetError:
        with pytest.raises(MaqetError) as caught:
            self.entry.demand(Caller(uid=uid, groups=groups))
        return caught.value


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    made = Door()
    monkeypatch.setattr(time, "monotonic", lambda: made.now)
    return made


def test_who_has_a_role_comes_in(door: Door) -> None:
    for caller in (Caller(uid=0), Caller(uid=1000), Caller(uid=7, groups=(7, 20))):
        door.entry.demand(caller)
    assert door.recorded == []


def test_who_has_none_is_told_so(door: Door) -> None:
    error = door.turns_away(1001, 1001)
    assert error.error_code == "policy_denied"
    assert str(error) == (
        f"The runner does not talk to you: user 1001 has no role in {FILE}. "
        "Its administrator can give one, such as roles: {viewer: {users: [1001]}}."
    )
    assert error.details["audit"] == [] and error.details["decision"]["rule"] == "no-role"
    ((caller, verdict),) = door.recorded
    assert caller.uid == 1001
    assert (verdict.decision, verdict.command_class, verdict.level) == ("deny", "unknown", "warning")


def test_who_is_not_known_at_all(door: Door) -> None:
    with pytest.raises(MaqetError, match="user -1 has no role"):
        door.entry.demand(Caller())


def test_the_policy_of_this_moment_counts(door: Door) -> None:
    door.entry.demand(Caller(uid=1000))
    door.policy = unusable(FILE, "the policy file is everybody's")
    assert "user 1000 has no role while the policy file is everybody's" in str(door.turns_away(1000))
    door.entry.demand(Caller(uid=0))
    door.policy = parse({"version": 1}, FILE)
    assert "has no role in" in str(door.turns_away(1000))


@pytest.mark.parametrize("now", [0.0, 0.1, 1.1, 59.99, 12345.678])
def test_the_first_refusal_is_recorded_at_any_time(door: Door, now: float) -> None:
    """Also in the first minute of a host's life."""
    door.now = now
    for uid in range(2000, 2050):
        door.turns_away(uid)
        door.now += 0.001
    assert len(door.recorded) == 50


def test_one_user_is_recorded_once_a_minute_and_the_rest_is_counted(door: Door) -> None:
    for _attempt in range(5):
        door.turns_away(1001)
        door.now += 1
    assert len(door.recorded) == 1
    door.turns_away(1002)
    assert [caller.uid for caller, _verdict in door.recorded] == [1001, 1002]
    door.now += QUIET
    door.turns_away(1001)
    assert door.recorded[-1][1].reason.endswith("(4 refusals since the last record)")
    door.now += QUIET
    door.turns_away(1001)
    assert "since" not in door.recorded[-1][1].reason


def test_thousands_of_users_share_what_is_left(door: Door) -> None:
    """One person can have thousands of ids in user namespaces: neither memory nor the log may be theirs."""
    for uid in range(10_000, 15_000):
        door.turns_away(uid)
    assert len(door.recorded) == room._MAX_USERS + 1
    assert len(door.entry._refused) == room._MAX_USERS + 1
    door.now += QUIET
    door.turns_away(20_000)
    assert door.recorded[-1][0].uid == 20_000
    assert len(door.entry._refused) == room._MAX_USERS + 1
