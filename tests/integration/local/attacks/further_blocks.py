# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attacks of our own that go through the block layer: headers, nesting, protocols, what is stored for later."""

from __future__ import annotations

import json
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
    original,
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


def _header(name: str, prepare: t.Any, driver: str = "qcow2", **options: t.Any) -> Attack:
    """An image among the VM's own whose header names the victim."""
    return _add(
        name,
        "node-ref blockdev-add.backing",
        {"driver": driver, "file": _own(f"{name}.img"), **options},
        accepted,
        prepare=both(files(shadow="x" * 65536), prepare),
    )


HEADERS = (
    _header("b-backing", images.qcow2("b-backing.img", backing="<victim>/shadow")),
    _header("b-backing-no-format", images.qcow2("b-backing-no-format.img", "<victim>/shadow", backing_format="")),
    _header(
        "b-backing-json",
        images.qcow2(
            "b-backing-json.img", 'json:{"driver":"raw","file":{"driver":"file","filename":"<victim>/shadow"}}'
        ),
    ),
    _header("b-backing-relative", images.qcow2("b-backing-relative.img", "../../../../../../../../<victim>/shadow")),
    _header("b-backing-file-prefix", images.qcow2("b-backing-file-prefix.img", "file:<victim>/shadow")),
    _header("b-data-file", images.qcow2("b-data-file.img", data_file="<victim>/shadow"), backing=None),
    _header("b-data-file-elsewhere", images.qcow2("b-data-file-elsewhere.img", data_file="/dev/zero"), backing=None),
    _header("b-qed", images.qed("b-qed.img", "<victim>/shadow"), "qed"),
    _header("b-vmdk", images.vmdk("b-vmdk.img", "<victim>/shadow"), "vmdk"),
    Attack(
        "b-header-behind-a-reference",
        "node-ref",
        (
            Step("blockdev-add", {"node-name": "bref", **_own("bref.img")}, "setup"),
            Step("blockdev-add", {"node-name": "bref2", "read-only": True, "driver": "qcow2", "file": "bref"}),
        ),
        accepted,
        prepare=both(shadow, images.qcow2("bref.img", backing="<victim>/shadow")),
    ),
    Attack(
        "b-header-behind-raw",
        "node-ref",
        (
            Step(
                "blockdev-add",
                {
                    "node-name": "braw",
                    "read-only": True,
                    "driver": "qcow2",
                    "file": {"driver": "raw", "offset": 512, "file": _own("braw.img")},
                },
            ),
        ),
        accepted,
        prepare=both(
            shadow,
            lambda place: images.raw("braw.img", b"\0" * 512 + images.qcow2_bytes(place.fill("<victim>/shadow")))(
                place
            ),
        ),
    ),
    Attack(
        "b-backing-of-backing",
        "node-ref",
        (
            Step(
                "blockdev-add",
                {"node-name": "bchain", "read-only": True, "driver": "qcow2", "file": _own("bchain-top.img")},
            ),
        ),
        accepted,
        prepare=both(
            shadow,
            images.qcow2("bchain-base.img", backing="<victim>/shadow"),
            images.qcow2("bchain-top.img", backing="<disks>/bchain-base.img", backing_format="qcow2"),
        ),
    ),
    Attack(
        "b-probed-raw-backing",
        "node-ref format",
        # The backing file has no format in the header: QEMU would guess, and what is guessed from is the guest's.
        (
            Step(
                "blockdev-add",
                {"node-name": "bprobe", "read-only": True, "driver": "qcow2", "file": _own("bprobe-top.img")},
            ),
        ),
        accepted,
        prepare=both(
            shadow,
            images.qcow2("bprobe-base.raw", backing="<victim>/shadow"),
            images.qcow2("bprobe-top.img", backing="<disks>/bprobe-base.raw", backing_format=""),
        ),
    ),
)

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


def _medium(name: str, filename: str, effect: t.Any, **more: t.Any) -> Attack:
    arguments = {"id": "cd0", "filename": filename, "force": True, **more.pop("extra", {})}
    return one(name, "blk-filename", "blockdev-change-medium", arguments, effect, blames="filename", **more)


FILENAMES = (
    _medium("w-medium", "<victim>/shadow", accepted, prepare=shadow, extra={"format": "raw"}),
    _medium("w-medium-fat", "fat:<victim>", accepted),
    _medium("w-medium-fat-rw", "fat:rw:<victim>", accepted, extra={"read-only-mode": "read-write"}),
    _medium("w-medium-nbd", "nbd://127.0.0.1:<port>/x", reaches("onnect")),
    _medium("w-medium-nbd-old", "nbd:127.0.0.1:<port>", reaches("onnect")),
    _medium("w-medium-nbd-unix", "nbd+unix:///x?socket=<run>/nobody", reaches("onnect", "No such")),
    _medium("w-medium-http", "http://127.0.0.1:<port>/x", reaches("CURL", "onnect", "protocol", "driver")),
    _medium("w-medium-ssh", "ssh://127.0.0.1:<port>/x", reaches("ssh", "onnect", "protocol", "driver")),
    _medium(
        "w-medium-json",
        'json:{"driver":"raw","file":{"driver":"file","filename":"<victim>/shadow"}}',
        accepted,
        prepare=shadow,
    ),
    _medium(
        "w-medium-json-dotted",
        'json:{"driver":"raw","file.driver":"file","file.filename":"<victim>/shadow"}',
        accepted,
        prepare=shadow,
    ),
    _medium("w-medium-file-prefix", "file:<victim>/shadow", accepted, prepare=shadow),
    _medium("w-medium-blkdebug", "blkdebug::<victim>/shadow", accepted, prepare=shadow),
    _medium("w-medium-host-cdrom", "host_cdrom:/dev/sr0", reaches("open", "protocol")),
    _medium("w-medium-fdset", "/dev/fdset/0", reaches("fdset", "open")),
    _medium(
        "w-medium-guessed-format",
        "<disks>/w-guess.img",
        accepted,
        prepare=both(shadow, images.qcow2("w-guess.img", backing="<victim>/shadow")),
    ),
    one(
        "w-mirror",
        "blk-filename-write drive-mirror.mode",
        "drive-mirror",
        {"job-id": "jm", "device": "disk-d0", "target": "<victim>/target", "format": "raw", "sync": "full"},
        lambda seen: seen.place.path("<victim>/target").stat().st_size > 8,
        blames="target",
        prepare=original,
    ),
    one(
        "w-mirror-nbd",
        "blk-filename-write",
        "drive-mirror",
        {
            "job-id": "jn",
            "device": "disk-d0",
            "target": "nbd://127.0.0.1:<port>/x",
            "format": "raw",
            "sync": "full",
            "mode": "existing",
        },
        reaches("onnect"),
        blames="target",
    ),
    one(
        "w-mirror-no-format",
        "drive-mirror.mode format",
        "drive-mirror",
        {"job-id": "jnf", "device": "disk-d0", "target": "<disks>/jnf.img", "sync": "full", "mode": "existing"},
        reaches("size", "length"),
        blames="format target",
        prepare=both(shadow, images.qcow2("jnf.img", backing="<victim>/shadow")),
    ),
    one(
        "w-backup",
        "blk-filename-write drive-backup.mode",
        "drive-backup",
        {"job-id": "jb", "device": "disk-d0", "target": "file:<victim>/target", "format": "raw", "sync": "full"},
        lambda seen: seen.place.path("<victim>/target").stat().st_size > 8,
        blames="target",
        prepare=original,
    ),
    one(
        "w-snapshot",
        "blk-filename-write blockdev-snapshot-sync.mode",
        "blockdev-snapshot-sync",
        {"node-name": "disk-d0", "snapshot-file": "<victim>/target", "snapshot-node-name": "ws", "format": "qcow2"},
        overwritten("<victim>/target", begins=b"QFI\xfb"),
        blames="snapshot-file",
        prepare=original,
    ),
    one(
        "w-snapshot-existing",
        "blockdev-snapshot-sync.mode",
        "blockdev-snapshot-sync",
        {
            "node-name": "disk-d0",
            "snapshot-file": "<disks>/wse.img",
            "snapshot-node-name": "wse",
            "format": "qcow2",
            "mode": "existing",
        },
        accepted,
        blames="snapshot-file mode",
        prepare=both(shadow, images.qcow2("wse.img", data_file="<victim>/shadow")),
    ),
    Attack(
        "w-transaction-deep",
        "transaction",
        (
            Step(
                "transaction",
                {
                    "actions": [
                        {"type": "block-dirty-bitmap-add", "data": {"node": "disk-d0", "name": "b"}},
                        {
                            "type": "drive-backup",
                            "data": {
                                "job-id": "jt",
                                "device": "disk-d0",
                                "sync": "full",
                                "format": "raw",
                                "target": "json:"
                                + json.dumps(
                                    {"driver": "raw", "file": {"driver": "file", "filename": "<victim>/target"}}
                                ),
                                "mode": "existing",
                            },
                        },
                    ]
                },
            ),
        ),
        reaches("size", "Size"),
        "target",
        original,
    ),
    Attack(
        "w-transaction-unknown",
        "transaction",
        (
            Step("transaction", {"actions": [{"type": "quit", "data": {}}]}),
            Step("transaction", {"actions": [{"type": "human-monitor-command", "data": {"command-line": "info"}}]}),
            Step("transaction", {"actions": [{"type": "set_password", "data": {"protocol": "vnc", "password": "x"}}]}),
            Step("transaction", {"actions": [{"type": "transaction", "data": {"actions": []}}]}),
        ),
        "QEMU refuses them too",
        "",
    ),
)


def _stored(name: str, command: str, arguments: dict[str, t.Any], effect: t.Any, **more: t.Any) -> Attack:
    return one(name, "blk-filename-stored", command, arguments, effect, blames="backing-file", **more)


STORED = (
    _stored(
        "t-change-backing",
        "change-backing-file",
        {"device": "disk-d0", "image-node-name": "disk-d0", "backing-file": "<victim>/shadow"},
        reaches("without a backing"),
    ),
    _stored(
        "t-change-backing-json",
        "change-backing-file",
        {
            "device": "disk-d0",
            "image-node-name": "disk-d0",
            "backing-file": 'json:{"driver":"nbd","server":{"type":"inet","host":"127.0.0.1","port":"1"}}',
        },
        reaches("without a backing"),
    ),
    _stored(
        "t-stream",
        "block-stream",
        {"job-id": "js", "device": "disk-d0", "backing-file": "<victim>/shadow", "base-node": "disk-d0-file"},
        reaches("backing image"),
    ),
    _stored(
        "t-commit",
        "block-commit",
        {"job-id": "jc2", "device": "disk-d0", "backing-file": "<victim>/shadow"},
        reaches("commit"),
    ),
    _stored(
        "t-create",
        "blockdev-create",
        {
            "job-id": "jc3",
            "options": {
                "driver": "qcow2",
                "size": 65536,
                "file": "disk-d0-file",
                "backing-file": "<victim>/shadow",
                "backing-fmt": "raw",
            },
        },
        accepted,
    ),
)


EXPORTS = (
    one(
        "e-writable",
        "block-export-add.writable",
        "block-export-add",
        {"type": "nbd", "id": "ew", "node-name": "disk-d0", "writable": True},
        reaches("Permission"),
    ),
    one(
        "e-nbd-add",
        "nbd-server-add.writable",
        "nbd-server-add",
        {"device": "disk-d0", "writable": True},
        reaches("Permission"),
    ),
    one(
        "e-vhost-user",
        "path-listen",
        "block-export-add",
        {
            "type": "vhost-user-blk",
            "id": "ev",
            "node-name": "disk-d0",
            "addr": {"type": "unix", "path": "<victim>/target"},
        },
        accepted,
        prepare=original,
    ),
    one(
        "e-vhost-user-any",
        "net-listen",
        "block-export-add",
        {
            "type": "vhost-user-blk",
            "id": "ei",
            "node-name": "disk-d0",
            "addr": {"type": "inet", "host": "0.0.0.0", "port": "<port>"},
        },
        reaches("UNIX", "unix", "inet"),
    ),
    one(
        "e-fuse",
        "path-mount block-export-add.allow-other",
        "block-export-add",
        {"type": "fuse", "id": "ef", "node-name": "disk-d0", "mountpoint": "<victim>/target", "allow-other": "on"},
        reaches("fuse", "FUSE", "mount"),
        prepare=original,
    ),
    Attack(
        "e-peer",
        "path-connect",
        (Step("object-add", {"qom-type": "pr-manager-helper", "id": "pr1", "path": "<run>/nobody"}),),
        reaches("onnect"),
    ),
)
