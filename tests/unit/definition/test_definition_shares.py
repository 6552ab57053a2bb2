# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shared folders in their normal form, and what cannot be."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.shares import shares
from ansible_collections.maqet.qemu.tests.unit.definition.conftest import Refused


def test_only_what_was_given_and_a_tag() -> None:
    assert shares("shares", []) == []
    given = [{"path": "/srv/a/", "readonly": None}, {"path": "/srv/b", "tag": "b", "readonly": True, "type": "9p"}]
    normal = [{"path": "/srv/a", "tag": "share0"}, {"path": "/srv/b", "tag": "b", "readonly": True, "type": "9p"}]
    assert shares("shares", given) == normal == shares("shares", normal)


@pytest.mark.parametrize(
    ("option", "given"),
    [
        ("shares", {"path": "/srv"}),
        ("shares[0]", [{"tag": "a"}]),
        ("shares[0]", ["/srv"]),
        ("shares[0].path", [{"path": "srv"}]),
        ("shares[0].path", [{"path": "/"}]),
        ("shares[0].path", [{"path": "///"}]),
        ("shares[0].tag", [{"path": "/srv", "tag": "a,b"}]),
        ("shares[0].tag", [{"path": "/srv", "tag": "a" * 32}]),
        ("shares[1].tag", [{"path": "/srv", "tag": "share1"}, {"path": "/srv"}]),
        ("shares[0].readonly", [{"path": "/srv", "readonly": "yes"}]),
        ("shares[0].type", [{"path": "/srv", "type": "nfs"}]),
        ("shares[0].security_model", [{"path": "/srv", "security_model": "passthrough"}]),
    ],
)
def test_what_cannot_be(refused: Refused, option: str, given: t.Any) -> None:
    refused(option, shares, "shares", given)
