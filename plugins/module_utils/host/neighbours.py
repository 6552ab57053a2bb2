# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's table of neighbours (ARP, and NDP for IPv6): who answers at which address, told by rtnetlink(7).

A guest gets into the table of a bridge when it and the host speak with each other: when it asks for the host's MAC,
as for that of its gateway, or when the host answers its DHCP request. It does not if the host has no address there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import socket
import struct
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.host.closing import Closing

# linux/rtnetlink.h, linux/netlink.h, linux/neighbour.h.
_RTM_NEWNEIGH, _RTM_GETNEIGH = 28, 30
_RTMGRP_NEIGH = 4
_NLM_F_REQUEST, _NLM_F_DUMP = 0x1, 0x300
_NDA_DST, _NDA_LLADDR, _NDA_CACHEINFO = 1, 2, 3
_HEADER = struct.Struct("IHHII")  # length, type, flags, sequence, port
_NEIGHBOUR = struct.Struct("BxxxiHBB")  # family, interface, state, flags, type
_CACHE = struct.Struct("IIII")  # ages in clock ticks: confirmed, used, updated; references
# reachable, stale, delay, probe, permanent: the MAC is known.
_KNOWN = 0x02 | 0x04 | 0x08 | 0x10 | 0x80
_MAX_DATAGRAM = 65536
# Datagrams that are read in one go.
_AT_ONCE = 256
# What nobody listens to (RFC 863): a datagram to it has the kernel ask whether the neighbour is still there.
_DISCARD = 9


@dataclasses.dataclass(frozen=True)
class Neighbour:
    """One entry. ``age``: seconds since the kernel has heard of it last."""

    interface: int
    mac: str
    address: str
    age: float


class Neighbours(Closing):
    """The table, and what changes in it. ``fd`` is readable when :meth:`read` has something."""

    def __init__(self) -> None:
        """Ask for the whole table, and subscribe to changes before; OSError if this host has no netlink for us."""
        flags = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, flags, socket.NETLINK_ROUTE)
        self.fd = self._socket.fileno()
        try:
            self._socket.bind((0, _RTMGRP_NEIGH))
            self._ask()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Unsubscribe."""
        self._socket.close()

    def read(self) -> list[Neighbour]:
        """Entries that have come since the last call, those of the table first; of many, the rest with the next call.

        Guests can have neighbours come faster than we read of them.
        """
        found: list[Neighbour] = []
        for _datagram in range(_AT_ONCE):
            try:
                found += parse(self._socket.recv(_MAX_DATAGRAM))
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._ask()  # changes were lost, so the table is read again
        return found

    def _ask(self) -> None:
        body = _NEIGHBOUR.pack(0, 0, 0, 0, 0)
        flags = _NLM_F_REQUEST | _NLM_F_DUMP
        self._socket.send(_HEADER.pack(_HEADER.size + len(body), _RTM_GETNEIGH, flags, 1, 0) + body)


def parse(data: bytes) -> list[Neighbour]:
    """The entries with a MAC in one datagram of the kernel's."""
    found = []
    while len(data) >= _HEADER.size:
        length, kind, _flags, _sequence, _port = _HEADER.unpack_from(data)
        if length < _HEADER.size or length > len(data):
            break
        if kind == _RTM_NEWNEIGH and length >= _HEADER.size + _NEIGHBOUR.size:
            entry = _entry(data[_HEADER.size : length])
            found += [] if entry is None else [entry]
        data = data[_aligned(length) :]
    return found


def _entry(body: bytes) -> t.Optional[Neighbour]:
    family, interface, state, _flags, _type = _NEIGHBOUR.unpack_from(body)
    if family not in (socket.AF_INET, socket.AF_INET6) or not state & _KNOWN:
        return None
    told = dict(_attributes(body[_aligned(_NEIGHBOUR.size) :]))
    address, mac = told.get(_NDA_DST, b""), told.get(_NDA_LLADDR, b"")
    if len(mac) != 6 or len(address) != (4 if family == socket.AF_INET else 16):
        return None
    age = 0.0
    if len(told.get(_NDA_CACHEINFO, b"")) >= _CACHE.size:
        confirmed, _used, updated, _count = _CACHE.unpack_from(told[_NDA_CACHEINFO])
        age = min(confirmed, updated) / os.sysconf("SC_CLK_TCK")
    return Neighbour(interface, mac.hex(":"), socket.inet_ntop(family, address), age)


def _attributes(data: bytes) -> t.Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        length, kind = struct.unpack_from("HH", data)
        if length < 4 or length > len(data):
            return
        yield kind, data[4:length]
        data = data[_aligned(length) :]


def _aligned(length: int) -> int:
    return (length + 3) & ~3


def stir(address: str, interface: int) -> None:
    """Have the kernel find out whether a neighbour that was there once still is; an answer changes the table."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    to = (address, _DISCARD, 0, interface) if family == socket.AF_INET6 else (address, _DISCARD)
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
        line.sendto(b"", to)
