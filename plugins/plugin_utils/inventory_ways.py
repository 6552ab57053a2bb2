# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""By which address Ansible reaches a guest: one of its own, or a port of the hypervisor that leads into it."""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.qmp import addresses
from ansible_collections.maqet.qemu.plugins.plugin_utils.inventory_vms import Record

FAMILIES = ("ipv4", "ipv6")
SOURCES = ("agent", "lease", "neighbours")
# Types of cards at which others than QEMU and its own network reach the guest.
_REACHED = ("bridge", "tap", "macvtap")
_SSH = 22
_ANY = "0.0.0.0"  # what a rule may listen on
Network = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network, str]


@dataclasses.dataclass(frozen=True)
class Preference:
    """What is liked better stands first. A family or a source that is not named is not used at all."""

    families: t.Sequence[str] = FAMILIES
    networks: t.Sequence[Network] = ()
    sources: t.Sequence[str] = SOURCES


@dataclasses.dataclass(frozen=True)
class Hypervisor:
    """Where its ports are for us: its ``address``; ``local`` if it is the machine on which Ansible runs."""

    address: str
    local: bool


def network(text: str) -> Network:
    """An entry of ``prefer_networks``: addresses in CIDR form, the name of a bridge, or the id of a card.

    ValueError for what looks like addresses and is not.
    """
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        if "/" in text or ":" in text:
            raise ValueError(
                f"prefer_networks: {text!r} is neither a network such as 192.0.2.0/24, nor a bridge, nor a card "
                "such as nic0."
            ) from None
        return text


def way(record: Record, prefer: Preference, hypervisor: Hypervisor, forwards: bool) -> dict[str, t.Any]:
    """``ansible_host``, and ``ansible_port`` if it is a port of the hypervisor; nothing if no way is known."""
    address = _best(record, prefer)
    if address is not None:
        return {"ansible_host": address}
    if forwards and record["state"] != "stopped":
        return _forward(record["forwards"], hypervisor)
    return {}


def _best(record: Record, prefer: Preference) -> t.Optional[str]:
    cards = {card.get("mac"): card for card in record["networks"] if card.get("type") in _REACHED}
    if not cards:
        return None
    told = [{"mac": None, "family": None, "source": None, **address} for address in record["addresses"]]
    sound = [address for address in told if addresses.of_text(address.get("address")) is not None]
    ranked = [
        (
            _rank(address, cards[address["mac"]], prefer.networks),
            prefer.families.index(address["family"]),
            prefer.sources.index(address["source"]),
            index,
            str(address["address"]),
        )
        for index, address in enumerate(addresses.usable(sound, "any", list(cards)))
        if address["family"] in prefer.families and address["source"] in prefer.sources
    ]
    return min(ranked)[-1] if ranked else None


def _rank(address: Record, card: Record, networks: t.Sequence[Network]) -> int:
    """The place of the first network in which the address is; the last if it is in none."""
    parsed = ipaddress.ip_address(address["address"])
    for place, one in enumerate(networks):
        if one in (card.get("bridge"), card.get("id")) if isinstance(one, str) else parsed in one:
            return place
    return len(networks)


def _forward(rules: t.Sequence[Record], hypervisor: Hypervisor) -> dict[str, t.Any]:
    for rule in rules:
        if rule["protocol"] != "tcp" or rule.get("guest_port") != _SSH or "host_port" not in rule:
            continue
        at = rule["host_address"]
        if at == _ANY:
            return {"ansible_host": hypervisor.address, "ansible_port": rule["host_port"]}
        if addresses.of_text(at) is None or (ipaddress.ip_address(at).is_loopback and not hypervisor.local):
            continue  # only who is on the hypervisor gets there
        return {"ansible_host": at, "ansible_port": rule["host_port"]}
    return {}
