# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lease files as DHCP servers write them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host import leases

MAC = "52:54:00:12:34:56"
NOW = 1_764_000_000.0
OCTETS = [0x52, 0x54, 0, 0x12, 0x34, 0x56]
DNSMASQ = """\
1764003600 52:54:00:12:34:56 192.0.2.10 web1 01:52:54:00:12:34:56
1763999999 52:54:00:00:00:01 192.0.2.11 * *
0 52:54:00:00:00:02 192.0.2.12 * *
duid 00:01:00:01:2c:3d:4e:5f:52:54:00:00:00:01
1764003600 5 fd00::5 web1 00:01
"""


def networkd(**changes: object) -> str:
    lease = {
        "ClientId": [1, *OCTETS],
        "Address": [192, 0, 2, 10],
        "HardwareAddressType": 1,
        "HardwareAddressLength": 6,
        "HardwareAddress": [*OCTETS, *[0] * 10],
        "ExpirationRealtimeUSec": int((NOW + 3600) * 1e6),
        **changes,
    }
    return json.dumps({"Address": [192, 0, 2, 1], "PrefixLength": 24, "Leases": [lease]})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (DNSMASQ, [(MAC, "192.0.2.10"), ("52:54:00:00:00:02", "192.0.2.12")]),
        ("", []),
        ("some words\n", []),
        ("{}", []),
        ("5", []),
        ("[[]]", []),
        (networkd(), [(MAC, "192.0.2.10")]),
        (networkd(HardwareAddress=None), [(MAC, "192.0.2.10")]),
        (networkd(HardwareAddress=None, ClientId=[255, 1]), []),
        (networkd(ExpirationRealtimeUSec=1), []),
        (networkd(Address="192.0.2.10"), []),
        (
            json.dumps([{"mac-address": MAC.upper(), "ip-address": "192.0.2.10", "expiry-time": NOW + 1}]),
            [(MAC, "192.0.2.10")],
        ),
        (json.dumps([{"mac-address": MAC, "ip-address": "192.0.2.10", "expiry-time": NOW - 1}]), []),
    ],
)
def test_parse(text: str, found: list[tuple[str, str]]) -> None:
    assert leases.parse(text, NOW) == found


def test_a_file_that_was_not_written_since(tmp_path: Path) -> None:
    path = tmp_path / "leases"
    path.write_text(DNSMASQ)
    os.utime(path, (NOW, NOW))
    assert len(leases.read(str(path), NOW - 1, NOW)) == 2
    assert leases.read(str(path), NOW + 1, NOW) == []
    assert leases.read(str(tmp_path / "none"), 0) == []


def test_files_of_a_bridge() -> None:
    assert "/var/lib/systemd/network/dhcp-server-lease/br0" in leases.files_of("br0")
