# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a VM's networks need on the host before its QEMU starts: taps, macvtaps, ends of cables.

Interfaces are made and opened by the runner, which is root; QEMU gets descriptors, and no capability.
"""

from __future__ import annotations

import contextlib
import os
import socket
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.network_types import ON_HOST, interface_name
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_networks import End, mac_address
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition
from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.host import links, netlink
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.runner import cables
from ansible_collections.maqet.qemu.plugins.module_utils.runner.opened import Opened

Network = t.Mapping[str, t.Any]
Links = t.Mapping[str, netlink.Link]


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
    key = ON_HOST[network["type"]]
    option = f"networks[{index}].{key}"
    name = interface_name(definition.name, index)
    mac = network.get("mac") or mac_address(definition.uuid, index)
    alias = links.alias(definition.name, index)
    try:
        if key == "tap":
            return _existing(network, option, known)
        if key == "link":
            return _macvtap(network, option, known, name, mac, alias)
        return _port(network, option, known, name, mac, alias)
    except OSError as error:
        remedy = f"See what 'ip -d link' says of {network[key]}."
        raise invalid_option(option, network[key], f"cannot be used: {error.strerror}", remedy) from None


def _existing(network: Network, option: str, known: Links) -> list[int]:
    """A tap that somebody else has made, and which another user than root finds as it is."""
    found = links.tap(option, network["tap"], known)
    fds = links.open_tap(option, network["tap"], network["queues"], found)
    if os.geteuid() == 0:
        with _closed_on_failure(fds):
            netlink.change(found.index, mtu=network.get("mtu", 0))
    return fds


def _macvtap(network: Network, option: str, known: Links, name: str, mac: str, alias: str) -> list[int]:
    below = links.below(option, network["link"], known)
    if name in known and known[name].kind == "macvtap":  # of a QEMU that is gone, whose runner was killed too
        netlink.remove(known[name].index)
    netlink.add_macvtap(name, below, network["mode"], mac, network.get("mtu"), alias)
    try:
        return links.open_macvtap(option, name, network["queues"])
    except BaseException:
        netlink.remove(socket.if_nametoindex(name))
        raise


def _port(network: Network, option: str, known: Links, name: str, mac: str, alias: str) -> list[int]:
    """A tap of our own on a bridge."""
    bridge = links.bridge(option, network["bridge"], known)
    fds = links.open_tap(option, name, network["queues"])
    with _closed_on_failure(fds):
        links.join(name, bridge, mac, network.get("mtu"), alias)
    return fds


@contextlib.contextmanager
def _closed_on_failure(fds: t.Iterable[int]) -> t.Iterator[None]:
    try:
        yield
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise
