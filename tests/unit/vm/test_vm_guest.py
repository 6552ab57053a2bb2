# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What maqet_guest makes of its options and of what a runner hands on."""

from __future__ import annotations

import base64
import os
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.files import remove
from ansible_collections.maqet.qemu.plugins.module_utils.vm import guest, guest_deeds
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import PATIENCE, FakeServer, Message, runner
from ansible_collections.maqet.qemu.tests.unit.vm.world import FakeVm

SECRET = "Tr0ub4dor-and-3"
ALLOWED = {"decision": "allow", "class": "read", "rule": "class-read", "reason": "", "level": "info"}
DONE: Message = {"exited": True, "exitcode": 0}


def coded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def params(**given: t.Any) -> Message:
    program = given.get("exec")
    if program is not None:
        given["exec"] = {"path": None, "argv": None, "env": None, "input": None, "capture": True, **program}
    options = dict.fromkeys(("command", "arguments", "commands", "exec", *guest_deeds.FORMS))
    rest = {"timeout": PATIENCE, "allow_dangerous": False, "explain": False, "wait_for_agent": False}
    return {"vm": "web", **options, **rest, "max_reply": "16M", "reason": "", **given}


class Desk:
    """A runner that answers as a test says; ``heard`` is what it was asked."""

    def __init__(self, vm: FakeVm, monkeypatch: pytest.MonkeyPatch) -> None:
        self.vm = vm
        self.heard: list[Message] = []
        self.error: t.Optional[Message] = None
        monkeypatch.setattr(guest, "layout", lambda: vm.where)

    def ask(self, *responses: t.Any, check: bool = False, **given: t.Any) -> Message:
        plan = guest.checked(params(**given), check, {"task": "look"})
        os.makedirs(self.vm.paths.run, exist_ok=True)
        remove(self.vm.paths.runner_socket)  # of the test's last question

        def answer(message: Message) -> list[Message]:
            self.heard.append(message)
            if self.error:
                return [{"id": message["id"], "error": self.error}]
            decisions = [ALLOWED for _command in message["commands"]]
            result = {"decisions": decisions, "responses": list(responses), "audit": [{"seq": 1}], "events": []}
            return [{"id": message["id"], "result": result}]

        with FakeServer(self.vm.paths.runner_socket, runner(answer)):
            return guest.run(plan)

    def fails(self, *responses: t.Any, **given: t.Any) -> MaqetError:
        with pytest.raises(MaqetError) as caught:
            self.ask(*responses, **given)
        return caught.value


@pytest.fixture
def desk(vm: FakeVm, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(vm, monkeypatch)


def test_one_command(desk: Desk) -> None:
    result = desk.ask(5, command="guest-get-time", wait_for_agent=True, max_reply="1M", allow_dangerous=True)
    assert result == {"changed": False, "decision": ALLOWED, "response": 5, "audit": [{"seq": 1}], "events": []}
    (message,) = desk.heard
    assert message["op"] == "guest" and message["commands"] == [{"execute": "guest-get-time", "arguments": {}}]
    assert (message["max_reply"], message["wait_agent"], message["allow_dangerous"]) == (1 << 20, True, True)
    assert (message["wait_exit"], message["context"], message["timeout"]) == (False, {"task": "look"}, PATIENCE)


def test_a_list(desk: Desk) -> None:
    listed = [{"command": "guest-fsfreeze-thaw", "arguments": None}, {"command": "guest-ping", "arguments": {}}]
    result = desk.ask(0, {}, commands=listed)
    assert (result["changed"], result["responses"], len(result["decisions"])) == (True, [0, {}], 2)


@pytest.mark.parametrize(
    ("command", "changed"),
    [("guest-ping", False), ("guest-get-fsinfo", False), ("guest-file-read", False), ("guest-exec-status", False),
     ("guest-fstrim", True), ("guest-shutdown", True), ("guest-file-open", True), ("guest-exec", True)],
)  # fmt: skip
def test_what_counts_as_a_change(desk: Desk, command: str, changed: bool) -> None:
    assert desk.ask({}, command=command)["changed"] is changed
    assert desk.ask(command=command, check=True)["changed"] is changed
    assert desk.ask(command=command, explain=True)["changed"] is False


def test_a_program(desk: Desk) -> None:
    status = {**DONE, "out-data": coded("grün\n".encode()), "err-data": coded(b"\xc3("), "err-truncated": True}
    program = {"argv": ["/bin/sh", "-c", "x"], "env": {"A": "b=c"}, "input": "ä"}
    result = desk.ask({"pid": 7}, status, exec=program)
    assert (result["rc"], result["stdout"], result["stderr"], result["pid"]) == (0, "grün\n", "\ufffd(", 7)
    assert (result["stdout_truncated"], result["stderr_truncated"], result["changed"]) == (False, True, True)
    (message,) = desk.heard
    assert message["wait_exit"] is True
    assert message["commands"][0]["arguments"] == {
        "path": "/bin/sh",
        "arg": ["-c", "x"],
        "env": ["A=b=c"],
        "input-data": coded("ä".encode()),
        "capture-output": True,
    }


@pytest.mark.parametrize(
    ("status", "rc", "word"),
    [
        ({"exited": True, "exitcode": 3, "out-data": coded(b"so")}, 3, "status 3"),
        ({"exited": True, "signal": 9, "out-data": coded(b"so")}, -9, "signal 9"),
        ({"exited": True, "out-data": coded(b"so")}, None, "status None"),
    ],
)
def test_a_program_that_fails(desk: Desk, status: Message, rc: t.Any, word: str) -> None:
    error = desk.fails({"pid": 7}, status, exec={"path": "/bin/x"})
    assert error.error_code == "guest_exit" and word in str(error)
    assert (error.details["rc"], error.details["stdout"], error.details["changed"]) == (rc, "so", True)
    assert error.details["audit"] == [{"seq": 1}]


@pytest.mark.parametrize("status", [None, [], "x", {"out-data": 7}, {"out-data": "!"}, {"err-data": "ü"}])
def test_a_status_that_is_none(desk: Desk, status: t.Any) -> None:
    assert desk.fails({"pid": 7}, status, exec={"path": "/bin/x"}).error_code == "guest_unreachable"


@pytest.mark.parametrize(
    ("details", "changed"),
    [
        ({"responses": [], "sent": False}, False),
        ({"responses": [], "sent": True}, True),
        ({"responses": [1], "sent": False}, True),
        ({}, False),
    ],
)
def test_a_failure_says_whether_something_may_have_changed(desk: Desk, details: Message, changed: bool) -> None:
    desk.error = {"error_code": "guest_timeout", "message": "late", "decisions": [ALLOWED], **details}
    error = desk.fails(command="guest-fstrim")
    assert (error.error_code, error.details["changed"], error.details["decision"]) == (
        "guest_timeout",
        changed,
        ALLOWED,
    )


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"command": "guest-ping", "timeout": 0}, "timeout"),
        ({"command": "guest-ping", "vm": "../web"}, "name"),
        ({"command": "guest-ping", "max_reply": "1G"}, "max_reply"),
        ({"command": "guest-ping", "max_reply": "many"}, "max_reply"),
        ({"exec": {"argv": []}}, "exec.argv"),
    ],
)
def test_options_that_cannot_be(desk: Desk, given: Message, option: str) -> None:
    error = desk.fails(**given)
    assert (error.error_code, error.details["option"]) == ("invalid_option", option)
    assert desk.heard == []


def test_no_runner(vm: FakeVm, desk: Desk) -> None:
    plan = guest.checked(params(command="guest-ping"), False, {})
    with pytest.raises(MaqetError) as caught:
        guest.run(plan)
    assert caught.value.error_code == "vm_not_found"
    vm.define()
    with pytest.raises(MaqetError) as caught:
        guest.run(plan)
    assert caught.value.error_code == "vm_not_running"


def test_what_of_the_options_is_shown() -> None:
    program: Message = {"argv": ["/bin/test", SECRET], "env": {"A": SECRET}, "input": SECRET}
    clean, hidden = guest.shown(params(exec=program))
    assert SECRET not in repr(clean) and hidden == set()
    assert clean["exec"]["path"] == "/bin/test" and clean["exec"]["argv"]["len"] == 1
    password: Message = {"username": "root", "password": coded(SECRET.encode()), "crypted": False}
    for given in (
        {"command": "guest-set-user-password", "arguments": password},
        {"commands": [{"command": "guest-set-user-password", "arguments": password}]},
    ):
        clean, hidden = guest.shown(params(**given))
        assert password["password"] not in repr(clean) and "root" in repr(clean)
        assert hidden == {password["password"], SECRET}
        plan = guest.checked(params(**given, reason=f"it was {SECRET}"), False, {})
        assert SECRET not in plan.fields["reason"]


def test_warnings() -> None:
    plan = guest.checked(params(command="guest-shutdown"), False, {})
    (text,) = guest.warnings({"decision": {**ALLOWED, "level": "warning", "class": "availability"}}, plan)
    assert "guest-shutdown is of the class availability" in text
    assert guest.warnings({"decision": ALLOWED}, plan) == []


@pytest.mark.parametrize("mode", [0o644, 644, "rw-r--r--", "98"])
def test_a_mode_is_octal_digits_as_they_were_written(mode: t.Any) -> None:
    """Without quotes YAML makes 420 of 0644, whose digits are another mode."""
    put = {"content": "x", "src": None, "dest": "/etc/x", "mode": mode}
    with pytest.raises(MaqetError, match=r"put\.mode: .* in quotes"):
        guest.checked(params(put=put), False, {})
    guest.checked(params(put={**put, "mode": "0644"}), False, {})
