# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network cards as users ask for them."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition import values
from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option

TYPES = ("user", "none")
MODELS = ("virtio-net-pci", "e1000", "e1000e", "rtl8139")
PROTOCOLS = ("tcp", "udp")
FIELDS = ("type", "model", "mac", "hostfwd")
FORWARD_FIELDS = ("protocol", "host_address", "host_port", "guest_address", "guest_port")
ANY_ADDRESS = "0.0.0.0"
LOOPBACK = "127.0.0.1"

_MAC = re.compile(r"[0-9a-f]{2}(?:([:-])[0-9a-f]{2})(?:\1[0-9a-f]{2}){4}", re.IGNORECASE | re.ASCII)
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
# QEMU's user network forwards IPv4 only.
_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")


def networks(option: str, value: t.Any) -> list[dict[str, t.Any]]:
    """Normal form of the list: only what was given. ``[{type: none}]`` is the same as an empty list."""
    items = values.list_of(option, value, "networks")
    result = [_network(f"{option}[{index}]", item) for index, item in enumerate(items)]
    for index, network in enumerate(result):
        if network["type"] == "none" and len(result) > 1:
            raise invalid_option(
                f"{option}[{index}].type", "none", "stands beside other networks", "Remove it, or remove the others."
            )
    if result and result[0]["type"] == "none":
        return []
    _check_macs(option, result)
    _check_ports(option, result)
    return result


def _network(option: str, value: t.Any) -> dict[str, t.Any]:
    given = values.fields(option, value, FIELDS)
    if "type" not in given:
        raise invalid_option(option, value, "has no type", f"Choose one of: {', '.join(TYPES)}.")
    network: dict[str, t.Any] = {"type": values.choice(f"{option}.type", given["type"], TYPES)}
    if network["type"] == "none" and len(given) > 1:
        key = next(key for key in given if key != "type")
        raise invalid_option(
            f"{option}.{key}", given[key], "needs a network card, and type none has none", f"Remove {key}."
        )
    if "model" in given:
        network["model"] = values.choice(f"{option}.model", given["model"], MODELS)
    if "mac" in given:
        network["mac"] = _mac(f"{option}.mac", given["mac"])
    if "hostfwd" in given:
        rules = values.list_of(f"{option}.hostfwd", given["hostfwd"], "port forwardings")
        network["hostfwd"] = [_forward(f"{option}.hostfwd[{index}]", rule) for index, rule in enumerate(rules)]
    return network


def _mac(option: str, value: t.Any) -> str:
    """A card's address in lower case with colons."""
    remedy = "Give six pairs of hexadecimal digits, such as 52:54:00:12:34:56, in quotes."
    mac = values.matching(option, value, _MAC, "is not a MAC address", remedy).lower().replace("-", ":")
    if int(mac[:2], 16) & 1:
        raise invalid_option(
            option, value, "is an address of a group, not of one card", "Make the first pair even, such as 52."
        )
    if mac == "00:00:00:00:00:00":
        raise invalid_option(option, value, "is all zeros, which QEMU replaces by one of its own", remedy)
    return mac


def _forward(option: str, value: t.Any) -> dict[str, t.Any]:
    given = values.fields(option, value, FORWARD_FIELDS)
    rule: dict[str, t.Any] = {}
    if "protocol" in given:
        rule["protocol"] = values.choice(f"{option}.protocol", given["protocol"], PROTOCOLS)
    for side in ("host", "guest"):
        address, port = f"{side}_address", f"{side}_port"
        if address in given:
            remedy = "Give an IPv4 address of four numbers, such as 127.0.0.1."
            rule[address] = values.matching(
                f"{option}.{address}", given[address], _IPV4, "is not an IPv4 address", remedy
            )
        if port not in given:
            raise invalid_option(option, value, f"has no {port}", "Give both host_port and guest_port.")
        rule[port] = values.whole_number(f"{option}.{port}", given[port], 1, 65535)
    return rule


def _check_macs(option: str, items: list[dict[str, t.Any]]) -> None:
    seen = set()
    for index, network in enumerate(items):
        mac = network.get("mac")
        if mac in seen:
            raise invalid_option(f"{option}[{index}].mac", mac, "is on another card already", "Give each card its own.")
        if mac:
            seen.add(mac)


def _check_ports(option: str, items: list[dict[str, t.Any]]) -> None:
    """Two rules cannot listen on the same port of the same address; 0.0.0.0 holds every address."""
    seen: dict[tuple[str, int], set[str]] = {}
    for index, network in enumerate(items):
        for number, rule in enumerate(network.get("hostfwd", ())):
            address = rule.get("host_address", LOOPBACK)
            others = seen.setdefault((rule.get("protocol", "tcp"), rule["host_port"]), set())
            if address in others or ANY_ADDRESS in others or (others and address == ANY_ADDRESS):
                raise invalid_option(
                    f"{option}[{index}].hostfwd[{number}].host_port",
                    rule["host_port"],
                    "is forwarded by another rule already",
                    "Give each rule its own host_port.",
                )
            others.add(address)
