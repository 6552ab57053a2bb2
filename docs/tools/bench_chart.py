# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of one full run of the bench: what ``./dev bench --peers --json docs/tools/bench.json`` has written."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

from ansible_collections.maqet.qemu.docs.tools import rst

FIGURES: t.Final = Path(__file__).with_name("bench.json")
_WIDTH: t.Final = 50
#: The figures that are lines, in the order of the charts, with what is drawn of each and in which unit.
_CHARTS: t.Final = {
    "scale_start_ms": ("Start of all by one maqet_vms task", "s"),
    "scale_info_ms": ("Facts of all by one maqet_vm_info task", "s"),
    "scale_qmp_ms": ("A query to each by a loop of maqet_qmp", "s"),
    "scale_client_ms": ("A query to each without Ansible", "s"),
    "scale_stop_ms": ("Stop of all by one maqet_vms task", "s"),
    "scale_memory_mb": ("Memory of all runners together", "MB"),
}


def table() -> list[str]:
    """Where and when it was run, then one row a figure. A sentence that says so where nobody has."""
    return _told(of)


def charts() -> list[str]:
    """Time and memory against the number of VMs."""
    return _told(charts_of)


def _told(lines: t.Callable[[t.Mapping[str, t.Any]], list[str]]) -> list[str]:
    if not FIGURES.is_file():
        return ["No run has been recorded yet: ``./dev bench --peers --json docs/tools/bench.json``."]
    return lines(json.loads(FIGURES.read_text(encoding="utf-8")))


def of(report: t.Mapping[str, t.Any]) -> list[str]:
    """The lines of the table for one report."""
    rows = [_row(key, entry) for key, entry in report["figures"].items()]
    lacking = [f"``{key}`` was not measured: {why}" for key, why in report["failed"].items()]
    head = ["Figure", "Value", "Target", "Runs"]
    return [*rst.wrapped(_about(report)), "", *rst.table(head, rows, [54, 16, 14, 16]), *lacking]


def _about(report: t.Mapping[str, t.Any]) -> str:
    machine = report["machine"]
    where = f"{machine['system']}, Linux {machine['kernel']}, {machine['cpus']} CPUs ({machine['cpu']}), "
    where += f"{machine['memory_mib']} MiB, Python {machine['python']}, ansible-core {machine['ansible_core']}, "
    where += machine["qemu"]
    where += "".join(f", {name} {version}" for name, version in report["peers"].items())
    changed = " with changes that were not committed" if report["modified"] else ""
    load = ", ".join(f"{one:g}" for one in report["load_before"])
    form = "" if report["form"] == "full" else f" This was no full run but: {report['form']}."
    when = f"Run on {report['time'][:10]}, commit ``{str(report['commit'])[:12]}``{changed}"
    how = f"{report['seconds'] / 60:.0f} minutes, at nice {report['nice']}, load before it {load}"
    return f"{when}, {how}. Machine: {where}.{form}"


def _row(key: str, entry: t.Mapping[str, t.Any]) -> tuple[str, str, str, str]:
    value = f"{entry['value']:,g} {entry['unit']}".strip()
    target = entry["target"] or "none"
    if entry["met"] is not None:
        target += ": met" if entry["met"] else ": **missed**"
    low, high = entry["spread"]
    runs = str(entry["runs"]) if entry["runs"] == 1 else f"{entry['runs']}: {low:,g} to {high:,g}"
    return f"{entry['title']} (``{key}``)", value, target, runs


def charts_of(report: t.Mapping[str, t.Any]) -> list[str]:
    """One chart of bars for each line that a report has. A straight line has bars that double when the number does."""
    lines: list[str] = []
    for key, (title, unit) in _CHARTS.items():
        entry = report["figures"].get(key)
        if entry is not None:
            points = {
                int(count): value / (1000 if unit == "s" else 1) for count, value in entry["detail"]["points"].items()
            }
            each = f"{entry['value']:,g} {entry['unit']} a VM, and {entry['detail']['at_none']:,g} without any"
            lines += [f"{title}: {each}.", "", ".. code-block:: text", "", *bars(points, unit), ""]
    return lines[:-1]


def bars(points: t.Mapping[int, float], unit: str) -> list[str]:
    """A bar for each point, the longest as wide as the chart; the number on the left, the value on the right."""
    largest = max(points.values())
    lines = []
    for count, value in points.items():
        length = max(0, round(_WIDTH * value / largest)) if largest > 0 else 0
        lines.append(f"   {count:>4} VMs {'#' * length:<{_WIDTH}} {_digits(value)} {unit}")
    return lines


def _digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
