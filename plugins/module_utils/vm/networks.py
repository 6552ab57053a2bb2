# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks of a VM on this host: what would make its start fail, and what they are for those who ask."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.defaults import effective
from ansible_collections.maqet.qemu.plugins.module_utils.definition.network_types import ON_HOST, interface_name
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_networks import mac_address
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.host import links, netlink, qemu
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout

# The first QEMU that sends datagrams to the path of a socket (its netdev dgram).
_DGRAM = (7, 2)


def check_definition(intent: t.Mapping[str, t.Any], where: Layout, name: str) -> None:
    """What must hold for a VM with these networks to be defined on this host by this user."""
    for index, network in enumerate(intent.get("networks", ())):
        option = f"networks[{index}]"
        if network["type"] in ("bridge", "macvtap") and where.scope != "system":
            raise invalid_option(
                f"{option}.type",
                network["type"],
                "needs an interface that only root can make",
                f"Run the task as root (become: true), use type: user, or type: tap with one that was made for you (as "
                f"root, ip tuntap add dev NAME mode tap user {os.geteuid()}).",
            )
        if "peer" in network:
            _check_peer(f"{option}.peer", network["peer"], name, intent)
            _check_length(f"{option}.peer", network["peer"], where)


def check_start(intent: t.Mapping[str, t.Any]) -> None:
    """What must hold in addition before a start: the interfaces that the networks name are there."""
    networks = intent.get("networks", ())
    named = [(index, ON_HOST[each["type"]], each) for index, each in enumerate(networks) if each["type"] in ON_HOST]
    known = netlink.links() if named else {}
    for index, key, network in named:
        found = _CHECKS[key](f"networks[{index}].{key}", network[key], known)
        if key == "link" and network.get("mtu", 0) > found.mtu:
            raise invalid_option(
                f"networks[{index}].mtu",
                network["mtu"],
                f"is more than the {found.mtu} of {found.name}",
                f"Give at most {found.mtu}.",
            )


def network_facts(definition: t.Optional[Definition], runs: bool) -> list[dict[str, t.Any]]:
    """Each card of a VM: its id in QMP, its address, and the host's interface where it has one."""
    if definition is None:
        return []
    networks = effective(definition.intent, os.uname().machine)["networks"]
    return [_facts(definition, index, network, runs) for index, network in enumerate(networks)]


def _facts(definition: Definition, index: int, network: t.Mapping[str, t.Any], runs: bool) -> dict[str, t.Any]:
    made = interface_name(definition.name, index) if runs and network["type"] in ("bridge", "macvtap") else None
    return {
        "id": f"nic{index}",
        "type": network["type"],
        "model": network["model"],
        "mac": network.get("mac") or mac_address(definition.uuid, index),
        "interface": network.get("tap", made),
    }


def _check_peer(option: str, peer: str, name: str, intent: t.Mapping[str, t.Any]) -> None:
    if peer == name:
        raise invalid_option(option, peer, "is this VM itself", "Give the name of the other VM.")
    binary = qemu.find_binary(effective(intent, os.uname().machine)["arch"])
    version = qemu.version(binary)
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers and numbers < _DGRAM:
        raise invalid_option(
            option, peer, f"needs QEMU 7.2, and {binary} is {version}", "Give local and remote, or use a bridge."
        )


def _check_length(option: str, peer: str, where: Layout) -> None:
    """The path of the other end's socket."""
    try:
        where.vm(peer)
    except MaqetError as error:
        problem = "is a name too long for a socket in this user's folders"
        raise invalid_option(option, peer, problem, "Give that VM a shorter name.") from error


_CHECKS: dict[str, t.Callable[[str, str, t.Mapping[str, netlink.Link]], netlink.Link]] = {
    "bridge": links.bridge,
    "tap": links.tap,
    "link": links.below,
}
