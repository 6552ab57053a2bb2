# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a board has beside processors and memory (QEMU manual: -uuid, -smbios, -rtc, -action)."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition import values
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_board import OEM_STRINGS, SMBIOS_FIELDS
from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option

CLOCK_FIELDS = ("base", "source", "driftfix")
CLOCK_SOURCES = ("host", "rt", "vm")
DRIFT_FIXES = ("none", "slew")
WATCHDOG_FIELDS = ("model", "action")
WATCHDOGS = ("i6300esb", "ib700")
WATCHDOG_ACTIONS = ("reset", "shutdown", "poweroff", "inject-nmi", "pause", "debug", "none")

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_MOMENT = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[T ]([0-9]{2}):([0-9]{2}):([0-9]{2}))?", re.ASCII)
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_TEXT = "Give a string of one line of at most 255 characters."


def uuid(option: str, value: t.Any) -> str:
    """In lower case. All zeros is none: a guest would take its machine for one without a UUID."""
    remedy = "Give 32 hexadecimal digits in five groups, such as 0f4c2a9e-5d1b-4c38-9a77-2f1f6f0c1d2e."
    result = values.matching(option, value, _UUID, "is not a UUID", remedy).lower()
    if not result.strip("0-"):
        raise invalid_option(option, value, "is all zeros, which stands for none", remedy)
    return result


def clock(option: str, value: t.Any) -> dict[str, t.Any]:
    """Normal form: only what was given; an empty dictionary takes a stored one back."""
    given = values.fields(option, value, CLOCK_FIELDS)
    result: dict[str, t.Any] = {}
    if "base" in given:
        result["base"] = _base(f"{option}.base", given["base"])
    if "source" in given:
        result["source"] = values.choice(f"{option}.source", given["source"], CLOCK_SOURCES)
    if "driftfix" in given:
        result["driftfix"] = values.choice(f"{option}.driftfix", given["driftfix"], DRIFT_FIXES)
    return result


def _base(option: str, value: t.Any) -> str:
    """``utc``, ``localtime``, or the moment at which each start of the guest begins, in UTC, as QEMU spells it."""
    if value in ("utc", "localtime"):
        return str(value)
    remedy = "Give utc, localtime, or a moment in UTC, such as '2030-01-31T12:00:00', in quotes."
    words = values.matching(option, value, _MOMENT, "is no base for a clock", remedy)
    found = t.cast("re.Match[str]", _MOMENT.fullmatch(words))
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups())
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    days = 28 if month == 2 and not leap else _DAYS[month - 1] if 1 <= month <= 12 else 0
    if not 1 <= day <= days or hour > 23 or minute > 59 or second > 59 or year < 1900:
        raise invalid_option(option, value, "is no moment", remedy)
    return f"{words[:10]}T{words[11:] or '00:00:00'}"


def watchdog(option: str, value: t.Any) -> dict[str, t.Any]:
    """Normal form: only what was given. An empty dictionary has no watchdog; one with anything in it has."""
    given = values.fields(option, value, WATCHDOG_FIELDS)
    result: dict[str, t.Any] = {}
    if "model" in given:
        result["model"] = values.choice(f"{option}.model", given["model"], WATCHDOGS)
    if "action" in given:
        result["action"] = values.choice(f"{option}.action", given["action"], WATCHDOG_ACTIONS)
    return result


def smbios(option: str, value: t.Any) -> dict[str, t.Any]:
    """Normal form: only what was given; an empty dictionary takes a stored one back."""
    given = values.fields(option, value, (*SMBIOS_FIELDS, OEM_STRINGS))
    result: dict[str, t.Any] = {}
    for key in SMBIOS_FIELDS:
        if key in given:
            result[key] = values.text(f"{option}.{key}", given[key], _TEXT, 255)
    if OEM_STRINGS in given:
        items = values.list_of(f"{option}.{OEM_STRINGS}", given[OEM_STRINGS], "strings")
        result[OEM_STRINGS] = [
            values.text(f"{option}.{OEM_STRINGS}[{index}]", item, "Give a string of one line.", 1024)
            for index, item in enumerate(items)
        ]
    return result
