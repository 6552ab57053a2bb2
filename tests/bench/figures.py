# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a figure is, and what is asked of each. Pure."""

from __future__ import annotations

import dataclasses
import statistics
import typing as t

Object = t.Dict[str, t.Any]


class Asked(t.NamedTuple):
    """One key: what it says, its unit (empty for a ratio), and its target, if it has one.

    ``most`` is the largest value that meets it, ``least`` the smallest.
    """

    title: str
    unit: str = ""
    most: float | None = None
    least: float | None = None

    @property
    def target(self) -> str:
        """In words; empty if nothing is asked."""
        bound = self.most if self.most is not None else self.least
        if bound is None:
            return ""
        return f"{'≤' if self.most is not None else '≥'} {bound:g}{' ' + self.unit if self.unit else ''}"

    def met(self, value: float) -> bool | None:
        """Whether a value meets the target; None if nothing is asked."""
        if self.most is not None:
            return value <= self.most
        return value >= self.least if self.least is not None else None


#: Every key of the report, in its order.
ASKED: t.Final[dict[str, Asked]] = {
    "qmp_task_vs_ping": Asked("a maqet_qmp task against a ping task, in loops of 50", "", most=1.10),
    "qmp_batch_ms": Asked("one query of 1,000 in one task, audit on", "ms", most=0.5),
    "qmp_batch_vs_raw": Asked("the same against a round trip on a raw socket", "", most=4),
    "qmp_vs_maqet_cli": Asked("how much faster that is than maqet's command line", "", least=50),
    "start_one_task_vs_ping": Asked("define and start one VM, above a ping task", "s", most=0.20),
    "start_defined_vs_ping": Asked("start one VM that is defined, above a ping task", "s"),
    "start50_vs_bare": Asked("50 VMs by one task, against bare QEMUs", "", most=3),
    "one_task_vs_loop": Asked("how much faster one maqet_vms task is than a loop of maqet_vm", ""),
    "start_vs_libvirt": Asked(
        "how much faster one VM of 50 is than define and start by community.libvirt", "", least=10
    ),
    "stop_lag_ms": Asked("from QEMU's exit to the task's return, above a ping task's tail", "ms", most=50),
    "runner_pss_mb": Asked("memory (PSS) of a runner among 50", "MB", most=6),
    "runner_idle_wakeups": Asked("voluntary context switches of an idle runner in 10 s", "", most=0),
    "info200_vs_ping": Asked("facts of 200 VMs in one task, against a ping task", "", most=2),
    "event_latency_ms": Asked("from an event in QEMU until a waiting task has it", "ms", most=5),
    "guard_us": Asked("the guard's verdict on a typical command", "µs", most=50),
    "guard_transaction_us": Asked("the guard's verdict on a transaction of 20 actions", "µs", most=1000),
    "gate_us": Asked("verdict and audit of one command in the runner, on disk", "µs"),
    "import_ms": Asked("imports of maqet_qmp from its payload, above an empty module's", "ms", most=15),
    "payload_vs_ping": Asked("size of maqet_qmp's payload against ping's", "", most=2),
    "process_ms": Asked("a maqet_qmp process on the host, above ping's", "ms"),
    "scale_start_ms": Asked("start of one VM more in one task, from 25 to 200", "ms"),
    "scale_info_ms": Asked("facts of one VM more in one task, from 25 to 200", "ms"),
    "scale_qmp_ms": Asked("a query to one VM more in one loop, from 25 to 200", "ms"),
    "scale_client_ms": Asked("the same without Ansible, runner after runner", "ms"),
    "scale_stop_ms": Asked("stop of one VM more in one task, from 25 to 200", "ms"),
    "scale_memory_mb": Asked("memory (PSS) of one runner more, from 25 to 200", "MB"),
}


@dataclasses.dataclass(frozen=True)
class Figure:
    """A measured figure: the median of ``runs`` values between ``low`` and ``high``. ``detail`` is for the profile."""

    key: str
    value: float
    runs: int
    low: float
    high: float
    detail: Object = dataclasses.field(default_factory=dict)

    def as_dict(self, judged: bool) -> Object:
        """For the report. ``judged``: whether its target counts, which it does not in the short form."""
        asked = ASKED[self.key]
        told: Object = {"title": asked.title, "value": self.value, "unit": asked.unit, "target": asked.target}
        told |= {"met": asked.met(self.value) if judged else None, "runs": self.runs, "spread": [self.low, self.high]}
        return {**told, "detail": self.detail} if self.detail else told


def made(key: str, values: t.Sequence[float], /, **detail: t.Any) -> Figure:
    """The figure of what the runs have given: their median. ValueError if there was none."""
    return valued(key, values, statistics.median(values) if values else 0.0, **detail)


def valued(key: str, values: t.Sequence[float], value: float, /, **detail: t.Any) -> Figure:
    """A figure that is something else than the median of its runs."""
    if not values:
        raise ValueError(f"nothing was measured for {key}")
    if key not in ASKED:
        raise ValueError(f"{key} is no figure of the bench")
    return Figure(key, short(value), len(values), short(min(values)), short(max(values)), detail)


def short(number: float) -> float:
    """Four digits that count: what is behind them is noise."""
    return float(f"{number:.4g}")


def ratios(ours: t.Sequence[float], others: t.Sequence[float]) -> list[float]:
    """Each of ours by the other of the same turn, so that what slows both down for a while takes itself off."""
    return [mine / other for mine, other in zip(ours, others, strict=True)]


def above(ours: t.Sequence[float], others: t.Sequence[float]) -> list[float]:
    """Each of ours less the other of the same turn."""
    return [mine - other for mine, other in zip(ours, others, strict=True)]


def median_of(values: t.Sequence[float], factor: float = 1.0) -> float:
    """A median for a detail."""
    return short(statistics.median(values) * factor)


class Line(t.NamedTuple):
    """A straight line through points: what each step costs, what there is at none, and how straight it is.

    ``bend``: the slope of the last two points against that of the first two; 1 for a straight line.
    """

    slope: float
    base: float
    bend: float


def line(points: t.Sequence[tuple[float, float]]) -> Line:
    """Least squares; ValueError for fewer than two points."""
    if len(points) < 2:
        raise ValueError("a line needs two points")
    slope, base = statistics.linear_regression([x for x, _y in points], [y for _x, y in points])
    (a, b), (c, d) = points[:2], points[-2:]
    first, last = ((after[1] - before[1]) / (after[0] - before[0]) for before, after in ((a, b), (c, d)))
    return Line(slope, base, last / first if first else float("nan"))
