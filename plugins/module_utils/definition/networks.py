# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network cards as users ask for them. What a type alone has is checked in ``network_types.py``."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition import network_types, values
from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option

MODELS = ("virtio-net-pci", "e1000", "e1000e", "rtl8139")
VIRTIO = "virtio-net-pci"
TYPES = ("user", *network_types.ON_HOST, "socket", "none")
LOOPBACK = "127.0.0.1"
ANY_ADDRESS = "0.0.0.0"
# The kernel's bounds for a tap (drivers/net/tun.c); a virtio card has the same lower one.
_MTU = (68, 65521)
# What QEMU's own network sends at most: libslirp knows no other.
_USER_MTU = 1500
_MAX_QUEUES = 64

_MAC = re.compile(r"[0-9a-f]{2}(?:([:-])[0-9a-f]{2})(?:\1[0-9a-f]{2}){4}", re.IGNORECASE | re.ASCII)


def networks(option: str, value: t.Any) -> list[dict[str, t.Any]]:
    """Normal form of the list: only what was given. ``[{type: none}]`` is the same as an empty list."""
    items = values.list_of(option, value, "networks")
    result = [one_network(f"{option}[{index}]", item) for index, item in enumerate(items)]
    for index, network in enumerate(result):
        if network["type"] == "none" and len(result) > 1:
            raise invalid_option(
                f"{option}[{index}].type", "none", "stands beside other networks", "Remove it, or remove the others."
            )
    if result and result[0]["type"] == "none":
        return []
    for key in ("mac", "tap", "peer", "local"):
        _check_once(option, result, key)
    _check_ports(option, result)
    return result


def one_network(option: str, value: t.Any) -> dict[str, t.Any]:
    """Normal form of one of them: only what was given."""
    given = values.fields(option, value, _FIELDS)
    if "type" not in given:
        raise invalid_option(option, value, "has no type", f"Choose one of: {', '.join(TYPES)}.")
    kind = values.choice(f"{option}.type", given["type"], TYPES)
    network: dict[str, t.Any] = {"type": kind}
    _check_fields(option, kind, given)
    if "model" in given:
        network["model"] = values.choice(f"{option}.model", given["model"], MODELS)
    if "mac" in given:
        network["mac"] = _mac(f"{option}.mac", given["mac"])
    if "mtu" in given:
        network["mtu"] = _mtu(f"{option}.mtu", given["mtu"], network)
    if "queues" in given:
        network["queues"] = _queues(f"{option}.queues", given["queues"], network)
    for key, check in network_types.CHECKS.get(kind, {}).items():
        if key in given:
            network[key] = check(f"{option}.{key}", given[key])
    network_types.check_together(option, network)
    return network


def part_of_network(option: str, value: t.Any) -> dict[str, t.Any]:
    """Normal form of some words about a network, by which it is looked for: none is needed, none needs another."""
    given = values.fields(option, value, _FIELDS)
    checks: dict[str, t.Callable[[str, t.Any], t.Any]] = {
        "type": lambda name, word: values.choice(name, word, TYPES[:-1]),
        "model": lambda name, word: values.choice(name, word, MODELS),
        "mac": _mac,
        "mtu": lambda name, number: values.whole_number(name, number, *_MTU),
        "queues": lambda name, number: values.whole_number(name, number, 1, _MAX_QUEUES),
    }
    for own in network_types.CHECKS.values():
        checks.update(own)
    return {key: checks[key](f"{option}.{key}", content) for key, content in given.items()}


def _check_fields(option: str, kind: str, given: t.Mapping[str, t.Any]) -> None:
    """Only what this type has; what it cannot do without."""
    known = _fields_of(kind)
    for key in given:
        if key in known:
            continue
        if kind == "none":
            raise invalid_option(
                f"{option}.{key}", given[key], "needs a network card, and type none has none", f"Remove {key}."
            )
        raise invalid_option(
            f"{option}.{key}",
            given[key],
            f"is not an option of a network of type {kind}",
            f"Known there are: {', '.join(known)}.",
        )


def _fields_of(kind: str) -> tuple[str, ...]:
    if kind == "none":
        return ("type",)
    own = tuple(network_types.CHECKS[kind])
    return ("type", "model", "mac", "mtu", *(("queues",) if kind in network_types.ON_HOST else ()), *own)


#: All that a network can have, whatever its type.
_FIELDS = tuple(dict.fromkeys(key for kind in TYPES for key in _fields_of(kind)))


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


def _mtu(option: str, value: t.Any, network: t.Mapping[str, t.Any]) -> int:
    """Bytes. A virtio card tells the guest; of any other card only the host's interface has it."""
    highest = _USER_MTU if network["type"] == "user" else _MTU[1]
    mtu = values.whole_number(option, value, _MTU[0], highest)
    if network.get("model", VIRTIO) != VIRTIO and network["type"] not in network_types.ON_HOST:
        raise invalid_option(
            option, value, f"has no effect on a {network['model']}", f"Use the model {VIRTIO}, or leave mtu out."
        )
    return mtu


def _queues(option: str, value: t.Any, network: t.Mapping[str, t.Any]) -> int:
    queues = values.whole_number(option, value, 1, _MAX_QUEUES)
    if queues > 1 and network.get("model", VIRTIO) != VIRTIO:
        raise invalid_option(option, value, f"is more than a {network['model']} has", f"Use the model {VIRTIO}, or 1.")
    return queues


def _check_once(option: str, items: list[dict[str, t.Any]], key: str) -> None:
    seen = set()
    for index, network in enumerate(items):
        value = network.get(key)
        if value in seen:
            raise invalid_option(
                f"{option}[{index}].{key}", value, "is on another card already", "Give each card its own."
            )
        if value:
            seen.add(value)


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
