# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of one full run of the chaos suite: what ``./dev chaos --json docs/tools/chaos.json`` has written."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

from ansible_collections.maqet.qemu.docs.tools import rst

FIGURES: t.Final = Path(__file__).with_name("chaos.json")


def table() -> list[str]:
    """Where and when it was run, then one row a case. A sentence that says so where nobody has."""
    if not FIGURES.is_file():
        return ["No full run has been recorded yet: ``./dev chaos --json docs/tools/chaos.json``, then ``./dev docs``."]
    return of(json.loads(FIGURES.read_text(encoding="utf-8")))


def of(report: t.Mapping[str, t.Any]) -> list[str]:
    """The lines for one report."""
    rows = [_row(name, entry) for name, entry in report["cases"].items()]
    return [*rst.wrapped(_about(report)), "", *rst.table(["Case", "Held", "Figures"], rows, [34, 12, 54])]


def _about(report: t.Mapping[str, t.Any]) -> str:
    machine = report["machine"]
    where = f"{machine['system']}, Linux {machine['kernel']}, {machine['cpus']} CPUs ({machine['cpu']}), "
    where += f"{machine['memory_mib']} MiB, Python {machine['python']}, {machine['qemu']}, as {machine['user']}"
    changed = " with changes that were not committed" if report["modified"] else ""
    form = "" if report["form"] == "full" else f" This was no full run but: {report['form']}."
    return (
        f"Run on {report['time'][:10]}, commit ``{str(report['commit'])[:12]}``{changed}, seed {report['seed']}, "
        f"{report['seconds'] / 60:.0f} minutes. Machine: {where}.{form}"
    )


def _row(name: str, entry: t.Mapping[str, t.Any]) -> tuple[str, str, str]:
    """``entry``: one case of the report."""
    title = f"{entry['title']} (``{name}``)"
    if entry.get("skipped"):
        return title, "not tried", str(entry["skipped"])
    held = f"{entry['done']:,} of {entry['tried']:,}" + ("" if entry["holds"] else ", **does not hold**")
    return title, held, "; ".join(f"{key}: {_words(value)}" for key, value in entry["figures"].items())


def _words(value: t.Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(each)}" for key, each in value.items()) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)
