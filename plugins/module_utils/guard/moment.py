# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a record was made and by which process: clocks, identifiers, and a process that no other can be mistaken for."""

from __future__ import annotations

import os
import time
import typing as t

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_BOOT: list[str] = []
#: pid -> {pid, start} of this process; a forked child has another pid, hence another entry.
_SELF: dict[int, dict[str, t.Any]] = {}


def ulid() -> str:
    """An identifier that sorts by time: 48 bits of milliseconds, 80 of chance, 26 characters."""
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def stamp() -> dict[str, t.Any]:
    """Wall clock (UTC, microseconds), boot, and nanoseconds of the monotonic clock."""
    now = time.time_ns()
    clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 1_000_000_000))
    micro = now // 1000 % 1_000_000
    return {"time": f"{clock}.{micro:06d}Z", "boot_id": boot_id(), "mono_ns": time.monotonic_ns()}


def boot_id() -> str:
    """Names this boot of the host (random(4)); empty where the kernel does not say."""
    if not _BOOT:
        try:
            with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
                _BOOT.append(file.read().strip())
        except OSError:
            _BOOT.append("")
    return _BOOT[0]


def writer() -> dict[str, t.Any]:
    """This process, as the records that it writes name it: ``pid``, and ``start`` in clock ticks since boot."""
    pid = os.getpid()
    if pid not in _SELF:
        _SELF.clear()
        _SELF[pid] = {"pid": pid, "start": start_ticks(pid)}
    return dict(_SELF[pid])


def start_ticks(pid: int, proc: str = "/proc") -> int | None:
    """When a process started, in clock ticks since boot; None if there is none or it is a zombie.

    Source: proc(5), fields 3 and 22 of /proc/PID/stat; the name in field 2 may hold anything, so
    the fields are counted from its closing parenthesis.
    """
    try:
        with open(f"{proc}/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return None if fields[0] in (b"Z", b"X") else int(fields[19])
    except (OSError, ValueError, IndexError):
        return None
