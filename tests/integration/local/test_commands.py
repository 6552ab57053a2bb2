# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What maqet_qmp sends, refuses, records and returns: the behaviours that this project began with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard.chain import read, verify
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.tests.integration.local.conftest import (
    ARCH,
    Local,
    Result,
    given,
    kill,
    state_of,
    traces,
)

MODES = ("ipc", "direct")
HMP: Result = {"command": "human-monitor-command", "arguments": {"command-line": "info version"}}
# What every record must hold, whatever the mode.
FIELDS = (
    "v time boot_id mono_ns seq phase virt vm uuid vm_pid vm_start qemu sock op op_id class level args args_sha256 "
    "redacted via reason policy decision mode check auid ses uid pid exe comm controller prev hash"
).split()


def log_of(name: str) -> list[Result]:
    """The host's log of a VM, which must be whole."""
    path = layout().vm(name).audit_log
    report = verify(path)
    assert report.ok, report
    return read(path)


def sends(local: Local, name: str, *tasks: Result) -> list[Result]:
    """Several maqet_qmp tasks in one play."""
    return local.run(*({"maqet_qmp": {"vm": name, **task}} for task in tasks))


@pytest.mark.parametrize("mode", MODES)
def test_success_with_and_without_arguments(local: Local, running: str, mode: str) -> None:
    """The answer is QEMU's; changed is what the class says; both records are on the host as returned."""
    plain, arguments, listed = sends(
        local,
        running,
        {"command": "query-status", "mode": mode},
        {"command": "qom-list", "arguments": {"path": "/machine"}, "mode": mode},
        {"commands": [{"command": "stop"}, {"command": "query-status"}, {"command": "cont"}], "mode": mode},
    )
    assert plain["response"]["status"] == "running" and plain["changed"] is False
    assert plain["decision"]["decision"] == "allow" and plain["decision"]["class"] == "read"
    assert any(entry["name"] == "peripheral" for entry in arguments["response"])
    assert arguments["changed"] is False
    assert [answer.get("status") for answer in listed["responses"]] == [None, "paused", None]
    assert listed["changed"] is True
    assert [decision["class"] for decision in listed["decisions"]] == ["availability", "read", "guest"]
    assert {"STOP", "RESUME"} <= {event["event"] for event in listed["events"]}
    log = {record["seq"]: record for record in log_of(running)}
    for record in plain["audit"] + arguments["audit"] + listed["audit"]:
        assert log[record["seq"]]["hash"] == record["hash"]


@pytest.mark.parametrize("mode", MODES)
def test_records_are_complete(local: Local, running: str, mode: str) -> None:
    """Who, from where, which task, policy, verdict, outcome and duration, in both modes."""
    (task,) = local.play(
        {"maqet_qmp": {"vm": running, "command": "query-status", "mode": mode, "reason": "ticket 4711"}},
    )
    intent, result = task["audit"]
    for record in (intent, result):
        assert [field for field in FIELDS if field not in record] == []
        assert record["vm"] == running and record["op"] == "query-status" and record["via"] == mode
        assert record["uid"] == os.getuid() and record["reason"] == "ticket 4711"
        assert record["controller"]["task"] == "task 0" and record["controller"]["asserted"] is True
        assert record["controller"]["module"].endswith("maqet_qmp") and record["controller"]["host"]
        assert record["policy"]["rule"] and record["decision"] == "allow"
        assert ("peer" in record and record["peer"] is not None) == (mode == "ipc")
    assert (intent["phase"], result["phase"]) == ("intent", "result")
    assert result["op_id"] == intent["op_id"] and result["prev"] == intent["hash"]
    assert result["res"] == "success" and result["duration_ms"] > 0


@pytest.mark.parametrize("mode", MODES)
def test_dangerous_commands_need_consent(local: Local, running: str, mode: str) -> None:
    """Refused by default and recorded as such; sent with allow_dangerous."""
    nmi: Result = {"command": "inject-nmi"}
    results = sends(
        local,
        running,
        *({**command, "mode": mode, "allow_dangerous": consent} for command in (HMP, nmi) for consent in (False, True)),
    )
    for refused, sent in (results[:2], results[2:]):
        assert refused["error_code"] == "policy_denied" and "allow_dangerous" in refused["msg"]
        assert refused["decision"]["decision"] == "deny"
        assert [record["phase"] for record in refused["audit"]] == ["deny"]
        assert [record["phase"] for record in sent["audit"]] == ["intent", "result"]
        assert {record["consent"] for record in sent["audit"]} == {True}
        if sent["failed"]:  # QEMU has been asked, and knows no NMI on this board
            assert ARCH == "aarch64" and "not currently supported" in sent["qmp_desc"], sent
        else:
            assert any("audited as a warning" in warning for warning in sent["warnings"])
    assert results[1]["response"].startswith(results[1]["audit"][0]["qemu"])


@pytest.mark.parametrize("mode", MODES)
def test_commands_against_availability_are_sent_with_a_warning(local: Local, name: str, mode: str) -> None:
    """blockdev-del and device_del of what is not there reach QEMU, which says so; the others do what they do."""
    commands: tuple[Result, ...] = (
        {"command": "blockdev-del", "arguments": {"node-name": "nothing"}},
        {"command": "device_del", "arguments": {"id": "nothing"}},
        {"command": "system_powerdown"},
        {"command": "system_reset"},
        {"command": "quit"},
    )
    given(name)
    results = sends(local, name, *({**command, "mode": mode} for command in commands))
    for command, result in zip(commands, results):
        assert [record["level"] for record in result["audit"]] == ["warning", "warning"], command
        assert [record["op"] for record in result["audit"]] == [command["command"]] * 2
    for refused in results[:2]:
        assert refused["error_code"] == "qmp_error" and refused["qmp_class"] and "nothing" in refused["qmp_desc"]
        assert refused["decision"]["decision"] == "allow" and "decisions" not in refused
        assert refused["audit"][1]["res"] == "failed" and refused["audit"][1]["error_class"] == refused["qmp_class"]
    for sent in results[2:]:
        assert not sent.get("failed"), sent
        assert sent["changed"] is True
        assert any("audited as a warning" in warning for warning in sent["warnings"])
    (gone,) = sends(local, name, {"command": "query-status", "mode": mode})
    assert gone["error_code"] == "vm_not_running"
    assert [entry for entry in traces(name) if ".sock" in entry or "guest=" in entry] == []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("command", ["memsave", "pmemsave"])
def test_memory_dumps_go_to_the_output_folder_and_nowhere_else(
    local: Local, running: str, mode: str, command: str, tmp_path: Path
) -> None:
    """Sent and audited at info with their class; a path elsewhere is refused and no file comes to be."""
    file = f"{command}-{mode}.bin"
    span = {"val": 0x4000_0000 if ARCH == "aarch64" else 0, "size": 4096}  # where there is memory
    sent, refused, climbed = sends(
        local,
        running,
        {"command": command, "arguments": {**span, "filename": file}, "mode": mode},
        {"command": command, "arguments": {**span, "filename": str(tmp_path / file)}, "mode": mode},
        {"command": command, "arguments": {**span, "filename": f"../{file}"}, "mode": mode},
    )
    assert not sent.get("failed"), sent
    assert [(record["level"], record["class"]) for record in sent["audit"]] == [("info", "host-file")] * 2
    written = Path(layout().vm(running).output, file)
    assert written.stat().st_size == 4096
    for denied in (refused, climbed):
        assert denied["error_code"] == "policy_denied" and "filename" in denied["msg"]
    assert not (tmp_path / file).exists() and not (written.parent.parent / file).exists()


def test_check_mode_judges_and_sends_nothing(local: Local, running: str) -> None:
    """The verdict of the real run, and no trace of it."""
    before = len(log_of(running))
    allowed, denied = local.run(
        {"maqet_qmp": {"vm": running, "command": "stop"}, "check_mode": True},
        {"maqet_qmp": {"vm": running, **HMP}, "check_mode": True},
    )
    assert allowed["decision"]["decision"] == "allow" and allowed["changed"] is True and "response" not in allowed
    assert denied["error_code"] == "policy_denied"
    assert state_of(running) == "running"
    assert len(log_of(running)) == before + 2


def test_a_list_is_judged_before_its_first_command_is_sent(local: Local, running: str) -> None:
    """Nothing is half-done for want of a verdict; what QEMU refuses ends the list where it stands."""
    denied, broken = sends(
        local,
        running,
        {"commands": [{"command": "stop"}, {"command": "human-monitor-command", "arguments": HMP["arguments"]}]},
        {
            "commands": [
                {"command": "query-status"},
                {"command": "device_del", "arguments": {"id": "nothing"}},
                {"command": "stop"},
            ]
        },
    )
    assert denied["error_code"] == "policy_denied" and denied["changed"] is False
    assert [record["phase"] for record in denied["audit"]] == ["deny"]
    assert broken["error_code"] == "qmp_error" and len(broken["responses"]) == 1
    assert state_of(running) == "running"


def test_waiting_for_an_event(local: Local, running: str) -> None:
    """The event that the command causes is returned; one that does not come is an error with what was done."""
    for mode in MODES:
        come, missed, resumed = sends(
            local,
            running,
            {"command": "stop", "wait_for_event": "STOP", "mode": mode},
            {"command": "query-status", "wait_for_event": "RTC_CHANGE", "timeout": 0.5, "mode": mode},
            {"command": "cont", "wait_for_event": "RESUME", "mode": mode},
        )
        assert [event["event"] for event in come["events"]] == ["STOP"]
        assert missed["error_code"] == "wait_timeout" and missed["responses"][0]["status"] == "paused"
        assert "RESUME" in [event["event"] for event in resumed["events"]]


def test_the_monitor_is_free_after_a_direct_task_that_failed(local: Local, running: str) -> None:
    """It serves one client at a time, so the second task shows that the first has hung up."""
    failed, denied, fine = sends(
        local,
        running,
        {"command": "device_del", "arguments": {"id": "nothing"}, "mode": "direct"},
        {**HMP, "mode": "direct"},
        {"command": "query-status", "mode": "direct", "timeout": 5},
    )
    assert (failed["error_code"], denied["error_code"]) == ("qmp_error", "policy_denied")
    assert fine["response"]["status"] == "running"


def test_a_vm_whose_runner_is_gone(local: Local, name: str) -> None:
    """QEMU goes on. direct works without a runner, ipc with another one; stopped and absent leave nothing."""
    started = given(name)
    kill(started["vm"]["runner_pid"])
    direct, alone, asked, info = local.run(
        {"maqet_qmp": {"vm": name, "command": "query-status", "mode": "direct"}},
        {"maqet_vm_info": {"name": name}},
        {"maqet_qmp": {"vm": name, "command": "query-status"}},
        {"maqet_vm_info": {"name": name}},
    )
    assert direct["response"]["status"] == asked["response"]["status"] == "running"
    assert alone["vms"][0]["qemu_pid"] == started["vm"]["qemu_pid"] and alone["vms"][0]["runner_pid"] is None
    assert info["vms"][0]["qemu_pid"] == started["vm"]["qemu_pid"]
    assert info["vms"][0]["runner_pid"] not in (None, started["vm"]["runner_pid"])
    stopped = local.vm(name, state="stopped", force=True, stop_timeout=1)
    assert stopped["stop_steps"] == ["system_powerdown", "quit"]
    assert {record["via"] for record in stopped["audit"]} == {"ipc"}
    assert traces(name) == []


def test_no_vm_no_socket(local: Local, name: str, running: str) -> None:
    """Each has its own word."""
    given(name, state="present")
    missing, stopped, nowhere, both = local.run(
        {"maqet_qmp": {"vm": "nosuchvm", "command": "query-status"}},
        {"maqet_qmp": {"vm": name, "command": "query-status"}},
        {"maqet_qmp": {"socket": "/nonexistent/qmp.sock", "command": "query-status"}},
        {"maqet_qmp": {"socket": "/x", "vm": name, "command": "query-status"}},
    )
    assert missing["error_code"] == "vm_not_found" and running in missing["msg"]
    assert stopped["error_code"] == "vm_not_running" and "state=running" in stopped["msg"]
    assert nowhere["error_code"] == "socket_not_found" and "/nonexistent/qmp.sock" in nowhere["msg"]
    assert both["failed"] and "mutually exclusive" in both["msg"]


def test_a_qemu_that_is_not_ours(local: Local, running: str) -> None:
    """Its socket is enough: guarded, audited under its own name, and no output folder to write to."""
    socket = layout().vm(running).direct_socket  # the monitor of a QEMU, reached as if it were a stranger's
    asked, denied, written = local.run(
        {"maqet_qmp": {"socket": socket, "command": "query-status"}},
        {"maqet_qmp": {"socket": socket, **HMP}},
        {
            "maqet_qmp": {
                "socket": socket,
                "command": "pmemsave",
                "arguments": {"val": 0, "size": 16, "filename": "x"},
            }
        },
    )
    assert asked["response"]["status"] == "running"
    assert asked["audit"][1]["vm"].startswith("@") and asked["audit"][1]["uuid"]
    assert denied["error_code"] == "policy_denied"
    assert written["error_code"] == "policy_denied"


INJECTIONS = {
    "empty": "",
    "upper case": "QUERY-STATUS",
    "spaces": "query status",
    "semicolon": "quit; rm -rf /",
    "and": "quit && ls",
    "substitution": "$(id)",
    "backquotes": "`id`",
    "path": "../quit",
    "pipe": "quit|cat",
    "newline inside": "quit\nquit",
    "newline at the end": "quit\n",
    "NUL": "quit\0",
    "not ASCII": "qüit",
    "too long": "q" * 300,
}


def test_names_that_are_none_are_refused_before_any_vm_is_looked_up(local: Local, running: str) -> None:
    """The same refusal for a VM that is not there; where one is, its log has the attempt."""
    before = len(log_of(running))
    tasks = [
        {"maqet_qmp": {"vm": vm, "command": command}} for command in INJECTIONS.values() for vm in ("nosuchvm", running)
    ]
    results = local.play(*tasks)
    for task, result in zip(tasks, results):
        assert result["error_code"] == "invalid_command", task
        assert "command:" in result["msg"]
        recorded = task["maqet_qmp"]["vm"] == running and "\0" not in task["maqet_qmp"]["command"]
        assert len(result["audit"]) == recorded, "a NUL does not get as far as the host"
    denials = log_of(running)[before:]
    assert [record["phase"] for record in denials] == ["deny"] * (len(INJECTIONS) - 1)
    assert not Path(layout().vm("nosuchvm").audit_log).exists()
    assert state_of(running) == "running"
