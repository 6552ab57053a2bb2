# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attacks of our own through devices, QOM, tracing, limits, and on the runner's own channels."""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.tests.integration.local.attacks.table import (
    MARK,
    Attack,
    Step,
    accepted,
    one,
    original,
    overwritten,
    reaches,
    shadow,
    told,
)

#: Chardevs of the guarded VM that belong to its runner. A bare QEMU has others.
MONITOR, DIRECT, SERIAL = "maqet-monitor", "maqet-direct", "maqet-serial"
NOT_OURS = "a bare QEMU has no channels of a runner"


def _device(name: str, kinds: str, driver: str, properties: dict[str, t.Any], effect: t.Any, **more: t.Any) -> Attack:
    return one(
        name, f"device_props {kinds}", "device_add", {"driver": driver, "id": name, **properties}, effect, **more
    )


DEVICES = (
    _device(
        "d-romfile-net",
        "path-read",
        "virtio-net-pci",
        {"bus": "rp1", "romfile": "<victim>/shadow"},
        accepted,
        prepare=shadow,
    ),
    _device(
        "d-romfile-alias",
        "path-read",
        "virtio-net",
        {"bus": "rp1", "romfile": "<victim>/shadow"},
        accepted,
        prepare=shadow,
    ),
    _device(
        "d-romfile-spelling",
        "path-read",
        "virtio-rng-pci",
        {"bus": "rp1", "ROMFILE": "<victim>/shadow"},
        "QEMU refuses it too",
    ),
    _device(
        "d-pcap",
        "path-write",
        "usb-tablet",
        {"bus": "xhci.0", "pcap": "<victim>/target"},
        overwritten("<victim>/target"),
        prepare=original,
    ),
    _device(
        "d-usb-mtp",
        "path-rw device_add.readonly",
        "usb-mtp",
        {"bus": "xhci.0", "rootdir": "<victim>", "readonly": False},
        accepted,
    ),
    _device(
        "d-loader",
        "path-read deny_drivers",
        "loader",
        {"file": "<victim>/shadow", "addr": 0},
        reaches("hotplugged"),
        prepare=shadow,
    ),
    _device(
        "d-guest-loader",
        "path-read deny_drivers",
        "guest-loader",
        {"kernel": "<victim>/shadow", "addr": 0},
        reaches("hotplug", "guest-loader", "device tree"),
        prepare=shadow,
    ),
    _device("d-loader-data", "deny_drivers", "loader", {"addr": 0, "data": 1, "data-len": 4}, reaches("hotplugged")),
    _device(
        "d-vfio",
        "host-device deny_drivers",
        "vfio-pci",
        {"bus": "rp1", "host": "0000:00:00.0"},
        reaches("vfio", "No such"),
    ),
    _device(
        "d-vfio-sysfs",
        "host-device",
        "vfio-pci",
        {"bus": "rp1", "sysfsdev": "/sys/bus/pci/devices/0000:00:00.0"},
        reaches("vfio", "iommu", "No such"),
    ),
    _device(
        "d-usb-host",
        "host-device",
        "usb-host",
        {"bus": "xhci.0", "vendorid": 1, "productid": 2},
        reaches("usb", "driver", "model"),
    ),
    _device(
        "d-input-host",
        "host-device",
        "virtio-input-host-pci",
        {"bus": "rp1", "evdev": "/dev/input/event0"},
        reaches("open", "No such"),
    ),
    _device(
        "d-vhost-vsock", "host-device fd", "vhost-vsock-pci", {"bus": "rp1", "guest-cid": 3}, reaches("vhost", "open")
    ),
    _device(
        "d-vhost-user",
        "ref",
        "vhost-user-fs-pci",
        {"bus": "rp1", "chardev": "maqet-serial", "tag": "x"},
        reaches("chardev", "use", "vhost"),
    ),
    _device("d-ivshmem", "deny_drivers", "ivshmem-plain", {"bus": "rp1", "memdev": "none"}, reaches("memdev", "none")),
    _device(
        "d-hv-syndbg",
        "net-connect deny_drivers",
        "hv-syndbg",
        {"host_ip": "127.0.0.1", "host_port": 9},
        reaches("yndbg", "hotplug", "pluggable", "model"),
    ),
    _device("d-ccid", "path-read", "ccid-card-emulated", {"db": "<victim>"}, reaches("ccid", "bus", "driver")),
    _device(
        "d-ipmi", "path-read", "ipmi-bmc-sim", {"sdrfile": "<victim>/shadow"}, reaches("pluggable"), prepare=shadow
    ),
    _device(
        "d-nested-props",
        "device_props",
        "virtio-rng-pci",
        {"bus": {"romfile": "<victim>/shadow"}},
        reaches("hotplugging"),
    ),
    _device(
        "d-experimental", "device_add.x-*", "virtio-rng-pci", {"bus": "rp1", "x-pcie-lnksta-dllla": False}, accepted
    ),
    _device(
        "d-share-rw",
        "device_add.share-rw",
        "virtio-blk-pci",
        {"bus": "rp1", "drive": "disk-d0", "share-rw": True},
        reaches("use", "drive", "Failed"),
    ),
    one(
        "d-driver-missing",
        "device_props",
        "device_add",
        {"id": "dm", "romfile": "<victim>/shadow"},
        "QEMU refuses it too",
    ),
    one(
        "d-driver-list",
        "device_props",
        "device_add",
        {"driver": ["loader"], "file": "<victim>/shadow"},
        "QEMU refuses it too",
    ),
)


def _get(name: str, path: str, prop: str, effect: t.Any = None) -> Attack:
    """A secret's clear text by another spelling of its place."""
    return Attack(
        name,
        "qom secret",
        (
            Step("object-add", {"qom-type": "secret", "id": name, "data": f"x{MARK}"}, "setup"),
            Step("qom-get", {"path": path, "property": prop}),
        ),
        effect or told(),
        "path property",
    )


QOM = (
    _get("q-short-path", "q-short-path", "data"),
    _get("q-doubled", "/objects//q-doubled", "data", "QEMU knows no doubled slash here"),
    one(
        "q-set-object",
        "qom qom-value",
        "qom-set",
        {"path": "/machine", "property": "dumpdtb", "value": "<victim>/dtb"},
        accepted,
    ),
    one(
        "q-set-kernel",
        "qom qom-value path-read",
        "qom-set",
        {"path": "/machine", "property": "kernel", "value": "<victim>/shadow"},
        accepted,
    ),
    one(
        "q-set-firmware",
        "qom",
        "qom-set",
        {"path": "/machine", "property": "firmware", "value": "<victim>/x"},
        accepted,
    ),
    one("q-set-partial", "qom policy", "qom-set", {"path": "authz0", "property": "policy", "value": "allow"}, accepted),
    one(
        "q-set-rules",
        "qom policy",
        "qom-set",
        {"path": "/objects/authz0", "property": "rules", "value": [{"match": "*", "policy": "allow"}]},
        reaches("rules", "expected"),
    ),
    one("q-get-romfile", "qom", "qom-get", {"path": "/machine/peripheral/d0", "property": "romfile"}, accepted),
    one("q-list-get", "qom", "qom-list-get", {"paths": ["/objects"]}, "qom-list-get is younger than QEMU 7.2"),
    one(
        "q-list-kills",
        "introspect",
        "qom-list-properties",
        {"typename": "colo-compare"},
        lambda seen: seen.dead,
        consent=True,
    ),
)

TRACING = (
    one(
        "r-everything",
        "trace-event-set-state.name",
        "trace-event-set-state",
        {"name": "*", "enable": True},
        reaches("is disabled"),
    ),
    one(
        "r-monitor",
        "trace-event-set-state.name",
        "trace-event-set-state",
        {"name": "monitor_*", "enable": True},
        accepted,
    ),
    one(
        "r-qmp-mark",
        "trace-event-set-state.name",
        "trace-event-set-state",
        {"name": "?andle_qmp_command", "enable": True},
        reaches("unknown"),
    ),
)

RUNNER = (
    one("u-remove-direct", "monitor", "chardev-remove", {"id": DIRECT}, reaches("busy", "in use")),
    one("u-remove-monitor", "monitor", "chardev-remove", {"id": MONITOR}, reaches("busy", "in use")),
    one(
        "u-change-monitor",
        "monitor chardev-change",
        "chardev-change",
        {"id": MONITOR, "backend": {"type": "null", "data": {}}},
        NOT_OURS,
    ),
    one(
        "u-change-serial",
        "chardev-change",
        "chardev-change",
        {"id": SERIAL, "backend": {"type": "null", "data": {}}},
        NOT_OURS,
    ),
    one(
        "u-yank-monitor",
        "monitor",
        "yank",
        {"instances": [{"type": "chardev", "id": MONITOR}]},
        lambda seen: seen.dead or accepted(seen),
    ),
    one("u-yank-direct", "monitor", "yank", {"instances": [{"type": "chardev", "id": DIRECT}]}, accepted),
    one("u-remove-fd", "fd", "remove-fd", {"fdset-id": 1}, reaches("fdset", "descriptor")),
    one("u-closefd", "fd", "closefd", {"fdname": "mine"}, reaches("descriptor")),
    one("u-break", "monitor", "chardev-send-break", {"id": MONITOR}, accepted),
    one(
        "u-frontend",
        "ref monitor",
        "device_add",
        {"driver": "pci-serial", "id": "uf", "bus": "rp1", "chardev": MONITOR},
        reaches("in use", "can't find"),
    ),
    one(
        "u-mux",
        "ref monitor",
        "chardev-add",
        {"id": "um", "backend": {"type": "mux", "data": {"chardev": DIRECT}}},
        NOT_OURS,
    ),
    one("u-capabilities", "monitor", "qmp_capabilities", {"enable": ["oob"]}, NOT_OURS),
    one(
        "u-display-reload",
        "host-net",
        "display-reload",
        {"type": "vnc", "tls-certs": True},
        reaches("vnc", "tls", "TLS"),
    ),
    Attack(
        "u-limits",
        "balloon.value block_set_io_throttle",
        (
            Step("balloon", {"value": 1}, consent=True),
            Step(
                "block_set_io_throttle",
                {"id": "d0", "bps": 1, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0},
                consent=True,
            ),
        ),
        reaches("balloon"),
        "",
    ),
    one(
        "u-shrink",
        "block_resize.size",
        "block_resize",
        {"node-name": "disk-d0", "size": 512},
        reaches("hrink"),
        consent=True,
    ),
    one(
        "u-shrink-to-nothing",
        "block_resize.size",
        "block_resize",
        {"node-name": "disk-d0", "size": 0},
        reaches("hrink"),
        consent=True,
    ),
)
