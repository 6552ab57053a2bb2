# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task may wait for after its actions: the ``wait_for`` option."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ansible_collections.maqet.qemu.plugins.module_utils.definition import values
from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option

WORDS = ("running", "exit")
_EVENT = re.compile(r"[A-Z][A-Z0-9_]*")
_REMEDY = "Write running, exit, {serial: REGEX} or {event: NAME}."


@dataclass(frozen=True)
class Wait:
    """One thing to wait for: ``kind`` is running, exit, serial or event; ``value`` the regex or the event's name."""

    kind: str
    value: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.value}" if self.value else self.kind


def wait_for(value: t.Any, option: str = "wait_for") -> list[Wait]:
    """The list in its order. None is an empty list, and a single item needs no brackets."""
    if value is None:
        return []
    items = list(value) if isinstance(value, (list, tuple)) else [value]
    return [_wait(f"{option}[{index}]", item) for index, item in enumerate(items)]


def _wait(option: str, item: t.Any) -> Wait:
    if isinstance(item, str) and item in WORDS:
        return Wait(item)
    if not isinstance(item, t.Mapping) or len(item) != 1:
        raise invalid_option(option, item, "is nothing to wait for", _REMEDY)
    kind, value = next(iter(item.items()))
    if kind == "event":
        remedy = "Give the name of a QMP event, such as SHUTDOWN."
        return Wait("event", values.matching(f"{option}.event", value, _EVENT, "is not the name of an event", remedy))
    if kind == "serial":
        return Wait("serial", _regex(f"{option}.serial", value))
    raise invalid_option(option, item, "is nothing to wait for", _REMEDY)


def _regex(option: str, value: t.Any) -> str:
    remedy = "Give a regular expression of Python that cannot match nothing, in quotes, such as 'login: '."
    if not isinstance(value, str):
        raise invalid_option(option, value, "is not a string", remedy)
    try:
        pattern = re.compile(value)
    except (re.error, OverflowError, RecursionError) as error:
        raise invalid_option(option, value, f"is not a regular expression: {error}", remedy) from error
    if pattern.search(""):
        raise invalid_option(option, value, "matches an empty text, so there is nothing to wait for", remedy)
    return value
