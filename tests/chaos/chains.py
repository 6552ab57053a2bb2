# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold of an audit log after whatever has happened."""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.guard.chain import Report, read, verify
from ansible_collections.maqet.qemu.tests.chaos.case import check

Record = t.Dict[str, t.Any]


def whole(path: str, witness: dict[str, t.Any] | None = None) -> list[Record]:
    """The records of a log whose chain verifies from its first record on; Broken otherwise."""
    report: Report = verify(path, witness, complete=True)
    check(report.ok, f"the audit log {path}: {report.problem} (line {report.first_bad})")
    return read(path)


def by_command(records: t.Iterable[Record]) -> dict[str, list[Record]]:
    """The records of each command, by its op_id."""
    found: dict[str, list[Record]] = {}
    for record in records:
        if record.get("op_id"):
            found.setdefault(str(record["op_id"]), []).append(record)
    return found


def phases(records: t.Iterable[Record]) -> tuple[str, ...]:
    """The phases that a command went through, in their order."""
    return tuple(str(record["phase"]) for record in records)


def check_closed(records: t.Iterable[Record]) -> None:
    """Broken if a command has an intent, and neither a result nor a record that says that nobody knows it."""
    bad = {
        op: phases(these)
        for op, these in by_command(records).items()
        if len(these) != 2 and these[0]["phase"] == "intent"
    }
    check(not bad, "commands that were begun and never ended, or ended twice:", bad)
