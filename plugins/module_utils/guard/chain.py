# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading an audit log, all its files together: its records, and whether the chain that they form is unbroken."""

from __future__ import annotations

import contextlib
import json
import os
import typing as t
from dataclasses import dataclass

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.canonical import canonical
from ansible_collections.maqet.qemu.plugins.module_utils.guard.log import NO_PREV, chain_hash
from ansible_collections.maqet.qemu.plugins.module_utils.guard.segments import Files, Segment

Record = t.Dict[str, t.Any]


@dataclass(frozen=True)
class Report:
    """What verifying a chain found."""

    ok: bool
    #: Records that are in order, counted from the first that is there.
    records: int
    #: Number (from 1) of the first line that is wrong, in the file ``segment``, and what is wrong with it.
    first_bad: int | None = None
    problem: str | None = None
    #: Lines that a crash cut short; the record behind each says so.
    torn: int = 0
    #: {seq, hash} of the last good record: what a witness keeps.
    head: dict[str, t.Any] | None = None
    #: seq of the first record. More than 1: the files before it were removed, and nobody knows what was in them.
    start: int | None = None
    #: The file in which the first bad line stands, and the seq that a good record there would have.
    segment: str | None = None
    bad_seq: int | None = None


def read(path: str, limit: int | None = None) -> list[Record]:
    """The records of the log, oldest first; with ``limit`` the last so many. Broken lines are left out."""
    with _readable(path), Files(path) as files:
        if limit is None:
            return [record for _part, lines in files.forwards() for record in map(good, lines) if record is not None]
        newest: list[Record] = []
        for line in files.backwards() if limit > 0 else ():
            record = good(line)
            if record is not None:
                newest.append(record)
            if len(newest) >= limit:
                break
        return newest[::-1]


def good(line: bytes) -> Record | None:
    """The record in a line, if it has the form in which records are written."""
    record = parse(line)
    return record if record is not None and _form(record) is not None else None


def verify(
    log: str | t.Iterable[bytes],
    witness: dict[str, t.Any] | None = None,
    complete: bool = False,
    each: t.Callable[[Record], None] | None = None,
) -> Report:
    """Check every record of a log (its path, or its lines) and the links between them, through all its files.

    ``witness`` holds ``seq`` and ``hash`` of a record that must be there: it shows that the end was
    not cut off, which the chain alone cannot. ``complete``: also a missing oldest file is wrong.
    ``each`` is called with every record that can be read, also behind the first bad one.
    Raises MaqetError ``audit_failed`` when a file cannot be read.
    """
    check = _Chain(witness, complete, each)
    if isinstance(log, str):
        with _readable(log), Files(log) as files:
            for part, lines in files.forwards():
                check.file(part, lines)
    else:
        check.file(None, log)
    return check.report()


@contextlib.contextmanager
def _readable(path: str) -> t.Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        remedy = "Check that the file exists, is no symbolic link, and that you may read it."
        name = error.filename if isinstance(error.filename, str) else path
        message = f"the audit log {name} cannot be read: {why}. {remedy}"
        raise MaqetError(message, "audit_failed", path=name, remedy=remedy) from error


class _Chain:
    """The state of one verification."""

    def __init__(
        self, witness: dict[str, t.Any] | None, complete: bool, each: t.Callable[[Record], None] | None
    ) -> None:
        self.seq, self.hash, self.torn, self.records = 0, NO_PREV, 0, 0
        self.start: int | None = None
        self.witness, self.complete, self.each = witness, complete, each
        self.number = 0  # of the last file that was full
        self.part: Segment | None = None
        self.line = 0
        self.wrong: tuple[int, str, str] | None = None  # line, file, what

    def file(self, part: Segment | None, lines: t.Iterable[bytes]) -> None:
        """Check one file of the log."""
        if self.wrong is None:
            self._begin(part)
        held: bytes | None = None  # one line back: whether it may be torn is told by the line behind it
        record: Record | None = None
        after_torn = False
        for line in lines:
            after = parse(line)
            if self.each is not None and after is not None and _form(after) is not None:
                self.each(after)
            if self.wrong is None:
                after_torn = self._next(held, record, after, after_torn)
            held, record = line, after
        if self.wrong is None:
            self._next(held, record, None, after_torn)

    def _begin(self, part: Segment | None) -> None:
        missing = None
        if part is not None and part.number is not None:
            if self.number and part.number != self.number + 1:
                missing = f"the part {self.number + 1} of the log is missing between {self._name()} and "
            self.number = part.number
        self.part, self.line = part, 0
        if missing is not None:
            self._bad(missing + self._name(), 1)

    def _next(self, line: bytes | None, record: Record | None, after: Record | None, after_torn: bool) -> bool:
        """Check a line, if there is one; ``after`` is the record on the next one. True when it is a torn line."""
        if line is None:
            return False
        self.line += 1
        if after is not None and after.get("torn") is True and self._continues(after):
            # Its text is no part of the chain; that the crash happened here is, in the next record.
            self.torn += 1
            return True
        problem = self._take(line, record, after_torn)
        if problem is not None:
            self._bad(problem, self.line)
        return False

    def _take(self, line: bytes, record: Record | None, after_torn: bool) -> str | None:
        """What is wrong with a line; None when it continues the chain."""
        if not line.endswith(b"\n"):
            return f"after record {self.seq} the last line is cut short: a crash, or the file was truncated"
        if record is None or isinstance(record.get("seq"), bool) or not isinstance(record.get("seq"), int):
            return f"after record {self.seq} stands a line that is not a record"
        seq, prev = record["seq"], record.get("prev")
        if not self._continues(record):
            return f"record {seq} follows record {self.seq}: records were removed, added or moved"
        if (record.get("torn") is True) != after_torn:
            return f"record {seq} speaks of a torn line before it, and there is none"
        if _form(record) != line:
            return f"record {seq} is not in canonical form: it was edited"
        if record.get("hash") != chain_hash(str(prev) if _is_hash(prev) else NO_PREV, record):
            return f"record {seq} does not have the content that its hash was made of: it was edited"
        if prev != self.hash and not (self.start is None and seq > 1):
            return f"record {seq} does not continue record {self.seq}: one of the two, or all before, were replaced"
        return self._accept(seq, str(record["hash"]))

    def _continues(self, record: Record) -> bool:
        """Whether ``record`` has the next seq, or opens the oldest file that is left."""
        seq, number = record.get("seq"), record.get("segment")
        if self.start is None and isinstance(number, int) and number > 1 and isinstance(seq, int) and seq > 1:
            return self.part is None or self.part.number in (None, number)
        return bool(seq == self.seq + 1)

    def _accept(self, seq: int, digest: str) -> str | None:
        if self.start is None:
            self.start = seq
            if seq > 1 and (self.complete or (self.witness is not None and int(self.witness["seq"]) < seq)):
                return f"the log begins with record {seq}: the files with the records before it are gone"
        if self.witness is not None and self.witness.get("seq") == seq and self.witness.get("hash") != digest:
            return f"record {seq} is not the one that the witness saw: the log was rewritten"
        self.seq, self.hash = seq, digest
        self.records += 1
        return None

    def _bad(self, problem: str, line: int) -> None:
        self.wrong = (line, self._name(), problem)

    def _name(self) -> str:
        return "" if self.part is None else os.path.basename(self.part.path)

    def report(self) -> Report:
        """What came of it."""
        if self.wrong is None and self.witness is not None and int(self.witness["seq"]) > self.seq:
            seen = f"the witness saw record {self.witness['seq']}, and the log ends with record {self.seq}"
            self._bad(f"{seen}: its end is gone", self.line + 1)
        head = {"seq": self.seq, "hash": self.hash} if self.records else None
        if self.wrong is None:
            return Report(True, self.records, torn=self.torn, head=head, start=self.start)
        line, name, problem = self.wrong
        return Report(False, self.records, line, problem, self.torn, head, self.start, name or None, self.seq + 1)


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and value.isascii()


def parse(line: bytes) -> Record | None:
    """The object in one line, or None when there is none."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _form(record: Record) -> bytes | None:
    """The line that ``record`` makes, or None when it makes none."""
    try:
        return canonical(record) + b"\n"
    except ValueError:
        return None
