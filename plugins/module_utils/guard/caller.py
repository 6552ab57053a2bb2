# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who asked: what the kernel knows of a process, and, kept apart, what the controller says."""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass, field

#: Characters of one text from the controller, and texts at most: it is free to say anything.
MAX_TEXT = 256
MAX_ITEMS = 24


@dataclass(frozen=True)
class Caller:
    """The process that asked. What could not be read is None; 4294967295 means "unset" to the kernel."""

    #: Login uid and session of the audit subsystem: they survive su and sudo.
    auid: int | None = None
    ses: int | None = None
    uid: int | None = None
    gid: int | None = None
    pid: int | None = None
    exe: str | None = None
    comm: str | None = None
    #: {pid, uid, gid} by SO_PEERCRED, when it asked over a socket.
    peer: dict[str, int] | None = None
    #: What the controller asserts: host, user, task, play, job, module, remote address.
    controller: dict[str, t.Any] = field(default_factory=dict)
    #: All its groups, the primary one included.
    groups: tuple[int, ...] = ()


def asserted(claims: object) -> dict[str, t.Any]:
    """The controller's claims in a form fit for a record: short texts only, marked as not proven."""
    out: dict[str, t.Any] = {}
    if isinstance(claims, dict):
        for key, value in list(claims.items())[:MAX_ITEMS]:
            if value is not None:
                out[str(key)[:MAX_TEXT]] = value if isinstance(value, (bool, int)) else str(value)[:MAX_TEXT]
    out["asserted"] = True
    return out


def caller_of(
    pid: int,
    uid: int,
    gid: int,
    controller: dict[str, t.Any] | None = None,
    peer: bool = False,
    proc: str = "/proc",
    groups: t.Sequence[int] = (),
) -> Caller:
    """Describe the process ``pid``, which may be gone or not ours to look at: then fields are None.

    ``uid``, ``gid`` and the further ``groups`` come from the kernel (SO_PEERCRED and SO_PEERGROUPS, or our own),
    never from /proc, whose entry may be another process by now. ``peer``: the numbers came from a socket.
    """
    home = f"{proc}/{pid}"
    return Caller(
        auid=_number(f"{home}/loginuid"),
        ses=_number(f"{home}/sessionid"),
        uid=uid,
        gid=gid,
        pid=pid,
        exe=_link(f"{home}/exe"),
        comm=_line(f"{home}/comm"),
        groups=tuple(sorted({gid, *groups})),
        peer={"pid": pid, "uid": uid, "gid": gid} if peer else None,
        controller=dict(controller or {}),
    )


def myself(controller: dict[str, t.Any] | None = None) -> Caller:
    """The caller when nobody is asked over a socket: this very process (``direct`` mode)."""
    return caller_of(os.getpid(), os.getuid(), os.getgid(), controller, groups=os.getgroups())


def _line(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="backslashreplace") as file:
            return file.read(4096).strip()
    except OSError:
        return None


def _number(path: str) -> int | None:
    text = _line(path)
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def _link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None
