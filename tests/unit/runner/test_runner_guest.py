# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operation ``guest``: the real guard and log, and an agent that is a few lines."""

from __future__ import annotations

import asyncio
import pathlib
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import Caller
from ansible_collections.maqet.qemu.plugins.module_utils.guard.gate import Gate
from ansible_collections.maqet.qemu.plugins.module_utils.guard.log import AuditLog
from ansible_collections.maqet.qemu.plugins.module_utils.guard.record import VmIdentity
from ansible_collections.maqet.qemu.plugins.module_utils.guard.scope import Scope
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.refusal import QmpError
from ansible_collections.maqet.qemu.plugins.module_utils.runner import guest as room
from ansible_collections.maqet.qemu.plugins.module_utils.runner.guest import GuestDesk
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import Message, records


class FakeAgent:
    """Says what a test has put into ``answers``, by command, one after another."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, t.Any, int, bool]] = []
        self.answers: dict[str, list[t.Any]] = {}
        self.waited: list[bool] = []  # for whom: whether it would be given up if its client hung up

    async def execute(
        self,
        command: str,
        arguments: Message,
        seconds: float,
        max_reply: int,
        wait: bool,
        gone: t.Optional[asyncio.Event],
    ) -> t.Any:
        self.asked.append((command, arguments, max_reply, wait))
        self.waited.append(gone is not None)
        assert 0 < seconds <= 30
        answers = self.answers.get(command)
        answer = answers.pop(0) if answers else {}
        if isinstance(answer, Exception):
            raise answer
        return answer


class FakeSession:
    last_event = 0

    def events(self, since: int) -> list[Message]:
        return [{"seq": 1, "event": "STOP"}]


class World:
    def __init__(self, folder: pathlib.Path) -> None:
        self.log = folder / "web.audit.jsonl"
        self.agent: t.Optional[FakeAgent] = FakeAgent()
        self.gate = Gate(VmIdentity("web"), Scope(), AuditLog(str(self.log)), "ipc")

    def ask(self, *commands: t.Union[str, Message], **fields: t.Any) -> Message:
        listed = [{"execute": one} if isinstance(one, str) else one for one in commands]
        desk = GuestDesk(t.cast(t.Any, self.agent), self.gate, t.cast(t.Any, FakeSession()))
        return asyncio.run(desk.serve({"commands": listed, **fields}, Caller(uid=0)))

    def ask_and_leave(self, *commands: t.Union[str, Message], **fields: t.Any) -> Message:
        """The same by a client that is gone by then."""
        listed = [{"execute": one} if isinstance(one, str) else one for one in commands]
        desk = GuestDesk(t.cast(t.Any, self.agent), self.gate, t.cast(t.Any, FakeSession()))

        async def whole() -> Message:
            gone = asyncio.Event()
            gone.set()
            return await desk.serve({"commands": listed, **fields}, Caller(uid=0), gone)

        return asyncio.run(whole())

    def fails(self, code: str, *commands: t.Union[str, Message], **fields: t.Any) -> MaqetError:
        with pytest.raises(MaqetError) as caught:
            self.ask(*commands, **fields)
        assert caught.value.error_code == code, caught.value
        return caught.value

    @property
    def recorded(self) -> list[tuple[str, str, t.Optional[str]]]:
        return [(record["op"], record["phase"], record.get("res")) for record in records(self.log)]


@pytest.fixture
def world(tmp_path: pathlib.Path) -> World:
    return World(tmp_path)


EXEC: Message = {"execute": "guest-exec", "arguments": {"path": "/bin/ls", "arg": ["-l", "hidden-word"]}}


def test_a_list(world: World) -> None:
    assert world.agent
    world.agent.answers = {"guest-get-time": [5]}
    answer = world.ask("guest-ping", "guest-get-time", max_reply=99, wait_agent=True)
    assert answer["responses"] == [{}, 5] and answer["events"] == [{"seq": 1, "event": "STOP"}]
    assert [verdict["class"] for verdict in answer["decisions"]] == ["introspect", "read"]
    assert world.agent.asked == [("guest-ping", {}, 99, True), ("guest-get-time", {}, 99, True)]
    assert [record["virt"] for record in records(world.log)] == ["qga"] * 4
    assert answer["audit"] == records(world.log)


def test_a_denial_is_recorded_and_nothing_is_sent(world: World) -> None:
    error = world.fails("policy_denied", "guest-ping", EXEC)
    assert "command 2 of 2" in str(error) and error.details["decision"]["class"] == "guest-exec"
    assert world.agent and world.agent.asked == []
    assert world.recorded == [("guest-exec", "deny", "failed")]
    assert "hidden-word" not in world.log.read_text() and records(world.log)[0]["args"]["path"] == "/bin/ls"


def test_qmp_commands_are_none_of_the_agents(world: World) -> None:
    world.fails("policy_denied", "query-status", allow_dangerous=True)
    world.fails("invalid_command", "guest-ping\n")


@pytest.mark.parametrize("word", ["check", "explain"])
def test_verdicts_without_a_trace(world: World, word: str) -> None:
    answer = world.ask(EXEC, allow_dangerous=True, wait_exit=True, **{word: True})
    assert [verdict["decision"] for verdict in answer["decisions"]] == ["allow", "allow"]
    assert (answer["responses"], answer["audit"]) == ([], [])
    if word == "check":
        world.fails("policy_denied", EXEC, check=True)
    else:
        assert [verdict["decision"] for verdict in world.ask(EXEC, explain=True)["decisions"]] == ["deny"]
    assert world.agent and world.agent.asked == [] and not world.log.exists()


def test_a_program_is_asked_about_until_it_has_ended(world: World) -> None:
    """One intent and one result for the question, however often it was put."""
    assert world.agent
    going, done = {"exited": False}, {"exited": True, "exitcode": 0}
    world.agent.answers = {"guest-exec": [{"pid": 7}], "guest-exec-status": [going, going, done]}
    answer = world.ask(EXEC, allow_dangerous=True, wait_exit=True)
    assert answer["responses"] == [{"pid": 7}, done]
    assert [command for command, *_rest in world.agent.asked] == ["guest-exec"] + ["guest-exec-status"] * 3
    assert world.agent.asked[-1][1] == {"pid": 7}
    assert world.recorded == [
        ("guest-exec", "intent", None),
        ("guest-exec", "result", "success"),
        ("guest-exec-status", "intent", None),
        ("guest-exec-status", "result", "success"),
    ]


def test_a_client_that_is_gone_asks_no_more(world: World) -> None:
    """Its program goes on, and the record says that nobody knows of its end; an address nobody needs."""
    assert world.agent
    world.agent.answers = {"guest-exec": [{"pid": 7}], "guest-exec-status": [{"exited": False}] * 2, INTERFACES: [[]]}
    with pytest.raises(MaqetError, match="goes on in the guest as process 7") as caught:
        world.ask_and_leave(EXEC, allow_dangerous=True, wait_exit=True)
    assert caught.value.error_code == "client_gone"
    with pytest.raises(MaqetError, match="hung up") as caught:
        world.ask_and_leave(INTERFACES, wait_address={"family": "any", "macs": [CARD]})
    assert caught.value.error_code == "client_gone"
    assert [command for command, *_rest in world.agent.asked] == ["guest-exec", "guest-exec-status", INTERFACES]
    assert [entry[2] for entry in world.recorded] == [None, "success", None, "failed", None, "failed"]
    assert "hung up" in records(world.log)[-1]["error"]


def test_a_list_that_has_begun_is_carried_through(world: World) -> None:
    """A guest whose file systems a list has frozen must see the rest of it."""
    assert world.agent
    world.ask_and_leave("guest-ping", "guest-get-time", "guest-ping")
    assert world.agent.waited == [True, False, False] and len(world.agent.asked) == 3


def test_a_program_that_does_not_end(world: World) -> None:
    assert world.agent
    world.agent.answers = {"guest-exec": [{"pid": 7}], "guest-exec-status": [{"exited": False}] * 99}
    error = world.fails("guest_timeout", EXEC, allow_dangerous=True, wait_exit=True, timeout=0.5)
    assert error.details["pid"] == 7 and error.details["responses"] == [{"pid": 7}] and "process 7" in str(error)


@pytest.mark.parametrize("started", [{}, [], None, {"pid": "7"}, {"pid": True}, {"pid": -1}, {"pid": 1 << 70}])
def test_a_process_that_is_none(world: World, started: t.Any) -> None:
    assert world.agent
    world.agent.answers = {"guest-exec": [started]}
    error = world.fails("guest_unreachable", EXEC, allow_dangerous=True, wait_exit=True)
    assert len(error.details["responses"]) == 1


def test_a_refusal_ends_the_list(world: World) -> None:
    assert world.agent
    world.agent.answers = {"guest-get-load": [QmpError("CommandNotFound", "no such thing")]}
    error = world.fails("guest_error", "guest-ping", "guest-get-load", "guest-info")
    assert (error.details["guest_class"], error.details["responses"]) == ("CommandNotFound", [{}])
    assert "--block-rpcs" in str(error)
    assert world.recorded[-1] == ("guest-get-load", "result", "failed") and len(world.recorded) == 4


def test_answers_that_do_not_fit_together(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_MAX_ANSWERS", 1000)
    assert world.agent
    world.agent.answers = {"guest-get-osinfo": ["\ufffd" * 100, "\ufffd" * 100]}
    error = world.fails("guest_reply_too_large", "guest-get-osinfo", "guest-get-osinfo")
    assert len(error.details["responses"]) == 1


def test_a_vm_without_a_port(world: World) -> None:
    world.agent = None
    error = world.fails("guest_agent_unavailable", "guest-ping")
    assert "agent: true" in str(error) and error.details["sent"] is False
    assert world.recorded[-1] == ("guest-ping", "result", "failed")


@pytest.mark.parametrize(
    "fields",
    [
        {"timeout": 0},
        {"timeout": "1"},
        {"max_reply": 0},
        {"max_reply": True},
        {"max_reply": 1 << 40},
        {"wait_exit": True},
    ],
)
def test_bad_requests(world: World, fields: Message) -> None:
    world.fails("invalid_request", "guest-ping", **fields)
    assert not world.log.exists()


INTERFACES = "guest-network-get-interfaces"
CARD = "52:54:00:12:34:56"


def interfaces(*told: str) -> list[Message]:
    return [{"name": "eth0", "hardware-address": CARD, "ip-addresses": [{"ip-address": one} for one in told]}]


def test_an_address_is_asked_for_until_there_is_one(world: World) -> None:
    """One intent and one result for the question, however often it was put."""
    assert world.agent
    world.agent.answers = {INTERFACES: [[], interfaces("fe80::1"), interfaces("fe80::1", "192.0.2.10")]}
    answer = world.ask(INTERFACES, wait_address={"family": "any", "macs": [CARD]}, wait_agent=True)
    assert answer["responses"] == [interfaces("fe80::1", "192.0.2.10")]
    assert len(world.agent.asked) == 3
    assert world.recorded == [(INTERFACES, "intent", None), (INTERFACES, "result", "success")]


@pytest.mark.parametrize("wanted", [{"family": "ipv6", "macs": []}, {"family": "any", "macs": ["52:54:00:00:00:00"]}])
def test_an_address_that_does_not_come(world: World, wanted: Message) -> None:
    """Of another family, or of another card."""
    assert world.agent
    world.agent.answers = {INTERFACES: [interfaces("192.0.2.10")] * 99}
    error = world.fails("guest_timeout", INTERFACES, wait_address=wanted, timeout=0.2)
    assert "eth0 192.0.2.10" in str(error) and error.details["addresses"][0]["address"] == "192.0.2.10"


def test_the_last_word_is_kept_when_the_agent_falls_silent(world: World) -> None:
    assert world.agent
    silence = MaqetError("no answer", "guest_timeout")
    world.agent.answers = {INTERFACES: [interfaces("fe80::1"), silence]}
    error = world.fails("guest_timeout", INTERFACES, wait_address={"family": "any", "macs": []})
    assert "eth0 fe80::1" in str(error)
    world.agent.answers = {INTERFACES: [silence]}
    assert "no answer" in str(world.fails("guest_timeout", INTERFACES, wait_address={"family": "any", "macs": []}))


@pytest.mark.parametrize(
    ("commands", "wanted"),
    [
        (("guest-ping",), {"family": "any", "macs": []}),
        ((INTERFACES, INTERFACES), {"family": "any", "macs": []}),
        ((INTERFACES,), True),
        ((INTERFACES,), {"family": "ipx", "macs": []}),
        ((INTERFACES,), {"family": "any", "macs": ["x"]}),
        ((INTERFACES,), {"family": "any", "macs": "x"}),
        ((INTERFACES,), {"family": []}),
    ],
)
def test_a_wish_for_an_address_that_is_none(world: World, commands: tuple[str, ...], wanted: t.Any) -> None:
    world.fails("invalid_request", *commands, wait_address=wanted)
    assert world.agent and world.agent.asked == []
