# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory cache holds of each hypervisor, and for how long it is good."""

from __future__ import annotations

import typing as t

Entry = t.Dict[str, t.Any]
# Raised when entries are written otherwise than before.
FORMAT = 1


def entry(vms: t.Sequence[t.Mapping[str, t.Any]], asked: t.Mapping[str, t.Any], now: float) -> Entry:
    """What is kept of one hypervisor: its VMs, how it was asked, and when (seconds of time.time())."""
    return {"format": FORMAT, "asked": dict(asked), "time": now, "vms": list(vms)}


def aged(entries: t.Mapping[str, Entry], names: t.Container[str]) -> dict[str, Entry]:
    """The same, in which those of ``names``, who have been asked anew and did not answer, are good no more."""
    return {name: {**one, "stale": True} if name in names else one for name, one in entries.items()}


def sound(kept: t.Any, asked: t.Mapping[str, t.Any]) -> dict[str, Entry]:
    """The entries, by hypervisor, that are answers to what is asked now; whatever else the cache holds is ignored."""
    entries = kept.items() if isinstance(kept, t.Mapping) else ()
    return {
        str(name): dict(one)
        for name, one in entries
        if isinstance(one, t.Mapping)
        and one.get("format") == FORMAT
        and one.get("asked") == dict(asked)
        and isinstance(one.get("time"), (int, float))
        and isinstance(one.get("vms"), list)
    }


def fresh(entries: t.Mapping[str, Entry], seconds: float, now: float) -> dict[str, Entry]:
    """Those that are good, and not older than ``seconds``; 0: for ever. One from the future is not."""
    return {
        name: one
        for name, one in entries.items()
        if not one.get("stale") and now >= one["time"] and (not seconds or now - one["time"] <= seconds)
    }
