# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runner's door: a real socket, real credentials, and a policy that changes meanwhile."""

from __future__ import annotations

import asyncio
import os
import pathlib
import socket
import stat
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import Caller
from ansible_collections.maqet.qemu.plugins.module_utils.guard.entry import Entry
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import BUILTIN, Policy, parse
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import RunnerClient
from ansible_collections.maqet.qemu.plugins.module_utils.runner import server as room
from ansible_collections.maqet.qemu.plugins.module_utils.runner.server import Server

STRANGER = 4242
VIEWER = parse({"version": 1, "roles": {"viewer": {"groups": [4343]}}}, "test")
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")


class Host:
    """The policy, the service and the log of a runner; each as simple as can be."""

    path = "/etc/maqet/policy.yml"

    def __init__(self) -> None:
        self.policy: Policy = VIEWER
        self.turned_away: list[tuple[Caller, t.Any]] = []
        self.asked: list[Caller] = []

    def current(self) -> Policy:
        return self.policy

    def turn_away(self, caller: Caller, verdict: t.Any) -> None:
        self.turned_away.append((caller, verdict))

    async def status(self) -> dict[str, t.Any]:
        return {"run_state": "running"}

    async def qmp(self, _message: t.Any, caller: Caller) -> dict[str, t.Any]:
        self.asked.append(caller)
        return {}

    def unlisten(self, _listener: t.Any) -> None:
        """No events here."""

    def run(self, path: str, scenario: t.Callable[[], t.Any], mode: int = 0o666) -> t.Any:
        """The scenario in a thread, while the server serves."""

        async def whole() -> t.Any:
            me = t.cast(t.Any, self)
            server = Server(me, me, {"vm": "web"}, Entry(me, self.turn_away), mode)
            await server.listen(path)
            try:
                return await asyncio.to_thread(scenario)
            finally:
                await server.close()

        return asyncio.run(whole())


@pytest.fixture
def path(tmp_path: pathlib.Path) -> t.Iterator[str]:
    folder = tmp_path
    while folder != pathlib.Path("/") and os.geteuid() == 0 and folder.stat().st_uid == 0 and folder.name != "tmp":
        folder.chmod(folder.stat().st_mode | 0o011)  # the stranger must come as far as the socket
        folder = folder.parent
    yield str(tmp_path / "runner.sock")


def as_stranger(groups: t.Sequence[int], act: t.Callable[[], str]) -> str:
    """What `act` returns in a child that is user 4242 with these groups."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(list(groups))
            os.setresgid(STRANGER, STRANGER, STRANGER)
            os.setresuid(STRANGER, STRANGER, STRANGER)
            os.write(writer, act().encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        words = file.read().decode()
    os.waitpid(child, 0)
    return words


def ask(path: str) -> str:
    try:
        with RunnerClient(path, "web", 30) as client:
            return str(client.request("status")["run_state"])
    except MaqetError as error:
        return f"{error.error_code}: {error}"


@ROOT_ONLY
def test_a_stranger_is_refused_before_the_hello_and_recorded_once(path: str) -> None:
    host = Host()

    def scenario() -> list[str]:
        return [as_stranger([], lambda: ask(path)) for _time in range(3)] + [ask(path)]

    *refused, root = host.run(path, scenario)
    assert root == "running"
    assert all(
        words.startswith(f"policy_denied: The runner does not talk to you: user {STRANGER} has no role in {host.path}")
        for words in refused
    )
    ((caller, verdict),) = host.turned_away
    assert (caller.uid, verdict.rule) == (STRANGER, "no-role")
    assert caller.peer is not None and caller.peer["uid"] == STRANGER


@ROOT_ONLY
def test_supplementary_groups_count(path: str) -> None:
    host = Host()
    assert host.run(path, lambda: as_stranger([17, 4343], lambda: ask(path))) == "running"
    assert host.turned_away == []


def test_a_role_that_is_taken_away_ends_at_the_next_request(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host()
    real = room._peer
    monkeypatch.setattr(room, "_peer", lambda connected: (real(connected)[0], STRANGER, 4343))

    def scenario() -> str:
        with RunnerClient(path, "web", 30) as client:
            assert client.request("status") == {"run_state": "running"}
            assert client.request("qmp") == {}
            host.policy = BUILTIN
            with pytest.raises(MaqetError, match="has no role") as caught:
                client.request("status")
            with pytest.raises(MaqetError, match="has no role"):
                client.request("subscribe")
            host.policy = VIEWER
            assert client.request("status") == {"run_state": "running"}
        return caught.value.error_code

    assert host.run(path, scenario) == "policy_denied"
    assert 4343 in host.asked[0].groups


@pytest.mark.parametrize("mode", [0o600, 0o666])
def test_the_mode_of_the_socket(path: str, mode: int) -> None:
    found = Host().run(path, lambda: stat.S_IMODE(os.stat(path).st_mode), mode)
    assert found == mode


def test_groups_that_the_kernel_does_not_tell() -> None:
    left, right = socket.socketpair()
    with left, right:
        assert set(os.getgroups()) == set(room._groups(left))

    class Silent:
        def getsockopt(self, *_arguments: int) -> bytes:
            raise OSError(34, "Numerical result out of range")

    assert room._groups(t.cast(t.Any, Silent())) == ()
