# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import datetime as dt
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.wanted import Wanted, moment

NOW = dt.datetime(2025, 1, 31, 12, 0, 0, tzinfo=dt.timezone.utc)
RECORD: dict[str, t.Any] = {
    "time": "2025-01-31T10:11:12.123456Z",
    "op": "quit",
    "class": "availability",
    "decision": "allow",
    "phase": "intent",
    "uid": 0,
    "auid": 1000,
    "controller": {"user": "ann"},
}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2025-01-31T10:00:00Z", "2025-01-31T10:00:00.000000Z"),
        ("2025-01-31T10:00:00", "2025-01-31T10:00:00.000000Z"),
        ("2025-01-31 10:00:00.5+02:00", None),
        ("2025-01-31T10:00:00.500000+02:00", "2025-01-31T08:00:00.500000Z"),
        ("2025-01-31", "2025-01-31T00:00:00.000000Z"),
        ("90s", "2025-01-31T11:58:30.000000Z"),
        ("15m", "2025-01-31T11:45:00.000000Z"),
        ("2h", "2025-01-31T10:00:00.000000Z"),
        ("7d", "2025-01-24T12:00:00.000000Z"),
        ("1w", "2025-01-24T12:00:00.000000Z"),
    ],
)
def test_times(value: str, expected: str | None) -> None:
    if expected is not None:
        assert moment("since", value, NOW) == expected


@pytest.mark.parametrize("value", ["", "yesterday", "2025-13-01", "-1h", "1y", "999999999w", "10:00"])
def test_times_that_are_none(value: str) -> None:
    with pytest.raises(MaqetError, match=r"^since: .*is not a time\. Give"):
        moment("since", value, NOW)
    assert moment("since", None, NOW) is None


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        ({}, True),
        ({"since": "2025-01-31T10:11:12.123456Z"}, True),
        ({"since": "2025-01-31T10:11:12.123457Z"}, False),
        ({"until": "2025-01-31T10:11:12.123456Z"}, True),
        ({"until": "2025-01-31T10:11:12.123455Z"}, False),
        ({"classes": {"read", "availability"}}, True),
        ({"classes": {"read"}}, False),
        ({"decisions": {"deny"}}, False),
        ({"commands": {"quit"}}, True),
        ({"phases": {"result"}}, False),
        ({"users": {"0"}}, True),
        ({"users": {"1000"}}, True),
        ({"users": {"ann"}}, True),
        ({"users": {"bob", "1"}}, False),
        ({"classes": {"availability"}, "users": {"bob"}}, False),
    ],
)
def test_what_is_taken(wanted: dict[str, t.Any], taken: bool) -> None:
    given: dict[str, t.Any] = {
        key: frozenset(value) if isinstance(value, set) else value for key, value in wanted.items()
    }
    assert Wanted(**given).takes(RECORD) is taken


def test_records_without_a_command() -> None:
    mark = {"time": RECORD["time"], "phase": "start", "vm": "web"}
    assert Wanted().takes(mark) and Wanted(phases=frozenset({"start"})).takes(mark)
    assert not Wanted(users=frozenset({"0"})).takes(mark)
