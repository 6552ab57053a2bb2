# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attacks of our own by names of images: protocols and spellings, what is stored for later, and exports."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.maqet.qemu.tests.integration.local.attacks import images
from ansible_collections.maqet.qemu.tests.integration.local.attacks.table import (
    Attack,
    Step,
    accepted,
    both,
    one,
    original,
    overwritten,
    reaches,
    shadow,
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
            Step(
                "transaction",
                {"actions": [{"type": "set_password", "data": {"protocol": "vnc", "password": "correct horse"}}]},
            ),
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
