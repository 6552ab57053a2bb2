# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which records of a log somebody asked for: by time, class, decision, user, command and phase. Pure."""

from __future__ import annotations

import datetime as dt
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option

Record = t.Mapping[str, t.Any]

_AGO = re.compile(r"([0-9]{1,9})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True)
class Wanted:
    """What a record must be. None: anything."""

    since: str | None = None
    until: str | None = None
    classes: frozenset[str] | None = None
    decisions: frozenset[str] | None = None
    users: frozenset[str] | None = None
    commands: frozenset[str] | None = None
    phases: frozenset[str] | None = None

    def takes(self, record: Record) -> bool:
        """Whether ``record`` is one of those."""
        when = str(record.get("time"))
        return (
            (self.since is None or when >= self.since)
            and (self.until is None or when <= self.until)
            and _among(record.get("class"), self.classes)
            and _among(record.get("decision"), self.decisions)
            and _among(record.get("op"), self.commands)
            and _among(record.get("phase"), self.phases)
            and (self.users is None or not self.users.isdisjoint(users_of(record)))
        )


def _among(value: t.Any, wanted: frozenset[str] | None) -> bool:
    return wanted is None or value in wanted


def users_of(record: Record) -> set[str]:
    """By what names a record knows who asked: uid and login uid by number, and the controller's user."""
    found = {str(record[key]) for key in ("uid", "auid") if record.get(key) is not None}
    controller = record.get("controller")
    if isinstance(controller, dict) and controller.get("user"):
        found.add(str(controller["user"]))
    return found


def moment(option: str, value: str | None, now: dt.datetime) -> str | None:
    """A point in time as records write it (UTC, microseconds), of ISO 8601 or of ``2h`` for two hours ago.

    A time without a zone is UTC, as in the log. MaqetError ``invalid_option`` for anything else.
    """
    if value is None:
        return None
    ago = _AGO.fullmatch(value.strip())
    try:
        if ago:
            found = now - dt.timedelta(seconds=int(ago.group(1)) * _SECONDS[ago.group(2)])
        else:
            # Python 3.9 and 3.10 do not know the Z of ISO 8601.
            found = dt.datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", value.strip()))
        if found.tzinfo is None:
            found = found.replace(tzinfo=dt.timezone.utc)
        return found.astimezone(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    except (ValueError, OverflowError):
        remedy = "Give a time such as 2025-01-31T10:00:00Z or 2025-01-31, or how long ago: 90s, 15m, 2h, 7d, 1w."
        raise invalid_option(option, value, "is not a time", remedy) from None
