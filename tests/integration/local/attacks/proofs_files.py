# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proofs that go for files: what a bare QEMU writes over, reads out or opens behind an innocent name."""

from __future__ import annotations

import json

from ansible_collections.maqet.qemu.tests.integration.local.attacks import images
from ansible_collections.maqet.qemu.tests.integration.local.attacks.table import (
    MARK,
    ORIGINAL,
    SECRET,
    Attack,
    Place,
    Step,
    accepted,
    both,
    files,
    leaked,
    made,
    one,
    original,
    overwritten,
    shadow,
    told,
)

NODE = {"driver": "raw", "read-only": True, "file": {"driver": "file", "filename": "<victim>/shadow"}}


def _links(place: Place) -> None:
    (place.allowed / "fine.bin").symlink_to(place.victim / "linked")


FILES = (
    Attack(
        "04-chardev-file",
        "path-write chardev-add.append",
        (Step("chardev-add", {"id": "p04", "backend": {"type": "file", "data": {"out": "<victim>/target"}}}),),
        overwritten("<victim>/target", begins=b""),
        "backend.data.out",
        original,
    ),
    Attack(
        "05-chardev-logfile",
        "path-write chardev-add.logappend",
        (
            Step(
                "chardev-add",
                {"id": "p05", "backend": {"type": "null", "data": {"logfile": "<victim>/target", "logappend": False}}},
            ),
            Step(
                "chardev-add",
                {
                    "id": "p05b",
                    "backend": {
                        "type": "ringbuf",
                        "data": {"size": 4096, "logfile": "<victim>/keys", "logappend": True},
                    },
                },
            ),
        ),
        overwritten("<victim>/target", begins=b""),
        "backend.data.logfile",
        files(target=ORIGINAL, keys="# keys\n"),
    ),
    Attack(
        "07-blockdev-read-mirror",
        "path-rw blockdev-add.read-only",
        (
            Step("blockdev-add", {"node-name": "p07", **NODE}),
            Step(
                "drive-backup",
                {"job-id": "j07", "device": "p07", "target": "<allowed>/p07.raw", "format": "raw", "sync": "full"},
                "follow",
            ),
        ),
        leaked("<allowed>/p07.raw"),
        "file.filename",
        shadow,
    ),
    Attack(
        "09-transaction",
        "blk-filename-write",
        (
            Step(
                "transaction",
                {
                    "actions": [
                        {
                            "type": "blockdev-snapshot-sync",
                            "data": {
                                "node-name": "disk-d0",
                                "snapshot-node-name": "p09",
                                "snapshot-file": "<victim>/target",
                                "format": "qcow2",
                            },
                        }
                    ]
                },
            ),
        ),
        overwritten("<victim>/target", begins=b"QFI\xfb"),
        "snapshot-file",
        original,
    ),
    one(
        "10-screendump",
        "path-write",
        "screendump",
        {"filename": "<victim>/target"},
        overwritten("<victim>/target", begins=b"P6"),
        blames="filename",
        prepare=original,
    ),
    one(
        "11-pmemsave",
        "path-write",
        "pmemsave",
        {"val": 0xFFFFF000, "size": 4096, "filename": "<victim>/target"},
        overwritten("<victim>/target"),
        blames="filename",
        prepare=original,
    ),
    one(
        "12-dump-guest-memory",
        "uri-file",
        "dump-guest-memory",
        {"paging": False, "protocol": "file:<victim>/target"},
        overwritten("<victim>/target", begins=b"\x7fELF"),
        blames="protocol",
        prepare=original,
    ),
    Attack(
        "13-secret-file",
        "path-read secret",
        (Step("object-add", {"qom-type": "secret", "id": "p13", "file": "<victim>/shadow"}),),
        accepted,
        "file",
        shadow,
    ),
    Attack(
        "14-qom-get-secret",
        "qom secret",
        (
            Step("object-add", {"qom-type": "secret", "id": "p14", "data": f"hunter2-{MARK}"}, "setup"),
            Step("qom-get", {"path": "/objects/p14", "property": "data"}),
        ),
        told(),
        "data",
    ),
    Attack(
        "16-memory-backend-file",
        "path-rw object-add{memory-backend-file}",
        (
            Step(
                "object-add",
                {
                    "qom-type": "memory-backend-file",
                    "id": "p16",
                    "mem-path": "<victim>/new",
                    "size": 1 << 20,
                    "share": True,
                },
            ),
            Step(
                "object-add",
                {
                    "qom-type": "memory-backend-file",
                    "id": "p16b",
                    "mem-path": "<victim>/tenant",
                    "size": 128 << 20,
                    "share": True,
                },
            ),
            Step("device_add", {"driver": "pc-dimm", "id": "p16d", "memdev": "p16b"}, "follow"),
            # The first hot-plugged DIMM of a PC with 64 MiB lies at 4 GiB.
            Step("pmemsave", {"val": 1 << 32, "size": 512, "filename": "<allowed>/p16.bin"}, "follow"),
        ),
        lambda seen: made("<victim>/new")(seen) and leaked("<allowed>/p16.bin")(seen),
        "mem-path",
        files(tenant=SECRET.encode() + b"\0" * ((128 << 20) - len(SECRET))),
    ),
    Attack(
        "17-filter-dump",
        "path-write",
        (
            Step("netdev_add", {"type": "user", "id": "p17", "restrict": True}, "setup"),
            Step(
                "object-add",
                {"qom-type": "filter-dump", "id": "p17f", "netdev": "p17", "file": "<victim>/target"},
            ),
        ),
        overwritten("<victim>/target"),
        "file",
        original,
    ),
    Attack(
        "24-json-pseudo-path",
        "blk-filename-write drive-mirror.mode",
        (
            Step(
                "drive-mirror",
                {
                    "job-id": "j24",
                    "device": "disk-d0",
                    "target": "json:"
                    + json.dumps({"driver": "raw", "file": {"driver": "file", "filename": "<victim>/target"}}),
                    "mode": "existing",
                    "sync": "full",
                },
            ),
        ),
        lambda seen: not seen.place.path("<victim>/target").read_bytes().startswith(ORIGINAL.encode()),
        "target",
        files(target=ORIGINAL.encode() * (1 << 19)),
    ),
    Attack(
        "25-dotdot-and-symlink",
        "path-write",
        (
            Step("pmemsave", {"val": 0, "size": 16, "filename": "<allowed>/../../../<victim>/climbed"}, "follow"),
            Step("pmemsave", {"val": 0, "size": 16, "filename": "<allowed>/sub/../../climbed"}),
            Step("pmemsave", {"val": 0, "size": 16, "filename": "<allowed>/fine.bin"}),
        ),
        overwritten("<victim>/linked"),
        "filename",
        both(files(linked=ORIGINAL, climbed=ORIGINAL), _links),
    ),
    one(
        "26-blockdev-create",
        "path-rw",
        "blockdev-create",
        {"job-id": "j26", "options": {"driver": "file", "filename": "<victim>/target", "size": 4096}},
        overwritten("<victim>/target", begins=b"\0"),
        blames="filename",
        prepare=original,
    ),
    Attack(
        "60-header-names-files",
        "node-ref blockdev-add.backing",
        (
            Step(
                "blockdev-add",
                {
                    "node-name": "p60",
                    "driver": "qcow2",
                    "read-only": True,
                    "file": {"driver": "file", "filename": "<disks>/p60.qcow2"},
                },
            ),
            Step(
                "blockdev-add",
                {
                    "node-name": "p60d",
                    "driver": "qcow2",
                    "read-only": True,
                    "backing": None,
                    "file": {"driver": "file", "filename": "<disks>/p60d.qcow2"},
                },
            ),
            Step(
                "drive-backup",
                {"job-id": "j60", "device": "p60", "target": "<allowed>/p60.raw", "format": "raw", "sync": "full"},
                "follow",
            ),
        ),
        lambda seen: accepted(seen) and leaked("<allowed>/p60.raw")(seen),
        "backing data-file",
        both(
            files(shadow=SECRET.encode().ljust(65536, b"\n")),
            images.qcow2("p60.qcow2", backing="<victim>/shadow"),
            images.qcow2("p60d.qcow2", data_file="<victim>/shadow"),
        ),
    ),
)
