# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the families of figures one after another. A family is a file with ``KEYS`` and ``measure(room)``."""

from __future__ import annotations

import time
import traceback
import types
import typing as t
from pathlib import Path

from ansible_collections.maqet.qemu.tests.bench import (
    events,
    fleet,
    guard,
    idle,
    imports,
    peers,
    qmp,
    report,
    scale,
    start,
    versus,
)
from ansible_collections.maqet.qemu.tests.bench.figures import Figure
from ansible_collections.maqet.qemu.tests.bench.playbooks import Playbooks
from ansible_collections.maqet.qemu.tests.bench.room import Room

Object = t.Dict[str, t.Any]
FAMILIES: t.Final[tuple[types.ModuleType, ...]] = (imports, qmp, start, fleet, events, idle, guard, scale)
PEERS: t.Final[tuple[types.ModuleType, ...]] = (versus,)


class Wanted(t.NamedTuple):
    """What the command line asks for; no ``keys`` are all of them."""

    keys: t.Sequence[str] = ()
    peers: bool = False
    short: bool = False


def keys(peers: bool) -> list[str]:
    """All keys that can be measured, with or without the peers."""
    return [key for family in (*FAMILIES, *(PEERS if peers else ())) for key in family.KEYS]


def chosen(wanted: Wanted) -> list[types.ModuleType]:
    """The families that have a wanted key, all if no key is."""
    given = (*FAMILIES, *(PEERS if wanted.peers else ()))
    return [family for family in given if not wanted.keys or set(wanted.keys) & set(family.KEYS)]


def run(wanted: Wanted, folder: Path, collections: Path) -> Object:
    """Measure; the report. A family that fails costs its own figures and no others."""
    begun = time.monotonic()
    form = "short" if wanted.short else "full" if not wanted.keys else f"only {' '.join(wanted.keys)}"
    head = report.header(form, peers.versions() if wanted.peers else {})
    room = Room(folder, collections, Playbooks(folder, [collections, peers.PLACE]), wanted.short)
    figures: list[Figure] = []
    failed: dict[str, str] = {}
    more: Object = {"families": {}}
    for family in chosen(wanted):
        name, started = family.__name__.rpartition(".")[2], time.monotonic()
        try:
            made = family.measure(room)
        except Exception as error:  # whatever it is, it must be shown, and the others be measured
            room.say(traceback.format_exc())
            made, words = [], str(error).partition("\n")[0]
            failed.update({key: f"{type(error).__name__}: {words}" for key in family.KEYS})
        figures += made
        more["families"][name] = {"seconds": round(time.monotonic() - started, 1)}
        for figure in made:
            room.say(f"{figure.key} {figure.value:g} ({figure.low:g} to {figure.high:g}) {figure.detail}")
    return report.whole(head, figures, failed, {**more, "seconds": round(time.monotonic() - begun, 1)})
