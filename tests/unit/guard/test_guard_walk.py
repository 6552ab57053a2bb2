# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The walk over a request: it sees every string, says where each stands, and finds what QEMU would refuse."""

from __future__ import annotations

import copy
import time
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard import walk as walks
from ansible_collections.maqet.qemu.plugins.module_utils.guard.walk import MAX_LEAVES, Leaf, Walk
from ansible_collections.maqet.qemu.tests.unit.guard.schemas import VERSIONS, Request, requests, schema, spoilt
from hypothesis import given
from hypothesis import strategies as st

NEW = "11.1"


def walk(command: str, arguments: t.Any, version: str = NEW) -> Walk:
    return walks.walk(schema(version), command, arguments)


def seen(found: Walk) -> list[tuple[str, str, str, str | None]]:
    return [(leaf.where, leaf.root, leaf.path, leaf.kind) for leaf in found.leaves]


def lies_there(leaf: Leaf) -> bool:
    """Whether a leaf names the very place of its value, so that a rule can put another there."""
    holder = leaf.holders[-1][leaf.key]
    return bool((holder if leaf.index is None else holder[leaf.index]) is leaf.value)


# --- what it sees ----------------------------------------------------------------------------------------------------


def test_plain_arguments() -> None:
    found = walk("screendump", {"filename": "/tmp/x", "device": "video0", "format": "png", "head": 1})
    assert found.problem is None
    assert seen(found) == [
        ("filename", "screendump", "filename", "path-write"),
        ("device", "screendump", "device", "ident"),
    ]
    assert found.nodes == []
    assert found.actions == []


def test_nodes_in_nodes() -> None:
    inner = {"driver": "file", "filename": "/b"}
    backing = {"driver": "raw", "file": inner}
    arguments = {
        "driver": "qcow2",
        "node-name": "top",
        "file": {"driver": "nbd", "server": {"type": "unix", "path": "/s"}},
        "backing": backing,
    }
    found = walk("blockdev-add", arguments)
    assert found.problem is None
    assert seen(found) == [
        ("node-name", "BlockdevOptions", "node-name", "ident"),
        ("file.server.path", "BlockdevOptions", "{nbd}.server{unix}.path", "path-connect"),
        ("backing.file.filename", "BlockdevOptions", "{file}.filename", "path-rw"),
    ]
    assert [node.where for node in found.nodes] == ["", "file", "backing", "backing.file"]
    assert found.nodes[3].options is inner
    assert found.nodes[3].parent is found.nodes[2]
    assert found.nodes[2].parent is found.nodes[0]
    assert found.nodes[0].parent is None
    assert found.leaves[2].holders == (arguments, backing, inner)
    assert all(lies_there(leaf) for leaf in found.leaves)


def test_a_node_may_be_named_or_null_instead() -> None:
    found = walk("blockdev-add", {"driver": "qcow2", "file": "below", "backing": None})
    assert found.problem is None
    assert seen(found) == [("file", "BlockdevOptions", "{qcow2}.file", "node-ref")]


def test_nodes_in_lists() -> None:
    arguments = {"options": [{"driver": "quorum", "vote-threshold": 1, "children": ["a", {"driver": "null-co"}]}]}
    found = walk("blockdev-reopen", arguments)
    assert found.problem is None
    assert seen(found) == [("options[0].children[0]", "BlockdevOptions", "{quorum}.children[]", "node-ref")]
    assert [node.where for node in found.nodes] == ["options[0]", "options[0].children[1]"]
    assert (found.leaves[0].key, found.leaves[0].index) == ("children", 0)
    assert lies_there(found.leaves[0])


def test_nodes_that_an_image_is_made_in() -> None:
    arguments = {
        "job-id": "j",
        "options": {"driver": "qcow2", "size": 1, "file": {"driver": "file", "filename": "/f"}, "backing-file": "/b"},
    }
    found = walk("blockdev-create", arguments)
    assert found.problem is None
    assert ("options.file.filename", "BlockdevOptions", "{file}.filename", "path-rw") in seen(found)
    assert (
        "options.backing-file",
        "BlockdevCreateOptions",
        "options{qcow2}.backing-file",
        "blk-filename-stored",
    ) in seen(found)
    assert [(node.where, node.parent) for node in found.nodes] == [("options.file", None)]


def test_a_type_that_holds_itself() -> None:
    layer: dict[str, t.Any] = {"format": "luks", "key-secret": "inner"}
    for number in range(5):
        layer = {"format": "luks2", "key-secret": f"s{number}", "parent": layer}
    found = walk("blockdev-add", {"driver": "rbd", "pool": "p", "image": "i", "encrypt": layer})
    assert found.problem is None
    secrets = [leaf for leaf in found.leaves if leaf.kind == "secret-ref"]
    assert len(secrets) == 6
    assert secrets[-1].where == "encrypt.parent.parent.parent.parent.parent.key-secret"
    assert secrets[-1].path == "{rbd}.encrypt{luks}.key-secret"


def test_actions_are_walked_as_commands() -> None:
    data = {"device": "d", "snapshot-file": "/s"}
    arguments = {"actions": [{"type": "abort", "data": {}}, {"type": "blockdev-snapshot-sync", "data": data}]}
    found = walk("transaction", arguments)
    assert found.problem is None
    assert found.actions == [("actions[1]", "blockdev-snapshot-sync", data)]
    assert ("actions[1].data.snapshot-file", "blockdev-snapshot-sync", "snapshot-file", "blk-filename-write") in seen(
        found
    )
    assert all(lies_there(leaf) for leaf in found.leaves)


def test_lists_of_unions_and_of_strings() -> None:
    channel = {"channel-type": "main", "addr": {"transport": "exec", "args": ["/bin/sh", "-c", "id"]}}
    found = walk("migrate", {"channels": [channel]})
    assert found.problem is None
    assert {leaf.kind for leaf in found.leaves} == {"exec"}
    assert [leaf.where for leaf in found.leaves] == [f"channels[0].addr.args[{number}]" for number in range(3)]
    assert [leaf.index for leaf in found.leaves] == [0, 1, 2]
    assert all(lies_there(leaf) for leaf in found.leaves)


def test_a_union_in_a_branch_of_a_union() -> None:
    address = {"transport": "socket", "type": "inet", "host": "h", "port": "1"}
    found = walk("migrate-incoming", {"channels": [{"channel-type": "main", "addr": address}]})
    assert found.problem is None
    assert [leaf.path for leaf in found.leaves] == [
        "channels[].addr{socket}{inet}.host",
        "channels[].addr{socket}{inet}.port",
    ]


def test_a_free_value_is_a_leaf_whatever_it_is() -> None:
    value = {"any": ["thing"]}
    found = walk("qom-set", {"path": "/p", "property": "q", "value": value})
    assert found.problem is None
    assert found.leaves[-1].value is value
    assert found.leaves[-1].kind == "qom-value"


def test_properties_of_devices() -> None:
    arguments = {"driver": "usb-kbd", "id": "k", "pcap": "/p", "serial": "1", "realized": True, "port": 3, "a\nb": "c"}
    found = walk("device_add", arguments)
    assert found.problem is None
    assert [(leaf.where, leaf.kind) for leaf in found.leaves] == [
        ("driver", "ident"),
        ("id", "ident"),
        ("pcap", "path-write"),
        ("serial", "ident"),
        ("realized", None),
        ("port", "ident"),
        (r"'a\nb'", None),
    ]
    assert {leaf.root for leaf in found.leaves} == {"device_add"}
    assert all(lies_there(leaf) for leaf in found.leaves)


@given(st.data())
@pytest.mark.parametrize("version", VERSIONS)
def test_no_string_of_a_valid_request_is_missed(version: str, data: st.DataObject) -> None:
    request: Request = data.draw(requests(version))
    found = walk(request.command, request.arguments, version)
    assert found.problem is None
    assert len(found.leaves) == len(request.strings) + request.frees
    assert {leaf.value for leaf in found.leaves if isinstance(leaf.value, str)} >= set(request.strings)
    assert [seen(found)[number] for number, leaf in enumerate(found.leaves) if leaf.kind is None] == []
    assert all(lies_there(leaf) for leaf in found.leaves)


@given(st.data())
@pytest.mark.parametrize("command", ["blockdev-add", "blockdev-create", "blockdev-reopen", "transaction", "migrate"])
def test_nothing_in_a_tree_is_missed(command: str, data: st.DataObject) -> None:
    request: Request = data.draw(requests(NEW, command))
    found = walk(command, request.arguments)
    assert found.problem is None
    assert sorted(leaf.value for leaf in found.leaves) == sorted(request.strings)


# --- what does not fit -----------------------------------------------------------------------------------------------


@given(st.data())
@pytest.mark.parametrize("version", VERSIONS)
def test_one_thing_wrong_is_found(version: str, data: st.DataObject) -> None:
    command, arguments, what = data.draw(spoilt(version))
    before = copy.deepcopy(arguments)
    assert walk(command, arguments, version).problem is not None, what
    assert arguments == before


@pytest.mark.parametrize(
    ("command", "arguments", "problem"),
    [
        ("screendumb", {}, "this QEMU has no command screendumb. Did you mean screendump?"),
        ("no\nsuch", {}, r"this QEMU has no command 'no\nsuch'"),
        ("stop", [], "arguments must be an object, not a list"),
        ("stop", None, "arguments must be an object, not null"),
        ("stop", {"force": True}, "arguments.force is unknown (none is known)"),
        ("screendump", {}, "arguments.filename is missing"),
        ("screendump", {"fielname": "x"}, "arguments.fielname is unknown. Did you mean filename?"),
        ("screendump", {"filename": "x", "filenam": "y"}, "is unknown (known: device, filename, format, head)"),
        ("screendump", {"filename": 3}, "arguments.filename must be a string, not an integer"),
        ("screendump", {"filename": "x", "format": "pgn"}, "arguments.format cannot be 'pgn'. Did you mean png?"),
        ("screendump", {"filename": "x", "format": "q"}, "is not one of the known values (known: png, ppm)"),
        ("block_resize", {"size": "1G"}, "arguments.size must be an integer, not a string"),
        ("block_resize", {"size": True}, "arguments.size must be an integer, not true"),
        ("block_resize", {"size": 1.5}, "arguments.size must be an integer, not a fraction"),
        ("block_resize", {"size": 2**64}, "arguments.size must be an integer, not one that has more than 64 bits"),
        ("block_resize", {"size": None}, "arguments.size must be an integer, not null"),
        ("set_link", {"name": "n", "up": "on"}, "arguments.up must be true or false, not a string"),
        ("snapshot-save", {"job-id": "j", "tag": "t", "vmstate": "v", "devices": "d"}, "must be a list, not a string"),
        (
            "snapshot-save",
            {"job-id": "j", "tag": "t", "vmstate": "v", "devices": ["d", 1]},
            "arguments.devices[1] must be a string, not an integer",
        ),
        ("blockdev-add", {}, "arguments.driver is missing"),
        ("blockdev-add", {"driver": "qcow22"}, "arguments.driver cannot be 'qcow22'. Did you mean qcow2?"),
        # The branch is not known, so what belongs to it is not blamed.
        ("blockdev-add", {"driver": "flie", "filename": "x"}, "cannot be 'flie'. Did you mean file?"),
        ("blockdev-add", {"driver": ["file"]}, "arguments.driver must be a string, not a list"),
        ("blockdev-add", {"driver": "raw"}, "arguments.file is missing"),
        ("blockdev-add", {"driver": "raw", "file": None}, "arguments.file must be an object or a string, not null"),
        ("blockdev-add", {"driver": "raw", "file": {"driver": "file"}}, "arguments.file must have filename"),
        ("blockdev-add", {"driver": "raw", "file.filename": "x"}, "arguments.file.filename is unknown"),
        (
            "blockdev-add",
            {"driver": "raw", "file": {"driver": "file", "filename": "x", "filname": "y"}},
            "arguments.file.filname is unknown",
        ),
        ("blockdev-add", {"driver": "file", "filename": "x", "backing": None}, "arguments.backing is unknown"),
        (
            "nbd-server-start",
            {"addr": {"type": "inet", "data": {"host": "h", "port": 10809}}},
            "arguments.addr.data.port must be a string, not an integer",
        ),
        ("nbd-server-start", {"addr": {"type": "inet", "host": "h"}}, "arguments.addr.host is unknown"),
        ("transaction", {"actions": [{"type": "abort"}]}, "arguments.actions[0] must have data"),
        ("transaction", {"actions": [{"type": "abort", "data": {"x": 1}}]}, "arguments.actions[0].data.x is unknown"),
        ("transaction", {"actions": [{"type": "quit", "data": {}}]}, "arguments.actions[0].type is not one of"),
        ("device_add", {"id": "x"}, "arguments.driver is missing"),
        ("device_add", {"driver": 3}, "arguments.driver must be a string, not an integer"),
        ("device_add", {"driver": "x", "addr": None}, "must be a string, a number or a boolean, not null"),
        ("device_add", {"driver": "x", "addr": [1]}, "must be a string, a number or a boolean, not a list"),
        ("device_add", {"driver": "usb-kbd", "pcap": 5}, "arguments.pcap must be a string, not an integer"),
    ],
)
def test_sentences(command: str, arguments: t.Any, problem: str) -> None:
    found = walk(command, arguments).problem
    assert found is not None
    assert problem in found


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("set_password", {"protocol": "vnc", "password": ["hunter2"]}),
        ("set_password", {"protocol": "hunter2", "password": "x"}),
        ("set_password", {"protocol": "vnc", "password": "x", "display": {"hunter2": 1}}),
        ("set_password", {"protocol": 2, "password": "hunter2"}),
    ],
)
def test_no_value_is_repeated(command: str, arguments: t.Any) -> None:
    problem = walk(command, arguments).problem
    assert problem is not None
    assert "hunter2" not in problem


@pytest.mark.parametrize("value", [0, -(2**63), 2**64 - 1])
def test_integers_of_64_bits_fit(value: int) -> None:
    assert walk("block_resize", {"node-name": "n", "size": value}).problem is None


# --- what nobody would send ------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(),
        st.text(alphabet="\ud800a\0."),
        st.sampled_from(["file", "qcow2", "raw", "unix", "abort", "blockdev-add"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(st.text(), st.sampled_from(["driver", "file", "type", "data", "actions", "options", "addr"])),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=20,
)


@given(st.one_of(st.text(), st.sampled_from(sorted(schema(NEW).commands))), JSON)
def test_no_json_raises(command: str, arguments: t.Any) -> None:
    found = walk(command, arguments)
    assert found.problem is None or found.problem.isascii()


@given(st.sampled_from(["blockdev-add", "blockdev-create", "transaction", "object-add", "device_add", "migrate"]), JSON)
def test_no_json_in_a_tree_raises(command: str, value: t.Any) -> None:
    for name in ("driver", "file", "options", "actions", "qom-type", "channels", "addr"):
        walk(command, {"driver": "raw", name: value})


def nested(levels: int) -> dict[str, t.Any]:
    options: dict[str, t.Any] = {"driver": "file", "filename": "x"}
    for _level in range(levels):
        options = {"driver": "raw", "file": options}
    return options


def test_depth_is_bounded() -> None:
    assert walk("blockdev-add", nested(90)).problem is None
    found = walk("blockdev-add", nested(5000))
    assert found.problem is not None
    assert found.problem.endswith("is nested deeper than 100 levels")
    deep: t.Any = []
    for _level in range(5000):
        deep = [deep]
    assert walk("snapshot-save", {"devices": deep}).problem is not None


def test_a_million_mistakes_cost_as_much_as_one() -> None:
    many = {f"nod{number}": 1 for number in range(100_000)}
    started = time.process_time()
    assert walk("blockdev-add", {"driver": "null-co", **many}).problem is not None
    assert walk("migrate-set-capabilities", {"capabilities": [{"capability": "xbzr", "state": 1}] * 100_000}).problem
    # A small part of a second; with a sentence for each mistake it would be far more.
    assert time.process_time() - started < 5


def test_size_is_bounded() -> None:
    found = walk("migrate-set-parameters", {"cpr-exec-command": ["x"] * (MAX_LEAVES + 5)})
    assert found.problem == f"the request holds more than {MAX_LEAVES} strings"
    assert len(found.leaves) == MAX_LEAVES
