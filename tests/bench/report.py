# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report: one JSON object, and a table for people."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import typing as t

from ansible_collections.maqet.qemu.tests.bench.figures import ASKED, Figure
from ansible_collections.maqet.qemu.tests.chaos import suite

Object = t.Dict[str, t.Any]


def header(form: str, peers: t.Mapping[str, str]) -> Object:
    """What was measured where and when. ``load_before``: who else was there (uptime(1)), over 1, 5 and 15 minutes.

    ``peers``: versions of the others, if there are any.
    """
    return {
        "suite": "maqet.qemu bench",
        "commit": suite.git("rev-parse", "HEAD"),
        "modified": bool(suite.git("status", "--porcelain")),
        "form": form,
        "peers": dict(peers),
        "time": dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        "machine": {**suite.machine(), "ansible_core": importlib.metadata.version("ansible-core")},
        "nice": os.nice(0),
        "load_before": [round(load, 2) for load in os.getloadavg()],
    }


def whole(head: Object, figures: t.Iterable[Figure], failed: t.Mapping[str, str], more: Object) -> Object:
    """The report. ``failed``: why the keys that it lacks could not be measured. ``more``: series and versions."""
    made = {figure.key: figure for figure in figures}
    judged = head["form"] != "short"
    told = {key: made[key].as_dict(judged) for key in ASKED if key in made}
    return {**head, "figures": told, "failed": dict(failed), **more}


def table(report: Object) -> str:
    """The figures for people."""
    lines = [f"{'figure':<24} {'value':>9} {'unit':<4} {'target':<11} {'':<6} {'runs':>4}  spread"]
    for key, entry in report["figures"].items():
        word = {True: "met", False: "MISSED", None: ""}[entry["met"]]
        spread = "" if entry["runs"] == 1 else " to ".join(f"{bound:g}" for bound in entry["spread"])
        number = f"{key:<24} {entry['value']:>9g} {entry['unit']:<4} {entry['target']:<11} {word:<6} {entry['runs']:>4}"
        lines.append(f"{number}  {spread}".rstrip())
    return "\n".join([*lines, *(f"{key:<24} not measured: {why}" for key, why in report["failed"].items())])


def closing(report: Object) -> str:
    """One line, as the other sessions of ./dev test end with."""
    made, asked = report["figures"], len(report["figures"]) + len(report["failed"])
    words = f"bench: {len(made)} of {asked} figures made"
    judged = [entry["met"] for entry in made.values() if entry["met"] is not None]
    return words + (f", {sum(judged)} of {len(judged)} targets met" if judged else "")
