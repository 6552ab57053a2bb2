# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network cards: given, and in normal form."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.networks import networks

USER = {"type": "user"}


def forward(**changes: t.Any) -> dict[str, t.Any]:
    return {"host_port": 2222, "guest_port": 22, **changes}


def user(*rules: dict[str, t.Any], **more: t.Any) -> dict[str, t.Any]:
    return {**USER, "hostfwd": list(rules), **more}


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ([], []),
        ([{"type": "none"}], []),
        ([{"type": "none", "model": None}], []),
        ([USER], [USER]),
        ([USER, USER], [USER, USER]),
        ([{**USER, "model": "e1000e"}], [{"type": "user", "model": "e1000e"}]),
        ([{**USER, "mac": "52:54:00:AB:cd:EF"}], [{"type": "user", "mac": "52:54:00:ab:cd:ef"}]),
        ([{**USER, "mac": "52-54-00-ab-cd-ef"}], [{"type": "user", "mac": "52:54:00:ab:cd:ef"}]),
        ([user(forward())], [user(forward())]),
        ([user(forward(host_port="2222"))], [user(forward())]),
        (
            [user(forward(protocol="udp", host_address="0.0.0.0", guest_address="10.0.2.15"))],
            [user(forward(protocol="udp", host_address="0.0.0.0", guest_address="10.0.2.15"))],
        ),
        # The same port of another protocol or another address is another port.
        ([user(forward(), forward(protocol="udp"))], [user(forward(), forward(protocol="udp"))]),
        (
            [user(forward(), forward(host_address="127.0.0.2"))],
            [user(forward(), forward(host_address="127.0.0.2"))],
        ),
    ],
)
def test_normal_form(given: t.Any, normal: t.Any) -> None:
    assert networks("networks", given) == normal


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ("user", "networks"),
        (USER, "networks"),
        (["user"], "networks[0]"),
        ([{}], "networks[0]"),
        ([{"model": "e1000"}], "networks[0]"),
        ([{"type": "bridge"}], "networks[0].type"),
        ([{"type": "none"}, USER], "networks[0].type"),
        ([USER, {"type": "none"}], "networks[1].type"),
        ([{"type": "none"}, {"type": "none"}], "networks[0].type"),
        ([{"type": "none", "model": "e1000"}], "networks[0].model"),
        ([{**USER, "model": "virtio,netdev=x"}], "networks[0].model"),
        ([{**USER, "bridge": "br0"}], "networks[0].bridge"),
        ([{**USER, "mac": "52:54:00:ab:cd"}], "networks[0].mac"),
        ([{**USER, "mac": "52:54-00:ab:cd:ef"}], "networks[0].mac"),
        ([{**USER, "mac": "52:54:00:ab:cd:ef\n"}], "networks[0].mac"),
        ([{**USER, "mac": "53:54:00:ab:cd:ef"}], "networks[0].mac"),
        ([{**USER, "mac": "ff:ff:ff:ff:ff:ff"}], "networks[0].mac"),
        ([{**USER, "mac": "00:00:00:00:00:00"}], "networks[0].mac"),
        ([{**USER, "mac": 525400}], "networks[0].mac"),
        ([{**USER, "mac": "52:54:00:00:00:01"}, {**USER, "mac": "52-54-00-00-00-01"}], "networks[1].mac"),
        ([{**USER, "hostfwd": "tcp::22-:22"}], "networks[0].hostfwd"),
        ([user({"host_port": 22})], "networks[0].hostfwd[0]"),
        ([user({"guest_port": 22})], "networks[0].hostfwd[0]"),
        ([user(forward(host_port=0))], "networks[0].hostfwd[0].host_port"),
        ([user(forward(host_port=65536))], "networks[0].hostfwd[0].host_port"),
        ([user(forward(host_port=True))], "networks[0].hostfwd[0].host_port"),
        ([user(forward(guest_port="ssh"))], "networks[0].hostfwd[0].guest_port"),
        ([user(forward(protocol="sctp"))], "networks[0].hostfwd[0].protocol"),
        ([user(forward(host_address="localhost"))], "networks[0].hostfwd[0].host_address"),
        ([user(forward(host_address="::1"))], "networks[0].hostfwd[0].host_address"),
        ([user(forward(host_address="127.0.0.256"))], "networks[0].hostfwd[0].host_address"),
        ([user(forward(host_address="127.0.0.01"))], "networks[0].hostfwd[0].host_address"),
        ([user(forward(guest_address="10.0.2"))], "networks[0].hostfwd[0].guest_address"),
        ([user(forward(port=1))], "networks[0].hostfwd[0].port"),
        ([user(forward(), forward(guest_port=80))], "networks[0].hostfwd[1].host_port"),
        ([user(forward()), user(forward())], "networks[1].hostfwd[0].host_port"),
        ([user(forward(), forward(host_address="0.0.0.0"))], "networks[0].hostfwd[1].host_port"),
        ([user(forward(host_address="0.0.0.0"), forward())], "networks[0].hostfwd[1].host_port"),
    ],
)
def test_refused(given: t.Any, option: str, refused: t.Any) -> None:
    refused(option, networks, "networks", given)
