# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a runner does with a guest that has come: it goes on or is refused, and never both."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import pathlib
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import Caller, myself
from ansible_collections.maqet.qemu.plugins.module_utils.host import migration
from ansible_collections.maqet.qemu.plugins.module_utils.host.migration import Mark
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.runner.migration import Migration

Answer = t.Dict[str, t.Any]


class Session:
    """QEMU: its state, and the commands that it got."""

    def __init__(self, state: str) -> None:
        self.state = state
        self.commands: list[str] = []

    async def run_state(self) -> str:
        await asyncio.sleep(0)
        return self.state

    async def execute(self, command: str, _arguments: t.Any, _seconds: float, _passed: t.Any = ()) -> t.Any:
        if command == "query-block-exports":
            return [{"id": "migration-root"}]
        self.commands.append(command)
        if command == "cont":
            self.state = "running"
        return {}


class Gate:
    """Records nothing."""

    def own(self, request: t.Any, _asker: t.Any, _why: str) -> t.Any:
        return request

    def close(self, ticket: t.Any, _outcome: t.Any) -> list[Answer]:
        return [{"op": ticket.command}]


class House:
    """A runner's migrations, of a VM with the mark ``phase``."""

    def __init__(
        self, folder: pathlib.Path, phase: t.Optional[str], state: str = "paused", resume: bool = True
    ) -> None:
        self.paths = VmPaths("web", str(folder), str(folder), str(folder))
        if phase is not None:
            migration.write(self.paths, Mark("7", phase, "b", resume))
        self.session = Session(state)
        session, gate = t.cast(t.Any, self.session), t.cast(t.Any, Gate())
        self.work = Migration(self.paths, Definition("web", "u"), session, gate)

    async def ask(self, do: str, caller: t.Optional[Caller] = None, number: str = "7") -> Answer:
        message = {"do": do, "migration": number}
        return await self.work.perform(message, caller or myself({}), asyncio.Event())

    @property
    def phase(self) -> t.Optional[str]:
        mark = migration.read(self.paths)
        return None if mark is None else mark.phase


def code(call: t.Coroutine[t.Any, t.Any, t.Any]) -> str:
    with pytest.raises(MaqetError) as error:
        asyncio.run(call)
    return error.value.error_code


def test_it_is_taken(tmp_path: pathlib.Path) -> None:
    house = House(tmp_path, migration.RECEIVING)
    answer = asyncio.run(house.ask("take"))
    assert house.session.commands == ["nbd-server-stop", "cont"] and house.phase == migration.ARRIVED
    assert [record["op"] for record in answer["audit"]] == house.session.commands
    assert code(house.ask("take")) == code(house.ask("discard")) == "migration_unknown"


def test_one_that_was_paused_stays_so(tmp_path: pathlib.Path) -> None:
    house = House(tmp_path, migration.RECEIVING, resume=False)
    asyncio.run(house.ask("take"))
    assert "cont" not in house.session.commands and house.phase == migration.ARRIVED


@pytest.mark.parametrize(
    ("phase", "state", "do", "number", "error"),
    [
        (migration.RECEIVING, "inmigrate", "take", "7", "migration_failed"),
        (migration.RECEIVING, "paused", "take", "8", "migration_unknown"),
        (migration.DISCARDED, "paused", "take", "7", "migration_unknown"),
        (None, "paused", "take", "7", "migration_unknown"),
        (migration.HANDED_OVER, "postmigrate", "take", "7", "migration_unknown"),
        (migration.SENDING, "paused", "reclaim", "7", "migration_unknown"),
        (migration.CONFIRMED, "postmigrate", "reclaim", "7", "migration_unknown"),
        (migration.TAKEN, "paused", "discard", "7", "migration_unknown"),
        (migration.RECEIVING, "paused", "dance", "7", "invalid_request"),
    ],
)
def test_what_does_not_go_on(
    tmp_path: pathlib.Path, phase: t.Optional[str], state: str, do: str, number: str, error: str
) -> None:
    house = House(tmp_path, phase, state)
    assert code(house.ask(do, number=number)) == error
    assert house.session.commands == [] and house.phase == phase


def test_it_goes_on_here_again(tmp_path: pathlib.Path) -> None:
    house = House(tmp_path, migration.HANDED_OVER, "postmigrate")
    assert asyncio.run(house.ask("reclaim"))["run_state"] == "running"
    assert house.phase is None


@pytest.mark.parametrize("first", ["take", "discard"])
def test_taken_or_refused_but_never_both(tmp_path: pathlib.Path, first: str) -> None:
    """Whoever asks at the same moment; the other side relies on the answer."""
    house = House(tmp_path, migration.RECEIVING)
    second = "discard" if first == "take" else "take"

    async def both() -> list[t.Any]:
        return list(await asyncio.gather(house.ask(first), house.ask(second), return_exceptions=True))

    answers = dict(zip((first, second), asyncio.run(both())))
    taken, refused = (not isinstance(answers[do], Exception) for do in ("take", "discard"))
    assert taken != refused, answers
    assert house.phase == (migration.ARRIVED if taken else migration.DISCARDED)
    assert ("cont" in house.session.commands) == taken


@pytest.mark.parametrize(("phase", "runs"), [(migration.TAKEN, True), (migration.RECEIVING, False), (None, False)])
def test_the_next_runner_goes_on_with_what_is_ours(tmp_path: pathlib.Path, phase: t.Optional[str], runs: bool) -> None:
    house = House(tmp_path, phase)
    asyncio.run(house.work.recover())
    assert (house.session.state == "running") == runs
    assert house.phase == (migration.ARRIVED if runs else phase)


def test_it_is_for_the_runners_own_user(tmp_path: pathlib.Path) -> None:
    house = House(tmp_path, migration.RECEIVING)
    stranger = dataclasses.replace(myself({}), uid=os.geteuid() + 1)
    assert code(house.ask("take", stranger)) == "policy_denied"
    assert house.session.commands == []
