# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import concurrent.futures
import errno
import json
import os
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.arguments import Scope
from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import Caller
from ansible_collections.maqet.qemu.plugins.module_utils.guard.chain import read, verify
from ansible_collections.maqet.qemu.plugins.module_utils.guard.gate import Gate, Outcome, Ticket
from ansible_collections.maqet.qemu.plugins.module_utils.guard.judge import Request


def records(gate: Gate) -> list[dict[str, t.Any]]:
    return read(gate.log.path) if os.path.exists(gate.log.path) else []


def leave(gate: Gate, request: Request, caller: Caller, reason: str = "") -> Ticket:
    return gate.ask(request, caller, reason)


def refused(gate: Gate, request: Request, caller: Caller) -> MaqetError:
    with pytest.raises(MaqetError) as caught:
        gate.ask(request, caller)
    json.dumps(caught.value.as_dict())
    return caught.value


def no_disk(*_arguments: t.Any) -> t.Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_the_intent_is_there_before_leave_is_given(gate: Gate, caller: Caller) -> None:
    ticket = leave(gate, Request("query-status"), caller, "to see")
    assert records(gate) == [ticket.intent]
    assert (ticket.intent["phase"], ticket.intent["via"], ticket.intent["reason"]) == ("intent", "ipc", "to see")
    assert (ticket.command, ticket.arguments, ticket.verdict.rule) == ("query-status", {}, "class-read")
    made = gate.close(ticket, Outcome("success"))
    assert made == records(gate)
    assert [each["phase"] for each in made] == ["intent", "result"]
    assert len({each["op_id"] for each in made}) == 1
    assert made[1]["res"] == "success" and 0 < made[1]["duration_ms"] < 60_000
    assert verify(gate.log.path).ok


@pytest.mark.parametrize("name", ["blockdev-del", "device_del", "quit", "system_powerdown", "system_reset"])
def test_availability_is_sent_and_audited_as_a_warning(gate: Gate, caller: Caller, name: str) -> None:
    made = gate.close(leave(gate, Request(name), caller), Outcome("success"))
    assert {(each["class"], each["level"], each["decision"]) for each in made} == {("availability", "warning", "allow")}


@pytest.mark.parametrize("name", ["memsave", "pmemsave"])
def test_memory_dumps_are_sent_and_audited_at_info(gate: Gate, caller: Caller, name: str) -> None:
    request = Request(name, {"val": 0, "size": 1, "filename": "mem"})
    made = gate.close(leave(gate, request, caller), Outcome("success"))
    assert {(each["class"], each["level"], each["decision"]) for each in made} == {("host-file", "info", "allow")}


@pytest.mark.parametrize("name", ["human-monitor-command", "inject-nmi"])
def test_refused_by_default_and_sent_by_consent(gate: Gate, caller: Caller, name: str) -> None:
    error = refused(gate, Request(name), caller)
    assert error.error_code == "policy_denied"
    assert error.details["command"] == name
    assert error.details["decision"]["decision"] == "deny"
    assert error.details["decision"]["rule"] == "consent"
    assert "allow_dangerous: true" in error.details["remedy"] and error.details["remedy"] in str(error)
    assert error.details["audit"] == records(gate)
    assert [each["phase"] for each in records(gate)] == ["deny"]
    made = gate.close(leave(gate, Request(name, {}, True), caller), Outcome("success"))
    assert {(each["level"], each["consent"]) for each in made} == {("warning", True)}
    assert verify(gate.log.path).records == 3


def test_an_error_of_qemu_is_recorded_without_secrets(gate: Gate, caller: Caller) -> None:
    ticket = leave(gate, Request("human-monitor-command", {"command-line": "change vnc password abcdef"}, True), caller)
    assert "abcdef" in ticket.secrets
    made = gate.close(ticket, Outcome("failed", "GenericError", "what is abcdef?"))
    assert (made[1]["res"], made[1]["error_class"], made[1]["error"]) == (
        "failed",
        "GenericError",
        "what is <redacted>?",
    )
    with open(gate.log.path, "rb") as file:
        assert b"abcdef" not in file.read()


def test_a_malformed_name(gate: Gate, caller: Caller) -> None:
    error = refused(gate, Request("quit\nstop", {"a": "b"}), caller)
    assert error.error_code == "invalid_command"
    assert (error.details["command"], error.details["decision"]["rule"]) == (r"'quit\nstop'", "name-syntax")
    assert [each["op"] for each in records(gate)] == [r"'quit\nstop'"]


def test_a_denial_shows_no_secret(gate: Gate, caller: Caller) -> None:
    error = refused(gate, Request("screendump", {"filename": "https://bob:hunter2@h/x"}), caller)
    with open(gate.log.path, encoding="utf-8") as file:
        assert "hunter2" not in file.read() + str(error) + json.dumps(error.as_dict())


@pytest.mark.parametrize("request_", [Request("quit"), Request("migrate"), Request("no-such"), Request("Q")])
def test_check_mode_judges_and_writes_nothing(gate: Gate, caller: Caller, request_: Request) -> None:
    if request_.command == "quit":
        assert gate.admit([request_], caller, check=True)[0].allowed
    else:
        with pytest.raises(MaqetError) as caught:
            gate.admit([request_], caller, check=True)
        assert caught.value.details["audit"] == []
    assert not os.path.exists(gate.log.path)


def test_what_is_sent_is_what_was_judged(gate: Gate, caller: Caller) -> None:
    arguments = {"filename": "mem", "val": 0, "size": 1}
    ticket = leave(gate, Request("memsave", arguments), caller)
    arguments["filename"] = "/etc/shadow"
    assert ticket.arguments["filename"] == "mem"


def test_a_list_is_judged_before_its_first_command(gate: Gate, caller: Caller) -> None:
    requests = [Request("stop"), Request("migrate", {"uri": "exec:id"}), Request("cont"), Request("inject-nmi")]
    assert [verdict.allowed for verdict in gate.judge_all(requests, caller)] == [True, False, True, False]
    assert records(gate) == []
    with pytest.raises(MaqetError, match=r"^command 2 of 4, migrate: denied by the rule argument-rules") as caught:
        gate.admit(requests, caller, "list")
    assert caught.value.error_code == "policy_denied"
    assert [(each["phase"], each["op"]) for each in records(gate)] == [("deny", "migrate"), ("deny", "inject-nmi")]
    assert caught.value.details["audit"] == records(gate)


def test_a_list_that_passes_leaves_no_trace_until_it_asks(gate: Gate, caller: Caller) -> None:
    assert [verdict.rule for verdict in gate.admit([Request("stop"), Request("cont")], caller)] == [
        "class-availability",
        "class-guest",
    ]
    assert records(gate) == []


def test_no_log_no_leave(gate: Gate, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", no_disk)
    error = refused(gate, Request("query-status"), caller)
    assert (error.error_code, error.details["sent"]) == ("audit_failed", False)
    assert "query-status was not sent" in str(error) and "No space left" in str(error)
    assert gate.log.path in str(error)


def test_no_log_for_the_result(gate: Gate, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    ticket = leave(gate, Request("quit"), caller)
    monkeypatch.setattr(os, "fdatasync", no_disk)
    with pytest.raises(MaqetError) as caught:
        gate.close(ticket, Outcome("success"))
    assert (caught.value.error_code, caught.value.details["sent"]) == ("audit_failed", True)
    assert "quit was sent" in str(caught.value)


def test_a_denial_stands_without_a_log(gate: Gate, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", no_disk)
    error = refused(gate, Request("migrate"), caller)
    assert (error.error_code, error.details["audit"]) == ("policy_denied", [])
    assert "No space left" in error.details["audit_error"] and "No space left" in str(error)


@pytest.mark.parametrize("arguments", [None, [1], "x", {1: 2}, {"a": object()}, {"a": iter("x")}])
def test_arguments_of_any_shape_are_denied_and_recorded(gate: Gate, caller: Caller, arguments: t.Any) -> None:
    error = refused(gate, Request("query-status", arguments), caller)
    assert error.details["decision"]["rule"] == "argument-shape"
    assert len(records(gate)) == 1


def test_arguments_nested_without_end(gate: Gate, caller: Caller) -> None:
    deep: t.Any = {}
    for _level in range(50_000):
        deep = {"a": deep}
    assert refused(gate, Request("blockdev-add", deep), caller).details["decision"]["rule"] == "argument-shape"
    assert verify(gate.log.path).ok


def test_what_is_learned_later_counts(gate: Gate, caller: Caller) -> None:
    gate.scope = Scope(gate.scope.output, frozenset({"quit"}))
    error = refused(gate, Request("query-status"), caller)
    assert error.details["decision"]["rule"] == "unknown-command"
    assert gate.ask(Request("quit"), caller).verdict.allowed


def test_many_threads_one_chain(gate: Gate, caller: Caller) -> None:
    def one(number: int) -> str:
        if number % 3 == 0:
            return refused(gate, Request("migrate"), caller).error_code
        return str(gate.close(leave(gate, Request("query-status"), caller), Outcome("success"))[1]["res"])

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(one, range(60)))
    assert (found.count("policy_denied"), found.count("success")) == (20, 40)
    assert verify(gate.log.path).records == 100
