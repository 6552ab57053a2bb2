# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Intents whose result nobody will write any more: their writer ended between the two.

Whether such a command has run is not known, and the log must say so. Called where a log is taken
over: by each runner when it starts (:func:`start`), and by each task in direct mode (:func:`adopt`).
"""

from __future__ import annotations

import json
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.guard import journal
from ansible_collections.maqet.qemu.plugins.module_utils.guard import record as records
from ansible_collections.maqet.qemu.plugins.module_utils.guard.log import AuditLog, Held
from ansible_collections.maqet.qemu.plugins.module_utils.guard.moment import boot_id, start_ticks

#: Bytes of the log that a task in direct mode looks through: some 250 records, 10 ms. What died longer ago is found
#: by the next runner.
NEAR = 256 * 1024

#: Bytes that a runner looks through if it does not meet the mark of the one before: a second or so, once.
FAR = 32 * 1024 * 1024


def adopt(log: AuditLog, limit: int = NEAR) -> list[dict[str, t.Any]]:
    """Append an ``orphan`` record for each intent whose writer is gone; returns the new records.

    ``limit``: bytes to look through, from the end. Raises MaqetError ``audit_failed`` when they
    cannot be read or written.
    """
    with log.held() as held:
        orphans, _open = _sort(held, limit)
        made = held.append_all([records.orphan(intent) for intent in orphans])
    for record in made:
        journal.send(record)
    return made


def start(log: AuditLog, identity: records.VmIdentity, words: t.Sequence[str] = ()) -> list[dict[str, t.Any]]:
    """:func:`adopt` for a runner that takes over, and its mark, which the next one needs not look behind.

    ``words``: QEMU's arguments that are the user's own, for the mark to name.

    Intents whose writers live are named in the mark (``open``): behind it, only these count.
    """
    with log.held() as held:
        orphans, alive = _sort(held, FAR)
        mark = records.started(identity, sorted(intent["op_id"] for intent in alive), words)
        made = held.append_all([*(records.orphan(intent) for intent in orphans), mark])
    for record in made:
        journal.send(record)
    return made


def writer_lives(record: t.Mapping[str, t.Any]) -> bool:
    """Whether the process that wrote ``record`` can still write its result: the same pid, start time and boot."""
    writer = record.get("writer")
    if not isinstance(writer, dict) or record.get("boot_id") != boot_id():
        return False  # of an older version, or of an earlier boot
    pid, start_time = writer.get("pid"), writer.get("start")
    return isinstance(pid, int) and start_time is not None and start_ticks(pid) == start_time


def _sort(held: Held, limit: int) -> tuple[list[dict[str, t.Any]], list[dict[str, t.Any]]]:
    """Intents without a result, oldest first: those whose writer is gone, and those whose writer lives."""
    gone: list[dict[str, t.Any]] = []
    alive: list[dict[str, t.Any]] = []
    for intent in sorted(_unfinished(held.backwards(), limit), key=lambda intent: int(intent["seq"])):
        (alive if writer_lives(intent) else gone).append(intent)
    return gone, alive


def _unfinished(lines: t.Iterable[bytes], limit: int) -> list[dict[str, t.Any]]:
    """Intents without a result among ``lines`` (newest first), up to the mark of a runner or ``limit`` bytes."""
    found: list[dict[str, t.Any]] = []
    closed: set[str] = set()
    wanted: set[str] | None = None  # behind a runner's mark: the intents that were open then
    for line in lines:
        limit -= len(line)
        record = _record(line)
        phase, op_id = record.get("phase"), str(record.get("op_id"))
        if phase in ("result", "orphan"):
            closed.add(op_id)
        elif phase == "intent" and op_id not in closed and (wanted is None or op_id in wanted):
            found.append(record)
        if wanted is None and phase == "start":
            wanted = {str(each) for each in record.get("open") or ()}
        if wanted is not None:
            wanted -= {op_id, *closed}
            if not wanted:
                break
        if limit <= 0:
            break
    return found


def _record(line: bytes) -> dict[str, t.Any]:
    """The record in a line; an empty one when it is none (verifying the chain is not done here)."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) and isinstance(record.get("seq"), int) else {}
