# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task waits for."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.waits import (
    Wait,
    bridges,
    check_possible,
    forward,
    is_forwarded,
    wait_for,
)


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
        (["agent", {"agent": {"timeout": 120}}], [Wait("agent"), Wait("agent", timeout=120.0)]),
        ({"agent": {}}, [Wait("agent")]),
        ({"exit": {"timeout": "2.5"}}, [Wait("exit", timeout=2.5)]),
        (["ip", {"ip": "ipv6"}], [Wait("ip", "any"), Wait("ip", "ipv6")]),
        ({"ip": {"family": "ipv4", "timeout": 9}}, [Wait("ip", "ipv4", 9.0)]),
        (["ssh", {"ssh": 2222}], [Wait("ssh", port=22), Wait("ssh", port=2222)]),
        ({"ssh": {"timeout": 60, "address": "::0001"}}, [Wait("ssh", timeout=60.0, port=22, address="::1")]),
        ([{"port": 80}, {"port": {"port": "443"}}], [Wait("port", port=80), Wait("port", port=443)]),
        ("cloud_init", [Wait("cloud_init")]),
        ({"serial": {"regex": "x", "timeout": 5}}, [Wait("serial", "x", 5.0)]),
        ({"event": {"name": "STOP", "timeout": 5}}, [Wait("event", "STOP", 5.0)]),
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
        (["port"], "wait_for[0]"),
        ([{"port": {}}], "wait_for[0].port"),
        ([{"port": 0}], "wait_for[0].port"),
        ([{"port": {"port": 65536}}], "wait_for[0].port.port"),
        ([{"ssh": {"address": "web1"}}], "wait_for[0].ssh.address"),
        ([{"ssh": {"host": "::1"}}], "wait_for[0].ssh.host"),
        ([{"ip": "v4"}], "wait_for[0].ip"),
        ([{"ip": {"family": "v4"}}], "wait_for[0].ip.family"),
        ([{"agent": 120}], "wait_for[0]"),
        ([{"agent": {"timeout": 0}}], "wait_for[0].agent.timeout"),
        ([{"agent": {"timeout": True}}], "wait_for[0].agent.timeout"),
        ([{"agent": {"timeout": "nan"}}], "wait_for[0].agent.timeout"),
        ([{"agent": {"timeout": [1]}}], "wait_for[0].agent.timeout"),
        ([{"serial": {"timeout": 1}}], "wait_for[0].serial"),
    ],
)
def test_refused(given: t.Any, option: str, refused: t.Any) -> None:
    refused(option, wait_for, given)


def test_a_broken_regex_says_what_is_wrong(refused: t.Any) -> None:
    assert "unterminated" in str(refused("wait_for[0].serial", wait_for, [{"serial": "(login"}]))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("ssh", "ssh"),
        ({"ssh": 2222}, "ssh: 2222"),
        ({"port": {"port": 80, "address": "192.0.2.1"}}, "port: 192.0.2.1 port 80"),
        ("ip", "ip"),
        ({"ip": "ipv6"}, "ip: ipv6"),
        ({"serial": "a"}, "serial: a"),
    ],
)
def test_in_words(given: t.Any, words: str) -> None:
    assert [str(wait) for wait in wait_for(given)] == [words]


def _user(**rule: t.Any) -> dict[str, t.Any]:
    return {"type": "user", "hostfwd": [{"host_port": 2222, "guest_port": 22, **rule}]}


BRIDGED = {"type": "bridge", "bridge": "br0"}


@pytest.mark.parametrize(
    ("given", "intent"),
    [
        ("agent", {"agent": True}),
        ("ip", {"agent": True}),
        ("ip", {"networks": [BRIDGED]}),
        ("ssh", {"networks": [_user()]}),
        ("ssh", {"networks": [BRIDGED]}),
        ({"ssh": {"address": "192.0.2.1"}}, {}),
        ({"port": 22}, {"networks": [{"type": "tap"}], "agent": True}),
        ("cloud_init", {}),
        ("running", {"serial": "none"}),
    ],
)
def test_possible(given: t.Any, intent: dict[str, t.Any]) -> None:
    check_possible(wait_for(given), intent)


@pytest.mark.parametrize(
    ("given", "intent", "remedy"),
    [
        ("agent", {}, "agent: true"),
        ("ip", {"networks": [_user()]}, "agent: true"),
        ("ssh", {}, "hostfwd"),
        ("ssh", {"networks": [_user(guest_port=80)], "agent": True}, "guest_port: 22"),
        ("ssh", {"networks": [_user(protocol="udp")]}, "guest_port: 22"),
        ({"port": 22}, {"networks": [{"type": "tap"}]}, "Give an address"),
        ({"serial": "a"}, {"serial": "none"}, "serial: file"),
        ("cloud_init", {"serial": "none"}, "serial: file"),
        ("cloud_init", {"cloud_init": {"user_data": {"final_message": "done"}}}, "serial: PATTERN"),
        ("cloud_init", {"cloud_init": {"vendor_data": "#cloud-config\nfinal_message: done\n"}}, "serial: PATTERN"),
    ],
)
def test_impossible(given: t.Any, intent: dict[str, t.Any], remedy: str, refused: t.Any) -> None:
    error = refused("wait_for[1]", check_possible, [Wait("exit"), *wait_for(given)], intent)
    assert remedy in str(error)


def test_where_a_port_is_forwarded() -> None:
    cards = [_user(host_address="0.0.0.0"), _user(host_port=8080, guest_port=80, host_address="127.0.0.2")]
    assert forward(cards, 22) == ("127.0.0.1", 2222)
    assert forward(cards, 80) == ("127.0.0.2", 8080)
    assert forward(cards, 443) is None
    assert is_forwarded(cards, "192.0.2.1", 2222) and is_forwarded(cards, "127.0.0.2", 8080)
    assert not is_forwarded(cards, "127.0.0.1", 8080)
    assert bridges([_user(), BRIDGED]) == {1: "br0"}
