# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What maqet_qmp does with its options: which way they go, what is refused before, and what is said after."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.vm import commands
from ansible_collections.maqet.qemu.plugins.module_utils.vm.commands import checked, run, shown, warnings
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import PATIENCE, FakeMonitor, Message, Refusal, records
from ansible_collections.maqet.qemu.tests.unit.vm.world import FakeVm

ACCEPTED = (
    "query-status send-key device_add system_powerdown screendump blockdev-add netdev_add a query-block-jobs "
    "x-query-roms"
).split()
REFUSED = [
    "", "QUERY-STATUS", "Query-status", "query status", " query-status", "query-status ", "quit; rm -rf /",
    "quit && ls", "$(id)", "`id`", "../quit", "quit|cat", "quit\nquit", "quit\n", "\nquit", "quit\x00", "\x00",
    "quït", "\uff51uit", "q" * 300, "{\"execute\": \"quit\"}",
]  # fmt: skip


@pytest.fixture(autouse=True)
def here(vm: FakeVm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "layout", lambda: vm.where)


def params(**given: t.Any) -> dict[str, t.Any]:
    defaults = {"vm": None, "socket": None, "command": None, "arguments": None, "commands": None, "mode": "ipc"}
    rest = {"timeout": PATIENCE, "allow_dangerous": False, "wait_for_event": None, "reason": ""}
    more = {"explain": False, "policy": None, "witness": None}
    return {**defaults, **rest, **more, **given}


def send(check: bool = False, **given: t.Any) -> Message:
    return run(checked(params(**given), check, {"task": "look"}, "maqet_qmp"))


def fails(check: bool = False, **given: t.Any) -> MaqetError:
    with pytest.raises(MaqetError) as caught:
        send(check, **given)
    return caught.value


@pytest.mark.parametrize("name", ACCEPTED)
def test_names_that_are_accepted(name: str) -> None:
    plan = checked(params(vm="web", command=name), False, {}, "me")
    assert [command["execute"] for command in plan.asked.commands] == [name]


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("where", [{"vm": "web"}, {"socket": "/nowhere/qmp.sock"}, {"vm": "../web"}])
@pytest.mark.parametrize("listed", [False, True])
def test_names_that_are_refused_before_any_vm_is_looked_up(
    tmp_path: pathlib.Path, name: str, where: dict[str, t.Any], listed: bool
) -> None:
    command: dict[str, t.Any] = {"command": name}
    if listed:
        command = {"commands": [{"command": "query-status", "arguments": None}, {"command": name, "arguments": None}]}
    error = fails(**where, **command)
    assert error.error_code == "invalid_command"
    assert "is not the name of a QMP command" in str(error)
    assert str(error).isascii() and str(error).isprintable()
    assert list(tmp_path.iterdir()) == []


def test_a_refused_name_is_recorded_where_the_vm_has_a_log(vm: FakeVm) -> None:
    os.makedirs(vm.paths.log)
    log = pathlib.Path(vm.paths.audit_log)
    log.touch(mode=0o600)
    error = fails(vm="web", command="quit; ls", reason="INC-1")
    assert error.error_code == "invalid_command"
    assert [(record["phase"], record["op"], record["decision"]) for record in records(log)] == [
        ("deny", "'quit; ls'", "deny")
    ]
    assert error.details["audit"] == records(log)
    fails(True, vm="web", command="quit; ls")
    assert len(records(log)) == 1


@pytest.mark.parametrize("seconds", [0, -1, -0.5])
def test_no_time(seconds: float) -> None:
    error = fails(vm="web", command="query-status", timeout=seconds)
    assert (error.error_code, error.details["option"]) == ("invalid_option", "timeout")


def test_one_command(vm: FakeVm) -> None:
    vm.define()
    vm.start()
    assert send(vm="web", command="stop") == {
        "changed": True,
        "decision": {},
        "response": {},
        "audit": [{"op": "stop", "reason": ""}],
        "events": [],
    }


def test_a_list(vm: FakeVm) -> None:
    vm.define()
    vm.start()
    listed = [{"command": "stop", "arguments": None}, {"command": "query-status", "arguments": {}}]
    answer = send(vm="web", commands=listed)
    assert vm.heard == ["stop", "query-status"]
    assert answer["responses"] == [{}, {}]
    assert "response" not in answer


@pytest.mark.parametrize(
    ("command", "changed"),
    [("query-status", False), ("query-commands", False), ("query-block", False), ("stop", True), ("send-key", True)],
)
def test_what_counts_as_a_change(vm: FakeVm, command: str, changed: bool) -> None:
    vm.start()
    assert send(vm="web", command=command)["changed"] is changed
    listed = [{"command": "query-status", "arguments": None}, {"command": command, "arguments": None}]
    assert send(vm="web", commands=listed)["changed"] is changed


@pytest.mark.parametrize(
    ("state", "code"), [("absent", "vm_not_found"), ("stopped", "vm_not_running"), ("alone", "runner_unreachable")]
)
@pytest.mark.parametrize("mode", ["ipc", "direct"])
def test_a_vm_that_does_not_answer(vm: FakeVm, state: str, code: str, mode: str) -> None:
    if state != "absent":
        vm.define()
    if state == "alone":
        vm.start()
        os.unlink(vm.paths.runner_socket)
    error = fails(vm="web", command="query-status", mode=mode)
    assert error.error_code == ("socket_not_found" if (state, mode) == ("alone", "direct") else code)
    assert error.details["changed"] is False
    assert not os.path.exists(vm.paths.audit_log)


def test_past_the_runner(vm: FakeVm) -> None:
    vm.define()
    vm.start()
    os.unlink(vm.paths.runner_socket)
    assert vm.qemu is not None
    with FakeMonitor(vm.paths.direct_socket) as fake:
        answer = send(vm="web", command="quit", mode="direct")
        fake.hung_up.get(timeout=PATIENCE)
    assert answer["response"] == {}
    assert answer["changed"] is True
    assert {record["vm_pid"] for record in records(vm.paths.audit_log)} == {vm.qemu.pid}
    assert not [name for name in os.listdir(vm.where.run) if name.startswith("@")]


def test_a_qemu_of_somebody_else(vm: FakeVm, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "qmp.sock"
    with FakeMonitor(path, {"device_del": Refusal("DeviceNotFound", "no")}) as fake:
        assert send(socket=str(path), command="query-status")["response"]["running"] is True
        error = fails(socket=str(path), command="device_del", arguments={"id": "x"})
        assert error.error_code == "qmp_error"
        assert error.details["changed"] is False
        dump = fails(socket=str(path), command="pmemsave", arguments={"val": 0, "size": 1, "filename": "x"})
        assert dump.error_code == "policy_denied"
        for _client in range(3):
            fake.hung_up.get(timeout=PATIENCE)
    name = "@" + str(path).strip("/").replace("/", "-")
    assert os.listdir(vm.where.log) == [f"{name}.audit.jsonl"]
    assert [record["phase"] for record in records(os.path.join(vm.where.log, f"{name}.audit.jsonl"))] == [
        "intent", "result", "intent", "result", "deny",
    ]  # fmt: skip


def test_a_list_that_fails_in_the_middle_is_a_change(vm: FakeVm, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "qmp.sock"
    listed: list[dict[str, t.Any]] = [{"command": name, "arguments": None} for name in ("stop", "device_del", "cont")]
    listed[1]["arguments"] = {"id": "x"}
    with FakeMonitor(path, {"device_del": Refusal("DeviceNotFound", "no")}) as fake:
        error = fails(socket=str(path), commands=listed)
    assert error.details["changed"] is True
    assert error.details["responses"] == [{}]
    assert fake.commands[-1] == "device_del"


@pytest.mark.parametrize("how", [{"check": True}, {"explain": True}])
def test_check_mode_and_explaining_touch_nothing(vm: FakeVm, tmp_path: pathlib.Path, how: dict[str, t.Any]) -> None:
    path = tmp_path / "qmp.sock"
    with FakeMonitor(path) as fake:
        answer = send(socket=str(path), command="quit", **how)
        assert answer["decision"]["decision"] == "allow"
        assert "response" not in answer
        fake.hung_up.get(timeout=PATIENCE)
    assert fake.commands == ["query-qmp-schema", "query-uuid"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["qmp.sock"]


def test_a_warning_for_what_can_hurt(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "qmp.sock"
    listed = [{"command": name, "arguments": None} for name in ("query-status", "system_powerdown", "cont")]
    with FakeMonitor(path):
        plan = checked(params(socket=str(path), commands=listed), False, {}, "me")
        assert warnings(run(plan), plan) == [
            "system_powerdown is of the class availability; it is audited as a warning."
        ]


def test_what_a_result_may_repeat() -> None:
    secret = {"protocol": "vnc", "password": "hunter22"}
    redacted = {"protocol": "vnc", "password": {"redacted": True, "len": 8}}
    assert shown(params(command="set_password", arguments=secret)) == ({"arguments": redacted}, {"hunter22"})
    listed = [{"command": "query-status", "arguments": None}, {"command": "set_password", "arguments": secret}]
    clean, hidden = shown(params(commands=listed))
    assert [item["arguments"] for item in clean["commands"]] == [{}, redacted]
    assert hidden == {"hunter22"}
    assert shown(params(command="query-status")) == ({}, set())
