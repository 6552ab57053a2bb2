# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All chains that a controller has seen something of. Pure."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_chain import (
    Chain,
    Gap,
    Key,
    Problem,
    Record,
    altered,
)

#: Tells the hashes that were seen of a chain, by number.
Recall = t.Callable[[Key], t.Mapping[int, str]]


class Taken(t.NamedTuple):
    """What became of a record: its chain, and where that ended before; whether it is new; what is wrong."""

    key: Key
    head: int
    new: bool
    problems: list[Problem]


class Chains:
    """Chains by host, VM and log; ``recall`` is asked for hashes that are older than what is remembered here."""

    def __init__(self, recall: Recall | None = None) -> None:
        self.chains: dict[Key, Chain] = {}
        self.hashes: dict[Key, dict[int, str]] = {}
        self._recall = recall
        self._recalled: dict[Key, t.Mapping[int, str]] = {}
        self._logs: dict[tuple[str, str], list[Key]] = {}
        self._indexed = 0

    def take(self, host: str, record: Record, log: str | None = None) -> Taken:
        """Add a record that came from ``host``. ``log``: to which of its logs it was found to belong before."""
        vm = str(record.get("vm") or "")
        key = self._key(host, vm, record, log)
        chain = self.chains.get(key)
        head = record["seq"] if chain is None else chain.seq
        problems: list[Problem] = []
        if chain is None:
            others = self.logs_of(host, vm)
            if others:
                here, there = key[2] or "?", others[0][2] or "?"
                text = f"a second log: its VM has its sockets in {here}, that of the first one in {there}"
                problems.append(self._problem("log", key, text, record))
            self.chains[key] = Chain.begun(record)
            found = altered(record)
        else:
            seen = self._hash(key, record["seq"])
            if seen == record["hash"]:
                return Taken(key, head, False, [])
            found = chain.take(record, seen)
        if found is not None:
            problems.append(self._problem(found[0], key, found[1], record))
            if found[0] == "rewind":
                self.hashes[key] = {}
                self._recalled[key] = {}
        self.hashes.setdefault(key, {})[record["seq"]] = record["hash"]
        return Taken(key, head, True, problems)

    def logs_of(self, host: str, vm: str) -> list[Key]:
        """The chains of VMs of that name on that host; mostly one."""
        if self._indexed != len(self.chains):
            self._logs = {}
            for key in self.chains:
                self._logs.setdefault(key[:2], []).append(key)
            self._indexed = len(self.chains)
        return self._logs.get((host, vm), [])

    def _key(self, host: str, vm: str, record: Record, log: str | None) -> Key:
        """Which log of that host. One that it continues, else that of the VM with these sockets, else the only one."""
        if log is not None:
            return (host, vm, log)
        own = self.logs_of(host, vm)
        for key in own:
            if self.chains[key].hash == record["prev"]:
                return key
        if record.get("sock"):
            return (host, vm, os.path.dirname(str(record["sock"])))
        # Refused before the VM was looked up: that has no socket.
        return own[-1] if own else (host, vm, "")

    def _hash(self, key: Key, seq: int) -> str | None:
        found = self.hashes.get(key, {}).get(seq)
        if found is None and self._recall is not None and seq <= self.chains[key].seq:
            if key not in self._recalled:
                self._recalled[key] = self._recall(key)
            found = self._recalled[key].get(seq)
        return found

    def _problem(self, kind: str, key: Key, text: str, record: Record) -> Problem:
        return Problem(kind, key[0], key[1], text, record["seq"], str(record.get("time", "")))

    def gaps(self) -> t.Iterator[tuple[Key, Gap]]:
        """The holes that are still open, but for the quiet ones."""
        for key, chain in sorted(self.chains.items()):
            for gap in chain.gaps:
                if not gap.quiet:
                    yield key, gap


def gap_problem(key: Key, gap: Gap, hidden: bool = False) -> Problem:
    """A hole that stayed open, in words. ``hidden``: results of that host were, by ``no_log``."""
    which = f"record {gap.first}" if gap.count == 1 else f"records {gap.first} to {gap.last}"
    perhaps = "; no_log has hidden results of this host" if hidden else ""
    text = f"{which} came by no task that was seen here{perhaps}. maqet_audit_info reads what the host has"
    return Problem("gap", key[0], key[1], text, gap.first, gap.until)
