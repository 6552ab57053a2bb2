# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules as processes: one result, one stable word for what went wrong, no traceback, no secret."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible_collections.maqet.qemu.tests.unit.modules.conftest import Host
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import FakeMonitor, records

SECRET = "tr0ub4dor-and-3"
CONTEXT = {"host": "ops1", "user": "ann", "task": "the task", "play": "p", "target": "h1"}


@pytest.mark.parametrize(
    "name",
    ["", "QUIT", "quit; rm -rf /", "quit && ls", "$(id)", "`id`", "../quit", "quit|cat", "qu\nit", "quit\n",
     "quit\x00", "qu\u00eft", "q" * 300],
)  # fmt: skip
def test_injections_are_refused_and_leave_nothing(host: Host, name: str) -> None:
    done = host.run("maqet_qmp", vm="web", command=name)
    assert (done.status, done.result["failed"]) == (1, True)
    assert done.result["error_code"] == "invalid_command"
    assert done.result["changed"] is False
    assert "is not the name of a QMP command" in done.result["msg"]
    assert host.files() == []


@pytest.mark.parametrize(
    ("module", "options", "code"),
    [
        ("maqet_qmp", {"vm": "web", "command": "query-status"}, "vm_not_found"),
        ("maqet_qmp", {"vm": "web", "command": "query-status", "mode": "direct"}, "vm_not_found"),
        ("maqet_qmp", {"socket": "/nowhere/qmp.sock", "command": "query-status"}, "socket_not_found"),
        ("maqet_qmp", {"vm": "../web", "command": "query-status"}, "invalid_option"),
        ("maqet_qmp", {"vm": "web", "command": "query-status", "timeout": 0}, "invalid_option"),
        ("maqet_vm", {"name": "web", "state": "paused"}, "vm_not_found"),
        ("maqet_vm", {"name": "web", "memory": "banana"}, "invalid_option"),
        ("maqet_snapshot", {"vm": "web", "name": "one"}, "vm_not_found"),
        ("maqet_snapshot", {"vm": "web", "name": "12"}, "invalid_option"),
        ("maqet_vm_info", {"name": "a/b"}, "invalid_option"),
        ("maqet_vms", {"vms": [{"name": "web"}], "concurrency": -1}, "invalid_option"),
        ("maqet_audit_info", {"vm": "web"}, "audit_not_found"),
    ],
)
@pytest.mark.parametrize("check", [False, True])
def test_errors(host: Host, module: str, options: dict[str, t.Any], code: str, check: bool) -> None:
    done = host.run(module, check, **options, _context=CONTEXT)
    assert (done.result["failed"], done.result["error_code"], done.result["changed"]) == (True, code, False)
    shown = done.result["invocation"]["module_args"]
    assert "_context" not in shown
    assert {key: shown[key] for key in options} == {**options, **({"timeout": 0.0} if "timeout" in options else {})}
    assert [name for name in host.files() if name not in ("r", "l")] == []


@pytest.mark.parametrize(
    ("module", "options", "words"),
    [
        ("maqet_qmp", {"vm": "web"}, "one of the following is required: command, commands"),
        ("maqet_qmp", {"command": "stop"}, "one of the following is required: vm, socket"),
        ("maqet_qmp", {"vm": "w", "socket": "/s", "command": "stop"}, "mutually exclusive: vm|socket"),
        ("maqet_qmp", {"vm": "w", "commands": [], "command": "stop"}, "mutually exclusive: command|commands"),
        ("maqet_qmp", {"vm": "w", "command": "stop", "mode": "both"}, "value of mode must be one of: ipc, direct"),
        ("maqet_vm", {"name": "web", "ram": 5}, "Unsupported parameters"),
        ("maqet_vm", {"name": "web", "memry": 5}, "memry: there is no such option. Did you mean memory? Unsupported"),
        (
            "maqet_vm",
            {"name": "web", "disks": [{"siez": 5}]},
            "disks.siez: there is no such option. Did you mean size?",
        ),
        ("maqet_vm", {}, "missing required arguments: name"),
        ("maqet_vm", {"name": "web", "state": "up"}, "value of state must be one of"),
    ],
)
def test_what_ansible_itself_refuses(host: Host, module: str, options: dict[str, t.Any], words: str) -> None:
    done = host.run(module, **options)
    assert done.result["failed"] is True
    assert words in done.result["msg"]
    assert done.result["error_code"] == "invalid_option"
    assert host.files() == []


def test_a_host_that_refuses(host: Host) -> None:
    (host.folder / "s").touch()
    done = host.run("maqet_vm_info")
    assert done.result["error_code"] == "host_error"
    assert done.result["msg"].startswith("The host refused: ")
    assert f"{host.folder}/s/vms: Not a directory" in done.result["msg"]


def test_nothing_to_tell(host: Host) -> None:
    assert host.run("maqet_vm_info").result["vms"] == []
    assert host.run("maqet_vm_info", name="web").result["vms"] == []
    assert host.run("maqet_vm", name="web", state="absent", check=True).result["actions"] == []
    assert host.files() == []


def test_a_command(host: Host, tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "qmp.sock")
    with FakeMonitor(path):
        done = host.run("maqet_qmp", socket=path, command="query-status", reason="INC-1", _context=CONTEXT)
    result = done.result
    assert result["response"] == {"status": "running", "running": True}
    assert (done.status, result["changed"]) == (0, False)
    (log,) = (tmp_path / "l").iterdir()
    assert result["audit"] == records(log)
    assert records(log)[0]["controller"] == {
        **CONTEXT,
        "module": records(log)[0]["controller"]["module"],
        "asserted": True,
    }
    assert records(log)[0]["reason"] == "INC-1"


def test_warnings_reach_the_user(host: Host, tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "qmp.sock")
    with FakeMonitor(path):
        result = host.run("maqet_qmp", socket=path, command="system_powerdown").result
    assert result["changed"] is True
    assert "system_powerdown is of the class availability" in json.dumps(result["warnings"])


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("command", ["set_password", "set_pasword", "human-monitor-command"])
@pytest.mark.parametrize("consent", [False, True])
def test_a_secret_is_nowhere(host: Host, tmp_path: pathlib.Path, listed: bool, command: str, consent: bool) -> None:
    """Not in what the module prints, not in the options that it repeats, not in a log, allowed or denied."""
    reason = f"because {SECRET}"
    arguments = {"protocol": "vnc", "password": SECRET}
    if command == "human-monitor-command":
        arguments = {"command-line": f"sendkey {SECRET}"}
    asked: dict[str, t.Any] = {"command": command, "arguments": arguments}
    if listed:
        asked = {"commands": [{"command": "query-status"}, asked]}
    path = str(tmp_path / "qmp.sock")
    with FakeMonitor(path, {command: f"the password is now {SECRET}"}) as fake:
        done = host.run("maqet_qmp", socket=path, **asked, allow_dangerous=consent, reason=reason)
    assert done.status == (0 if consent and command != "set_pasword" else 1)
    assert SECRET not in done.words
    logs = [file.read_text() for file in (tmp_path / "l").iterdir()]
    assert logs and not any(SECRET in text for text in logs)
    assert (command in fake.commands) is (done.status == 0)


def test_harmless_arguments_are_shown(host: Host, tmp_path: pathlib.Path) -> None:
    """Ansible would mask every 'running' in the result, were all arguments secrets for good."""
    path = str(tmp_path / "qmp.sock")
    arguments = {"id": "running"}
    with FakeMonitor(path):
        listed = [{"command": "device_del", "arguments": arguments}, {"command": "query-status"}]
        result = host.run("maqet_qmp", socket=path, commands=listed).result
    assert result["responses"][1]["status"] == "running"
    assert result["invocation"]["module_args"]["commands"][0]["arguments"] == arguments


def test_an_audit_log(host: Host, tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "qmp.sock")
    with FakeMonitor(path):
        for _number in range(2):
            host.run("maqet_qmp", socket=path, command="stop")
    (log,) = (tmp_path / "l").iterdir()
    log.rename(log.with_name("web.audit.jsonl"))
    whole = host.run("maqet_audit_info", vm="web").result
    assert (whole["verified"], whole["problem"], len(whole["records"])) == (True, None, 4)
    assert [record["seq"] for record in host.run("maqet_audit_info", vm="web", last=1).result["records"]] == [4]
    log = log.with_name("web.audit.jsonl")
    log.write_text(log.read_text().replace('"op":"stop"', '"op":"quit"', 1))
    broken = host.run("maqet_audit_info", vm="web").result
    assert (broken["verified"], broken["first_bad"]) == (False, 1)
    assert broken["problem"]
