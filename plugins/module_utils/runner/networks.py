# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a VM's networks need on the host before its QEMU starts: taps, macvtaps, ends of cables.

Interfaces are made and opened by the runner, which is root; QEMU gets descriptors, and no capability.
"""

from __future__ import annotations

import os
import socket
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.network_types import ON_HOST, interface_name
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_networks import End, mac_address
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition
from ansible_collections.maqet.qemu.plugins.module_utils.host import links, netlink
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.runner import cables
from ansible_collections.maqet.qemu.plugins.module_utils.runner.opened import Opened

Network = t.Mapping[str, t.Any]


def ends(
    networks: t.Sequence[Network],
    definition: Definition,
    where: Layout,
    opened: Opened,
    uid: t.Optional[int],
    accelerator: str,
) -> list[End]:
    """An end for each network (with defaults filled in). Descriptors are closed with ``opened``, after the start."""
    return [_end(network, index, definition, where, opened, uid, accelerator) for index, network in enumerate(networks)]


def _end(
    network: Network,
    index: int,
    definition: Definition,
    where: Layout,
    opened: Opened,
    uid: t.Optional[int],
    accelerator: str,
) -> End:
    if "peer" in network:
        return cables.prepare(where, definition.name, network["peer"], uid)
    if network["type"] not in ON_HOST:
        return End()
    fds = opened.numbered(open_interface(network, index, definition))
    # With an emulated processor there is nothing to win by it.
    vhost = accelerator == "kvm" and network["model"].startswith("virtio")
    return End(fds=fds, vhost=opened.numbered(links.open_vhost(network["queues"])) if vhost else ())


def open_interface(network: Network, index: int, definition: Definition) -> list[int]:
    """The descriptors of a network that has an interface of the host, one a queue; they are the caller's to close."""
    known = netlink.links()
    option, queues = f"networks[{index}].{ON_HOST[network['type']]}", network["queues"]
    if network["type"] == "tap":
        found = links.tap(option, network["tap"], known)
        fds = links.open_tap(option, network["tap"], queues, found)
        if os.geteuid() == 0:
            netlink.change(found.index, mtu=network.get("mtu", 0))
        return fds
    name = interface_name(definition.name, index)
    mac = network.get("mac") or mac_address(definition.uuid, index)
    alias = links.alias(definition.name, index)
    if network["type"] == "macvtap":
        below = links.below(option, network["link"], known)
        if name in known and known[name].kind == "macvtap":  # of a QEMU that is gone, whose runner was killed too
            netlink.remove(known[name].index)
        netlink.add_macvtap(name, below, network["mode"], mac, network.get("mtu"), alias)
        return links.open_macvtap(option, name, queues)
    bridge = links.bridge(option, network["bridge"], known)
    fds = links.open_tap(option, name, queues)
    try:
        # An address of its own that is higher than all others: a bridge takes the lowest of its ports'.
        netlink.change(
            socket.if_nametoindex(name), "fe" + mac[2:], network.get("mtu") or bridge.mtu, bridge.index, alias
        )
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise
    return fds
