# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runner's door: the modes of its socket, whom the kernel says is there, and what that one gets to hear."""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import socket
import stat
import struct
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard import journal
from ansible_collections.maqet.qemu.plugins.module_utils.guard.entry import Entry
from ansible_collections.maqet.qemu.plugins.module_utils.guard.gate import Gate
from ansible_collections.maqet.qemu.plugins.module_utils.guard.log import AuditLog
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import Policy, parse, unusable
from ansible_collections.maqet.qemu.plugins.module_utils.guard.record import VmIdentity
from ansible_collections.maqet.qemu.plugins.module_utils.guard.scope import Scope
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.events import Event
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import RunnerClient
from ansible_collections.maqet.qemu.plugins.module_utils.runner import server as room
from ansible_collections.maqet.qemu.plugins.module_utils.runner.server import Server
from ansible_collections.maqet.qemu.plugins.module_utils.runner.service import Service
from ansible_collections.maqet.qemu.tests.unit.guard.schemas import schema
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import PATIENCE, UUID, Message, records

HELLO = {"vm": "web", "uuid": UUID, "pid": 1, "digest": "d"}
ANN = (99, 1000, 1000)  # pid, uid, gid
ROLES = {"viewer": {"users": [1000], "groups": [20]}, "operator": {"groups": [30]}}


class Quiet:
    """A QEMU that answers everything with nothing."""

    last_event = 0

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def execute(self, command: str, _arguments: t.Any, _seconds: float, _passed: t.Any = ()) -> t.Any:
        self.heard.append(command)
        return {}

    async def run_state(self) -> str:
        return "running"

    def events(self, _since: int) -> list[Event]:
        return []

    def listen(self, _listener: t.Any) -> None:
        """Nothing happens here."""

    unlisten = listen


class Door:
    """A runner's server with a policy, and whom the kernel says is at the other end."""

    path = "/etc/maqet/policy.yml"

    def __init__(self, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.socket = str(folder / "runner.sock")
        self.log = folder / "web.audit.jsonl"
        self.qemu = Quiet()
        self.said(roles=ROLES)
        (folder / "output").mkdir()
        identity = VmIdentity("web", UUID, 4711, 99, "7.2.22", "/run/maqet/web/monitor.sock")
        self.gate = Gate(identity, Scope("web", str(folder), schema("7.2")), AuditLog(str(self.log)), "ipc", self)
        session = t.cast(t.Any, self.qemu)
        service = Service(session, self.gate, {"vm": "web", "uuid": UUID})
        self.server = Server(service, session, HELLO, Entry(self, self.gate.turn_away), 0o666)
        self.peer = ANN
        self.groups: tuple[int, ...] = (1000,)
        monkeypatch.setattr(room, "_peer", lambda _socket: self.peer)
        monkeypatch.setattr(room, "_groups", lambda _socket: self.groups)

    def said(self, **policy: t.Any) -> None:
        self.policy = parse({"version": 1, **policy}, self.path)

    def current(self) -> Policy:
        return self.policy

    def run(self, scenario: t.Callable[[], t.Coroutine[t.Any, t.Any, None]]) -> None:
        async def whole() -> None:
            await self.server.listen(self.socket)
            try:
                await asyncio.wait_for(scenario(), PATIENCE)
            finally:
                await self.server.close()

        asyncio.run(whole())

    async def say(self, *messages: Message, hello: bool = True) -> list[Message]:
        """A new client says these, one after another; what it hears, the hello not included."""
        reader, writer = await asyncio.open_unix_connection(self.socket)
        first = json.loads(await reader.readline())
        assert ("hello" in first) is hello
        heard = [] if hello else [first]
        for number, message in enumerate(messages if hello else ()):
            writer.write(json.dumps({"id": number, **message}).encode() + b"\n")
            heard.append(json.loads(await reader.readline()))
        if not hello:
            assert await reader.read() == b"", "it hangs up"
        writer.close()
        return heard


@pytest.fixture
def door(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Door:
    monkeypatch.setattr(journal, "SOCKET", str(tmp_path / "no-journal"))
    return Door(tmp_path, monkeypatch)


def qmp(command: str, **rest: t.Any) -> Message:
    return {"op": "qmp", "commands": [{"execute": command}], **rest}


@pytest.mark.parametrize("mode", [0o600, 0o666])
def test_the_sockets_mode_whatever_the_umask(door: Door, mode: int) -> None:
    door.server._mode = mode

    async def scenario() -> None:
        assert stat.S_IMODE(os.stat(door.socket).st_mode) == mode

    before = os.umask(0o077)
    try:
        door.run(scenario)
    finally:
        os.umask(before)


def test_a_stranger_hears_why_and_nothing_else_and_is_recorded_once(door: Door) -> None:
    door.peer = (99, 1001, 1001)

    async def scenario() -> None:
        for _attempt in range(3):
            (answer,) = await door.say(hello=False)
            assert set(answer) == {"error"}
            assert answer["error"]["error_code"] == "policy_denied"
            assert answer["error"]["message"].startswith("The runner does not talk to you: user 1001 has no role in")

    door.run(scenario)
    (record,) = records(str(door.log))
    assert (record["phase"], record["op"], record["decision"]) == ("deny", "connect", "deny")
    assert (record["uid"], record["peer"]) == (1001, {"pid": 99, "uid": 1001, "gid": 1001})
    assert door.qemu.heard == []


def test_a_strangers_request_that_came_at_once_is_not_even_read(door: Door) -> None:
    door.peer = (99, 1001, 1001)

    async def scenario() -> None:
        reader, writer = await asyncio.open_unix_connection(door.socket)
        writer.write(json.dumps({"id": 1, **qmp("quit")}).encode() + b"\n")
        lines = (await reader.read()).splitlines()
        assert [set(json.loads(line)) for line in lines] == [{"error"}]
        writer.close()

    door.run(scenario)
    assert door.qemu.heard == []


def test_our_own_client_reports_the_refusal(door: Door) -> None:
    door.peer = (99, 1001, 1001)

    async def scenario() -> None:
        with pytest.raises(MaqetError) as caught:
            await asyncio.to_thread(RunnerClient, door.socket, "web", PATIENCE)
        assert caught.value.error_code == "policy_denied"
        assert "viewer: {users: [1001]}" in caught.value.details["remedy"]

    door.run(scenario)


def test_a_viewer_looks_and_does_not_touch(door: Door) -> None:
    async def scenario() -> None:
        looked, stopped, status = await door.say(qmp("query-status"), qmp("stop"), {"op": "status"})
        assert looked["result"]["decisions"][0]["role"] == "viewer"
        assert (stopped["error"]["error_code"], stopped["error"]["decision"]["rule"]) == ("policy_denied", "role")
        assert status["result"]["vm"] == "web"

    door.run(scenario)
    assert door.qemu.heard == ["query-status"]
    assert [record["phase"] for record in records(str(door.log))][-1] == "deny"


def test_a_group_gives_a_role(door: Door) -> None:
    door.peer, door.groups = (99, 1001, 1001), (5, 30)

    async def scenario() -> None:
        stopped, quitted, ended = await door.say(qmp("stop"), qmp("quit"), qmp("blockdev-del"))
        assert "result" in stopped and "result" in quitted
        assert ended["error"]["error_code"] == "policy_denied"

    door.run(scenario)
    assert door.qemu.heard == ["stop", "quit"]


def test_nobodys_word_for_who_he_is_counts(door: Door) -> None:
    """Whatever the client asserts, under whatever name."""
    claims = {"uid": 0, "user": "root", "peer": {"uid": 0}, "groups": [30], "role": "admin"}

    async def scenario() -> None:
        (answer,) = await door.say(qmp("stop", context=claims, role="admin", groups=[30], uid=0))
        assert answer["error"]["error_code"] == "policy_denied"

    door.run(scenario)
    assert door.qemu.heard == []


def test_a_role_that_is_taken_away_ends_at_once_also_for_who_is_in(door: Door) -> None:
    async def scenario() -> None:
        reader, writer = await asyncio.open_unix_connection(door.socket)
        assert "hello" in json.loads(await reader.readline())
        door.said()
        for number, message in enumerate((qmp("query-status"), {"op": "status"}, {"op": "subscribe"})):
            writer.write(json.dumps({"id": number, **message}).encode() + b"\n")
            answer = json.loads(await reader.readline())
            assert answer["error"]["error_code"] == "policy_denied", message
        writer.close()

    door.run(scenario)
    assert door.qemu.heard == []


def test_a_policy_that_cannot_be_used_leaves_root_reading(door: Door) -> None:
    door.policy = unusable(door.path, "it is everybody's")

    async def scenario() -> None:
        (answer,) = await door.say(hello=False)
        assert "has no role while it is everybody's" in answer["error"]["message"]
        door.peer, door.groups = (99, 0, 0), (0,)
        looked, asked, stopped = await door.say(qmp("query-status"), qmp("query-version"), qmp("stop"))
        assert "result" in looked
        for answer in (asked, stopped):
            assert "it is everybody's" in answer["error"]["message"]

    door.run(scenario)
    assert door.qemu.heard == ["query-status"]


def test_what_fails_at_the_door_lets_nobody_in(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Policy:
        raise KeyError("a bug")

    monkeypatch.setattr(door, "current", broken)

    async def scenario() -> None:
        reader, writer = await asyncio.open_unix_connection(door.socket)
        assert await reader.read() == b""
        writer.close()

    door.run(scenario)


def test_whom_the_kernel_says_is_there() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert room._peer(ours) == (os.getpid(), os.geteuid(), os.getegid())
        assert set(room._groups(ours)) == set(os.getgroups())


def test_groups_that_cannot_be_told_are_none() -> None:
    class Full:
        def getsockopt(self, *_what: t.Any) -> bytes:
            raise OSError(34, "Numerical result out of range")

    class Some:
        def getsockopt(self, *_what: t.Any) -> bytes:
            return struct.pack("3I", 0, 20, 2**32 - 2)

    assert room._groups(t.cast(socket.socket, Full())) == ()
    assert room._groups(t.cast(socket.socket, Some())) == (0, 20, 2**32 - 2)
