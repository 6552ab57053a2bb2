# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""maqet_guest against a real qemu-ga in a real guest."""

from __future__ import annotations

import base64
import typing as t
import uuid
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard.chain import read, verify
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.tests.hosts import modules
from ansible_collections.maqet.qemu.tests.integration.local.conftest import NOTHING, Local, Result, remove

SECRET = "Tr0ub4dor-and-3"
CONSENT = {"allow_dangerous": True}


@pytest.fixture(scope="module")
def wanted(agent_guest: Result) -> Result:
    """Options of a VM whose guest has an agent and a network card."""
    return {**agent_guest, "networks": [{"type": "user"}]}


@pytest.fixture(scope="module")
def vm(wanted: Result) -> t.Iterator[str]:
    """A VM whose agent answers, shared by the tests of this file."""
    chosen = f"test-{uuid.uuid4().hex[:8]}"
    modules.must("maqet_vm", name=chosen, state="running", **wanted)
    modules.must("maqet_guest", vm=chosen, command="guest-ping", wait_for_agent=True, timeout=120)
    yield chosen
    remove(chosen)


def asks(local: Local, vm: str, *tasks: Result, options: t.Sequence[str] = ()) -> list[Result]:
    """Several maqet_guest tasks in one play; the key ``check_mode`` is the task's."""
    listed = []
    for task in tasks:
        check = {"check_mode": True} if task.get("check_mode") else {}
        given = {key: value for key, value in task.items() if key != "check_mode"}
        listed.append({"maqet_guest": {"vm": vm, **given}, **check})
    return local.play(*listed, options=options) if options else local.run(*listed)


def log_of(name: str) -> list[Result]:
    """The host's log of a VM, which must be whole."""
    path = layout().vm(name).audit_log
    assert verify(path).ok
    return read(path)


def test_questions(local: Local, vm: str) -> None:
    """Answers as the agent gives them, no change, and two records each."""
    info, nets, system, listed = asks(
        local,
        vm,
        {"command": "guest-info", "reason": "ticket 4711"},
        {"command": "guest-network-get-interfaces"},
        {"command": "guest-get-osinfo"},
        {"commands": [{"command": "guest-get-time"}, {"command": "guest-get-vcpus"}]},
    )
    names = {one["name"] for one in info["response"]["supported_commands"]}
    assert {"guest-exec", "guest-ping"} <= names
    assert {"lo", "eth0"} <= {one["name"] for one in nets["response"]}
    assert system["response"]["machine"] in ("x86_64", "aarch64")
    assert listed["responses"][0] > 0 and listed["responses"][1][0]["online"] is True
    for result in (info, nets, system, listed):
        assert result["changed"] is False and not result["failed"]
    intent, outcome = info["audit"]
    assert (intent["phase"], outcome["phase"], outcome["res"]) == ("intent", "result", "success")
    assert (intent["op"], intent["virt"], intent["via"], intent["reason"]) == (
        "guest-info",
        "qga",
        "ipc",
        "ticket 4711",
    )
    assert intent["controller"]["module"].endswith("maqet_guest")
    known = {record["hash"] for record in log_of(vm)}
    assert {record["hash"] for record in info["audit"]} <= known


def test_programs(local: Local, vm: str) -> None:
    """Status, both streams, input and environment; what fails says how; without consent nothing runs."""
    refused, fine, bad, killed, missing, quiet, path = asks(
        local,
        vm,
        {"exec": {"argv": ["touch", "/ran"]}},
        {
            "exec": {
                "argv": ["/bin/sh", "-c", 'cat; echo "$WORD" >&2; printf "\\303\\050"'],
                "env": {"WORD": "wort", "PATH": "/bin"},
                "input": "grün\n",
            },
            **CONSENT,
        },
        {"exec": {"argv": ["/bin/sh", "-c", "echo so; exit 3"]}, **CONSENT},
        {"exec": {"argv": ["/bin/sh", "-c", "kill -9 $$"]}, **CONSENT},
        {"exec": {"argv": ["/nonexistent"]}, **CONSENT},
        {"exec": {"argv": ["/bin/echo", "x"], "capture": False}, **CONSENT},
        {"exec": {"path": "/bin/uname"}, **CONSENT},
    )
    assert refused["error_code"] == "policy_denied" and "allow_dangerous" in refused["msg"]
    assert [record["op"] for record in refused["audit"]] == ["guest-exec", "guest-exec-status"]
    assert {record["phase"] for record in refused["audit"]} == {"deny"} and refused["changed"] is False
    assert (fine["rc"], fine["stdout"], fine["stderr"]) == (0, "grün\n\ufffd(", "wort\n")
    assert fine["changed"] is True and fine["stdout_truncated"] is False
    assert [record["op"] for record in fine["audit"]] == ["guest-exec"] * 2 + ["guest-exec-status"] * 2
    assert (bad["error_code"], bad["rc"], bad["stdout"], bad["changed"]) == ("guest_exit", 3, "so\n", True)
    assert (killed["error_code"], killed["rc"]) == ("guest_exit", -9)
    assert missing["error_code"] == "guest_error" and missing["guest_class"] and missing["changed"] is False
    assert (quiet["rc"], quiet["stdout"]) == (0, "")
    assert path["stdout"] == "Linux\n"
    (there,) = asks(local, vm, {"exec": {"argv": ["/bin/ls", "/ran"]}, **CONSENT})
    assert there["rc"] == 1, "the refused program has not run"


def test_files(local: Local, vm: str) -> None:
    """A file cannot be read without consent, and can be with it; a refusal of the agent is an error of its own."""
    opening: Result = {"command": "guest-file-open", "arguments": {"path": "/init"}}
    refused, opened = asks(local, vm, opening, {**opening, **CONSENT})
    assert refused["error_code"] == "policy_denied" and refused["decision"]["class"] == "guest-file"
    reading = {"command": "guest-file-read", "arguments": {"handle": opened["response"], "count": 9}}
    unread, content, unknown = asks(
        local,
        vm,
        reading,
        {**reading, **CONSENT},
        {"command": "guest-file-close", "arguments": {"handle": 9999}, **CONSENT},
    )
    assert unread["error_code"] == "policy_denied"
    assert base64.b64decode(content["response"]["buf-b64"]) == b"#!/bin/sh" and content["changed"] is False
    assert unknown["error_code"] == "guest_error" and "9999" in unknown["guest_desc"]


def test_bad_requests_do_not_reach_the_guest(local: Local, vm: str) -> None:
    """Names and arguments are judged on the host; a list is judged before its first command is sent."""
    name, typo, field, kind, coded, listed, unnamed = asks(
        local,
        vm,
        {"command": "guest-ping\n"},
        {"command": "guest-pong"},
        {"command": "guest-fstrim", "arguments": {"minimun": 1}},
        {"command": "guest-fstrim", "arguments": {"minimum": "1"}},
        {
            "command": "guest-exec",
            "arguments": {"path": "/bin/cat", "input-data": "no base64!"},
            **CONSENT,
        },
        {"commands": [{"command": "guest-ping"}, {"command": "guest-exec", "arguments": {"path": "/bin/ls"}}]},
        {},
    )
    assert name["error_code"] == "invalid_command"
    for result in (typo, field, kind, coded, listed):
        assert result["error_code"] == "policy_denied", result
        assert [record["phase"] for record in result["audit"]] == ["deny"]
    assert "did you mean guest-ping?" in typo["msg"] and "did you mean minimum?" in field["msg"]
    assert "must be an integer" in kind["msg"] and "base64" in coded["msg"]
    assert unnamed["failed"] and "one of the following is required" in unnamed["msg"]


def test_check_mode_and_explain(local: Local, vm: str) -> None:
    """The verdicts of the real run, and no trace of it."""
    program: Result = {"exec": {"argv": ["/bin/touch", "/checked"]}}
    before = len(log_of(vm))
    allowed, denied, told = asks(
        local,
        vm,
        {**program, **CONSENT, "check_mode": True},
        {**program, "check_mode": True},
        {**program, "explain": True},
    )
    assert allowed["changed"] is True and allowed["audit"] == [] and "rc" not in allowed
    assert [verdict["decision"] for verdict in allowed["decisions"]] == ["allow", "allow"]
    assert denied["error_code"] == "policy_denied" and denied["audit"] == []
    assert [verdict["decision"] for verdict in told["decisions"]] == ["deny", "deny"]
    assert told["changed"] is False and not told["failed"]
    assert len(log_of(vm)) == before


def test_secrets_stay_out(local: Local, vm: str) -> None:
    """-vvv, the log and errors have neither arguments of programs nor passwords."""
    coded = base64.b64encode(SECRET.encode()).decode()
    run, password = asks(
        local,
        vm,
        {"exec": {"argv": ["/bin/test", SECRET], "env": {"A": SECRET}, "input": SECRET}, **CONSENT},
        {
            "command": "guest-set-user-password",
            "arguments": {"username": "root", "password": coded, "crypted": False},
            "reason": f"it was {SECRET}",
            **CONSENT,
        },
        options=["-vvv"],
    )
    assert run["rc"] == 0
    assert password["error_code"] == "guest_error", "the guest has no chpasswd"
    log = Path(layout().vm(vm).audit_log).read_text("utf-8")
    runner = Path(layout().vm(vm).runner_log).read_text("utf-8")
    for text in (run["output"], log, runner):
        assert SECRET not in text and coded not in text
    assert run["audit"][0]["args"]["path"] == "/bin/test"
    assert run["audit"][0]["args"]["arg"] == {"redacted": True, "len": 1}


def test_an_agent_that_does_not_answer(local: Local, vm: str) -> None:
    """A stopped machine runs into the deadline, and the next command is answered in step again."""
    _stop, late, queued, _cont, after = local.run(
        {"maqet_qmp": {"vm": vm, "command": "stop"}},
        {"maqet_guest": {"vm": vm, "command": "guest-get-host-name", "timeout": 1}},
        {"maqet_guest": {"vm": vm, "command": "guest-get-timezone", "timeout": 1}},
        {"maqet_qmp": {"vm": vm, "command": "cont"}},
        {"maqet_guest": {"vm": vm, "command": "guest-get-vcpus"}},
    )
    assert (late["error_code"], late["sent"]) == ("guest_timeout", True)
    assert late["audit"][1]["error_class"] == "guest_timeout"
    assert (queued["error_code"], queued["sent"]) == ("guest_timeout", False)
    assert after["response"][0]["logical-id"] == 0


def test_a_program_that_takes_too_long(local: Local, vm: str) -> None:
    """It goes on, and can be asked about."""
    (late,) = asks(local, vm, {"exec": {"argv": ["/bin/sleep", "3"]}, "timeout": 1.5, **CONSENT})
    assert late["error_code"] == "guest_timeout" and late["pid"] > 0 and late["changed"] is True
    (status,) = asks(local, vm, {"command": "guest-exec-status", "arguments": {"pid": late["pid"]}, **CONSENT})
    assert status["response"]["exited"] in (True, False)


def test_too_large_an_answer(local: Local, vm: str) -> None:
    """It is not taken in, and the next one is."""
    large: Result = {"exec": {"argv": ["/bin/dd", "if=/dev/zero", "bs=1024", "count=100"]}, **CONSENT}
    refused, taken = asks(local, vm, {**large, "max_reply": "64K"}, large)
    assert refused["error_code"] == "guest_reply_too_large" and "max_reply" in refused["msg"]
    assert taken["stdout"] == "\0" * 102400


def test_no_port_and_no_agent(local: Local, name: str, vm: str) -> None:
    """Each is said at once, with what to do."""
    local.vm(name, state="running", **NOTHING)
    no_port, missing = local.run(
        {"maqet_guest": {"vm": name, "command": "guest-ping"}},
        {"maqet_guest": {"vm": "nosuchvm", "command": "guest-ping"}},
    )
    restart = local.vm(name, agent=True)
    assert restart["error_code"] == "restart_required"
    local.vm(name, agent=True, allow_restart=True, force=True, stop_timeout=0)
    (no_agent,) = asks(local, name, {"command": "guest-ping"})
    assert no_port["error_code"] == "guest_agent_unavailable" and "agent: true" in no_port["msg"]
    assert no_agent["error_code"] == "guest_agent_unavailable" and "qemu-guest-agent" in no_agent["msg"]
    assert missing["error_code"] == "vm_not_found"


def test_a_shutdown_has_no_answer_and_is_not_waited_for(local: Local, name: str, wanted: Result) -> None:
    """The guest's end is the answer."""
    results = local.run(
        {"maqet_vm": {"name": name, "state": "running", **wanted}},
        {"maqet_guest": {"vm": name, "command": "guest-suspend-hybrid", "wait_for_agent": True, "timeout": 120}},
        {"maqet_guest": {"vm": name, "command": "guest-suspend-disk", "timeout": 60}},
        {"maqet_guest": {"vm": name, "command": "guest-shutdown", "timeout": 60}},
        {"maqet_vm": {"name": name, "state": "stopped"}},
    )
    refused, failed, down, after = results[1:]
    assert refused["error_code"] == "guest_error" and refused["changed"] is False
    assert failed["error_code"] == "guest_error", "without a swap it cannot, but tries: the port closes and opens again"
    assert not down["failed"] and down["response"] is None, down
    assert down["decision"]["level"] == "warning" and any("guest-shutdown" in text for text in down["warnings"])
    assert after["vm"]["status"] == "stopped"
