# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading an audit log: its records, and whether the chain that they form is unbroken."""

from __future__ import annotations

import collections
import json
import os
import typing as t
from dataclasses import dataclass

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.canonical import canonical
from ansible_collections.maqet.qemu.plugins.module_utils.guard.log import NO_PREV, chain_hash


@dataclass(frozen=True)
class Report:
    """What verifying a chain found."""

    ok: bool
    #: Records that are in order, counted from the beginning.
    records: int
    #: Number (from 1) of the first line that is wrong, and what is wrong with it.
    first_bad: int | None = None
    problem: str | None = None
    #: Lines that a crash cut short; the record behind each says so.
    torn: int = 0
    #: {seq, hash} of the last good record: what a witness keeps.
    head: dict[str, t.Any] | None = None


def lines_of(path: str) -> t.Iterator[bytes]:
    """The lines of the log at ``path``, each with its newline if it has one.

    Raises MaqetError ``audit_failed`` when the file cannot be read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            yield from file
    except OSError as error:
        why = error.strerror or str(error)
        remedy = "Check that the file exists, is no symbolic link, and that you may read it."
        message = f"the audit log {path} cannot be read: {why}. {remedy}"
        raise MaqetError(message, "audit_failed", path=path, remedy=remedy) from error


def read(path: str, limit: int | None = None) -> list[dict[str, t.Any]]:
    """The records of the log, oldest first; with ``limit`` the last so many. Broken lines are left out."""
    kept: collections.deque[dict[str, t.Any]] = collections.deque(maxlen=limit)
    for line in lines_of(path):
        record = _parse(line)
        if record is not None and _form(record) is not None:
            kept.append(record)
    return list(kept)


def verify(log: str | t.Iterable[bytes], witness: dict[str, t.Any] | None = None) -> Report:
    """Check every record of a log (its path, or its lines) and the links between them.

    ``witness`` holds ``seq`` and ``hash`` of a record that must be there: it shows that the end was
    not cut off, which the chain alone cannot.
    """
    state = _Chain(witness)
    held: tuple[bytes, dict[str, t.Any] | None] | None = None  # one line back: whether it may be torn
    number = 0  # is told by the line behind it; number counts the lines up to the held one
    for line in lines_of(log) if isinstance(log, str) else log:
        record = _parse(line)
        problem = state.take(*held, record) if held is not None else None
        if problem is not None:
            return state.report(number, problem)
        held = (line, record)
        number += 1
    problem = state.take(*held, None) if held is not None else None
    if problem is not None:
        return state.report(number, problem)
    missing = state.unseen()
    return state.report(number + 1, missing) if missing else state.report(None, None)


class _Chain:
    """The state of one verification."""

    def __init__(self, witness: dict[str, t.Any] | None) -> None:
        self.seq, self.hash, self.torn = 0, NO_PREV, 0
        self.witness = witness
        self.after_torn = False

    def report(self, line: int | None, problem: str | None) -> Report:
        head = {"seq": self.seq, "hash": self.hash} if self.seq else None
        return Report(problem is None, self.seq, line, problem, self.torn, head)

    def take(self, line: bytes, record: dict[str, t.Any] | None, after: dict[str, t.Any] | None) -> str | None:
        """Check one line; ``after`` is the record on the next one. Returns what is wrong with it."""
        after_torn, self.after_torn = self.after_torn, False
        if after is not None and after.get("torn") is True and after.get("seq") == self.seq + 1:
            # Its text is no part of the chain; that the crash happened here is, in the next record.
            self.torn += 1
            self.after_torn = True
            return None
        if not line.endswith(b"\n"):
            return f"after record {self.seq} the last line is cut short: a crash, or the file was truncated"
        if record is None or isinstance(record.get("seq"), bool) or not isinstance(record.get("seq"), int):
            return f"after record {self.seq} stands a line that is not a record"
        return self._link(record, line, after_torn)

    def _link(self, record: dict[str, t.Any], line: bytes, after_torn: bool) -> str | None:
        seq, prev = record.get("seq"), record.get("prev")
        if seq != self.seq + 1:
            return f"record {seq} follows record {self.seq}: records were removed, added or moved"
        if (record.get("torn") is True) != after_torn:
            return f"record {seq} speaks of a torn line before it, and there is none"
        if _form(record) != line:
            return f"record {seq} is not in canonical form: it was edited"
        if record.get("hash") != chain_hash(str(prev) if _is_hash(prev) else NO_PREV, record):
            return f"record {seq} does not have the content that its hash was made of: it was edited"
        if prev != self.hash:
            return f"record {seq} does not continue record {self.seq}: one of the two, or all before, were replaced"
        self.seq, self.hash = self.seq + 1, str(record["hash"])
        if self.witness is not None and self.witness.get("seq") == seq and self.witness.get("hash") != self.hash:
            return f"record {seq} is not the one that the witness saw: the log was rewritten"
        return None

    def unseen(self) -> str | None:
        """What the witness saw and the log no longer holds."""
        if self.witness is None or int(self.witness["seq"]) <= self.seq:
            return None
        return f"the witness saw record {self.witness['seq']}, and the log ends with record {self.seq}: its end is gone"


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and value.isascii()


def _parse(line: bytes) -> dict[str, t.Any] | None:
    """The object in one line, or None when there is none."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _form(record: dict[str, t.Any]) -> bytes | None:
    """The line that ``record`` makes, or None when it makes none."""
    try:
        return canonical(record) + b"\n"
    except ValueError:
        return None
