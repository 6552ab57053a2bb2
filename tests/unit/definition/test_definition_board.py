# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Identity, clock and watchdog."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.changes import RECREATE, impact
from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import merge, normalise
from ansible_collections.maqet.qemu.tests.unit.definition.conftest import Refused

UUID = "0f4c2a9e-5d1b-4c38-9a77-2f1f6f0c1d2e"


@pytest.mark.parametrize(
    ("params", "intent"),
    [
        ({"uuid": UUID.upper()}, {"uuid": UUID}),
        ({"clock": {"base": None}}, {"clock": {}}),
        ({"clock": {"driftfix": "slew", "base": "utc", "source": "vm"}}, None),
        ({"clock": {"base": "2028-02-29"}}, {"clock": {"base": "2028-02-29T00:00:00"}}),
        ({"clock": {"base": "2030-01-31 12:13:14"}}, {"clock": {"base": "2030-01-31T12:13:14"}}),
        ({"watchdog": {}}, None),
        ({"watchdog": {"model": "ib700", "action": "pause"}}, None),
        ({"smbios": {"serial": "1", "product": "A, B", "oem_strings": ["x=y"], "sku": None}}, {"smbios": {
            "product": "A, B", "serial": "1", "oem_strings": ["x=y"],
        }}),
    ],
)  # fmt: skip
def test_normal_form(params: dict[str, t.Any], intent: dict[str, t.Any] | None) -> None:
    made = normalise(params)
    assert made == (intent or params)
    assert normalise(made) == made


@pytest.mark.parametrize(
    ("option", "params"),
    [
        ("uuid", {"uuid": "web1"}),
        ("uuid", {"uuid": UUID.replace("-", "")}),
        ("uuid", {"uuid": "00000000-0000-0000-0000-000000000000"}),
        ("uuid", {"uuid": UUID + "\n"}),
        ("clock.base", {"clock": {"base": "now"}}),
        ("clock.base", {"clock": {"base": "2030-02-29"}}),
        ("clock.base", {"clock": {"base": "1900-02-29"}}),
        ("clock.base", {"clock": {"base": "2030-13-01"}}),
        ("clock.base", {"clock": {"base": "2030-01-01T24:00:00"}}),
        ("clock.base", {"clock": {"base": "1800-01-01"}}),
        ("clock.base", {"clock": {"base": "2030-01-01T00:00:00,clock=vm"}}),
        ("clock.source", {"clock": {"source": "guest"}}),
        ("clock.driftfix", {"clock": {"driftfix": True}}),
        ("clock.clock", {"clock": {"clock": "vm"}}),
        ("watchdog", {"watchdog": "i6300esb"}),
        ("watchdog.model", {"watchdog": {"model": "tco"}}),
        ("watchdog.action", {"watchdog": {"action": "panic"}}),
        ("smbios.uuid", {"smbios": {"uuid": UUID}}),
        ("smbios.product", {"smbios": {"product": "a\nb"}}),
        ("smbios.serial", {"smbios": {"serial": 7}}),
        ("smbios.family", {"smbios": {"family": "a" * 256}}),
        ("smbios.oem_strings", {"smbios": {"oem_strings": "a"}}),
        ("smbios.oem_strings[1]", {"smbios": {"oem_strings": ["a", 5]}}),
    ],
)
def test_what_cannot_be(refused: Refused, option: str, params: dict[str, t.Any]) -> None:
    refused(option, normalise, params)


def test_a_uuid_is_no_part_of_what_is_stored_as_intent() -> None:
    """It is decided once, and stands beside the intent."""
    assert merge({}, normalise({"uuid": UUID, "memory": "1G"})) == {"memory": 1024}
    assert impact("uuid") == RECREATE
