# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a case of the suite is: a file in ``cases/`` with a name, a count, and a function that counts what held.

    NAME: str            its key in the JSON object
    TITLE: str           what is done, for the table
    FULL: int            how often a full run does it
    ROUND: int           how many of these one round of ``--rounds`` is; 1 where the file does not say
    SHORT: int           rounds of the short form in ``./dev test``; 2 where the file does not say
    def run(world: World, rounds: int, rng: random.Random) -> Figures

``rounds`` is a number of FULL's kind. What is random comes from ``rng`` alone, so that a seed repeats it.
"""

from __future__ import annotations

import dataclasses
import random
import traceback
import typing as t

if t.TYPE_CHECKING:
    from ansible_collections.maqet.qemu.tests.chaos.world import World


class Broken(AssertionError):
    """Something that must hold does not; the text says what was seen."""


class Skip(Exception):
    """The case cannot be tried here; the text says why."""


@dataclasses.dataclass
class Figures:
    """What came of a case: it holds if all that was ``tried`` was ``done``, and nothing is in ``evidence``."""

    done: int = 0
    tried: int = 0
    #: Further figures, as JSON can hold them; latencies and times in milliseconds.
    extra: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    #: What did not hold: seed of the round, what was seen, ends of logs.
    evidence: list[str] = dataclasses.field(default_factory=list)

    @property
    def holds(self) -> bool:
        return self.tried > 0 and self.done == self.tried and not self.evidence


def check(condition: object, *seen: object) -> None:
    """:class:`Broken` with what was seen, unless the condition is true."""
    if not condition:
        raise Broken(" ".join(map(str, seen)))


Round = t.Callable[[random.Random], None]


def play(world: World, rounds: int, rng: random.Random, each: Round, figures: Figures | None = None) -> Figures:
    """``each`` round with a seed of its own, on a world that is empty again afterwards; a failure does not end the case.

    ``--again SEED`` has one round with that very seed instead.
    """
    figures = figures or Figures()
    for number in range(rounds if world.again is None else 1):
        seed = rng.getrandbits(32) if world.again is None else world.again
        figures.tried += 1
        try:
            each(random.Random(seed))
            world.check_empty()
            figures.done += 1
        except Exception as error:  # whatever it is, it must be counted and shown
            what = str(error) if isinstance(error, Broken) else traceback.format_exc()
            figures.evidence.append(f"round {number + 1}, --again {seed}: {what}\n{world.evidence()}")
            world.log(figures.evidence[-1].partition("\n")[0])
        finally:
            world.clear()
    return figures


def percentiles(values: t.Sequence[float]) -> dict[str, float]:
    """p50, p90, p99 and max by the nearest-rank rule: each is a value that was measured, never one between two."""
    ordered = sorted(values)
    if not ordered:
        return {}
    ranks = {f"p{share}": ordered[max(0, -(-share * len(ordered) // 100) - 1)] for share in (50, 90, 99)}
    return {"n": len(ordered), **{name: round(value, 1) for name, value in ranks.items()}, "max": round(ordered[-1], 1)}
