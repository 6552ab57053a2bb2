# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One request for each command of QEMU 7.2: what a caller would ask who wants nothing that is closed.

Where arguments decide it is written by hand, with as little power as the command can have; otherwise it is
made of the schema: what must be there, and large numbers, which no rule takes for a choke.
"""

from __future__ import annotations

import gzip
import json
import typing as t
from pathlib import Path

Entry = t.Dict[str, t.Any]
Arguments = t.Dict[str, t.Any]

_SCHEMA = Path(__file__).resolve().parents[2] / "tests/unit/guard/data/schema-7.2.json.gz"

#: A file of 512 bytes that is there, in the VM's output folder.
THERE = "there.img"

_BY_HAND: t.Final[dict[str, Arguments]] = {
    "block-commit": {"device": "a"},
    "block-stream": {"device": "a"},
    "blockdev-add": {"driver": "null-co", "node-name": "a"},
    "blockdev-change-medium": {"id": "a", "filename": THERE, "format": "raw"},
    "blockdev-create": {"job-id": "j", "options": {"driver": "qcow2", "file": "a", "size": 512}},
    "blockdev-reopen": {"options": [{"driver": "null-co", "node-name": "a"}]},
    "blockdev-snapshot-sync": {"node-name": "a", "snapshot-file": "new.qcow2"},
    "change-backing-file": {"device": "a", "image-node-name": "b", "backing-file": ""},
    "chardev-add": {"id": "a", "backend": {"type": "null", "data": {}}},
    "chardev-change": {"id": "a", "backend": {"type": "null", "data": {}}},
    "client_migrate_info": {"protocol": "spice", "hostname": "192.0.2.1", "port": 5900},
    "device_add": {"driver": "virtio-rng-pci", "id": "a"},
    "display-update": {"type": "vnc"},
    "drive-backup": {"device": "a", "sync": "full", "target": "new.img"},
    "drive-mirror": {"device": "a", "sync": "full", "target": "new.img"},
    "dump-guest-memory": {"paging": False, "protocol": "file:new.elf"},
    "dumpdtb": {"filename": "new.dtb"},
    "human-monitor-command": {"command-line": "info version"},
    "memsave": {"val": 0, "size": 512, "filename": "new.bin"},
    "migrate": {"uri": "file:new.state"},
    "migrate-incoming": {"uri": "tcp:192.0.2.1:4444"},
    "migrate-recover": {"uri": "tcp:192.0.2.1:4444"},
    "migrate-set-parameters": {"max-bandwidth": 1048576},
    "nbd-server-start": {"addr": {"type": "unix", "data": {"path": "nbd.sock"}}},
    "netdev_add": {"type": "user", "id": "a"},
    "object-add": {"qom-type": "iothread", "id": "a"},
    "pmemsave": {"val": 0, "size": 512, "filename": "new.bin"},
    "qom-get": {"path": "/machine", "property": "type"},
    "qom-set": {"path": "/machine/peripheral/a", "property": "guest-stats-polling-interval", "value": 2},
    "screendump": {"filename": "new.ppm"},
    "transaction": {"actions": [{"type": "block-dirty-bitmap-add", "data": {"node": "a", "name": "b"}}]},
    "xen-load-devices-state": {"filename": THERE},
    "xen-save-devices-state": {"filename": "new.state"},
}

_BUILTIN: t.Final[dict[str, t.Any]] = {"str": "a", "bool": False, "number": 1.0, "any": 1, "null": None}
_LARGE: t.Final = 2**31


def entries() -> list[Entry]:
    """The answer of QEMU 7.2.22 to query-qmp-schema, without what only replies and events need."""
    found: list[Entry] = json.loads(gzip.decompress(_SCHEMA.read_bytes()))
    return found


def requests(schema: t.Sequence[Entry], decided_by_arguments: t.Collection[str]) -> dict[str, Arguments]:
    """Arguments by command, in the order of the alphabet. KeyError for a command that wants them by hand."""
    types = {entry["name"]: entry for entry in schema}
    names = sorted(entry["name"] for entry in schema if entry["meta-type"] == "command")
    return {
        name: _BY_HAND[name] if name in decided_by_arguments else _value(types, types[name]["arg-type"])
        for name in names
    }


def _value(types: t.Mapping[str, Entry], name: str) -> t.Any:
    """The least that fits a type."""
    entry = types[name]
    kind = entry["meta-type"]
    if kind == "builtin":
        return _BUILTIN.get(name, _LARGE)
    if kind == "enum":
        return entry["values"][0]
    if kind == "array":
        return [_value(types, entry["element-type"])]
    if kind == "alternate":
        return _value(types, entry["members"][0]["type"])
    made = {member["name"]: _value(types, member["type"]) for member in entry["members"] if "default" not in member}
    if "tag" in entry:
        case = made[entry["tag"]]
        made.update(_value(types, next(one["type"] for one in entry["variants"] if one["case"] == case)))
    return made
