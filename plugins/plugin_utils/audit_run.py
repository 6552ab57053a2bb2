# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of Ansible, as the audit sees it: what it adds to the file of records, and what is to be said at its end."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.guard.moment import stamp, ulid
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_chain import Key, Problem, Record
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_chains import gap_problem
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_store import VERSION, Line, Store


@dataclasses.dataclass
class Tally:
    """What a run left in one log."""

    records: int = 0
    denied: int = 0
    problems: int = 0


class Origin(t.NamedTuple):
    """Which task of whom a result is of."""

    host: str
    play: str
    task: str
    user: str
    controller: str


class Run:
    """Takes records, and remembers what it has told of them."""

    def __init__(self, path: str) -> None:
        self.store = Store(path)
        self.id = ulid()
        self.tallies: dict[Key, Tally] = {}
        #: Tasks whose records ``no_log`` hid, by host.
        self.hidden: dict[str, int] = {}
        #: Records that could not be written.
        self.lost = 0
        self._seen: set[str] = set()
        #: Where each chain ended when this run came upon it.
        self._first: dict[Key, int] = {}

    def take(self, origin: Origin, records: t.Sequence[Record]) -> list[Problem]:
        """Add the records of one result. Problems are new ones. OSError when they cannot be written."""
        # A loop's items come one by one, and once more at its end.
        fresh = [record for record in records if record["hash"] not in self._seen]
        if not fresh:
            return []
        self._seen.update(record["hash"] for record in fresh)
        try:
            with self.store.held() as held:
                lines, problems = self._judged(origin, fresh)
                held.append(lines)
        except OSError:
            self.lost += len(fresh)
            raise
        return problems

    def _judged(self, origin: Origin, records: t.Sequence[Record]) -> tuple[list[Line], list[Problem]]:
        lines, problems = [], []
        for record in records:
            taken = self.store.chains.take(origin.host, record)
            tally = self.tallies.setdefault(taken.key, Tally())
            self._first.setdefault(taken.key, taken.head)
            if any(problem.kind == "rewind" for problem in taken.problems):
                self._first[taken.key] = 0
            problems += taken.problems
            tally.problems += len(taken.problems)
            if taken.new:
                tally.records += 1
                tally.denied += record["phase"] == "deny"
                lines.append(self._line(origin, taken.key, record))
        return lines, problems

    def _line(self, origin: Origin, key: Key, record: Record) -> Line:
        where = {**origin._asdict(), "log": key[2]}
        return {"v": VERSION, "time": stamp()["time"], "run": self.id, **where, "record": record}

    def hide(self, host: str) -> None:
        """Count a task whose records ``no_log`` keeps from us."""
        self.hidden[host] = self.hidden.get(host, 0) + 1

    def end(self) -> list[Problem]:
        """The holes that this run has left: it will fill them no more. OSError as for :meth:`take`."""
        if not self.tallies:
            return []
        with self.store.held() as held:
            held.close()
            found = [(key, gap) for key, gap in self.store.chains.gaps() if gap.last > self._first.get(key, gap.last)]
        for key, _gap in found:
            self.tallies[key].problems += 1
        return [gap_problem(key, gap, key[0] in self.hidden) for key, gap in found]

    def summary(self) -> list[str]:
        """What this run did, a line for each log; nothing if it did nothing that is audited."""
        if not self.tallies and not self.hidden and not self.lost:
            return []
        names = [f"{host} {vm}" for host, vm, _log in self.tallies]
        width = max(map(len, names), default=0)
        made = []
        for (host, vm, _log), tally in sorted(self.tallies.items()):
            name = f"{host} {vm}".ljust(width)
            made.append(f"{name} : records={tally.records}  denied={tally.denied}  problems={tally.problems}")
        for host, count in sorted(self.hidden.items()):
            made.append(f"{host}: {count} result(s) hidden by no_log; their records are in the host's log alone")
        if self.lost:
            made.append(f"{self.lost} record(s) could not be written here; they are in the hosts' logs alone")
        if self.tallies:
            made.append(f"written to {self.store.path}")
        return made
