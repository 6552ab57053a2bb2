# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import json
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard.redact import (
    MAX_ERROR,
    redact,
    redact_error,
    redact_reply,
    scrub,
    secrets,
)
from hypothesis import given
from hypothesis import strategies as st

S = "hunter2-hunter2"  # 15 characters


def gone(length: int = len(S)) -> dict[str, t.Any]:
    return {"redacted": True, "len": length}


WHOLE = [
    # command, arguments, where
    ("set_password", {"protocol": "vnc", "password": S}, ["password"]),
    ("change-vnc-password", {"password": S}, ["password"]),
    ("block_passwd", {"device": "d", "password": S}, ["password"]),
    ("change", {"device": "vnc", "target": "password", "arg": S}, ["arg"]),
    ("sev-inject-launch-secret", {"secret": S, "packet-header": S}, ["secret", "packet-header"]),
    ("object-add", {"qom-type": "secret", "id": "s0", "data": S, "format": "raw"}, ["data"]),
    ("object-add", {"qom-type": "secret", "id": "s0", "props": {"data": S}}, ["props.data"]),
    ("object-add", {"qom-type": "brand-new", "id": "n", "x": S, "y": {"z": [S, 7]}}, ["x", "y.z[0]"]),
    ("object-add", {"id": "n", "x": S}, ["x"]),
    ("object-add", {"qom-type": ["secret"], "id": "n", "data": S}, ["data"]),
    ("device_add", {"driver": "isa-applesmc", "osk": S}, ["osk"]),
    ("device_add", {"driver": "emmc", "auth-key": S}, ["auth-key"]),
    ("device_add", {"driver": "vfio-pci", "vf-token": S}, ["vf-token"]),
    ("blockdev-add", {"driver": "https", "url": "https://h/x", "cookie": S}, ["cookie"]),
    ("blockdev-add", {"driver": "qcow2", "file": {"driver": "https", "cookie": S}}, ["file.cookie"]),
    ("blockdev-reopen", {"options": [{"driver": "raw", "file": {"cookie": S}}]}, ["options[0].file.cookie"]),
    ("blockdev-create", {"job-id": "j", "options": {"file": {"cookie": S}}}, ["options.file.cookie"]),
    ("migrate-set-parameters", {"cpr-exec-command": ["/bin/qemu", S]}, ["cpr-exec-command[0]", "cpr-exec-command[1]"]),
    ("migrate", {"channels": [{"addr": {"transport": "exec", "args": [S]}}]}, ["channels[0].addr.args[0]"]),
    ("migrate-incoming", {"channels": [{"addr": {"args": [S]}}]}, ["channels[0].addr.args[0]"]),
    ("netdev_add", {"type": "user", "id": "n", "guestfwd": [{"str": S}]}, ["guestfwd[0].str"]),
    ("netdev_add", {"type": "bridge", "id": "n", "helper": S}, ["helper"]),
    ("netdev_add", {"type": "passt", "id": "n", "param": [{"str": S}]}, ["param[0].str"]),
    ("qom-set", {"path": "/objects/s0", "property": "data", "value": S}, ["value"]),
    ("qom-set", {"path": "/objects/s0", "property": "data", "value": {"deep": [S]}}, ["value"]),
    ("ringbuf-write", {"device": "c0", "data": S}, ["data"]),
    ("inject-ghes-v2-error", {"cper": S}, ["cper"]),
    ("query-status", {"password": S}, ["password"]),
    ("set_pasword", {"protocol": "vnc", "password": S, "other": [S]}, ["protocol", "password", "other[0]"]),
    ("x\n", {"a": {"b": S}}, ["a.b"]),
    ("transaction", {"actions": [{"type": "qom-set", "data": {"value": S}}]}, ["actions[0].data.value"]),
    ("transaction", {"actions": [{"type": "blockdev-add", "data": {"cookie": S}}]}, ["actions[0].data.cookie"]),
    ("transaction", {"actions": [{"type": "new-thing", "data": {"a": S}}]}, ["actions[0].data.a"]),
    ("transaction", {"actions": [{"type": "quit", "data": {}, "z": S}]}, ["actions[0].type", "actions[0].z"]),
    ("transaction", {"actions": [S]}, ["actions[0]"]),
    ("transaction", {"actions": S}, ["actions"]),
    (
        "transaction",
        {"actions": [{"type": "transaction", "data": {"actions": [{"type": "qom-set", "data": {"value": S}}]}}]},
        ["actions[0].data.actions[0].type", "actions[0].data.actions[0].data.value"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("command", "arguments", "paths"), WHOLE)
def test_secret_values_go_and_the_path_says_so(command: str, arguments: dict[str, t.Any], paths: list[str]) -> None:
    before = copy.deepcopy(arguments)
    clean, where = redact(command, arguments)
    assert arguments == before, "the caller's own arguments are not touched"
    assert where == paths
    assert S not in json.dumps(clean)
    assert S in secrets(command, arguments)


@pytest.mark.parametrize(
    ("command", "arguments", "clean"),
    [
        ("set_password", {"protocol": "vnc", "password": S}, {"protocol": "vnc", "password": gone()}),
        ("set_password", {"password": ""}, {"password": gone(0)}),
        ("set_password", {"password": None}, {"password": None}),
        ("set_password", {"password": {"a": 1}}, {"password": gone(7)}),
        ("qom-set", {"path": "/m", "property": "p", "value": True}, {"path": "/m", "property": "p", "value": gone(4)}),
        ("send-key", {"keys": [{"type": "qcode", "data": "a"}] * 3, "hold-time": 9}, {"keys": gone(3), "hold-time": 9}),
        ("input-send-event", {"device": "v", "events": [{}, {}]}, {"device": "v", "events": gone(2)}),
        ("human-monitor-command", {"command-line": "info status"}, {"command-line": "info <redacted:6>"}),
        ("human-monitor-command", {"command-line": "quit"}, {"command-line": "quit"}),
        ("human-monitor-command", {"command-line": [S]}, {"command-line": gone(1)}),
        ("migrate", {"uri": "exec:cat > /tmp/x"}, {"uri": "exec:<redacted:12>"}),
        ("migrate-recover", {"uri": " EXEC:id"}, {"uri": " EXEC:<redacted:2>"}),
        ("migrate-incoming", {"uri": "tcp:0:4444"}, {"uri": "tcp:0:4444"}),
        ("drive-mirror", {"target": "json:{...}"}, {"target": "json:<redacted:5>"}),
        ("change-backing-file", {"backing-file": "nbd://u:pw@h/x"}, {"backing-file": "nbd://<redacted:4>@h/x"}),
        ("memsave", {"val": 0, "filename": "mem.bin"}, {"val": 0, "filename": "mem.bin"}),
        ("object-add", {"qom-type": "iothread", "id": "io", "x": "y"}, {"qom-type": "iothread", "id": "io", "x": "y"}),
        ("device_add", {"driver": "virtio-rng-pci", "id": "r"}, {"driver": "virtio-rng-pci", "id": "r"}),
        ("qom-set", "whatever", gone(8)),
        ("query-status", [S], [gone()]),
        ("query-status", {}, {}),
        ("query-status", None, None),
    ],
)
def test_what_is_left(command: str, arguments: t.Any, clean: t.Any) -> None:
    assert redact(command, arguments)[0] == clean


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("https://bob:pw@h/x", "https://<redacted:6>@h/x"),
        ("https://token-token@h/x", "https://<redacted:11>@h/x"),
        ("nbd+unix://a:b@c@d/x", "nbd+unix://<redacted:5>@d/x"),
        ("HTTPS://bob:pw@h", "HTTPS://<redacted:6>@h"),
        ("see http://a:b@h and ftp://c:d@i.", "see http://<redacted:3>@h and ftp://<redacted:3>@i."),
        ("https://h/x?mail=a@b", "https://h/x?mail=a@b"),
        ("https://h/x@2", "https://h/x@2"),
        ("bob@h", "bob@h"),
        ('json:{"file.cookie": "x"}', "json:<redacted:20>"),
        ("could not open 'json:{\n1}'", "could not open 'json:<redacted:5>"),
        ("myjson:x", "myjson:x"),
    ],
)
def test_nets_for_texts(text: str, clean: str) -> None:
    assert scrub(text) == clean
    assert redact("blockdev-change-medium", {"filename": text})[0] == {"filename": clean}
    assert redact("query-status", {"any": [{"thing": text}]})[0] == {"any": [{"thing": clean}]}


@pytest.mark.parametrize(
    ("command", "arguments", "expected"),
    [
        ("set_password", {"password": "x"}, {"x"}),
        ("query-status", {"a": "b"}, set()),
        ("send-key", {"keys": [{"type": "qcode", "data": "a"}]}, set()),
        ("qom-set", {"value": "on"}, set()),
        ("qom-set", {"value": "longer"}, {"longer"}),
        ("human-monitor-command", {"command-line": "info status"}, set()),
        ("human-monitor-command", {"command-line": "change vnc password abc"}, {"vnc password abc", "abc"}),
        ("human-monitor-command", {"command-line": "object_add secret,id=s,data=pw"}, {"secret,id=s,data=pw", "pw"}),
        ("blockdev-add", {"url": "https://root:pw@h"}, {"pw"}),
        ("blockdev-add", {"filename": 'json:{"u":"nfs://a:pw@h"}'}, {"pw", '{"u":"nfs://a:pw@h"}'}),
        ("migrate", {"uri": "exec:cat /x"}, {"cat /x"}),
    ],
)
def test_secrets_for_no_log(command: str, arguments: dict[str, t.Any], expected: set[str]) -> None:
    assert secrets(command, arguments) == expected


@pytest.mark.parametrize(
    ("command", "reply", "clean"),
    [
        ("qom-get", S, gone()),
        ("qom-list-get", [{"a": S}], gone(1)),
        ("ringbuf-read", S, gone()),
        ("human-monitor-command", S, gone()),
        ("query-firmware-log", {"log": S}, gone(25)),
        ("query-migrate-parameters", {"a": 1, "cpr-exec-command": [S]}, {"a": 1, "cpr-exec-command": gone(1)}),
        ("query-sev-launch-measure", {"data": S}, {"data": gone()}),
        ("query-sev-attestation-report", {"data": S}, {"data": gone()}),
        ("query-block", [{"inserted": {"file": "ftp://u:p@h/f"}}], [{"inserted": {"file": "ftp://<redacted:3>@h/f"}}]),
        (
            "query-named-block-nodes",
            [{"image": {"filename": "json:{}"}}],
            [{"image": {"filename": "json:<redacted:2>"}}],
        ),
        ("query-status", {"running": True}, {"running": True}),
        ("query-uuid", {"UUID": "1"}, {"UUID": "1"}),
    ],
)
def test_replies(command: str, reply: t.Any, clean: t.Any) -> None:
    assert redact_reply(command, reply) == clean


@pytest.mark.parametrize(
    ("text", "hidden", "clean"),
    [
        ("plain", [], "plain"),
        (f"bad value {S}", [S], "bad value <redacted>"),
        ("pass passport", ["pass", "passport", ""], "<redacted> <redacted>"),
        ("a\nb\x1b[31m\x00", [], "a b [31m "),
        ("no https://a:b@h", [], "no https://<redacted:3>@h"),
    ],
)
def test_errors(text: str, hidden: list[str], clean: str) -> None:
    assert redact_error(text, hidden) == clean


@given(st.text(max_size=3000), st.sets(st.text(min_size=1, max_size=8), max_size=3))
def test_errors_are_capped_and_printable(text: str, hidden: set[str]) -> None:
    clean = redact_error(text, hidden)
    assert len(clean.encode("utf-8")) <= MAX_ERROR
    assert clean.isprintable() or not clean


def test_a_secret_at_the_cap_is_removed_before_the_text_is_cut() -> None:
    clean = redact_error("x" * (MAX_ERROR - 5) + S, [S])
    assert "hunter" not in clean and clean.endswith("...")


def test_nesting_without_end_is_cut_not_followed() -> None:
    deep: t.Any = S
    for _level in range(50_000):
        deep = [deep]
    for command in ("blockdev-add", "qom-set", "no-such", "object-add", "transaction"):
        clean, paths = redact(command, {"value": deep})
        assert paths and clean is not None
    secrets("qom-set", {"value": deep})


@given(
    st.sampled_from(["set_password", "object-add", "blockdev-add", "transaction", "no-such", "qom-set"]),
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5) | st.just(S),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["password", "cookie", "data", "actions", "type", "value"]), inner, max_size=3
            )
        ),
        max_leaves=8,
    ),
)
def test_any_shape_is_swept_without_an_error(command: str, arguments: t.Any) -> None:
    clean, paths = redact(command, arguments)
    json.dumps(clean)
    assert all(isinstance(path, str) for path in paths)
    if command == "no-such":
        assert S not in json.dumps(clean)


@given(st.lists(st.sampled_from(["file", "backing", "x"]), max_size=6))
def test_a_cookie_is_found_at_any_depth(path: list[str]) -> None:
    options: dict[str, t.Any] = {"driver": "https", "cookie": S}
    for key in path:
        options = {"driver": "raw", key: [options] if key == "x" else options}
    assert S not in json.dumps(redact("blockdev-add", options)[0])
