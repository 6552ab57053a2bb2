# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network cards for QEMU: of each its back end and its device, as QMP's ``netdev_add`` and ``device_add`` have them.

The command line is spelled from the same properties. QEMU takes JSON there only from 7.2 on.
"""

from __future__ import annotations

import hashlib
import typing as t
from dataclasses import dataclass

from ansible_collections.maqet.qemu.plugins.module_utils.definition.network_types import ON_HOST
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_ports import Ports
from ansible_collections.maqet.qemu.plugins.module_utils.definition.spelling import option_string


@dataclass(frozen=True)
class End:
    """What a runner has made ready for one network.

    ``fds``: what QEMU calls the descriptors of the host's interface, one a queue: numbers of those that it inherits, or
    names that it was given by ``getfd``. ``vhost`` the same for /dev/vhost-net, or none. ``socket`` and ``far`` are the
    paths of a cable's two ends.
    """

    fds: tuple[str, ...] = ()
    vhost: tuple[str, ...] = ()
    socket: str = ""
    far: str = ""


def mac_address(uuid: str, index: int) -> str:
    """An address in QEMU's own range that stays the same for the same VM and place in the list."""
    digest = hashlib.sha256(f"{uuid.lower()}/{index}".encode("ascii")).hexdigest()
    return f"52:54:00:{digest[0:2]}:{digest[2:4]}:{digest[4:6]}"


def network_arguments(
    networks: t.Sequence[t.Mapping[str, t.Any]], uuid: str, arch: str, ports: Ports, ends: t.Sequence[End] = ()
) -> list[str]:
    """Arguments for all cards (with defaults filled in): back end ``netN`` and card ``nicN``, N from 0.

    ``ports``: what they sit in.
    """
    arguments = []
    for index, network in enumerate(networks):
        backend = netdev(network, index, ends[index] if ends else End())
        card = {**device(network, index, uuid, arch), **ports.card(index)}
        arguments += ["-netdev", option_string(backend.pop("type"), _flat(backend))]
        arguments += ["-device", option_string(card.pop("driver"), _flat(card))]
    return arguments


def netdev(network: t.Mapping[str, t.Any], index: int, end: End) -> dict[str, t.Any]:
    """The back end ``netN`` of one network: ``Netdev`` in QEMU's QMP reference."""
    kind = network["type"]
    name = {"id": f"net{index}"}
    if kind == "user":
        return {"type": "user", **name, **_user(network)}
    if kind in ON_HOST:
        return {"type": "tap", **name, **_descriptors("fd", end.fds), **_vhost(end.vhost)}
    if "peer" in network:
        sides = {"local": end.socket, "remote": end.far}
        return {"type": "dgram", **name, **{side: {"type": "unix", "path": path} for side, path in sides.items()}}
    return {"type": "socket", **name, "udp": network["remote"], "localaddr": network["local"]}


def device(network: t.Mapping[str, t.Any], index: int, uuid: str, arch: str) -> dict[str, t.Any]:
    """The card ``nicN`` of one network.

    Cards bring boot ROMs for x86 only. An Arm guest cannot run them, and hosts may lack the files.
    """
    card: dict[str, t.Any] = {"driver": network["model"], "id": f"nic{index}", "netdev": f"net{index}"}
    card["mac"] = network.get("mac") or mac_address(uuid, index)
    if network.get("queues", 1) > 1:
        # An interrupt for each queue in each direction, one for changes of the card, one for its control queue.
        card.update({"mq": True, "vectors": 2 * network["queues"] + 2})
    if "mtu" in network and network["model"].startswith("virtio"):
        card["host_mtu"] = network["mtu"]
    if "bootindex" in network:
        card["bootindex"] = network["bootindex"]
    if arch == "aarch64":
        card["romfile"] = ""
    return card


def _user(network: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Only what differs from QEMU's own default."""
    result: dict[str, t.Any] = {}
    for key, name in (("network", "net"), ("dns", "dns"), ("domain", "domainname"), ("hostname", "hostname")):
        if key in network:
            result[name] = network[key]
    if network["restrict"]:
        result["restrict"] = True
    if not network["ipv6"]:
        result["ipv6"] = False
    if network["hostfwd"]:
        result["hostfwd"] = [{"str": _forward(rule)} for rule in network["hostfwd"]]
    return result


def _descriptors(word: str, names: t.Sequence[str]) -> dict[str, str]:
    """``fd`` for one queue, ``fds`` for several: QEMU takes a single one in ``fds`` for a card with several."""
    return {word: names[0]} if len(names) == 1 else {f"{word}s": ":".join(names)}


def _vhost(names: t.Sequence[str]) -> dict[str, t.Any]:
    return {"vhost": True, **_descriptors("vhostfd", names)} if names else {}


def _forward(rule: t.Mapping[str, t.Any]) -> str:
    """Without an address of the guest QEMU sends to the first one that its DHCP server gives."""
    host = f"{rule['protocol']}:{rule['host_address']}:{rule['host_port']}"
    return f"{host}-{rule.get('guest_address', '')}:{rule['guest_port']}"


def _flat(properties: t.Mapping[str, t.Any]) -> t.Iterator[tuple[str, t.Any]]:
    """As the command line has them: what is nested with dots, a list of texts as one key several times."""
    for key, value in properties.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{inner}", content) for inner, content in value.items())
        elif isinstance(value, list):
            yield from ((key, entry["str"]) for entry in value)
        else:
            yield key, value
