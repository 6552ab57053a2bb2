# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One pass over a request: does it fit QEMU's schema, and which strings does it hold, of what kind?

Rules look at leaves, never at whole requests, so that a path is judged by the same rule wherever a schema allows it: in
a command, in a block node inside a block node, in an action of a transaction. Where the data goes on in another
definition (a block node, an action), the walk does too, at any depth.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.maqet.qemu.plugins.module_utils.guard import devices, leaves, mismatch
from ansible_collections.maqet.qemu.plugins.module_utils.guard.canonical import MAX_DEPTH
from ansible_collections.maqet.qemu.plugins.module_utils.guard.schema import Alternate, Array, Enum, Object, Schema

#: Leaves of one request. Real ones have a few dozen; without a bound, a message of 16 MiB becomes a gigabyte here.
MAX_LEAVES: t.Final = 20_000

#: Commands with ``gen: false`` in QEMU's sources: the schema lists some members, QEMU takes any.
UNTYPED: t.Final = frozenset(("device_add",))


@dataclass(frozen=True)
class Leaf:
    """One string of a request, or one free value (`any` in the schema, or a property of device_add)."""

    #: For people and policies, as it is written in a playbook: ``file.filename``, ``options[0].driver``.
    where: str
    #: The command or definition that lists it, and its path there: see ``leaves``.
    root: str
    path: str
    #: None if nobody has classified it.
    kind: str | None
    value: t.Any
    #: The JSON objects around it, outermost first. The value is ``holders[-1][key]``, or item ``index`` of that.
    holders: tuple[dict[str, t.Any], ...]
    key: str
    index: int | None = None


@dataclass(frozen=True)
class Node:
    """The options of one block node, wherever they stand. ``where`` is empty for the arguments of blockdev-add."""

    where: str
    options: dict[str, t.Any]
    parent: Node | None


@dataclass(frozen=True)
class Walk:
    leaves: list[Leaf]
    nodes: list[Node]
    #: Of a transaction: where, the command that the action is, its arguments. ``abort`` is no command.
    actions: list[tuple[str, str, dict[str, t.Any]]]
    #: The first thing that does not fit the schema, in words; then the lists may be short.
    problem: str | None


def walk(schema: Schema, command: str, arguments: t.Any) -> Walk:
    """Look at all of one request. Never raises, whatever JSON the caller sent."""
    walker = _Walker(schema)
    if command not in schema.commands:
        walker.wrong(mismatch.unknown_command(command, schema.commands))
    elif not isinstance(arguments, dict):
        walker.wrong(mismatch.mistyped("", "an object", arguments))
    else:
        place = _Place("", leaves.root_of(command), "", (), "", None, None)
        walker.object(schema.arguments(command), arguments, place, 0)
        if command in UNTYPED:
            walker.properties(schema.arguments(command), arguments)
    return walker.done()


class _Place(t.NamedTuple):
    """Where the walk is; the members of Leaf and Node."""

    where: str
    root: str
    path: str
    holders: tuple[dict[str, t.Any], ...]
    key: str
    item: int | None
    node: Node | None


class _Walker:
    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._leaves: list[Leaf] = []
        self._nodes: list[Node] = []
        self._actions: list[tuple[str, str, dict[str, t.Any]]] = []
        self._problem: str | None = None

    def done(self) -> Walk:
        return Walk(self._leaves, self._nodes, self._actions, self._problem)

    def wrong(self, problem: str) -> None:
        """Remember the first problem only: the others often follow from it."""
        if self._problem is None:
            self._problem = problem

    def leaf(self, place: _Place, value: t.Any, kind: str | None) -> None:
        if len(self._leaves) >= MAX_LEAVES:
            self.wrong(f"the request holds more than {MAX_LEAVES} strings")
            return
        where, root, path, holders, key, index, _node = place
        self._leaves.append(Leaf(where, root, path, kind, value, holders, key, index))

    def value(self, ref: str, value: t.Any, place: _Place, depth: int) -> None:
        """Look at one value of the type ``ref``."""
        if self._problem is not None:
            return  # it is refused whatever follows; a sentence for each of a million mistakes would cost the host
        kind = self._schema.type(ref)
        if isinstance(kind, Alternate):
            self._alternate(kind, value, place, depth)
        elif isinstance(kind, str):
            if not mismatch.fits(kind, value):
                self.wrong(mismatch.mistyped(place.where, kind, value))
            elif kind in ("str", "any"):
                self.leaf(place, value, leaves.kind_of(place.root, place.path))
        elif isinstance(kind, Enum):
            if not isinstance(value, str):
                self.wrong(mismatch.mistyped(place.where, "str", value))
            elif value not in kind.values:
                self.wrong(mismatch.no_such_value(place.where, value, kind.values))
        elif depth >= MAX_DEPTH:
            self.wrong(f"{mismatch.dotted(place.where)} is nested deeper than {MAX_DEPTH} levels")
        elif isinstance(kind, Array):
            self._array(kind, value, place, depth + 1)
        elif isinstance(value, dict):
            self.object(ref, value, place, depth + 1)
        else:
            self.wrong(mismatch.mistyped(place.where, "an object", value))

    def _array(self, kind: Array, value: t.Any, place: _Place, depth: int) -> None:
        if not isinstance(value, list):
            self.wrong(mismatch.mistyped(place.where, "a list", value))
            return
        where, root, path, holders, key, _index, node = place
        for index, item in enumerate(value):
            inner = _Place(f"{where}[{index}]", root, f"{path}[]", holders, key, index, node)
            self.value(kind.item, item, inner, depth)

    def _alternate(self, kind: Alternate, value: t.Any, place: _Place, depth: int) -> None:
        """QEMU chooses by the kind of JSON value alone, and so do we."""
        for ref in kind.refs:
            if mismatch.chosen(self._schema.type(ref), value):
                self.value(ref, value, place, depth)
                return
        wanted = [mismatch.expected(self._schema.type(ref)) for ref in kind.refs]
        self.wrong(mismatch.mistyped(place.where, " or ".join(wanted), value))

    def object(self, ref: str, value: dict[str, t.Any], place: _Place, depth: int) -> None:
        """Look at an object: first at its names, then at what they hold."""
        place = self._restarted(ref, value, place)
        parts, clear = self._parts(ref, value, place.path)
        if clear and (place.holders or place.root not in UNTYPED):
            for name in value:
                if not any(name in kind.members for kind, _path in parts):
                    known = [member for kind, _path in parts for member in kind.members]
                    self.wrong(mismatch.unknown(place.where, name, known, value))
                    return
        holders = (*place.holders, value)
        before = f"{place.where}." if place.where else ""
        for kind, _path in parts:
            for name in kind.required:
                if name not in value:
                    self.wrong(mismatch.missing(place.where, name))
        for name, item in value.items():
            for kind, path in parts:
                if name in kind.members:
                    inner = _Place(before + name, place.root, path + name, holders, name, None, place.node)
                    self.value(kind.members[name], item, inner, depth)
                    break

    def _restarted(self, ref: str, value: dict[str, t.Any], place: _Place) -> _Place:
        """The place where the data goes on: in a definition of its own for a block node and for an action."""
        if ref == self._schema.node:
            node = Node(place.where, value, place.node)
            self._nodes.append(node)
            return place._replace(root=leaves.root_of("blockdev-add"), path="", node=node)
        if place.root == "transaction" and place.path.startswith("actions[]{") and place.path.endswith("}.data"):
            action = place.path[len("actions[]{") : -len("}.data")]
            if action != "abort":
                self._actions.append((place.where.rpartition(".")[0], action, value))
            return place._replace(root=leaves.root_of(action), path="")
        return place._replace(path=leaves.again(place.root, place.path))

    def _parts(self, ref: str, value: dict[str, t.Any], path: str) -> tuple[list[tuple[Object, str]], bool]:
        """The types that together say what an object holds: its own, and that of each branch that it chooses.

        With each what stands before its members' paths. False if a branch is not chosen, or not clearly.
        """
        parts: list[tuple[Object, str]] = []
        while True:
            kind = t.cast(Object, self._schema.type(ref))
            parts.append((kind, f"{path}." if path else ""))
            if kind.tag is None:
                return parts, True
            case = value.get(kind.tag)
            following = kind.cases.get(case) if isinstance(case, str) else None
            if following is None:
                return parts, False
            path += f"{{{case}}}"
            ref = following

    def properties(self, ref: str, arguments: dict[str, t.Any]) -> None:
        """The members of device_add that the schema does not list: any scalar, of whatever name."""
        known = t.cast(Object, self._schema.type(ref)).members
        for name, value in arguments.items():
            if name in known:
                continue
            where = mismatch.name_shown(name)
            kind = devices.kind_of_property(name)
            if kind is not None and kind.startswith("path-") and not isinstance(value, str):
                # QEMU would take the file of that name: `pcap: 5` writes one named 5.
                self.wrong(mismatch.mistyped(where, "str", value))
            elif value is None or isinstance(value, (dict, list)):
                self.wrong(mismatch.mistyped(where, "a string, a number or a boolean", value))
            else:
                self.leaf(_Place(where, "device_add", where, (arguments,), name, None, None), value, kind)
