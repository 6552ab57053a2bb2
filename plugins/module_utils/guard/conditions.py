# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Conditions on arguments: ``commands.NAME.arguments`` of a policy, measured against a command's arguments."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.guard.names import shown

#: A policy's ``arguments``: path with ``[]`` for items -> the values that it may have.
Conditions = t.Mapping[str, t.Tuple[t.Any, ...]]

_INDEX = re.compile(r"\[[0-9]+\]")
_RANGE = re.compile(r"(-?[0-9]{1,20})\.\.(-?[0-9]{1,20})")
_DECIMAL = re.compile(r"0|-?[1-9][0-9]{0,19}")
_CONTROL = re.compile("[\x00-\x1f\x7f]")
# What these begin is run, taken over or parsed as a whole tree of options, so no pattern may stand for it.
_NEVER_BY_PATTERN = ("exec:", "fd:", "json:")
# A node's name where the policy speaks of the node's options must not pass for one of these.
_ANOTHER_KIND: t.Final = object()


def dotted(where: str) -> str:
    """A place as policies write it: ``options[0].driver`` becomes ``options[].driver``."""
    return _INDEX.sub("[]", where)


def argument_matches(conditions: Conditions, where: str, value: t.Any, globs: bool = True) -> bool:
    """Whether the policy names the argument at ``where`` and the value is one of those it gives.

    Then it needs no other permission. ``globs``: off for programs, whose text must stand in the policy letter by
    letter.
    """
    return any(value_matches(wanted, value, globs) for wanted in conditions.get(dotted(where), ()))


def value_matches(wanted: t.Any, value: t.Any, globs: bool = True) -> bool:
    """Whether ``value`` is what a policy's one value says. ``true`` is not 1; a port may be text or number."""
    if isinstance(wanted, bool) or isinstance(value, bool) or wanted is None or value is None:
        return wanted is value
    if isinstance(wanted, (int, float)) or isinstance(value, (int, float)):
        return _number_matches(wanted, value)
    if not isinstance(wanted, str) or not isinstance(value, str):
        return False
    if wanted == value or _in_range(wanted, value):
        return True
    return globs and "*" in wanted and _glob_matches(wanted, value)


def unmet(conditions: Conditions, arguments: t.Mapping[str, t.Any]) -> tuple[str, str] | None:
    """The first argument that has none of the values that the policy gives, and a sentence that says so.

    An argument that is absent meets its condition. The sentence does not repeat the value: it may be a secret.
    """
    for path, wanted in conditions.items():
        for where, value in _found(arguments, path.split("."), ""):
            if not any(value_matches(one, value) for one in wanted):
                values = ", ".join(_spelled(one) for one in wanted[:8]) or "no value at all"
                more = f" and {len(wanted) - 8} more" if len(wanted) > 8 else ""
                return where, f"the policy lets {where} be only {values}{more}"
    return None


def _found(value: t.Any, parts: t.Sequence[str], where: str) -> t.Iterator[tuple[str, t.Any]]:
    """All that a path leads to. Where it leads to another kind of thing than it says, what no value ever matches."""
    if not parts:
        yield where, value
        return
    if not isinstance(value, dict):
        yield where, _ANOTHER_KIND
        return
    name, brackets, _rest = parts[0].partition("[")
    if name in value:
        place = f"{where}.{name}" if where else name
        yield from _items(value[name], parts[0].count("[]") if brackets else 0, parts[1:], place)


def _items(value: t.Any, depth: int, parts: t.Sequence[str], where: str) -> t.Iterator[tuple[str, t.Any]]:
    if depth == 0:
        yield from _found(value, parts, where)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _items(item, depth - 1, parts, f"{where}[{index}]")
    else:
        yield where, _ANOTHER_KIND


def _number_matches(wanted: t.Any, value: t.Any) -> bool:
    if isinstance(wanted, str) and _in_range(wanted, value):
        return True
    if isinstance(wanted, str) or isinstance(value, str):  # one of them is text: equal if it is written the same
        return not isinstance(wanted, float) and not isinstance(value, float) and str(wanted) == str(value)
    return bool(isinstance(value, (int, float)) and isinstance(wanted, (int, float)) and wanted == value)


def _in_range(wanted: str, value: t.Any) -> bool:
    """Whether ``A..B`` holds the number, which may be written as text as ports are."""
    bounds = _RANGE.fullmatch(wanted)
    if bounds is None:
        return False
    if isinstance(value, str) and not _DECIMAL.fullmatch(value):
        return False
    number = int(value) if isinstance(value, str) else value
    return bool(int(bounds.group(1)) <= number <= int(bounds.group(2)))


def _glob_matches(pattern: str, value: str) -> bool:
    """``*`` for any characters but control characters. Nothing but ``*`` is special, and it takes linear steps."""
    if _CONTROL.search(value) or value.startswith(_NEVER_BY_PATTERN):
        return False
    first, *middle, last = pattern.split("*")
    if len(value) < len(first) + len(last) or not value.startswith(first) or not value.endswith(last):
        return False
    position, end = len(first), len(value) - len(last)
    for part in middle:
        found = value.find(part, position, end)
        if found < 0:
            return False
        position = found + len(part)
    return True


def _spelled(value: t.Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return shown(value) if isinstance(value, str) else str(value)
