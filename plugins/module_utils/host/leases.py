# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The leases of the DHCP servers that hosts have on their bridges, from the files in which these keep them.

=================  =======================================================================================
dnsmasq            a line a lease: ``EXPIRY MAC ADDRESS NAME CLIENT``, EXPIRY 0 for ever (dnsmasq(8), --dhcp-leasefile)
NetworkManager     the same, for a shared connection
libvirt            a JSON list in ``BRIDGE.status``
systemd-networkd   from systemd 257 on, JSON with a list ``Leases``
=================  =======================================================================================
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import typing as t

# Of each server the file for a bridge.
_FILES = (
    "/var/lib/misc/dnsmasq.leases",
    "/var/lib/dnsmasq/dnsmasq.leases",
    "/var/lib/NetworkManager/dnsmasq-{bridge}.leases",
    "/var/lib/libvirt/dnsmasq/{bridge}.status",
    "/var/lib/systemd/network/dhcp-server-lease/{bridge}",
)
# More than a file of leases has, in bytes.
_MOST = 4 * 1024 * 1024


def files_of(bridge: str) -> list[str]:
    """Files in which leases for guests on ``bridge`` may stand, whether they exist or not."""
    return [path.format(bridge=bridge) for path in _FILES]


def read(path: str, since: float, now: t.Optional[float] = None) -> list[tuple[str, str]]:
    """(MAC, address) of the leases in a file that are still good; none if it was last written before ``since``.

    Both are seconds of time.time(). A lease says what a guest was given, not that it is there: hence ``since``.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            if os.fstat(file.fileno()).st_mtime < since:
                return []
            return parse(file.read(_MOST), time.time() if now is None else now)
    except OSError:
        return []


def parse(text: str, now: float) -> list[tuple[str, str]]:
    """(MAC, address) of the leases that have not run out at ``now``."""
    with contextlib.suppress(ValueError, RecursionError):
        told = json.loads(text)
        entries = told.get("Leases") if isinstance(told, dict) else told
        if isinstance(entries, list):
            parsed = [_json(entry, now) for entry in entries if isinstance(entry, dict)]
            return [lease for lease in parsed if lease is not None]
        return []
    parsed = [_line(line.split(), now) for line in text.splitlines()]
    return [lease for lease in parsed if lease is not None]


def _line(words: t.Sequence[str], now: float) -> t.Optional[tuple[str, str]]:
    if len(words) < 4 or not words[0].isdigit():
        return None
    expiry, mac, address = int(words[0]), words[1].lower(), words[2]
    return (mac, address) if (expiry == 0 or expiry > now) and len(mac) == 17 else None


def _json(entry: t.Mapping[str, t.Any], now: float) -> t.Optional[tuple[str, str]]:
    """libvirt's words, or networkd's."""
    mac, address, expiry = entry.get("mac-address"), entry.get("ip-address"), entry.get("expiry-time")
    if "Address" in entry:
        mac = _colons(entry.get("HardwareAddress"), 0) or _colons(entry.get("ClientId"), 1)
        address = ".".join(map(str, entry["Address"])) if isinstance(entry["Address"], list) else None
        real = entry.get("ExpirationRealtimeUSec")
        expiry = real / 1e6 if isinstance(real, int) else None
    if not isinstance(mac, str) or not isinstance(address, str):
        return None
    return None if isinstance(expiry, (int, float)) and 0 < expiry <= now else (mac.lower(), address)


def _colons(octets: t.Any, start: int) -> t.Optional[str]:
    """A MAC from a list of numbers; a client's id has the kind of its hardware before it (RFC 2132, 9.14)."""
    if not isinstance(octets, list) or len(octets) < start + 6:
        return None
    part = octets[start : start + 6]
    sound = all(isinstance(octet, int) and 0 <= octet < 256 for octet in part)
    return ":".join(f"{octet:02x}" for octet in part) if sound else None
