# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's messages about neighbours, and the table of this very host."""

from __future__ import annotations

import errno
import os
import socket
import struct

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host.neighbours import Neighbour, Neighbours, parse

MAC = bytes.fromhex("525400123456")
TICKS = os.sysconf("SC_CLK_TCK")


def attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def message(address: str = "192.0.2.10", mac: bytes = MAC, state: int = 2, kind: int = 28) -> bytes:
    """As linux/neighbour.h has it: reachable, on the interface 5, confirmed 3 seconds ago and updated 9."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    body = struct.pack("BxxxiHBB", family, 5, state, 0, 1)
    body += attribute(1, socket.inet_pton(family, address)) + attribute(2, mac)
    body += attribute(3, struct.pack("IIII", 3 * TICKS, 0, 9 * TICKS, 1))
    return struct.pack("IHHII", 16 + len(body), kind, 0, 1, 0) + body


def test_two_in_one_datagram() -> None:
    first, second = parse(message() + message("2001:db8::1", state=4))
    assert first == Neighbour(5, "52:54:00:12:34:56", "192.0.2.10", 3.0)
    assert second.address == "2001:db8::1"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        message()[:40],
        message(state=0x20),  # failed
        message(state=0x01),  # nobody has answered yet
        message(state=0x40),  # needs no answer
        message(kind=29),  # gone
        message(mac=b""),
        struct.pack("IHHII", 4, 28, 0, 1, 0) * 3,
        struct.pack("IHHII", 16, 3, 0, 1, 0),  # the end of the table
    ],
)
def test_what_tells_nothing(data: bytes) -> None:
    assert parse(data) == []


def test_this_host() -> None:
    """Whatever is in its table: it can be read, and read again."""
    with Neighbours() as table:
        assert all(isinstance(entry, Neighbour) for entry in table.read())
        assert table.read() == []


class Flood(socket.socket):
    """The kernel has always one more."""

    def recv(self, *_size: int) -> bytes:
        self.count = getattr(self, "count", 0) + 1
        if self.count > 10_000:
            pytest.fail("whoever waits for an address has no time to look at the clock")
        if self.count % 3 == 0:
            raise OSError(errno.ENOBUFS, "too fast")
        return message()

    def send(self, *_data: object) -> int:
        return 0


def test_more_of_them_than_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with Neighbours() as table, Flood() as flood:
        monkeypatch.setattr(table, "_socket", flood)
        assert 100 < len(table.read()) < 1000
        monkeypatch.undo()
