# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel tells of processes: memory and wake-ups (proc(5))."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path


def pss_mb(pid: int) -> float:
    """Memory of a process, what it shares with others in equal parts, in MB (10^6 bytes)."""
    return pss_of(Path(f"/proc/{pid}/smaps_rollup").read_text("ascii"))


def pss_of(text: str) -> float:
    """The same from the text of ``smaps_rollup``; ValueError if it is not in it. Pure."""
    found = re.search(r"^Pss: +(\d+) kB$", text, re.MULTILINE)
    if found is None:
        raise ValueError("no Pss is in what the kernel says")
    return int(found[1]) * 1024 / 1e6


def voluntary_switches(pid: int) -> int:
    """How often the threads of a process have gone to sleep by themselves until now."""
    texts = (path.read_text("ascii", "replace") for path in Path(f"/proc/{pid}/task").glob("*/status"))
    return sum(switches_of(text) for text in texts)


def switches_of(text: str) -> int:
    """The same from the text of ``status``; ValueError if it is not in it. Pure."""
    found = re.search(r"^voluntary_ctxt_switches:\t(\d+)$", text, re.MULTILINE)
    if found is None:
        raise ValueError("no voluntary_ctxt_switches are in what the kernel says")
    return int(found[1])


def total_pss_mb(pids: t.Iterable[int]) -> float:
    """Memory of several processes together."""
    return sum(map(pss_mb, pids))
