# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether one value fits one type of QEMU's schema, and sentences for what does not.

Sentences name the place and the types, never the value: what is in a wrong place may be a secret. Only a value that
is nearly a known word is repeated, to say which word was meant.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.guard.names import shown
from ansible_collections.maqet.qemu.plugins.module_utils.guard.nearest import nearest, suggestion
from ansible_collections.maqet.qemu.plugins.module_utils.guard.schema import Array, Enum, Object, Type

#: What QEMU's int64, uint64 and size visitors take together; introspection does not tell them apart.
INTEGERS: t.Final = range(-(2**63), 2**64)

#: Names that a sentence lists at most.
_LISTED = 12

_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,60}")

_WORDS: t.Final[dict[str, str]] = {
    "str": "a string",
    "int": "an integer",
    "number": "a number",
    "bool": "true or false",
    "null": "null",
    "any": "a value",
}


def fits(builtin: str, value: t.Any) -> bool:
    """Whether QEMU takes ``value`` for a builtin type. A bool is no integer, and 1.0 is none either."""
    if builtin == "str":
        return isinstance(value, str)
    if builtin == "bool":
        return isinstance(value, bool)
    if builtin == "null":
        return value is None
    if builtin == "any":
        return True
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return value in INTEGERS
    # NaN and the infinities have no JSON.
    return builtin == "number" and isinstance(value, float) and value - value == 0


def chosen(kind: Type, value: t.Any) -> bool:
    """Whether an alternate goes on with this of its types, by the kind of JSON value."""
    if isinstance(kind, Enum):
        return isinstance(value, str)
    if isinstance(kind, Array):
        return isinstance(value, list)
    if isinstance(kind, Object):
        return isinstance(value, dict)
    # An integer out of range is still an integer: the sentence should say so.
    if kind in ("int", "number") and isinstance(value, int) and not isinstance(value, bool):
        return True
    return isinstance(kind, str) and fits(kind, value)


def expected(kind: Type) -> str:
    """A type in words."""
    if isinstance(kind, str):
        return _WORDS[kind]
    if isinstance(kind, Enum):
        return _WORDS["str"]
    return "a list" if isinstance(kind, Array) else "an object"


def dotted(where: str) -> str:
    """A place in the arguments as a playbook's author knows it."""
    return f"arguments.{where}" if where else "arguments"


def mistyped(where: str, wanted: str, value: t.Any) -> str:
    """``arguments.size must be an integer, not a string``"""
    return f"{dotted(where)} must be {_WORDS.get(wanted, wanted)}, not {_found(wanted, value)}"


def _found(wanted: str, value: t.Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, int):
        return "an integer" if value in INTEGERS else "one that has more than 64 bits"
    if isinstance(value, float):
        return "a fraction" if wanted == "int" else "a number"
    if isinstance(value, str):
        return "a string"
    return "a list" if isinstance(value, list) else "an object"


def missing(where: str, name: str) -> str:
    return f"{dotted(where)} must have {name}" if where else f"arguments.{name} is missing"


def name_shown(name: object) -> str:
    """A name that a caller made up, fit for a terminal and a log."""
    return name if isinstance(name, str) and _PLAIN.fullmatch(name) else shown(name)


def unknown(where: str, name: object, members: t.Collection[str], value: t.Collection[object]) -> str:
    """``name`` is no member; those that ``value`` already has are not what was meant."""
    place = f"{where}." if where else ""
    rest = [member for member in members if member not in value]
    hint = suggestion(name, rest) or f" ({_list(members)})"
    return f"arguments.{place}{name_shown(name)} is unknown{hint}"


def no_such_value(where: str, value: str, values: t.Collection[str]) -> str:
    """``value`` is none of an enumeration's."""
    near = nearest(value, values)
    if near is not None:
        return f"{dotted(where)} cannot be {shown(value)}. Did you mean {near}?"
    return f"{dotted(where)} is not one of the known values ({_list(values)})"


def unknown_command(command: object, known: t.Iterable[str]) -> str:
    return f"this QEMU has no command {name_shown(command)}{suggestion(command, known)}"


def _list(names: t.Collection[str]) -> str:
    ordered = sorted(names)
    if not ordered:
        return "none is known"
    more = f", and {len(ordered) - _LISTED} more" if len(ordered) > _LISTED else ""
    return "known: " + ", ".join(ordered[:_LISTED]) + more
