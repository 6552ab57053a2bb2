# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network cards on the command line."""

from __future__ import annotations

import hashlib
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_ports import Ports
from ansible_collections.maqet.qemu.plugins.module_utils.definition.spelling import option_string


def mac_address(uuid: str, index: int) -> str:
    """An address in QEMU's own range that stays the same for the same VM and place in the list."""
    digest = hashlib.sha256(f"{uuid.lower()}/{index}".encode("ascii")).hexdigest()
    return f"52:54:00:{digest[0:2]}:{digest[2:4]}:{digest[4:6]}"


def network_arguments(networks: t.Sequence[t.Mapping[str, t.Any]], uuid: str, arch: str, ports: Ports) -> list[str]:
    """Arguments for all cards (with defaults filled in), the Nth with back end ``netN`` and device ``nicN``, from 0.

    ``ports``: what they sit in.
    """
    arguments = []
    for index, network in enumerate(networks):
        forwards = [("hostfwd", _forward(rule)) for rule in network["hostfwd"]]
        device = network_device(network, index, uuid, arch)
        arguments += ["-netdev", option_string(network["type"], [("id", f"net{index}"), *forwards])]
        arguments += ["-device", option_string(device.pop("driver"), {**device, **ports.next()}.items())]
    return arguments


def network_backend(network: t.Mapping[str, t.Any], index: int) -> dict[str, t.Any]:
    """The back end of a card, for ``netdev_add``."""
    backend: dict[str, t.Any] = {"type": network["type"], "id": f"net{index}"}
    if network["hostfwd"]:
        backend["hostfwd"] = [{"str": _forward(rule)} for rule in network["hostfwd"]]
    return backend


def network_device(network: t.Mapping[str, t.Any], index: int, uuid: str, arch: str) -> dict[str, t.Any]:
    """The card itself, its ``driver`` and properties: for ``-device`` and ``device_add`` alike.

    Cards bring boot ROMs for x86 only. An Arm guest cannot run them, and hosts may lack the files.
    """
    rom = {"romfile": ""} if arch == "aarch64" else {}
    mac = network.get("mac") or mac_address(uuid, index)
    order = {"bootindex": network["bootindex"]} if "bootindex" in network else {}
    return {"driver": network["model"], "id": f"nic{index}", "netdev": f"net{index}", "mac": mac, **rom, **order}


def _forward(rule: t.Mapping[str, t.Any]) -> str:
    """Without an address of the guest QEMU sends to the first one that its DHCP server gives."""
    host = f"{rule['protocol']}:{rule['host_address']}:{rule['host_port']}"
    return f"{host}-{rule.get('guest_address', '')}:{rule['guest_port']}"
