# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a report says of the records that were gathered: commands, chains and their problems. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_chain import Key, Problem
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_chains import Chains, gap_problem
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_take import is_record

Record = t.Dict[str, t.Any]
Line = t.Mapping[str, t.Any]

#: Fields of a line that say who ran which task.
_ORIGIN: t.Final = ("user", "controller", "play", "task", "run")


@dataclasses.dataclass
class Command:
    """One command, or one mark of a runner: the records with one ``op_id``, and how they came."""

    host: str
    first: Record
    last: Record
    #: user, controller, play, task and run, of the line; empty when only the host's own log has it.
    origin: dict[str, str]
    problem: bool = False

    @property
    def outcome(self) -> str:
        """One of denied, success, failed, unknown (its writer ended), open (no result was seen), mark."""
        phase = self.last.get("phase")
        if phase in ("start", "rotate"):
            return "mark"
        if phase == "deny":
            return "denied"
        if phase == "orphan":
            return "unknown"
        return str(self.last.get("res") or "unknown") if phase == "result" else "open"


@dataclasses.dataclass
class Log:
    """One chain, as far as it is known."""

    key: Key
    records: int = 0
    commands: int = 0
    denied: int = 0
    #: seq of the first and of the last record.
    first: int = 0
    last: int = 0
    until: str = ""
    unseen: int = 0
    #: Whether the host's own log was read: None when not, else what verifying it said.
    verified: bool | None = None
    problems: list[Problem] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Report:
    """All of it: commands by time, logs by name."""

    commands: list[Command]
    logs: list[Log]
    problems: list[Problem]

    @property
    def denied(self) -> int:
        """How many commands were denied."""
        return sum(log.denied for log in self.logs)


class _Maker:
    """Folds lines and logs into a report."""

    def __init__(self) -> None:
        self.chains = Chains()
        self.logs: dict[Key, Log] = {}
        self.commands: dict[tuple[str, str], Command] = {}
        self.problems: list[Problem] = []

    def add(self, host: str, record: Record, log: str | None, origin: dict[str, str]) -> None:
        """One record."""
        taken = self.chains.take(host, record, log)
        found = self.logs.setdefault(taken.key, Log(taken.key, first=record["seq"]))
        for problem in taken.problems:
            self._blame(found, problem)
        if not taken.new:
            return
        found.records += 1
        found.first = min(found.first, record["seq"])
        found.denied += record["phase"] == "deny"
        found.until = max(found.until, str(record.get("time", "")))
        # A mark has no op_id, and is its own.
        name = str(record.get("op_id") or record["hash"])
        command = self.commands.get((host, name))
        if command is None:
            found.commands += bool(record.get("op"))
            command = self.commands[host, name] = Command(host, record, record, origin)
        if record["seq"] >= command.last["seq"]:
            command.last = record
        command.problem = command.problem or bool(taken.problems)

    def host(self, host: str, vm: str, result: t.Mapping[str, t.Any]) -> None:
        """What maqet_audit_info said of one log."""
        records = [record for record in result.get("records") or () if is_record(record)]
        for record in records:
            self.add(host, record, None, {})
        keys = [key for key in self.logs if key[:2] == (host, vm)]
        if not keys and result.get("error_code") == "audit_not_found":
            return  # of a VM that has never been started
        key = keys[-1] if keys else (host, vm, "")
        if records:
            by_hash = {records[-1]["hash"], (result.get("head") or {}).get("hash")}
            key = next((one for one in keys if self.chains.chains[one].hash in by_hash), key)
        log = self.logs.setdefault(key, Log(key))
        if result.get("failed") or result.get("unreachable"):
            self._blame(log, Problem("host", host, vm, f"not read: {result.get('msg') or 'no word why'}"))
            return
        log.verified = bool(result.get("verified"))
        if not log.verified:
            self._blame(log, Problem("host", host, vm, f"{result.get('problem')}", result.get("first_bad_seq")))

    def _blame(self, log: Log, problem: Problem) -> None:
        log.problems.append(problem)
        self.problems.append(problem)

    def report(self) -> Report:
        """What came of it."""
        for key, chain in self.chains.chains.items():
            self.logs[key].last = chain.seq
            self.logs[key].unseen = sum(gap.count for gap in chain.gaps)
        for key, gap in self.chains.gaps():
            if self.logs[key].verified:
                continue  # the host has them, and they fit
            self._blame(self.logs[key], gap_problem(key, gap))
        order = sorted(self.commands.values(), key=lambda one: (str(one.first.get("time", "")), one.first["seq"]))
        return Report(order, [log for _key, log in sorted(self.logs.items())], self.problems)


def made_of(lines: t.Iterable[Line], gathered: t.Iterable[t.Mapping[str, t.Any]] = ()) -> Report:
    """The report of the lines of a file of records, and of what hosts said.

    ``gathered`` has ``{host, logs}`` for each: the registered result of a loop of maqet_audit_info over VMs' names, and
    with ``vms`` that of maqet_vm_info.
    """
    maker = _Maker()
    for line in lines:
        log = line.get("log")
        origin = {name: str(line[name]) for name in _ORIGIN if line.get(name)}
        maker.add(line["host"], line["record"], log if isinstance(log, str) else None, origin)
    for told in gathered:
        for vm, result in _results(told):
            maker.host(str(told["host"]), vm, result)
    return maker.report()


def _results(told: t.Mapping[str, t.Any]) -> t.Iterator[tuple[str, t.Mapping[str, t.Any]]]:
    """VM and result of maqet_audit_info, for each that a host's ``logs`` hold; "" for what is of all of them."""
    listed, logs = told.get("vms") or {}, told["logs"]
    results = logs.get("results") or []
    if listed.get("failed") or listed.get("unreachable"):
        yield "", listed
    elif not results and (logs.get("failed") or logs.get("unreachable")):
        yield "", logs
    for result in results:
        yield str(result["item"]), result
