# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""No command and no string of two real schemas is without a class or a kind."""

from __future__ import annotations

import copy
import re
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard import leaves
from ansible_collections.maqet.qemu.plugins.module_utils.guard.commands import CLASS_OF
from ansible_collections.maqet.qemu.tests.unit.guard.schemas import VERSIONS, Entry, classified, raw, string_leaves

ACTION = re.compile(r"actions\[\]\{(?P<name>[a-z-]+)\}\.data\.(?P<path>.+)")


def kind(command: str, path: str) -> str | None:
    """The kind of a leaf, found in the data alone: also inside an action, and inside a node that a node holds."""
    action = ACTION.fullmatch(path)
    if command == "transaction" and action:
        return kind(action["name"], action["path"])
    if command == "blockdev-reopen" and path.startswith("options[]"):
        return leaves.kind_of("BlockdevOptions", path[len("options[]") :].lstrip("."))
    found = leaves.kind_of(command, path)
    if found is not None:
        return found
    for length in range(len(path)):
        if path[length] in ".{" and leaves.kind_of(command, path[:length]) == "node-ref":
            return kind("BlockdevOptions", path[length:].lstrip("."))
    return None


def unclassified(types: dict[str, Entry]) -> list[str]:
    """What of a schema nobody has classified."""
    names = [name for name, entry in types.items() if entry["meta-type"] == "command"]
    missing = [name for name in names if name not in CLASS_OF]
    missing += [f"{name} {path}" for name in names for path in string_leaves(types, name) if kind(name, path) is None]
    return sorted(set(missing))


@pytest.mark.parametrize("version", VERSIONS)
def test_all_of_a_schema_is_classified(version: str) -> None:
    assert unclassified(raw(version)) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_the_enumeration_sees_something(version: str) -> None:
    found = [path for name in ("blockdev-create", "migrate", "qom-set") for path in string_leaves(raw(version), name)]
    assert "options{luks}.file{qcow2}.backing" in found
    assert "value" in found
    assert ("channels[].addr{exec}.args[]" in found) == (version == "11.1")


def test_what_a_later_qemu_adds_is_found_missing() -> None:
    types: dict[str, t.Any] = copy.deepcopy(raw("7.2"))
    types["x-new-command"] = {"name": "x-new-command", "meta-type": "command", "arg-type": "new"}
    types["new"] = {"name": "new", "meta-type": "object", "members": [{"name": "path", "type": "str"}]}
    nodes = types[types["blockdev-add"]["arg-type"]]
    nodes["variants"].append({"case": "new-driver", "type": "new"})
    found = unclassified(types)
    assert "x-new-command" in found
    assert "x-new-command path" in found
    assert "blockdev-add {new-driver}.path" in found
    assert "blockdev-create options{luks}.file{new-driver}.path" in found


def test_the_kinds_are_those_of_the_classification() -> None:
    assert [(c, p, k, kind(c, p)) for c, p, k in classified() if kind(c, p) != k] == []


def test_nothing_is_listed_that_neither_schema_has() -> None:
    known = {(leaves.root_of(command), path) for version in VERSIONS for command, path in _all(version)}
    listed = {(root, path) for root in leaves.roots() for path in leaves.kinds_of(root)}
    # The classification also lists where a type holds itself, though no string can stand there.
    assert sorted(leaf for leaf in listed - known if leaves.again(*leaf) == leaf[1]) == []


def _all(version: str) -> t.Iterator[tuple[str, str]]:
    for name, entry in raw(version).items():
        if entry["meta-type"] == "command":
            for path in string_leaves(raw(version), name):
                yield name, path


@pytest.mark.parametrize(
    ("root", "path", "expected"),
    [
        ("screendump", "filename", "path-write"),
        ("screendump", "device", "ident"),
        ("screendump", "Filename", None),
        ("screendump", "", None),
        ("no-such-command", "filename", None),
        ("chardev-change", "backend{null}.data.logfile", "path-write"),
        ("ChardevAdd", "backend{socket}.data.addr{unix}.data.path", "path-listen"),
        ("nbd-server-start", "addr{inet}.data.port", "net-listen"),
        ("migrate", "channels[].addr{socket}{unix}.path", "path-connect"),
        ("migrate-incoming", "channels[].addr{socket}{unix}.path", "path-listen"),
        ("blockdev-add", "{vhdx}.file", "node-ref"),
        ("blockdev-create", "options{vhdx}.file", "node-ref"),
        ("object-add", "{monitor-qmp}.chardev", "monitor"),
    ],
)
def test_kinds(root: str, path: str, expected: str | None) -> None:
    assert leaves.kind_of(root, path) == expected


def test_names_that_callers_make_up_are_not_kept() -> None:
    before = len(leaves._kinds)
    assert leaves.kinds_of("no-such-command-either") == {}
    assert len(leaves._kinds) == before
