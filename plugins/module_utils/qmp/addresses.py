# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses of a guest in one form, whoever told them. What the guest says is checked: it may be anything."""

from __future__ import annotations

import ipaddress
import re
import typing as t

Address = t.Dict[str, t.Any]

FAMILIES = ("any", "ipv4", "ipv6")
# More than any guest has; the rest is left out.
_MOST = 1000
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def of_agent(interfaces: t.Any) -> list[Address]:
    """Each address in the answer to guest-network-get-interfaces: ``interface mac family address prefix``."""
    found: list[Address] = []
    for interface in interfaces if isinstance(interfaces, list) else []:
        if not isinstance(interface, dict):
            continue
        name, mac = str(interface.get("name", ""))[:255], hardware(interface.get("hardware-address"))
        told = interface.get("ip-addresses")
        for one in told if isinstance(told, list) else []:
            address = of_text(one.get("ip-address")) if isinstance(one, dict) else None
            if address is None:
                continue
            prefix = one.get("prefix")
            sound = isinstance(prefix, int) and 0 <= prefix <= 128
            found.append({"interface": name, "mac": mac, **address, "prefix": prefix if sound else None})
    return found[:_MOST]


def of_text(text: t.Any) -> t.Optional[Address]:
    """``family`` and ``address`` of an address as it is written, without a zone; None if it is none."""
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0] if isinstance(text, str) else "")
    except ValueError:
        return None
    return {"family": f"ipv{parsed.version}", "address": str(parsed)}


def hardware(text: t.Any) -> t.Optional[str]:
    """A MAC address in lower case with colons, or None."""
    mac = text.lower() if isinstance(text, str) else ""
    return mac if _MAC.fullmatch(mac) else None


def usable(addresses: t.Iterable[Address], family: str, macs: t.Collection[str]) -> list[Address]:
    """Those by which others reach the guest: no loopback, none of the link alone, on one of the cards ``macs``.

    Any interface will do where ``macs`` is empty. A container's bridge in the guest has a MAC of its own.
    """
    return [
        address
        for address in addresses
        if (not macs or address["mac"] in macs)
        and family in ("any", address["family"])
        and _reaches(ipaddress.ip_address(address["address"]))
    ]


def _reaches(address: t.Union[ipaddress.IPv4Address, ipaddress.IPv6Address]) -> bool:
    return not (address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast)


def in_words(addresses: t.Sequence[Address]) -> str:
    """For a message: what there is, however little use it is."""
    told = [f"{address['interface']} {address['address']}" for address in addresses[:8]]
    return ", ".join(told) or "none"
