# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests that are aimed: valid by QEMU's own schema, as small as can be, with one chosen value at one chosen leaf.

The leaves come from the classification by hand, the shape of the requests from the schemas; nothing of the code under
test is asked.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.maqet.qemu.tests.unit.guard.schemas import Entry, raw

_TOKEN = re.compile(r"\[\]|\{[^}]*\}|[^.\[{]+")
#: What stands at leaves that nobody aims at.
HARMLESS = "plain"
#: A QEMU object that holds itself need not be followed further than this.
_DEEP = 12


class NoSuchLeaf(Exception):
    """This version of QEMU does not have the leaf."""


def aimed(version: str, command: str, path: str, value: t.Any) -> dict[str, t.Any]:
    """Arguments of ``command`` with ``value`` at ``path``, which is written as in the classification."""
    types = raw(version)
    if command not in types:
        raise NoSuchLeaf(command)
    return t.cast("dict[str, t.Any]", _build(types, types[command]["arg-type"], _TOKEN.findall(path), value, 0))


def _build(types: dict[str, Entry], name: str, way: list[str], value: t.Any, depth: int) -> t.Any:
    """A value of the type: the way leads on to the aim; without a way it is the smallest that is valid."""
    if depth > _DEEP:
        raise NoSuchLeaf(name)
    entry = types[name]
    kind = entry["meta-type"]
    if kind == "array":
        return _array(types, entry, way, value, depth)
    if kind == "alternate":
        return _alternate(types, entry, way, value, depth)
    if kind == "object":
        return _object(types, entry, way, value, depth)
    if way and way != ["!"]:
        raise NoSuchLeaf("".join(way))
    if way:
        return value
    return entry["values"][0] if kind == "enum" else _SMALLEST[name]


_SMALLEST: dict[str, t.Any] = {"str": HARMLESS, "int": 1, "bool": False, "number": 1, "null": None, "any": HARMLESS}


def _array(types: dict[str, Entry], entry: Entry, way: list[str], value: t.Any, depth: int) -> list[t.Any]:
    if not way:
        return []
    if way[0] != "[]":
        raise NoSuchLeaf("".join(way))
    return [_build(types, entry["element-type"], way[1:] or ["!"], value, depth + 1)]


def _alternate(types: dict[str, Entry], entry: Entry, way: list[str], value: t.Any, depth: int) -> t.Any:
    """Without a way the plainest member: a text where there is one. An aim that is an object goes where one fits."""
    members = [member["type"] for member in entry["members"]]
    if way == ["!"] and isinstance(value, (dict, list)):
        return value
    plain = [name for name in members if types[name]["meta-type"] == "builtin"]
    for name in plain + [name for name in members if name not in plain] if not way or way == ["!"] else members:
        try:
            return _build(types, name, way, value, depth + 1)
        except NoSuchLeaf:
            continue
    raise NoSuchLeaf("".join(way))


def _object(types: dict[str, Entry], entry: Entry, way: list[str], value: t.Any, depth: int) -> t.Any:
    if way == ["!"]:
        return value
    way = list(way)
    found: dict[str, t.Any] = {}
    while True:
        for member in entry["members"]:
            name = member["name"]
            if way and way[0] == name:
                found[name] = _build(types, member["type"], way[1:] or ["!"], value, depth + 1)
                way = []
            elif "default" not in member and name not in found:
                found[name] = _build(types, member["type"], [], value, depth + 1)
        tag = entry.get("tag")
        if tag is None:
            break
        branches = {variant["case"]: variant["type"] for variant in entry["variants"]}
        case = found.get(tag)
        if way and way[0].startswith("{"):
            case = way.pop(0)[1:-1]
            if case not in branches:
                raise NoSuchLeaf(case)
        elif case not in branches:
            case = next(iter(branches))
        found[tag] = case
        entry = types[branches[case]]
    if way:
        raise NoSuchLeaf("".join(way))
    return found
