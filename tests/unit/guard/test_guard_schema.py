# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""QEMU's schema in its compact form: nothing of the arguments is lost, and the form survives a cache."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.nearest import nearest
from ansible_collections.maqet.qemu.plugins.module_utils.guard.schema import Alternate, Array, Enum, Object, Schema
from ansible_collections.maqet.qemu.tests.unit.guard.schemas import VERSIONS, commands, raw, schema


@pytest.mark.parametrize("version", VERSIONS)
def test_every_type_that_a_command_reaches_is_there_in_full(version: str) -> None:
    types, compact = raw(version), schema(version)
    seen: set[tuple[str, str]] = set()

    def compare(name: str, ref: str) -> None:
        if (name, ref) in seen:
            return
        seen.add((name, ref))
        entry, found = types[name], compact.type(ref)
        kind = entry["meta-type"]
        if kind == "builtin":
            assert found == name
        elif kind == "enum":
            assert found == Enum(tuple(entry["values"]))
        elif kind == "array":
            assert isinstance(found, Array)
            compare(entry["element-type"], found.item)
        elif kind == "alternate":
            assert isinstance(found, Alternate)
            for member, inner in zip(entry["members"], found.refs):
                compare(member["type"], inner)
        else:
            assert isinstance(found, Object)
            assert list(found.members) == [member["name"] for member in entry["members"]]
            assert list(found.required) == [m["name"] for m in entry["members"] if "default" not in m]
            assert found.tag == entry.get("tag")
            assert list(found.cases) == [variant["case"] for variant in entry.get("variants", [])]
            for member in entry["members"]:
                compare(member["type"], found.members[member["name"]])
            for variant in entry.get("variants", []):
                compare(variant["type"], found.cases[variant["case"]])

    assert compact.commands == set(commands(version))
    for command in compact.commands:
        compare(types[command]["arg-type"], compact.arguments(command))
    assert len({name for name, _ref in seen}) > 300


@pytest.mark.parametrize("version", VERSIONS)
def test_it_survives_a_cache(version: str) -> None:
    first = schema(version)
    text = json.dumps(first.to_json())
    again = Schema.from_json(json.loads(text))
    assert again is not None
    assert again.to_json() == first.to_json()
    assert again.commands == first.commands
    assert again.node == first.node
    assert len(text) < 45_000


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        "text",
        {"format": 1},
        {"format": 1, "commands": None, "types": ""},
        {"format": 1, "commands": "no-colons", "types": ""},
        {"format": 0, "commands": "", "types": ""},
    ],
)
def test_something_else_is_no_schema(value: t.Any) -> None:
    assert Schema.from_json(value) is None


def test_flags() -> None:
    new = schema("11.1")
    assert new.unstable("x-query-irq")
    assert new.unstable("set-cpu-topology")
    assert not new.unstable("query-status")
    assert not new.unstable("no-such-command")
    assert {command for command in new.commands if new.oob(command)} >= {"migrate-recover", "migrate-pause", "yank"}
    assert not new.oob("migrate")


@pytest.mark.parametrize(
    "answer",
    [
        None,
        3,
        [],
        [1],
        [{}],
        [{"name": "a", "meta-type": "event"}],
        [{"name": "a", "meta-type": "command", "arg-type": "b"}],
        [{"name": "a", "meta-type": "command", "arg-type": "b"}, {"name": "b", "meta-type": "surprise"}],
        [{"name": "a b", "meta-type": "command", "arg-type": "str"}, {"name": "str", "meta-type": "builtin"}],
        [{"name": "a", "meta-type": "command", "arg-type": "complex"}, {"name": "complex", "meta-type": "builtin"}],
        [
            {"name": "a", "meta-type": "command", "arg-type": "b"},
            {"name": "b", "meta-type": "array", "element-type": "b"},
        ],
    ],
)
def test_an_answer_that_is_no_schema_is_an_error_in_words(answer: t.Any) -> None:
    with pytest.raises(MaqetError, match="query-qmp-schema") as caught:
        Schema.of(answer)
    assert caught.value.error_code == "qmp_error"


def test_a_qemu_whose_enumerations_have_members_only() -> None:
    entries: list[dict[str, t.Any]] = [
        {"name": "a", "meta-type": "command", "arg-type": "0", "allow-oob": True, "features": ["unstable"]},
        {"name": "0", "meta-type": "object", "members": [{"name": "mode", "type": "1"}]},
        {"name": "1", "meta-type": "enum", "members": [{"name": "on"}, {"name": "off", "features": []}]},
    ]
    found = Schema.of(entries)
    modes = t.cast(Object, found.type(found.arguments("a"))).members["mode"]
    assert found.type(modes) == Enum(("on", "off"))
    assert found.unstable("a")
    assert found.oob("a")
    assert found.node is None


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("fielname", "filename"),
        ("file-name", "filename"),
        ("FILENAME", "filename"),
        ("file_mane", "filename"),
        ("node_name", "node-name"),
        ("filname", "filename"),
        ("quit", None),
        ("", None),
        ("f", None),
        ("filename" * 9, None),
        (3, None),
    ],
)
def test_nearest(word: object, expected: str | None) -> None:
    assert nearest(word, ["filename", "node-name", "device"]) == expected
