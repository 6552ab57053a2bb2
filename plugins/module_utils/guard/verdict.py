# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of the guard, and what it answers: plain values that rules, gate and audit share."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Request:
    """One command as the caller asked for it."""

    command: str
    arguments: dict[str, t.Any] = field(default_factory=dict)
    #: The caller's consent. It widens nothing but the rows that ask for consent.
    allow_dangerous: bool = False
    #: Whom it is for: QEMU's monitor ("qmp"), or the agent inside the guest ("guest").
    channel: str = "qmp"


@dataclass(frozen=True)
class Refusal:
    """Why a request, or one field of it, is not acceptable."""

    rule: str
    reason: str
    remedy: str | None = None
    #: What would allow it, in a form that a program can use: ``{"allow_dangerous": True}``, or ``{"policy": {...}}``
    #: with what to add to the host's policy.
    allow_with: dict[str, t.Any] | None = None
    #: True where neither a permissive policy nor anything else opens the way.
    final: bool = False


@dataclass(frozen=True)
class Opening:
    """A file that must be opened for QEMU before an allowed command is sent; see :mod:`.opener`."""

    where: str  #: the argument, as people write it
    path: str  #: absolute
    base: str  #: the allowed folder (or file) that ``path`` lies in, without symbolic links
    parts: tuple[str, ...]  #: from ``base`` to the file, a component each
    mode: str  #: "create", "read", "write"; of an interface, "tap" or "any-tap", made if it is not there
    how: str  #: see :mod:`.passing`
    put: t.Callable[[str], None]
    #: Device and inode that were judged, of a file that is there already.
    identity: tuple[int, int] | None = None


@dataclass(frozen=True)
class Verdict:
    """What was decided, by which rule, and why."""

    decision: str  # "allow" or "deny"
    command_class: str  # one of commands.CLASSES, or "unknown"
    rule: str
    reason: str
    level: str = "info"  # "info" or "warning"
    remedy: str | None = None  # only of a denial: what the caller can do
    #: Further classes whose powers this very request uses.
    also: tuple[str, ...] = ()
    allow_with: dict[str, t.Any] | None = None
    mode: str = "enforce"
    role: str | None = None
    #: Which policy decided, if one did: "host", "vm" or "task".
    layer: str | None = None
    openings: tuple[Opening, ...] = ()

    @property
    def allowed(self) -> bool:
        """True when the command may be sent."""
        return self.decision == "allow"

    def as_dict(self) -> dict[str, t.Any]:
        """The form in which results, errors and records carry it."""
        out: dict[str, t.Any] = {
            "decision": self.decision,
            "class": self.command_class,
            "rule": self.rule,
            "reason": self.reason,
            "level": self.level,
        }
        if self.also:
            out["also"] = list(self.also)
        if self.mode != "enforce":
            out["mode"] = self.mode
        for key in ("remedy", "allow_with", "role", "layer"):
            if getattr(self, key) is not None:
                out[key] = getattr(self, key)
        if self.openings:
            out["opens"] = [{"arg": opening.where, "path": opening.path} for opening in self.openings]
        return out
