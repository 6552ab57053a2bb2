# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two real schemas, and what can be made of them without the code under test: all string leaves, and valid requests.

The data: answers of QEMU 7.2.22 and 11.1.3 to query-qmp-schema, without what only replies and events need; and every
string leaf of both with its kind, as classified by hand.
"""

from __future__ import annotations

import copy
import functools
import gzip
import json
import pathlib
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.guard.schema import Schema
from hypothesis import strategies as st

DATA = pathlib.Path(__file__).parent / "data"
VERSIONS = ("7.2", "11.1")

Entry = dict[str, t.Any]


def read(name: str) -> str:
    return gzip.decompress((DATA / name).read_bytes()).decode()


@functools.cache
def raw(version: str) -> dict[str, Entry]:
    """QEMU's own entries, by name."""
    return {entry["name"]: entry for entry in json.loads(read(f"schema-{version}.json.gz"))}


@functools.cache
def schema(version: str) -> Schema:
    return Schema.of(list(raw(version).values()))


def commands(version: str) -> list[str]:
    return [name for name, entry in raw(version).items() if entry["meta-type"] == "command"]


def classified() -> list[tuple[str, str, str]]:
    """(command, path, kind) of all string leaves of both schemas; block nodes inside others to the first level."""
    lines = [line.rsplit(" ", 1) for line in read("leaves.txt.gz").splitlines()]
    return [(*t.cast("tuple[str, str]", tuple(place.split(" ", 1))), kind) for place, kind in lines]


def string_leaves(types: dict[str, Entry], command: str) -> t.Iterator[str]:
    """Path of every string (and free value) that a command can take, but not into a type that holds itself again."""
    yield from _leaves(types, types[command]["arg-type"], "", ())


def _leaves(types: dict[str, Entry], name: str, path: str, above: tuple[str, ...]) -> t.Iterator[str]:
    entry = types[name]
    kind = entry["meta-type"]
    if kind == "builtin":
        if name in ("str", "any"):
            yield path
        return
    if name in above or kind == "enum":
        return
    above = (*above, name)
    if kind == "array":
        yield from _leaves(types, entry["element-type"], f"{path}[]", above)
    elif kind == "alternate":
        for member in entry["members"]:
            yield from _leaves(types, member["type"], path, above)
    else:
        for member in entry["members"]:
            yield from _leaves(types, member["type"], f"{path}.{member['name']}".lstrip("."), above)
        for variant in entry.get("variants", []):
            yield from _leaves(types, variant["type"], f"{path}{{{variant['case']}}}", above)


class Request:
    """A valid request, and the places where it can be spoilt."""

    def __init__(self, command: str) -> None:
        self.command = command
        self.arguments: dict[str, t.Any] = {}
        #: Every string of type `str`, all different.
        self.strings: list[str] = []
        self.frees = 0
        self.objects: list[dict[str, t.Any]] = []
        self.required: list[tuple[dict[str, t.Any], str]] = []
        #: Container, key, a value of a type that does not belong there.
        self.typed: list[tuple[t.Any, t.Any, t.Any]] = []


@st.composite
def requests(draw: st.DrawFn, version: str, only: str | None = None) -> Request:
    """A request that fits the schema, with block nodes and lists in it."""
    request = Request(draw(st.sampled_from(commands(version))) if only is None else only)
    filler = _Filler(draw, raw(version), request)
    holder: dict[str, t.Any] = {}
    filler.put(holder, "arguments", raw(version)[request.command]["arg-type"], 0)
    request.typed.pop()  # the arguments as a whole: those are the module's to check
    request.arguments = holder["arguments"]
    return request


class _Filler:
    def __init__(self, draw: st.DrawFn, types: dict[str, Entry], request: Request) -> None:
        self._draw, self._types, self._request = draw, types, request

    def put(self, holder: t.Any, key: t.Any, name: str, depth: int) -> None:
        """Put a value of a type into its holder, and note how to spoil it."""
        entry = self._types[name]
        value, wrong = getattr(self, f"_{entry['meta-type']}")(entry, depth)
        if isinstance(holder, list):
            holder.append(value)
        else:
            holder[key] = value
        if wrong is not ...:
            self._request.typed.append((holder, key, wrong))

    def _builtin(self, entry: Entry, _depth: int) -> tuple[t.Any, t.Any]:
        name = entry["name"]
        if name == "str":
            self._request.strings.append(f"text {len(self._request.strings)}")
            return self._request.strings[-1], self._draw(st.sampled_from([1, True, None, 0.5, [], {}]))
        if name == "any":
            self._request.frees += 1
            return self._draw(st.sampled_from([1, "free", None, [1], {"a": "b"}])), ...
        if name == "bool":
            return self._draw(st.booleans()), self._draw(st.sampled_from([0, 1, "on", "true", None]))
        if name == "null":
            return None, 0
        if name == "int":
            return self._draw(st.integers(-(2**63), 2**64 - 1)), self._draw(
                st.sampled_from(["1", 1.0, True, None, 2**64, -(2**63) - 1])
            )
        return self._draw(st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 9))), "1"

    def _enum(self, entry: Entry, _depth: int) -> tuple[t.Any, t.Any]:
        return self._draw(st.sampled_from(entry["values"])), self._draw(st.sampled_from(["no such value", 1, None]))

    def _array(self, entry: Entry, depth: int) -> tuple[t.Any, t.Any]:
        value: list[t.Any] = []
        for index in range(self._draw(st.integers(0, 3 if depth < 3 else 1))):
            self.put(value, index, entry["element-type"], depth + 1)
        return value, self._draw(st.sampled_from([{}, "text", None]))

    def _alternate(self, entry: Entry, depth: int) -> tuple[t.Any, t.Any]:
        names = [member["type"] for member in entry["members"]]
        flat = [name for name in names if self._types[name]["meta-type"] != "object"]
        name = self._draw(st.sampled_from(flat if depth > 3 and flat else names))
        value, _wrong = getattr(self, f"_{self._types[name]['meta-type']}")(self._types[name], depth)
        return value, 0.5  # no alternate of QEMU takes a fraction

    def _object(self, entry: Entry, depth: int) -> tuple[t.Any, t.Any]:
        value: dict[str, t.Any] = {}
        self._request.objects.append(value)
        while True:
            for member in entry["members"]:
                optional = "default" in member
                if optional and (depth > 3 or not self._draw(st.booleans())):
                    continue
                if not optional:
                    self._request.required.append((value, member["name"]))
                self.put(value, member["name"], member["type"], depth + 1)
            if "tag" not in entry:
                return value, self._draw(st.sampled_from([[], 0.5]))
            branches = {variant["case"]: variant["type"] for variant in entry["variants"]}
            entry = self._types[branches[value[entry["tag"]]]]


@st.composite
def spoilt(draw: st.DrawFn, version: str) -> tuple[str, dict[str, t.Any], str]:
    """(command, arguments, what was done to them): one thing is wrong."""
    request = draw(requests(version))
    ways: list[str] = []
    if request.required:
        ways.append("drop")
    if request.typed:
        ways.append("type")
    # Any member may be added to the arguments of device_add, which are its only object.
    if request.command != "device_add":
        ways.append("add")
    way = draw(st.sampled_from(ways))
    if way == "drop":
        holder, name = draw(st.sampled_from(request.required))
        del holder[name]
        what = f"drop {name}"
    elif way == "add":
        draw(st.sampled_from(request.objects))["no-such-member"] = 1
        what = "add no-such-member"
    else:
        inside, key, wrong = draw(st.sampled_from(request.typed))
        inside[key] = wrong
        what = f"{key} becomes {wrong!r}"
    return request.command, copy.deepcopy(request.arguments), what
