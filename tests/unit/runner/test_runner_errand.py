# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open files that the runner hands to QEMU: each command gets its own, and none is left, whatever happens."""

from __future__ import annotations

import asyncio
import os
import pathlib
import queue
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.passing import How, Passed
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.refusal import QmpError
from ansible_collections.maqet.qemu.plugins.module_utils.runner.errand import OPAQUE
from ansible_collections.maqet.qemu.plugins.module_utils.runner.session import Session
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import (
    PATIENCE,
    Answer,
    Client,
    Descriptors,
    FakeMonitor,
    Message,
    Refusal,
)

pytest.importorskip("qemu.qmp")


class Stage:
    """A session with a QEMU that takes descriptors; everything that was opened is closed at the end."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.theirs = Descriptors()
        self.commands: list[str] = []
        self.received: list[Message] = []

    def play(self, scenario: t.Callable[[Session], t.Coroutine[t.Any, t.Any, None]], **answers: Answer) -> None:
        before = os.listdir("/proc/self/fd")
        named = {name.replace("_", "-"): answer for name, answer in answers.items()}
        with FakeMonitor(self.folder / "monitor.sock", {**self.theirs.answers, **named}) as fake:

            async def whole() -> None:
                session = Session("web")
                await session.connect(fake.path)
                try:
                    await asyncio.wait_for(scenario(session), PATIENCE)
                finally:
                    await session.close()

            asyncio.run(whole())
        self.received = [message for message in fake.received if not message["execute"].startswith("query-")]
        self.commands = [message["execute"] for message in self.received]
        for fd in (*self.theirs.sets.values(), *self.theirs.names.values()):
            os.close(fd)
        assert os.listdir("/proc/self/fd") == before

    def opened(self, arguments: dict[str, t.Any], key: str, how: How = "procfd") -> Passed:
        fd = os.open(self.folder / key, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return Passed(fd, how, lambda text: arguments.update({key: text}))

    def open(self, key: str) -> bool:
        """Whether this process has the file open, as QEMU's fake does with what was sent."""
        folder = pathlib.Path("/proc/self/fd")
        return any(os.path.realpath(entry) == str(self.folder / key) for entry in folder.iterdir())

    def identity(self, key: str) -> tuple[int, int]:
        status = os.stat(self.folder / key)
        return status.st_dev, status.st_ino


@pytest.fixture
def stage(tmp_path: pathlib.Path) -> Stage:
    return Stage(tmp_path)


def test_the_command_gets_the_names_that_qemu_gave(stage: Stage) -> None:
    arguments: dict[str, t.Any] = {"keep": 1}

    async def scenario(session: Session) -> None:
        kinds: dict[str, How] = {"a": "procfd", "b": "fdset", "c": "getfd"}
        passed = [stage.opened(arguments, key, how) for key, how in kinds.items()]
        assert await session.execute("send-key", arguments, PATIENCE, passed) == {"sent": 1}
        await session.run_state()  # what lets go has been sent before it

    stage.play(scenario, send_key={"sent": 1})
    assert arguments == {"keep": 1, "a": "/proc/self/fd/40", "b": "/dev/fdset/8", "c": f"{OPAQUE}3"}
    assert stage.commands == ["add-fd", "add-fd", "getfd", "send-key", "remove-fd", "remove-fd", "closefd"]
    assert stage.received[3]["arguments"] == arguments
    assert [seen[1] for seen in stage.theirs.seen] == [stage.identity(key) for key in "abc"]
    assert not stage.theirs.sets and not stage.theirs.names


def test_many_at_once_keep_their_own(stage: Stage) -> None:
    """Only one descriptor may be on its way, while other commands pass."""
    asked: dict[str, dict[str, t.Any]] = {f"f{number}": {} for number in range(20)}

    async def scenario(session: Session) -> None:
        async def one(key: str) -> None:
            await session.execute("pmemsave", asked[key], PATIENCE, [stage.opened(asked[key], key, "getfd")])

        await asyncio.gather(*map(one, asked), *(session.execute("stop", {}, PATIENCE) for _number in range(20)))

    stage.play(scenario)
    given = {asked[key][key]: key for key in asked}
    named = [message["arguments"]["fdname"] for message in stage.received if message["execute"] == "getfd"]
    assert [stage.identity(given[name]) for name in named] == [seen[1] for seen in stage.theirs.seen]
    assert stage.commands.index("pmemsave") > stage.commands.index("stop")


def test_a_clients_own_getfd_takes_nobodys(stage: Stage) -> None:
    arguments: dict[str, t.Any] = {}

    async def scenario(session: Session) -> None:
        ours = session.execute("pmemsave", arguments, PATIENCE, [stage.opened(arguments, "a", "getfd")])
        theirs = [session.execute("getfd", {"fdname": "mine"}, PATIENCE) for _number in range(3)]
        done = await asyncio.gather(*theirs, ours, return_exceptions=True)
        assert [type(one) for one in done] == [QmpError, QmpError, QmpError, dict]

    stage.play(scenario)
    assert arguments == {"a": f"{OPAQUE}1"}


@pytest.mark.parametrize(
    ("answers", "code", "commands"),
    [
        ({"pmemsave": Refusal("GenericError", "no")}, "", ["add-fd", "add-fd", "pmemsave", "remove-fd", "remove-fd"]),
        ({"add_fd": Refusal("GenericError", "no")}, "qmp_error", ["add-fd"]),
        ({"add_fd": {"fd": 1}}, "qmp_error", ["add-fd"]),
        ({"add_fd": lambda client, _message: client.close()}, "qemu_gone", ["add-fd"]),
        ({"pmemsave": lambda client, _message: client.close()}, "qemu_gone", ["add-fd", "add-fd", "pmemsave"]),
    ],
    ids=["refused", "not taken", "nonsense", "gone", "gone later"],
)
def test_what_goes_wrong(stage: Stage, answers: dict[str, Answer], code: str, commands: list[str]) -> None:
    arguments: dict[str, t.Any] = {}

    async def scenario(session: Session) -> None:
        passed = [stage.opened(arguments, "a"), stage.opened(arguments, "b", "fdset")]
        with pytest.raises(MaqetError if code else QmpError) as caught:
            await session.execute("pmemsave", arguments, PATIENCE, passed)
        assert getattr(caught.value, "error_code", "") == code
        if code != "qemu_gone":
            await session.run_state()

    stage.play(scenario, **answers)
    assert stage.commands == commands


def test_a_descriptor_that_is_taken_too_late(stage: Stage) -> None:
    """The command must not be sent any more, the next one must not get the descriptor, and QEMU lets it go."""
    arguments: dict[str, t.Any] = {}
    held: queue.Queue[t.Any] = queue.Queue()

    def slow(client: Client, message: Message) -> None:
        if held.empty() and not stage.theirs.seen:
            held.put((client, message))
            return
        t.cast(t.Any, stage.theirs.answers["add-fd"])(client, message)

    def wake(client: Client, message: Message) -> None:
        t.cast(t.Any, stage.theirs.answers["add-fd"])(*held.get())
        client.send({"return": {}, "id": message["id"]})

    async def scenario(session: Session) -> None:
        passed = [stage.opened(arguments, "a"), stage.opened(arguments, "b")]
        with pytest.raises(MaqetError, match=r"did not take the open files for pmemsave within 0\.2 s; pmemsave was"):
            await session.execute("pmemsave", arguments, 0.2, passed)
        assert not stage.open("b")
        mine: dict[str, t.Any] = {}
        second = asyncio.ensure_future(session.execute("send-key", mine, PATIENCE, [stage.opened(mine, "c")]))
        assert await session.execute("cont", {}, PATIENCE) == {}
        await second
        assert mine == {"c": "/proc/self/fd/41"}
        await session.run_state()

    stage.play(scenario, add_fd=slow, cont=wake)
    assert sorted(stage.commands) == ["add-fd", "add-fd", "cont", "remove-fd", "remove-fd", "send-key"]
    assert [seen[1] for seen in stage.theirs.seen] == [stage.identity("a"), stage.identity("c")]


def test_a_command_that_is_late(stage: Stage) -> None:
    """Its files are let go when it ends, though nobody waits for it."""
    arguments: dict[str, t.Any] = {}
    held: queue.Queue[t.Any] = queue.Queue()

    def wake(client: Client, message: Message) -> None:
        client.send({"return": {}, "id": held.get()}, {"return": {}, "id": message["id"]})

    async def scenario(session: Session) -> None:
        with pytest.raises(MaqetError, match="the outcome is unknown"):
            await session.execute("pmemsave", arguments, 0.3, [stage.opened(arguments, "a")])
        await session.execute("cont", {}, PATIENCE)
        await session.run_state()

    stage.play(scenario, pmemsave=lambda _client, message: held.put(message["id"]), cont=wake)
    assert stage.commands == ["add-fd", "pmemsave", "cont", "remove-fd"]


def test_a_descriptor_behind_a_long_message(stage: Stage) -> None:
    """The byte that carries it must not land inside a message that the socket has taken half of."""
    arguments: dict[str, t.Any] = {}
    begun: queue.Queue[None] = queue.Queue()

    async def scenario(session: Session) -> None:
        blocked = asyncio.ensure_future(session.execute("stop", {}, PATIENCE))
        await asyncio.sleep(0)
        long = asyncio.ensure_future(session.execute("send-key", {"keys": "x" * 20_000_000}, PATIENCE))
        for _turn in range(20):
            await asyncio.sleep(0)
        second = asyncio.ensure_future(session.execute("pmemsave", arguments, PATIENCE, [stage.opened(arguments, "a")]))
        for _turn in range(20):
            await asyncio.sleep(0)
        begun.put(None)
        await asyncio.gather(blocked, long, second)
        await session.run_state()

    def stop(client: Client, message: Message) -> None:
        begun.get(timeout=PATIENCE)
        client.send({"return": {}, "id": message["id"]})

    stage.play(scenario, stop=stop)
    assert stage.received[1]["arguments"] == {"keys": "x" * 20_000_000}
    assert stage.commands == ["stop", "send-key", "add-fd", "pmemsave", "remove-fd"]
