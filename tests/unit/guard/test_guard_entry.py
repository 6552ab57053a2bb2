# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is let in, and what is written down of those who are not."""

from __future__ import annotations

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard import entry as room
from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import Caller
from ansible_collections.maqet.qemu.plugins.module_utils.guard.entry import Entry, by_role
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import BUILTIN, Policy, parse, unusable

VIEWERS = parse({"version": 1, "roles": {"viewer": {"users": [1000], "groups": [100]}}}, "/etc/maqet/policy.yml")


class Fixed:
    """A policy that a test changes at will."""

    path = "/etc/maqet/policy.yml"

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def current(self) -> Policy:
        return self.policy


def who(uid: int | None, *groups: int) -> Caller:
    return Caller(uid=uid, groups=groups)


@pytest.mark.parametrize(
    ("policy", "caller", "command", "rule"),
    [
        (VIEWERS, who(1000), "query-status", None),
        (VIEWERS, who(5, 100), "query-status", None),
        (VIEWERS, who(1000), "quit", "role"),
        (VIEWERS, who(5), "query-status", "no-role"),
        (VIEWERS, who(None), "query-status", "no-role"),
        (VIEWERS, who(0), "migrate", None),
        (VIEWERS, who(1000), "no-such-command", None),
        (BUILTIN, who(1000), "query-status", "no-role"),
        (unusable("x", "it is bad"), who(0), "quit", "policy-unusable"),
        (unusable("x", "it is bad"), who(0), "query-status", None),
        (unusable("x", "it is bad"), who(1000), "query-status", "no-role"),
    ],
)
def test_what_a_role_may_ask_for(policy: Policy, caller: Caller, command: str, rule: str | None) -> None:
    found = by_role(policy, caller, command)
    assert (None if found is None else found.rule) == rule
    assert found is None or (found.decision == "deny" and found.remedy)


def test_who_has_a_role_comes_in() -> None:
    heard: list[str] = []
    entry = Entry(Fixed(VIEWERS), lambda _caller, verdict: heard.append(verdict.rule))
    for caller in (who(0), who(1000), who(7, 100)):
        entry.demand(caller)
    assert heard == []


def test_the_refusal_names_user_file_and_remedy() -> None:
    heard: list[str] = []
    entry = Entry(Fixed(VIEWERS), lambda _caller, verdict: heard.append(verdict.rule))
    with pytest.raises(MaqetError, match=r"user 4242 has no role in /etc/maqet/policy\.yml\. .*viewer") as caught:
        entry.demand(who(4242))
    assert caught.value.error_code == "policy_denied"
    assert caught.value.details["decision"]["rule"] == "no-role"
    assert heard == ["no-role"]


def test_a_changed_policy_counts_at_once() -> None:
    source = Fixed(VIEWERS)
    entry = Entry(source, lambda _caller, _verdict: None)
    entry.demand(who(1000))
    source.policy = unusable(source.path, "the policy file is bad")
    with pytest.raises(MaqetError, match="while the policy file is bad"):
        entry.demand(who(1000))
    entry.demand(who(0))


class Clock:
    """A clock that a test winds."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(room, "time", clock)
    return clock


def refused(entry: Entry, uid: int, times: int = 1) -> None:
    for _time in range(times):
        with pytest.raises(MaqetError):
            entry.demand(who(uid))


def test_repeated_refusals_are_counted(clock: Clock) -> None:
    heard: list[tuple[int | None, str]] = []
    entry = Entry(Fixed(VIEWERS), lambda caller, verdict: heard.append((caller.uid, verdict.reason)))
    refused(entry, 7, 10)
    refused(entry, 8)
    assert [uid for uid, _reason in heard] == [7, 8]
    clock.now += room.QUIET - 1
    refused(entry, 7)
    assert len(heard) == 2
    clock.now += 1
    refused(entry, 7)
    assert heard[-1][1].endswith("(10 refusals since the last record)")
    clock.now += room.QUIET
    refused(entry, 7)
    assert heard[-1][1].endswith("policy.yml")


def test_many_users_cannot_fill_the_log(clock: Clock) -> None:
    heard: list[int | None] = []
    entry = Entry(Fixed(VIEWERS), lambda caller, _verdict: heard.append(caller.uid))
    for uid in range(2000, 4000):
        refused(entry, uid)
    assert len(heard) == room._MAX_USERS + 1
    clock.now += room.QUIET
    refused(entry, 9000)
    assert heard[-1] == 9000
