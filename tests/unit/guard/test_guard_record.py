# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import re
import time
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard import moment, record
from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import Caller
from ansible_collections.maqet.qemu.plugins.module_utils.guard.canonical import canonical
from ansible_collections.maqet.qemu.plugins.module_utils.guard.judge import Request, judge
from ansible_collections.maqet.qemu.plugins.module_utils.guard.record import Context, VmIdentity
from ansible_collections.maqet.qemu.plugins.module_utils.guard.scope import Scope
from ansible_collections.maqet.qemu.tests.unit.guard.schemas import schema

#: Every record has these, known or null.
ALWAYS = """
    v time boot_id mono_ns phase virt vm uuid vm_pid vm_start qemu sock op op_id class level args args_sha256 redacted
    via reason policy decision mode check consent auid ses uid gid pid exe comm peer controller
    also role files writer
""".split()

WHO = Caller(1000, 17, 0, 0, 99, "/usr/bin/python3", "python3", {"pid": 99, "uid": 0, "gid": 0}, {"host": "ops1"})
VM = VmIdentity("web1", "6c1e7f8a-0000-4000-8000-000000000001", 4711, 99, "7.2.22", "/run/web1/monitor.sock")


def context(via: str = "ipc", reason: str = "maintenance", who: Caller = WHO, vm: VmIdentity = VM) -> Context:
    return Context(vm, who, via, reason)


def intent(request: Request, where: Context | None = None) -> dict[str, t.Any]:
    return record.intent(request, judge(request, Scope()), where or context())


@pytest.mark.parametrize("via", ["ipc", "direct"])
def test_an_intent_says_all(via: str) -> None:
    made = intent(Request("quit"), context(via))
    assert sorted(made) == sorted(ALWAYS)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", made["time"])
    assert re.fullmatch(r"[0-9a-f-]{36}", made["boot_id"])
    assert made["mono_ns"] > 0
    assert {key: made[key] for key in ("phase", "virt", "vm", "uuid", "vm_pid", "vm_start", "qemu", "sock")} == {
        "phase": "intent",
        "virt": "qemu",
        "vm": "web1",
        "uuid": VM.uuid,
        "vm_pid": 4711,
        "vm_start": 99,
        "qemu": "7.2.22",
        "sock": "/run/web1/monitor.sock",
    }
    assert {key: made[key] for key in ("op", "class", "level", "via", "reason", "decision", "mode", "check")} == {
        "op": "quit",
        "class": "availability",
        "level": "warning",
        "via": via,
        "reason": "maintenance",
        "decision": "allow",
        "mode": "enforce",
        "check": False,
    }
    assert made["policy"] == {
        "id": "builtin",
        "sha256": None,
        "layer": None,
        "rule": "class-availability",
        "default": "deny",
    }
    assert (made["auid"], made["ses"], made["uid"], made["pid"], made["comm"]) == (1000, 17, 0, 99, "python3")
    assert made["peer"] == {"pid": 99, "uid": 0, "gid": 0}
    assert made["controller"] == {"host": "ops1", "asserted": True}
    assert made["args_sha256"] == hashlib.sha256(b"{}").hexdigest()


def test_a_result_repeats_its_intent_and_adds_the_outcome() -> None:
    before = {**intent(Request("quit")), "seq": 4, "prev": "p", "hash": "h", "torn": True}
    after = record.result(before, "failed", "GenericError", "no\nway", 1.23456)
    assert sorted(after) == sorted([*ALWAYS, "res", "error_class", "error", "duration_ms"])
    assert after["op_id"] == before["op_id"] and after["args_sha256"] == before["args_sha256"]
    assert (after["phase"], after["res"], after["error_class"], after["error"]) == (
        "result",
        "failed",
        "GenericError",
        "no way",
    )
    assert after["duration_ms"] == 1.235
    assert after["mono_ns"] > before["mono_ns"]
    assert sorted(record.result(before, "success")) == sorted([*ALWAYS, "res"])


def test_a_denial_is_one_record() -> None:
    request = Request("migrate", {"uri": "exec:curl evil-evil"}, True)
    made = record.denial(request, judge(request, Scope("web1", None, schema("7.2"))), context())
    assert sorted(made) == sorted([*ALWAYS, "res", "error"])
    assert (made["phase"], made["decision"], made["res"], made["consent"]) == ("deny", "deny", "failed", True)
    assert made["policy"]["rule"] == "field-uri-exec"
    assert made["args"] == {"uri": "exec:<redacted:14>"} and made["redacted"] == ["uri"]
    assert b"evil" not in canonical(made)


def test_secrets_are_in_no_field() -> None:
    request = Request("set_password", {"protocol": "vnc", "password": "hunter2"})
    who = Caller(controller={"task": "set it to hunter2"})
    made = record.denial(request, judge(request, Scope()), context(reason="hunter2 forgotten", who=who))
    after = record.result(made, "failed", "GenericError", "bad password hunter2", hidden=["hunter2"])
    assert b"hunter2" not in canonical(made) + canonical(after)
    assert made["args"]["protocol"] == "vnc"


@pytest.mark.parametrize("command", ["quit\n\x1b[2J", "a" * 100_000, "qu\ud800it", 7, None])
def test_a_malformed_name_is_written_escaped_and_short(command: t.Any) -> None:
    request = Request(command, {})
    made = record.denial(request, judge(request, Scope()), context())
    assert made["op"].isprintable() and made["op"].isascii() and len(made["op"]) <= 60
    assert made["class"] == "unknown" and made["policy"]["rule"] == "name-syntax"
    canonical(made)


@pytest.mark.parametrize(
    "arguments",
    [None, [], "text", {1: 2}, {"a": float("nan")}, {"a": b"x"}, {"\ud800": "\udfff"}, {"password": {1, 2}}],
)
def test_arguments_without_a_json_form_can_still_be_recorded(arguments: t.Any) -> None:
    request = Request("query-status", arguments)
    canonical(record.denial(request, judge(request, Scope()), context()))


def test_names_of_files_need_not_be_utf8() -> None:
    odd = "/tmp/\udcff"
    made = intent(Request("quit"), context(reason=odd, who=Caller(exe=odd, comm=odd), vm=VmIdentity(odd, socket=odd)))
    assert made["sock"] == made["exe"] == r"/tmp/\udcff"
    canonical(made)


def test_large_arguments_leave_their_length_and_digest() -> None:
    arguments = {"data": ["x" * 1000] * 1000}
    made = intent(Request("query-status", arguments))
    assert made["args"] == {"truncated": True, "len": len(canonical(arguments))}
    assert made["args_sha256"] == hashlib.sha256(canonical(arguments)).hexdigest()
    many = record.denial(Request("no-such", {"a": ["x"] * 9999}), judge(Request("no-such"), Scope()), context())
    assert len(many["redacted"]) == record.MAX_PATHS
    assert len(canonical(many)) < 4 * record.MAX_ARGS


def test_identifiers_sort_by_time_and_never_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [moment.ulid() for _number in range(500)]
    assert len(set(made)) == 500
    assert all(re.fullmatch(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", each) for each in made)
    ticks = iter([1_000_000_000_000_000_000, 1_000_000_000_001_000_000, 1_900_000_000_000_000_000])
    monkeypatch.setattr(time, "time_ns", lambda: next(ticks))
    ordered = [moment.ulid() for _number in range(3)]
    assert ordered == sorted(ordered) and len({each[:10] for each in ordered}) == 3


def test_the_clock_in_utc_with_microseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_738_318_272_000_456_789)
    assert moment.stamp()["time"] == "2025-01-31T10:11:12.000456Z"
