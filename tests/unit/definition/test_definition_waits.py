# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task waits for."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.waits import Wait, wait_for


@pytest.mark.parametrize(
    ("given", "waits"),
    [
        (None, []),
        ([], []),
        ("running", [Wait("running")]),
        (["running", "exit"], [Wait("running"), Wait("exit")]),
        ([{"serial": "login: $"}], [Wait("serial", "login: $")]),
        ({"event": "SHUTDOWN"}, [Wait("event", "SHUTDOWN")]),
        ([{"event": "RTC_CHANGE"}, {"serial": "^a|b"}], [Wait("event", "RTC_CHANGE"), Wait("serial", "^a|b")]),
    ],
)
def test_wait_for(given: t.Any, waits: list[Wait]) -> None:
    assert wait_for(given) == waits


@pytest.mark.parametrize(
    ("given", "option"),
    [
        (["login"], "wait_for[0]"),
        (["running", "Running"], "wait_for[1]"),
        (["serial: login:"], "wait_for[0]"),
        ([5], "wait_for[0]"),
        ([None], "wait_for[0]"),
        ([{}], "wait_for[0]"),
        ([{"serial": "a", "event": "B"}], "wait_for[0]"),
        ([{"running": True}], "wait_for[0]"),
        ([{"serial": "("}], "wait_for[0].serial"),
        ([{"serial": ""}], "wait_for[0].serial"),
        ([{"serial": "(login)?"}], "wait_for[0].serial"),
        ([{"serial": None}], "wait_for[0].serial"),
        ([{"serial": "a{99999999999}"}], "wait_for[0].serial"),
        ([{"event": "shutdown"}], "wait_for[0].event"),
        ([{"event": "STOP\n"}], "wait_for[0].event"),
        ([{"event": ["STOP"]}], "wait_for[0].event"),
    ],
)
def test_refused(given: t.Any, option: str, refused: t.Any) -> None:
    refused(option, wait_for, given)


def test_a_broken_regex_says_what_is_wrong(refused: t.Any) -> None:
    assert "unterminated" in str(refused("wait_for[0].serial", wait_for, [{"serial": "(login"}]))
