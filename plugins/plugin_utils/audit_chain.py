# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a controller remembers of one chain, and what a further record of it shows. Pure.

The records of one log come here in pieces: those that somebody else's tasks left are missing, and those of two runs
at once come in any order. So a hole in the numbers is no proof of anything by itself. It is remembered with the
hashes on both sides, and whoever fills it later must fit. What can never be is a number with two records, or a
record that names another one before it than the one that we have seen.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.guard.log import NO_PREV, chain_hash

Record = t.Mapping[str, t.Any]
#: Host, VM, and the folder of the VM's sockets: a user's VM has the same name as another's, and a log of its own.
Key = t.Tuple[str, str, str]

#: So many holes of one chain are remembered; what would fill an older one counts as unknown.
MAX_GAPS = 200

# Seconds by which records of two writers may differ from their order in the log: a record gets its time before it
# waits for its turn.
_DISORDER = 60.0


@dataclasses.dataclass(frozen=True)
class Problem:
    """Something about a chain that a person must look at.

    ``kind``: ``gap``, ``fork``, ``rewind``, ``changed``, ``log`` (another log of a VM of that name), or ``host``
    (what the host itself says of its log).
    """

    kind: str
    host: str
    vm: str
    text: str
    seq: int | None = None
    time: str = ""


@dataclasses.dataclass
class Gap:
    """Records ``first`` to ``last``, which were not seen; ``before`` and ``after`` are the hashes that bound them."""

    first: int
    last: int
    before: str
    after: str
    #: Time of the record behind it.
    until: str = ""
    #: Nobody needs to be told: it was before we looked, or a runner's own mark.
    quiet: bool = False

    @property
    def count(self) -> int:
        """How many records are missing."""
        return self.last - self.first + 1


@dataclasses.dataclass
class Chain:
    """The part of one log that has been seen."""

    seq: int
    hash: str
    time: str = ""
    writer: t.Any = None
    gaps: list[Gap] = dataclasses.field(default_factory=list)

    @classmethod
    def begun(cls, record: Record) -> Chain:
        """The chain of which this record is the first that we see."""
        return cls(0, NO_PREV)._moved(record, quiet=True)

    def take(self, record: Record, seen: str | None) -> tuple[str, str] | None:
        """Add a record that is new; what is wrong, as kind and text, or None. A wrong one is followed from there on.

        ``seen``: the hash of another record with that number, if there was one.
        """
        seq = record["seq"]
        problem = None
        if seq > self.seq:
            if seq == self.seq + 1 and record["prev"] != self.hash:
                problem = ("fork", f"record {seq} does not continue record {self.seq}, which was seen here before")
                self.gaps.clear()
            self._moved(record, quiet=_explained(self, record))
        else:
            gap = next((gap for gap in self.gaps if gap.first <= seq <= gap.last), None)
            if gap is None or seen is not None or _seconds(record) > _seconds({"time": gap.until}) + _DISORDER:
                problem = ("rewind", _rewound(seq, self.seq, seen))
                self._restart(record)
            else:
                problem = self._fill(gap, record)
                if problem is not None and _seconds(record) > _seconds({"time": self.time}):
                    problem = ("rewind", f"{problem[1]}: the log was cut off, replaced or restored")
                    self._restart(record)
        return altered(record) or problem

    def _moved(self, record: Record, quiet: bool) -> Chain:
        seq = record["seq"]
        if seq > self.seq + 1:
            hole = Gap(self.seq + 1, seq - 1, self.hash, record["prev"], str(record.get("time", "")), quiet)
            self.gaps = [*self.gaps, hole][-MAX_GAPS:]
        self.seq, self.hash = seq, record["hash"]
        self.time, self.writer = str(record.get("time", "")), record.get("writer")
        return self

    def _restart(self, record: Record) -> None:
        self.gaps.clear()
        self.seq, self.hash = 0, NO_PREV
        self._moved(record, quiet=True)

    def _fill(self, gap: Gap, record: Record) -> tuple[str, str] | None:
        seq, wrong = record["seq"], None
        if seq == gap.first and record["prev"] != gap.before:
            wrong = f"record {seq} does not continue record {seq - 1}, which was seen here before"
        elif seq == gap.last and record["hash"] != gap.after:
            wrong = f"record {seq} is not the one that record {seq + 1}, which was seen here before, continues"
        when = str(record.get("time", ""))
        parts = (
            Gap(gap.first, seq - 1, gap.before, record["prev"], when, gap.quiet),
            Gap(seq + 1, gap.last, record["hash"], gap.after, gap.until, gap.quiet),
        )
        place = self.gaps.index(gap)
        self.gaps[place : place + 1] = [part for part in parts if part.count > 0]
        return None if wrong is None else ("fork", wrong)

    def as_dict(self) -> dict[str, t.Any]:
        """What a witness file keeps."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: t.Mapping[str, t.Any]) -> Chain:
        """The other end of :meth:`as_dict`. Raises KeyError, TypeError or ValueError for anything else."""
        gaps = [Gap(**gap) for gap in data["gaps"]]
        return cls(int(data["seq"]), str(data["hash"]), str(data["time"]), data["writer"], gaps)


def _explained(chain: Chain, record: Record) -> bool:
    """Whether the one missing record is a mark that no task returns: of a runner that took over, or of a full file."""
    if record["seq"] != chain.seq + 2:
        return False
    return "segment" in record or (chain.writer is not None and record.get("writer") != chain.writer)


def _rewound(seq: int, head: int, seen: str | None) -> str:
    what = "it was seen here with other content" if seen else "it is not among those that were seen here"
    return f"record {seq} came after record {head}, and {what}: the log was cut off, replaced or restored"


def altered(record: Record) -> tuple[str, str] | None:
    """What is wrong with a record by itself, as kind and text; None when it is what was written."""
    if record["seq"] == 1 and record["prev"] != NO_PREV:
        return "changed", "record 1 names a record before it: it was edited"
    try:
        right = chain_hash(record["prev"], dict(record)) == record["hash"]
    except ValueError:  # no canonical form, or prev is no hash
        right = False
    if right:
        return None
    return "changed", f"record {record['seq']} does not have the content that its hash was made of: it was edited"


def _seconds(record: Record) -> float:
    try:
        when = dt.datetime.strptime(str(record.get("time")), "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=dt.timezone.utc)
    except ValueError:
        return 0.0
    return when.timestamp()
