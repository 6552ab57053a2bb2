# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a QEMU says that its commands take: its answer to query-qmp-schema, cut down to arguments.

The whole is two texts, one line a type, split into objects only where a request needs them: loading costs the same
whether a schema has ten commands or three hundred.

A reference to a type is a text too: the name of a builtin type, the number of a line, or either in brackets for
an array. Lines: ``o member:ref member?:ref|tag|case:ref case:ref`` (the last two only for unions; ``?`` marks what
may be left out), ``e value value`` and ``a ref ref`` (an alternate). Names in QAPI hold none of these signs.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError

#: Of the texts. Another number is another QEMU collection's cache: ask QEMU again.
FORMAT: t.Final = 1

#: JSON types, as QEMU's parser tells them apart.
BUILTINS: t.Final = frozenset(("str", "int", "number", "bool", "null", "any"))

_NAME = re.compile(r"[A-Za-z0-9_.+-]+")


class Array(t.NamedTuple):
    item: str


class Enum(t.NamedTuple):
    values: tuple[str, ...]


class Alternate(t.NamedTuple):
    """A type that is chosen by what kind of JSON value is there."""

    refs: tuple[str, ...]


class Object(t.NamedTuple):
    members: dict[str, str]
    required: tuple[str, ...]
    #: A union: the member that chooses, and what each of its values adds.
    tag: str | None
    cases: dict[str, str]


#: A builtin type is its own name.
Type = t.Union[str, Array, Enum, Alternate, Object]


class Schema:
    """The commands of one QEMU and the types of their arguments."""

    def __init__(self, commands: str, types: str) -> None:
        self._texts = (commands, types)
        self._lines = types.split("\n")
        self._types: dict[str, Type] = {}
        self._commands: dict[str, tuple[str, str]] = {}
        for word in commands.split():
            name, ref, flags = word.split(":")
            self._commands[name] = (ref, flags)
        self.commands: frozenset[str] = frozenset(self._commands)
        #: The type of a block node, which is walked on its own wherever it stands; None in a QEMU without block layer.
        self.node: str | None = self._commands.get("blockdev-add", (None,))[0]

    @classmethod
    def of(cls, entries: t.Any) -> Schema:
        """From the answer to query-qmp-schema. Raises MaqetError ``qmp_error`` if it is none."""
        try:
            return cls(*_Pruned(entries).texts())
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise MaqetError(
                f"QEMU's answer to query-qmp-schema cannot be read ({type(error).__name__}: {error}). "
                "Nothing can be checked against it: use a QEMU from 6.2 on.",
                "qmp_error",
            ) from None

    def to_json(self) -> dict[str, t.Any]:
        """A value for a cache, that :meth:`from_json` takes."""
        return {"format": FORMAT, "commands": self._texts[0], "types": self._texts[1]}

    @classmethod
    def from_json(cls, value: t.Any) -> Schema | None:
        """From :meth:`to_json`'s value; None if it is something else."""
        try:
            if value["format"] != FORMAT:
                return None
            return cls(value["commands"], value["types"])
        except (LookupError, TypeError, ValueError, AttributeError):
            return None

    def unstable(self, command: str) -> bool:
        """Whether QEMU says that the command may change with any release."""
        return "u" in self._commands.get(command, ("", ""))[1]

    def oob(self, command: str) -> bool:
        """Whether QEMU runs the command out of band, past others that wait."""
        return "o" in self._commands.get(command, ("", ""))[1]

    def arguments(self, command: str) -> str:
        """Reference to the type of the command's arguments, an object. Raises KeyError for an unknown command."""
        return self._commands[command][0]

    def type(self, ref: str) -> Type:
        """The type that a reference means."""
        found = self._types.get(ref)
        if found is None:
            found = self._types[ref] = self._parsed(ref)
        return found

    def _parsed(self, ref: str) -> Type:
        if ref in BUILTINS:
            return ref
        if ref.startswith("["):
            return Array(ref[1:-1])
        kind, _blank, rest = self._lines[int(ref)].partition(" ")
        if kind == "e":
            return Enum(tuple(rest.split()))
        if kind == "a":
            return Alternate(tuple(rest.split()))
        members, _bar, union = rest.partition("|")
        tag, _bar, cases = union.partition("|")
        found: dict[str, str] = {}
        required = []
        for word in members.split():
            name, _colon, ref = word.partition(":")
            if name.endswith("?"):
                name = name[:-1]
            else:
                required.append(name)
            found[name] = ref
        return Object(found, tuple(required), tag or None, _pairs(cases))


def _pairs(words: str) -> dict[str, str]:
    return dict(t.cast("tuple[str, str]", tuple(word.split(":"))) for word in words.split())


class _Pruned:
    """Turns entries of QEMU's answer into the texts, types numbered as the commands reach them."""

    def __init__(self, entries: t.Any) -> None:
        self._entries: dict[str, dict[str, t.Any]] = {entry["name"]: entry for entry in entries}
        self._refs: dict[str, str] = {}
        self._lines: list[str] = []

    def texts(self) -> tuple[str, str]:
        commands = [entry for entry in self._entries.values() if entry["meta-type"] == "command"]
        if not commands:
            raise ValueError("it names no command")
        words = [f"{_name(one['name'])}:{self._ref(one['arg-type'])}:{_flags(one)}" for one in commands]
        return " ".join(words), "\n".join(self._lines)

    def _ref(self, name: str) -> str:
        entry = self._entries[name]
        kind = entry["meta-type"]
        if kind == "array":
            return f"[{self._ref(entry['element-type'])}]"
        if kind == "builtin":
            if name not in BUILTINS:
                raise ValueError(f"its builtin type {name!r} is not known here")
            return name
        if name not in self._refs:
            self._refs[name] = str(len(self._lines))
            self._lines.append("")  # taken before its members are looked at: types may hold themselves
            self._lines[int(self._refs[name])] = self._line(kind, entry)
        return self._refs[name]

    def _line(self, kind: str, entry: dict[str, t.Any]) -> str:
        if kind == "enum":
            values = entry.get("values") or [member["name"] for member in entry["members"]]
            return " ".join(["e", *map(_name, values)])
        if kind == "alternate":
            return " ".join(["a", *(self._ref(member["type"]) for member in entry["members"])])
        if kind != "object":
            raise ValueError(f"its type {entry['name']!r} is of the unknown kind {kind!r}")
        # A member that has a default, even null, may be left out.
        members = [f"{_name(m['name'])}{'?' * ('default' in m)}:{self._ref(m['type'])}" for m in entry["members"]]
        line = " ".join(["o", *members])
        if "tag" in entry:
            cases = [f"{_name(v['case'])}:{self._ref(v['type'])}" for v in entry["variants"]]
            line += f"|{_name(entry['tag'])}|{' '.join(cases)}"
        return line


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"the name {name!r} is not one of QAPI's")
    return name


def _flags(command: dict[str, t.Any]) -> str:
    unstable = "unstable" in command.get("features", ()) or command["name"].startswith("x-")
    return "u" * unstable + "o" * bool(command.get("allow-oob"))
