# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the cases one after another and puts their figures into one object."""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib
import json
import os
import pkgutil
import platform
import random
import subprocess
import sys
import time
import traceback
import types
import typing as t
from pathlib import Path

from ansible_collections.maqet.qemu.plugins.module_utils.host.files import write_atomic
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.tests.chaos.case import Figures, Skip
from ansible_collections.maqet.qemu.tests.chaos.world import World

Object = t.Dict[str, t.Any]
REPOSITORY: t.Final = Path(__file__).resolve().parents[2]
_CASES = "ansible_collections.maqet.qemu.tests.chaos.cases"
#: In the order of the table in the documentation; what is not named here comes last.
ORDER: t.Final = (
    "kill_runner",
    "kill_qemu",
    "kill_module",
    "thirty_two_tasks",
    "forty_vms",
    "power_cut",
    "upgrade",
    "disk_full",
    "frames",
    "replies",
    "qemu_stopped",
    "migrate",
)


class Wanted(t.NamedTuple):
    """What the command line asks for. ``rounds``: None for the full counts; ``short``: each case's short form."""

    cases: t.Sequence[str] = ()
    rounds: int | None = None
    seed: int = 0
    again: int | None = None
    short: bool = False


def all_cases() -> dict[str, types.ModuleType]:
    """The cases by name, in the order of the table in the documentation."""
    folder = importlib.import_module(_CASES).__path__
    found = [importlib.import_module(f"{_CASES}.{info.name}") for info in pkgutil.iter_modules(folder)]
    named = {str(case.NAME): case for case in found if hasattr(case, "NAME")}
    return {name: named[name] for name in sorted(named, key=lambda name: (_place(name), name))}


def _place(name: str) -> int:
    return ORDER.index(name) if name in ORDER else len(ORDER)


def run(wanted: Wanted, folder: Path, collections: Path) -> Object:
    """Run the cases; the object that is written as JSON."""
    known = all_cases()
    begun, report = time.monotonic(), _header(wanted)
    try:
        for name in wanted.cases or known:
            report["cases"][name] = _one(known[name], wanted, folder, collections)
    except KeyboardInterrupt:
        report["interrupted"] = True
    report["seconds"] = round(time.monotonic() - begun, 1)
    return report


def _one(case: types.ModuleType, wanted: Wanted, folder: Path, collections: Path) -> Object:
    world = World(layout(), folder / "work", collections, wanted.again)
    rounds = count(case, wanted)
    seed = f"{wanted.seed}/{case.NAME}"
    world.log(f"--- {case.NAME}: {rounds} of {case.FULL}: {case.TITLE}")
    begun = time.monotonic()
    entry: Object = {"title": case.TITLE, "full": case.FULL, "seed": seed}
    try:
        figures = case.run(world, rounds, random.Random(seed))
    except Skip as why:
        return {**entry, "skipped": str(why), "holds": None, "done": 0, "tried": 0, "seconds": 0.0}
    except Exception:
        figures = Figures(0, rounds, evidence=[f"{traceback.format_exc()}\n{world.evidence()}"])
    finally:
        with contextlib.suppress(OSError):  # whatever a case has done to the folders
            world.clear()
    entry.update(done=figures.done, tried=figures.tried, holds=figures.holds, figures=figures.extra)
    entry["seconds"] = round(time.monotonic() - begun, 1)
    if figures.evidence:
        entry["evidence"] = figures.evidence
    return entry


def count(case: types.ModuleType, wanted: Wanted) -> int:
    """How often a case does what it does."""
    rounds = getattr(case, "SHORT", 2) if wanted.short else wanted.rounds
    return int(case.FULL if rounds is None else max(1, rounds) * getattr(case, "ROUND", 1))


def _header(wanted: Wanted) -> Object:
    form = "short" if wanted.short else "full" if wanted.rounds is None else f"--rounds {wanted.rounds}"
    return {
        "suite": "maqet.qemu chaos",
        "commit": git("rev-parse", "HEAD"),
        "modified": bool(git("status", "--porcelain")),
        "seed": wanted.seed,
        "form": form,
        "time": dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "cases": {},
    }


def git(*arguments: str) -> str | None:
    """What git says of this checkout; None if it is none."""
    argv = ["git", "-c", f"safe.directory={REPOSITORY}", "-C", str(REPOSITORY), *arguments]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def machine() -> Object:
    """What the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    binary = f"qemu-system-{platform.machine()}"
    with contextlib.suppress(OSError):
        said = subprocess.run(
            [binary, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        binary = said.stdout.splitlines()[0] if said.stdout else binary
    return {
        "system": _pretty_name(),
        "kernel": platform.release(),
        "arch": platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "cpu": _cpu(),
        "memory_mib": memory // 2**20,
        "python": platform.python_version(),
        "qemu": binary,
        "user": "root" if os.geteuid() == 0 else "plain user",
    }


def _pretty_name() -> str:
    with contextlib.suppress(OSError):
        return platform.freedesktop_os_release().get("PRETTY_NAME", "unknown")
    return "unknown"


def _cpu() -> str | None:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return None


def table(report: Object) -> str:
    """The figures for people."""
    lines = [f"{'case':<20} {'held':>9}   {'s':>7}  {'':<6} figures"]
    for name, entry in report["cases"].items():
        if entry.get("skipped"):
            lines.append(f"{name:<20} {'-':>9}   {'-':>7}  skip   {entry['skipped']}")
            continue
        word = "ok" if entry["holds"] else "FAILED"
        told = f"{entry['done']}/{entry['tried']}"
        lines.append(f"{name:<20} {told:>9}   {entry['seconds']:>7}  {word:<6} {_told(entry['figures'])}")
    return "\n".join(lines)


def _told(figures: Object) -> str:
    return ", ".join(
        f"{key} {json.dumps(value) if isinstance(value, dict) else value}" for key, value in figures.items()
    )


def closing(report: Object) -> str:
    """One line, as the other sessions of ./dev test end with."""
    entries = report["cases"].values()
    tried = [entry for entry in entries if not entry.get("skipped")]
    held = sum(1 for entry in tried if entry["holds"])
    skipped = len(entries) - len(tried)
    words = f"chaos: {held} of {len(tried)} cases hold"
    return words + (f", {skipped} skipped" if skipped else "") + (", interrupted" if report.get("interrupted") else "")


def failed(report: Object) -> bool:
    """Whether anything that was tried did not hold, or the run was cut short."""
    tried = [entry for entry in report["cases"].values() if not entry.get("skipped")]
    return bool(report.get("interrupted")) or not all(entry["holds"] for entry in tried)


def show(report: Object, path: str | None) -> int:
    """Write and print the report; the exit status."""
    if path:
        write_atomic(os.path.abspath(path), (json.dumps(report, indent=2) + "\n").encode(), 0o644)
    for name, entry in report["cases"].items():
        for evidence in entry.get("evidence", ()):
            print(f"\n!!! {name} (--seed {report['seed']} --case {name}): {evidence}")
    print(f"\n{table(report)}\n\n===== {closing(report)} =====", flush=True)
    sys.stdout.flush()
    return 1 if failed(report) else 0
