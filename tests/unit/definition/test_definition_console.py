# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Graphics and VNC, and that a password is not shown."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.hidden import CHANGED, HIDDEN, hide, hide_both
from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import merge, normalise
from ansible_collections.maqet.qemu.tests.unit.definition.conftest import Refused


@pytest.mark.parametrize(
    ("vnc", "intent"),
    [
        ({}, {}),
        ({"password": "a,b=c ".strip(), "port": None}, {"password": "a,b=c"}),
        (
            {"port": "5900", "address": "FE80::1", "password": "x"},
            {"password": "x", "address": "fe80::1", "port": 5900},
        ),
        ({"port": 65535, "address": "0.0.0.0", "password": "12345678"}, None),
    ],
)
def test_normal_form(vnc: dict[str, t.Any], intent: dict[str, t.Any] | None) -> None:
    made = normalise({"display": "vnc", "vnc": vnc})
    assert made["vnc"] == (vnc if intent is None else intent)
    assert normalise(made) == made and merge({}, made) == made


@pytest.mark.parametrize(
    ("option", "params"),
    [
        ("vnc", {"vnc": "secret"}),
        ("vnc.port", {"vnc": {"port": 5899}}),
        ("vnc.port", {"vnc": {"port": 65536}}),
        ("vnc.address", {"vnc": {"address": "localhost"}}),
        ("vnc.address", {"vnc": {"address": "127.0.0.1:1"}}),
        ("vnc.tls", {"vnc": {"tls": True}}),
        ("video", {"video": "vmware"}),
        ("serial", {"serial": "pty"}),
    ],
)
def test_what_cannot_be(refused: Refused, option: str, params: dict[str, t.Any]) -> None:
    refused(option, normalise, params)


@pytest.mark.parametrize("password", ["", "123456789", "a b", "p\u00e4ss", 12345678, "a\n"])
def test_passwords_that_the_protocol_has_no_room_for(refused: Refused, password: t.Any) -> None:
    error = refused("vnc.password", normalise, {"vnc": {"password": password}})
    assert error.details["value"] == HIDDEN
    assert not password or repr(password) not in str(error)


@pytest.mark.parametrize(
    ("option", "params"),
    [
        ("vnc", {"vnc": {"password": "Hush"}}),
        ("vnc", {"display": "headless", "vnc": {"password": "Hush"}}),
        ("vnc.port", {"display": "vnc", "vnc": {"port": 5901}}),
        ("vnc.address", {"display": "vnc", "vnc": {"password": "Hush", "address": "::1"}}),
        ("video", {"video": "vga"}),
        ("video", {"display": "none", "video": "virtio"}),
    ],
)
def test_what_does_not_go_together(refused: Refused, option: str, params: dict[str, t.Any]) -> None:
    assert "Hush" not in json.dumps(refused(option, merge, {}, normalise(params)).as_dict())


def test_a_password_is_hidden_and_a_change_of_it_is_not() -> None:
    one: dict[str, t.Any] = {"memory": 5, "vnc": {"password": "Hush", "port": 5901}}
    other: dict[str, t.Any] = {"memory": 5, "vnc": {"password": "Rush", "port": 5901}}
    assert hide(one) == {"memory": 5, "vnc": {"password": HIDDEN, "port": 5901}}
    assert one["vnc"]["password"] == "Hush", "the intent itself is left alone"
    before, after = hide_both(one, other)
    assert (before["vnc"]["password"], after["vnc"]["password"]) == (HIDDEN, CHANGED)
    assert hide_both(one, one) == (hide(one), hide(one))
    assert hide_both({"vnc": None}, {"vnc": {"password": "Hush"}}) == ({"vnc": None}, {"vnc": {"password": HIDDEN}})
    assert hide({"memory": 5}) == {"memory": 5}
