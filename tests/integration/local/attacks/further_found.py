# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a reader of QEMU's sources finds beside the classification: two parsers that differ, fields that are left out,
and innocent commands that do more than they say.
"""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.tests.integration.local.attacks import images
from ansible_collections.maqet.qemu.tests.integration.local.attacks.table import (
    MARK,
    Attack,
    Seen,
    Step,
    accepted,
    both,
    one,
    reaches,
    shadow,
    told,
)


def _own(name: str) -> dict[str, t.Any]:
    return {"driver": "file", "filename": f"<disks>/{name}", "read-only": True}


def _in_log(seen: Seen) -> bool:
    return MARK in seen.log


def _create(driver: str, location: dict[str, t.Any]) -> Attack:
    """A new image on somebody else's server."""
    options = {"driver": driver, "size": 65536, "location": location}
    absent = "Debian has this driver in a package of its own"
    return one(
        f"x-create-{driver}", "net-target", "blockdev-create", {"job-id": f"x{driver}", "options": options}, absent
    )


FOUND = (
    Attack(
        "x-extensions-behind-the-name",
        "node-ref format",
        # QEMU reads header extensions up to the backing file's name only; a reader who goes on finds a format
        # there that QEMU does not see, and QEMU guesses.
        (
            Step(
                "blockdev-add", {"node-name": "xdiff", "driver": "qcow2", "read-only": True, "file": _own("xdiff.img")}
            ),
            Step("query-named-block-nodes", {}, "follow"),
        ),
        told("/victim/shadow"),
        prepare=both(
            shadow,
            images.qcow2("xdiff-base.raw", backing="<victim>/shadow"),
            images.qcow2_name_in_header("xdiff.img", "<disks>/xdiff-base.raw"),
        ),
    ),
    Attack(
        "x-trace-of-commands",
        "trace secret",
        (
            Step("trace-event-set-state", {"name": "qmp_enter_*", "enable": True}),
            Step("object-add", {"qom-type": "secret", "id": "xtrace", "data": MARK}, "follow"),
        ),
        _in_log,
        "name",
    ),
    one(
        "x-trace-one-command",
        "trace secret",
        "trace-event-set-state",
        {"name": "qmp_enter_set_password", "enable": True},
        accepted,
    ),
    one("x-trace-prefix", "trace secret", "trace-event-set-state", {"name": "qmp_*", "enable": True}, accepted),
    Attack(
        "x-cpu-by-a-question",
        "introspect",
        (
            Step(
                "query-cpu-model-expansion",
                {
                    "type": "full",
                    "model": {
                        "name": "qemu64",
                        "props": {"socket-id": 0, "core-id": 1, "thread-id": 0, "realized": True},
                    },
                },
            ),
            Step("query-cpus-fast", {}, "follow"),
        ),
        lambda seen: len(seen.replies[-1]) == 2,
        "props",
    ),
    _create("ssh", {"server": {"host": "127.0.0.1", "port": "<port>"}, "path": "/x"}),
    _create("nfs", {"server": {"type": "inet", "host": "127.0.0.1"}, "path": "/x"}),
    _create("rbd", {"pool": "p", "image": "i", "server": [{"host": "127.0.0.1", "port": "<port>"}]}),
    one(
        "x-abstract-server",
        "path-listen",
        "nbd-server-start",
        {"addr": {"type": "unix", "data": {"path": "mq<port>", "abstract": True}}},
        accepted,
    ),
    one("x-vde-default", "path-connect", "netdev_add", {"type": "vde", "id": "xvde"}, reaches("vde")),
    Attack(
        "x-stored-hostile",
        "blk-filename-stored",
        # An image of the VM's own whose header is hostile: opened when the VM starts next.
        (
            Step(
                "change-backing-file",
                {"device": "disk-d0", "image-node-name": "disk-d0", "backing-file": "<disks>/xhostile.img"},
            ),
            Step("block-stream", {"job-id": "xs", "device": "disk-d0", "backing-file": "<disks>/xhostile.img"}),
            Step("block-commit", {"job-id": "xc", "device": "disk-d0", "backing-file": "<disks>/xhostile.img"}),
        ),
        reaches("backing", "commit"),
        "backing-file",
        both(shadow, images.qcow2("xhostile.img", backing="<victim>/shadow")),
    ),
    one(
        "x-fuse-own",
        "path-mount",
        "block-export-add",
        {"type": "fuse", "id": "xfuse", "node-name": "disk-d0", "mountpoint": "<disks>/d0.qcow2"},
        reaches("fuse", "FUSE", "mount", "stat"),
    ),
    one(
        "x-vduse",
        "host-device",
        "block-export-add",
        {"type": "vduse-blk", "id": "xvduse", "node-name": "disk-d0", "name": "x"},
        reaches("vduse", "VDUSE"),
    ),
)
