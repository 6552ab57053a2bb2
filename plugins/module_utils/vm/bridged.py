# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses of a guest on a bridge, as the host sees them: its neighbours, and its DHCP servers' leases."""

from __future__ import annotations

import contextlib
import os
import socket
import time
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.host import leases
from ansible_collections.maqet.qemu.plugins.module_utils.host.neighbours import Neighbours, stir
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import age
from ansible_collections.maqet.qemu.plugins.module_utils.host.watch import Folder
from ansible_collections.maqet.qemu.plugins.module_utils.qmp import addresses
from ansible_collections.maqet.qemu.plugins.module_utils.vm.awaited import Found, Source, Watched


class Bridged(Source):
    """An address on a card of the VM that somebody has told since QEMU was started. ``cards``: MAC and its bridge."""

    def __init__(self, watched: Watched, cards: t.Mapping[str, str], family: str, once: bool = False) -> None:
        """``once``: nobody is going to wait for what comes later, so nothing is watched."""
        self._family = family
        self._cards = dict(cards)
        self._started = age(watched.qemu)  # its age now; it was started that long before
        self._begun = time.monotonic()
        self._since = time.time() - self._started
        self._stirred: set[str] = set()
        self._neighbours = Neighbours()
        self._paths = sorted({path for bridge in cards.values() for path in leases.files_of(bridge)})
        self._folders: list[Folder] = []
        for folder in () if once else sorted({os.path.dirname(path) for path in self._paths}):
            with contextlib.suppress(OSError):  # no such server here
                self._folders.append(Folder(folder, written=True))
        self._told: dict[str, dict[str, t.Any]] = {}
        self._by_lease: set[str] = set()
        self._fresh = True

    def look(self, ended: bool) -> t.Optional[Found]:
        source = "neighbours"
        self._heard()
        can = self._usable()
        if not can and self._woken():
            source = "lease"
            self._read_leases()
            can = self._usable()
        return Found({"source": source, "addresses": can}) if can else None

    def known(self) -> list[dict[str, t.Any]]:
        """All that is told at this moment, each address with its ``source``: ``lease`` or ``neighbours``."""
        self._read_leases()
        self._heard()
        return [
            {**address, "source": "lease" if address["address"] in self._by_lease else "neighbours"}
            for address in self._usable()
        ]

    def fds(self) -> list[int]:
        return [self._neighbours.fd, *(folder.fd for folder in self._folders)]

    def seen(self) -> str:
        where = ", ".join(f"{mac} on {bridge}" for mac, bridge in sorted(self._cards.items()))
        told = addresses.in_words(list(self._told.values()))
        return (
            f"no address of {where} in the host's neighbours and leases that is newer than this QEMU (of them: {told})"
        )

    def close(self) -> None:
        self._neighbours.close()
        for folder in self._folders:
            folder.close()

    def _heard(self) -> None:
        uptime = self._started + time.monotonic() - self._begun
        for entry in self._neighbours.read():
            bridge = self._cards.get(entry.mac)
            if bridge is None or entry.interface != _index(bridge):
                continue
            if entry.age <= uptime:
                self._tell(entry.mac, entry.address)
            elif entry.address not in self._stirred:  # of the guest's life before this one, maybe
                self._stirred.add(entry.address)
                stir(entry.address, entry.interface)

    def _read_leases(self) -> None:
        for path in self._paths:
            for mac, text in leases.read(path, self._since):
                self._by_lease.update(self._tell(mac, text))

    def _woken(self) -> bool:
        """Whether a lease file may have changed since the last look; at first, all may."""
        woken, self._fresh = self._fresh, False
        for folder in self._folders:
            woken = folder.read() or woken
        return woken

    def _tell(self, mac: str, text: str) -> list[str]:
        """Note an address of one of our cards; those that were noted."""
        address = addresses.of_text(text)
        if address is None or mac not in self._cards:
            return []
        self._told[address["address"]] = {"interface": self._cards[mac], "mac": mac, **address, "prefix": None}
        return [address["address"]]

    def _usable(self) -> list[dict[str, t.Any]]:
        return addresses.usable(self._told.values(), self._family, self._cards)


def _index(bridge: str) -> t.Optional[int]:
    try:
        return socket.if_nametoindex(bridge)
    except OSError:
        return None
