# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chains as hosts write them, for tests of what a controller makes of them."""

from __future__ import annotations

import datetime as dt
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.guard.log import NO_PREV, chain_hash

Record = t.Dict[str, t.Any]
BEGIN = dt.datetime(2026, 3, 1, 8, 0, 0, tzinfo=dt.timezone.utc)


class HostLog:
    """The log of one VM: each call appends records and returns them."""

    def __init__(self, vm: str = "web1", sock: str | None = None, begin: dt.datetime = BEGIN, **common: t.Any) -> None:
        self.records: list[Record] = []
        self.now = begin
        self._common = {
            "v": 1,
            "virt": "qemu",
            "vm": vm,
            "sock": sock or f"/run/maqet/{vm}/monitor.sock",
            "writer": {"pid": 100, "start": 5000},
            "uid": 0,
            "controller": {"user": "alice", "host": "ctl", "play": "a play", "task": "a task", "asserted": True},
            **common,
        }

    def append(self, phase: str, **fields: t.Any) -> Record:
        """One record."""
        prev = self.records[-1]["hash"] if self.records else NO_PREV
        time = {"time": self.now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "boot_id": "b", "mono_ns": 1}
        record = {**self._common, **time, "phase": phase, **fields, "seq": len(self.records) + 1, "prev": prev}
        record["hash"] = chain_hash(prev, record)
        self.records.append(record)
        return record

    def start(self, writer: int = 100, **fields: t.Any) -> Record:
        """A runner takes over."""
        self._common["writer"] = {"pid": writer, "start": 5000}
        return self.append("start", **fields)

    def command(self, op: str = "query-status", res: str = "success", **fields: t.Any) -> list[Record]:
        """A command that is sent: its intent and its result."""
        same = {
            "op": op,
            "op_id": f"{self._common['vm']}-{len(self.records)}",
            "class": "read",
            "decision": "allow",
            "level": "info",
            "args": {},
            "policy": {"id": "builtin", "rule": "class-read"},
            **fields,
        }
        return [self.append("intent", **same), self.append("result", **same, res=res, duration_ms=1.25)]

    def denial(self, op: str = "migrate", **fields: t.Any) -> list[Record]:
        """A command that is not sent."""
        same = {"op": op, "op_id": f"{self._common['vm']}-{len(self.records)}", "class": "host-exec", "args": {}}
        verdict = {"decision": "deny", "level": "warning", "error": "no rule allows it", "res": "failed"}
        policy = {"policy": {"id": "builtin", "rule": "host-exec"}}
        return [self.append("deny", **{**same, **verdict, **policy, **fields})]


def edited(record: Record, **fields: t.Any) -> Record:
    """The record with other content and the hash that it had."""
    return {**record, **fields}


def line(record: Record, host: str = "h1", **fields: t.Any) -> Record:
    """What the callback writes of a record."""
    log = str(record["sock"]).rpartition("/")[0]
    origin = {"user": "alice", "controller": "ctl", "play": "a play", "task": "a task", "run": "R1"}
    return {"v": 1, "time": record["time"], "host": host, "log": log, **origin, **fields, "record": record}
