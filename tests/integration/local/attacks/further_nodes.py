# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attacks of our own by block nodes: at any depth, of any driver, on any host."""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.tests.integration.local.attacks import images
from ansible_collections.maqet.qemu.tests.integration.local.attacks.table import (
    ORIGINAL,
    Attack,
    Step,
    accepted,
    both,
    files,
    one,
    overwritten,
    reaches,
    shadow,
)

SHADOW = {"driver": "file", "filename": "<victim>/shadow", "read-only": True}


def _add(name: str, kinds: str, options: dict[str, t.Any], effect: t.Any, **more: t.Any) -> Attack:
    return one(name, kinds, "blockdev-add", {"node-name": name, "read-only": True, **options}, effect, **more)


def _own(name: str) -> dict[str, t.Any]:
    return {"driver": "file", "filename": f"<disks>/{name}", "read-only": True}


def _nested(depth: int) -> dict[str, t.Any]:
    """The victim below so many harmless layers."""
    node: dict[str, t.Any] = SHADOW
    for level in range(depth):
        node = {"driver": "blkdebug", "image": node} if level % 2 else {"driver": "raw", "file": node}
    return node


def _nested_under_quorum() -> dict[str, t.Any]:
    return {"driver": "quorum", "vote-threshold": 1, "children": [_nested(3), _nested(2)]}


NODES = (
    _add("b-nested", "node-ref path-rw", _nested(6), accepted, prepare=shadow),
    _add("b-nested-quorum", "node-ref path-rw", _nested_under_quorum(), accepted, prepare=files(shadow="x" * 65536)),
    _add(
        "b-nested-blkverify",
        "node-ref",
        {
            "driver": "blkverify",
            "test": {"driver": "null-co", "size": 512},
            "raw": {"driver": "raw", "size": 512, "file": SHADOW},
        },
        accepted,
        prepare=shadow,
    ),
    _add(
        "b-explicit-backing",
        "node-ref",
        {"driver": "qcow2", "file": _own("plain.img"), "backing": {"driver": "raw", "file": SHADOW}},
        accepted,
        prepare=both(shadow, images.qcow2("plain.img")),
    ),
    _add(
        "b-explicit-data-file",
        "node-ref data-file",
        {"driver": "qcow2", "file": _own("plain2.img"), "data-file": SHADOW},
        reaches("data-file"),
        prepare=both(shadow, images.qcow2("plain2.img")),
    ),
    _add("b-vvfat", "path-rw blockdev-add{vvfat}.rw", {"driver": "vvfat", "dir": "<victim>"}, accepted),
    _add(
        "b-vvfat-own",
        "blockdev-add{vvfat}.rw",
        {"driver": "vvfat", "dir": "<allowed>", "rw": True, "read-only": False},
        reaches("vvfat", "qcow"),
    ),
    _add("b-host-device", "path-rw host-device", {"driver": "host_device", "filename": "/dev/zero"}, reaches("device")),
    _add("b-host-cdrom", "path-rw host-device", {"driver": "host_cdrom", "filename": "/dev/sr0"}, reaches("open")),
    _add("b-fdset", "path-rw fd", {"driver": "file", "filename": "/dev/fdset/0"}, reaches("fdset", "open")),
    _add("b-proc-fd", "path-rw", {"driver": "file", "filename": "/proc/self/mem"}, reaches("sector count")),
    _add(
        "b-blkdebug-config",
        "path-read",
        {"driver": "blkdebug", "config": "<victim>/shadow", "image": {"driver": "null-co"}},
        reaches("no group"),
        prepare=shadow,
    ),
    _add(
        "b-nbd-inet",
        "net-connect",
        {"driver": "nbd", "server": {"type": "inet", "host": "127.0.0.1", "port": "<port>"}},
        reaches("onnect"),
    ),
    _add(
        "b-nbd-unix",
        "path-connect",
        {"driver": "nbd", "server": {"type": "unix", "path": "<run>/nobody"}},
        reaches("onnect", "No such"),
    ),
    _add("b-nbd-fd", "fd", {"driver": "nbd", "server": {"type": "fd", "str": "0"}}, reaches("descriptor")),
    _add(
        "b-nbd-vsock",
        "net-connect",
        {"driver": "nbd", "server": {"type": "vsock", "cid": "2", "port": "1"}},
        reaches("onnect", "vsock"),
    ),
    _add(
        "b-http", "uri-net", {"driver": "http", "url": "http://127.0.0.1:<port>/x"}, reaches("CURL", "onnect", "driver")
    ),
    _add(
        "b-https-unverified",
        "uri-net blockdev-add.sslverify",
        {"driver": "https", "sslverify": False, "url": "https://127.0.0.1:<port>/x"},
        reaches("CURL", "onnect", "driver"),
    ),
    _add(
        "b-ssh",
        "net-target blockdev-add.host-key-check",
        {
            "driver": "ssh",
            "path": "/x",
            "server": {"host": "127.0.0.1", "port": "<port>"},
            "host-key-check": {"mode": "none"},
        },
        reaches("onnect", "ssh", "driver"),
    ),
    _add(
        "b-iscsi",
        "net-target",
        {"driver": "iscsi", "transport": "tcp", "portal": "127.0.0.1:<port>", "target": "iqn.x"},
        reaches("iSCSI", "iscsi", "driver", "onnect"),
    ),
    _add(
        "b-nfs",
        "net-target",
        {"driver": "nfs", "server": {"type": "inet", "host": "127.0.0.1"}, "path": "/x"},
        reaches("nfs", "NFS", "driver"),
    ),
    _add(
        "b-rbd",
        "path-read net-target",
        {"driver": "rbd", "pool": "p", "image": "i", "conf": "<victim>/shadow"},
        reaches("rbd", "conf", "driver"),
        prepare=shadow,
    ),
    _add(
        "b-gluster",
        "net-target path-write",
        {
            "driver": "gluster",
            "volume": "v",
            "path": "p",
            "logfile": "<victim>/log",
            "server": [{"type": "inet", "host": "127.0.0.1", "port": "<port>"}],
        },
        reaches("gluster", "driver"),
    ),
    _add(
        "b-nvme",
        "host-device",
        {"driver": "nvme", "device": "0000:00:00.0", "namespace": 1},
        reaches("vfio", "IOMMU", "VFIO", "iommu"),
    ),
    _add(
        "b-json-driver",
        "unknown-field",
        {"driver": "raw", "filename": "json:{}", "file": SHADOW},
        "QEMU refuses it too",
        prepare=shadow,
    ),
    _add(
        "b-luks-detached",
        "node-ref",
        {"driver": "luks", "key-secret": "none", "file": {"driver": "null-co"}, "header": SHADOW},
        "detached headers are younger than QEMU 7.2",
        prepare=shadow,
    ),
    Attack(
        "b-reopen",
        "node-ref blockdev-reopen",
        (
            Step(
                "blockdev-reopen",
                {
                    "options": [
                        {
                            "node-name": "disk-d0",
                            "driver": "qcow2",
                            "file": {"driver": "file", "filename": "<victim>/shadow"},
                        }
                    ]
                },
            ),
            Step(
                "blockdev-reopen",
                {
                    "options": [
                        {
                            "node-name": "disk-d0",
                            "driver": "qcow2",
                            "file": "disk-d0-file",
                            "backing": {"driver": "raw", "file": SHADOW},
                        }
                    ]
                },
            ),
        ),
        "QEMU 7.2 takes only nodes that exist when it reopens",
        prepare=shadow,
    ),
    Attack(
        "b-create-format-over-file",
        "path-rw node-ref",
        (
            Step(
                "blockdev-create",
                {
                    "job-id": "jc",
                    "options": {
                        "driver": "qcow2",
                        "size": 65536,
                        "file": {"driver": "file", "filename": "<victim>/target"},
                    },
                },
            ),
        ),
        overwritten("<victim>/target", begins=b"QFI\xfb"),
        prepare=files(target=ORIGINAL),
    ),
)
