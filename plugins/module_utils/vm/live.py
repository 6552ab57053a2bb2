# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes of a VM that runs: told to QEMU through the runner, guarded and recorded like any command.

Each is done again without harm: a task may have been killed in the middle of it, before it could write down that it was
done. What is there already is not plugged, and what is gone is not unplugged.
"""

from __future__ import annotations

import contextlib
import os
import socket
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.defaults import effective
from ansible_collections.maqet.qemu.plugins.module_utils.definition.disk_tuning import all_limits
from ansible_collections.maqet.qemu.plugins.module_utils.definition.live import Change, Disk
from ansible_collections.maqet.qemu.plugins.module_utils.definition.network_types import interface_name
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_devices import device_properties
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_disks import (
    ON_PCI,
    Source,
    disk_device,
    disk_nodes,
    disk_objects,
    throttle_limits,
    throttle_name,
    top_node,
)
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_networks import End, netdev
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_networks import device as network_device
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_ports import (
    CARDS,
    PORT,
    has_ports,
    sits_in_port,
)
from ansible_collections.maqet.qemu.plugins.module_utils.definition.sizes import MIB
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition, DiskFile
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import chain, links, netlink, qemu
from ansible_collections.maqet.qemu.plugins.module_utils.host.files import is_block_device as is_device
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.lines import Deadline
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import RunnerClient
from ansible_collections.maqet.qemu.plugins.module_utils.runner import premises
from ansible_collections.maqet.qemu.plugins.module_utils.vm.control import Control
from ansible_collections.maqet.qemu.plugins.module_utils.vm.making import Job
from ansible_collections.maqet.qemu.plugins.module_utils.vm.observe import Actual

# Where devices with an id are in QEMU's tree, and what the ids of processors begin with that were plugged.
_DEVICES = "/machine/peripheral"
_CPU = "maqet-cpu-"
# What the guest says of a device that it was asked to release (QEMU QMP reference, "device_del").
_RELEASED, _REFUSED = "DEVICE_DELETED", "DEVICE_UNPLUG_GUEST_ERROR"


class Live:
    """Brings the QEMU of one VM from what ``before`` says to what ``after`` does, one change after another."""

    def __init__(
        self, where: Layout, control: Control, actual: Actual, before: Definition, after: Definition, seconds: float
    ) -> None:
        self._where = where
        self._paths = where.vm(after.name)
        self._control = control
        self._actual = actual
        self._known = (after.files, before.files)
        self._after = after
        self._running = effective(before.intent, os.uname().machine)
        self._seconds = seconds

    def perform(self, change: Change) -> None:
        """Return when QEMU, and where it must the guest, has done it. ``unplug_failed`` if the guest does not."""
        {
            "plug_disk": self._plug_disk,
            "unplug_disk": self._unplug_disk,
            "change_medium": self._change_medium,
            "throttle_disk": self._throttle,
            "plug_network": self._plug_network,
            "unplug_network": self._unplug_network,
            "plug_device": self._plug_device,
            "unplug_device": lambda gone: self._remove_device(gone.detail["device"]),
            "plug_cpus": self._plug_cpus,
            "unplug_cpus": self._unplug_cpus,
            "set_balloon": self._balloon,
            "set_vnc_password": self._vnc_password,
        }[change.kind](change)

    def grow(self, job: Job) -> None:
        """Give a disk more; QEMU tells the guest. The plan knows that it is more, hence our consent."""
        disk = next(disk for disk in self._running["disks"] if disk["name"] == job.disk)
        self._send("block_resize", {"node-name": top_node(disk), "size": job.size}, consent=True)

    # --- disks ---

    def _plug_disk(self, change: Change) -> None:
        disk = t.cast(Disk, change.after)
        if disk["name"] in self._children(_DEVICES):
            return
        self._drop_nodes(disk)
        try:
            self._add_nodes(disk)
            self._add_device(disk_device(disk, None, None), disk["interface"] in ON_PCI)
        except MaqetError:
            self._drop_nodes(disk)
            raise

    def _unplug_disk(self, change: Change) -> None:
        disk = t.cast(Disk, change.before)
        self._remove_device(disk["name"])
        self._drop_nodes(disk)

    def _change_medium(self, change: Change) -> None:
        """The tray opens whether the guest has locked it or not, as if by the button for emergencies."""
        old, new = t.cast(Disk, change.before), t.cast(Disk, change.after)
        try:
            self._exchange(out=old, into=new)
        except (MaqetError, OSError):
            with contextlib.suppress(MaqetError, OSError):  # no task would see that the drive is empty
                self._exchange(out=new, into=old)
            raise

    def _exchange(self, out: Disk, into: Disk) -> None:
        device = {"id": into["name"]}
        self._send("blockdev-open-tray", {**device, "force": True}, consent=True)
        self._send("blockdev-remove-medium", device)
        self._drop_nodes(out)
        if "path" in into:
            self._add_nodes(into)
            self._send("blockdev-insert-medium", {**device, "node-name": top_node(into)})
        self._send("blockdev-close-tray", device)

    def _throttle(self, change: Change) -> None:
        disk = t.cast(Disk, change.after)
        path = f"/objects/{throttle_name(disk['name'])}"
        limits = throttle_limits(all_limits(disk["throttle"]))
        self._send("qom-set", {"path": path, "property": "limits", "value": limits})

    def _add_nodes(self, disk: Disk) -> None:
        file = self._file(disk)
        premises.prepare(self._where, self._after)  # a new image becomes QEMU's own
        for item in disk_objects(disk):
            self._send("object-add", item)
        nodes = disk_nodes(disk, self._source(disk, file))
        self._send("blockdev-add", _nested(nodes), _granted(files=self._grants(disk, file)))

    def _file(self, disk: Disk) -> DiskFile:
        """Of a drive whose medium changes there are two under one name."""
        found = [files[disk["name"]] for files in self._known if disk["name"] in files]
        fits = (file for file in found if file.path == disk.get("path") and disk.get("format") in (None, file.driver))
        return next(fits, found[0])

    def _grants(self, disk: t.Mapping[str, t.Any], file: DiskFile) -> list[tuple[str, bool]]:
        """The files that the definition names for a disk, and whether QEMU may write them."""
        plain = self._where.scope != "system"
        below: list[str] = []
        if file.backing:
            driver = file.backing_driver or qemu.image_info(file.path, file.driver).backing_format
            below = chain.to_name(file.backing, driver, plain)
        return [(file.path, not disk["readonly"]), *((path, False) for path in below)]

    def _source(self, disk: t.Mapping[str, t.Any], file: DiskFile) -> Source:
        """By its path: the guard opens for QEMU what is not QEMU's own."""
        links: t.Sequence[chain.Link] = ()
        if self._where.scope == "system" and file.backing is not None:
            uid = int(self._actual.facts["qemu"]["uid"])
            links = chain.to_pass(disk["name"], file.path, file.driver, file.backing, uid)
        below = tuple(Source(link.path, link.driver, is_device(link.path)) for link in links)
        return Source(file.path, file.driver, is_device(file.path), below)

    def _drop_nodes(self, disk: Disk) -> None:
        """Those of its nodes that are there, users before what they use; what was made with its user goes with it."""
        for node in reversed(disk_nodes(disk, Source("", "raw"))):
            there = self._send("query-named-block-nodes", {"flat": True})
            if any(other["node-name"] == node["node-name"] for other in there):
                self._send("blockdev-del", {"node-name": node["node-name"]})
        present = self._children("/objects") if "throttle" in disk else ()
        for item in disk_objects(disk):
            if item["id"] in present:
                self._send("object-del", {"id": item["id"]})

    # --- network cards ---

    def _plug_network(self, change: Change) -> None:
        network, index = t.cast("t.Mapping[str, t.Any]", change.after), change.detail["network"]
        card = network_device(network, index, self._after.uuid, self._running["arch"])
        if card["id"] in self._children(_DEVICES):
            return
        backend = netdev(network, index, End())
        self._drop_backend(backend["id"])
        name = self._interface(network, index)
        if name is not None:  # the runner opens it for QEMU, which makes it if it is not there
            backend = {"type": "tap", "id": backend["id"], "ifname": name}
        listen = [f"{rule['host_address']}:{rule['host_port']}" for rule in network.get("hostfwd", ())]
        self._send("netdev_add", backend, _granted(listen=listen, devices=[] if name is None else [name]))
        try:
            if "bridge" in network and name is not None:
                self._join(network, name, index, card["mac"])
            self._add_device(card, True, index)
        except (MaqetError, OSError):
            self._send("netdev_del", {"id": backend["id"]})
            raise

    def _interface(self, network: t.Mapping[str, t.Any], index: int) -> t.Optional[str]:
        """The tap of a network, or None of one that has none."""
        if "tap" in network:
            return str(network["tap"])
        return interface_name(self._after.name, index) if "bridge" in network else None

    def _join(self, network: t.Mapping[str, t.Any], name: str, index: int, mac: str) -> None:
        bridge = links.bridge(f"networks[{index}].bridge", network["bridge"], netlink.links())
        links.join(name, bridge, mac, network.get("mtu"), links.alias(self._after.name, index))

    def _unplug_network(self, change: Change) -> None:
        index = change.detail["network"]
        self._remove_device(f"nic{index}")
        self._drop_backend(f"net{index}")

    def _drop_backend(self, identity: str) -> None:
        """A back end has no list to be looked up in."""
        try:
            self._send("netdev_del", {"id": identity})
        except MaqetError as error:
            if error.error_code != "qmp_error":
                raise

    # --- processors, memory, console ---

    def _plug_cpus(self, change: Change) -> None:
        """The first free ones, in the order in which QEMU counts them."""
        places = self._send("query-hotpluggable-cpus", {})[::-1]
        missing = change.detail["cpus"] - sum("qom-path" in place for place in places)
        for place in [place for place in places if "qom-path" not in place][: max(0, missing)]:
            number = "-".join(str(value) for value in place["props"].values())
            self._send("device_add", {"driver": place["type"], "id": f"{_CPU}{number}", **place["props"]})

    def _unplug_cpus(self, change: Change) -> None:
        """The last that were plugged."""
        wanted = t.cast("t.Mapping[str, t.Any]", change.after)["cpus"]
        surplus = len([place for place in self._send("query-hotpluggable-cpus", {}) if "qom-path" in place]) - wanted
        plugged = [name for name in self._children(_DEVICES) if name.startswith(_CPU)]
        for name in sorted(plugged)[::-1][: max(0, surplus)]:
            self._remove_device(name)

    def _balloon(self, change: Change) -> None:
        memory = t.cast("t.Mapping[str, t.Any]", change.after)["memory"]
        self._send("balloon", {"value": memory * MIB}, consent=True)

    def _vnc_password(self, change: Change) -> None:
        password = t.cast("t.Mapping[str, t.Any]", change.after)["password"]
        self._send("set_password", {"protocol": "vnc", "password": password}, consent=True)

    # --- devices ---

    def _plug_device(self, change: Change) -> None:
        device = t.cast("t.Mapping[str, t.Any]", change.after)
        if device["id"] not in self._children(_DEVICES):
            self._add_device(device_properties(device, 0), sits_in_port(device))

    def _add_device(self, device: dict[str, t.Any], on_pci: bool, card: int = CARDS) -> None:
        """``card``: the number of a network card."""
        if on_pci and has_ports(self._running["machine"]):
            device["bus"] = f"{PORT}{card}" if card < CARDS else self._free_port(device["id"])
        self._send("device_add", device)

    def _free_port(self, device: str) -> str:
        """The first that nothing sits in, of those that are not kept for cards."""
        names = [name for name in self._children(_DEVICES) if name.startswith(PORT)]
        ports = sorted(names, key=lambda name: int(name[len(PORT) :]))[CARDS:]
        for port in ports:
            if not any(name.startswith("child[") for name in self._children(f"{_DEVICES}/{port}/{port}")):
                return port
        raise MaqetError(
            f"{device} cannot be plugged: all {len(ports)} ports of this VM are taken. Stop it, or set allow_restart: "
            "true for a change that restarts it, which gives it new ones.",
            "restart_required",
        )

    def _remove_device(self, device: str) -> None:
        """Ask the guest to let it go, and wait for that."""
        deadline = Deadline(self._seconds)
        with RunnerClient(self._paths.runner_socket, self._paths.name, self._seconds) as ear:
            ear.subscribe([_RELEASED, _REFUSED])
            if device not in self._children(_DEVICES):
                return
            try:
                self._send("device_del", {"id": device})
            except MaqetError as error:  # asked by somebody before us, and the guest has not answered yet
                if "in the process of unplug" not in str(error):
                    raise
            while True:
                try:
                    event = ear.next_event(deadline)
                except socket.timeout:
                    raise _kept(device, f"has not let it go within {self._seconds:g} s") from None
                about = event.get("data", {})
                if about.get("device") != device and about.get("path") != f"{_DEVICES}/{device}":
                    continue
                if event["event"] == _REFUSED:
                    raise _kept(device, "has refused to let it go")
                return

    def _children(self, path: str) -> list[str]:
        return [str(item["name"]) for item in self._send("qom-list", {"path": path})]

    def _send(
        self,
        command: str,
        arguments: t.Mapping[str, t.Any],
        grants: t.Optional[t.Mapping[str, t.Any]] = None,
        consent: bool = False,
    ) -> t.Any:
        return self._control.send(self._actual, command, self._seconds, arguments, grants, consent)


def _nested(nodes: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    """One node that holds the others: the guard reads an image's header only where its file stands beside it."""
    known: dict[str, dict[str, t.Any]] = {}
    for node in nodes:
        below = node.get("file")
        named = {"file": known[below]} if isinstance(below, str) else {}
        known[node["node-name"]] = {**node, **named}
    return known[nodes[-1]["node-name"]]


def _granted(
    files: t.Sequence[tuple[str, bool]] = (), listen: t.Sequence[str] = (), devices: t.Sequence[str] = ()
) -> dict[str, t.Any]:
    """What a command may reach because the definition names it."""
    return {"files": list(files), "listen": list(listen), "devices": list(devices)}


def _kept(device: str, why: str) -> MaqetError:
    return MaqetError(
        f"The guest {why}: {device}. It goes on as before. See that the guest has booted and that nothing in it uses "
        "this, then run the task again; or stop the VM first.",
        "unplug_failed",
        device=device,
    )
