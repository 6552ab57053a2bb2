# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guest's file systems are frozen for a few commands, and thawed whatever happens."""

from __future__ import annotations

import asyncio
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import Caller, myself
from ansible_collections.maqet.qemu.plugins.module_utils.runner.frozen import serve

Message = t.Mapping[str, t.Any]
FREEZE, THAW, SNAP = "guest-fsfreeze-freeze", "guest-fsfreeze-thaw", "transaction"
REQUEST: Message = {"commands": [{"execute": SNAP}], "timeout": 5.0, "reason": "r", "context": {}, "witness": None}


class House:
    """An agent and a QEMU. ``fails``: command -> error; ``done``: what has been sent; ``judged``: what was checked."""

    def __init__(self, **fails: t.Union[BaseException, None]) -> None:
        self.fails = {name.replace("_", "-"): error for name, error in fails.items()}
        self.done: list[str] = []
        self.judged: list[str] = []

    async def serve(self, message: Message, _caller: Caller) -> dict[str, t.Any]:
        names = [command["execute"] for command in message["commands"]]
        assert message["reason"] == "r"
        if message.get("check") or message.get("explain"):
            self.judged += names
            if "judge" in self.fails and "transaction" in names:
                raise t.cast(MaqetError, self.fails["judge"])
            return {"responses": [], "audit": [], "decisions": [], "events": []}
        (name,) = names
        self.done.append(name)
        error = self.fails.get(name)
        if error is not None:
            raise error
        return {"responses": [3], "audit": [{"op": name}], "decisions": [], "events": []}

    def run(self, **more: t.Any) -> dict[str, t.Any]:
        return asyncio.run(serve(self.serve, self.serve, {**REQUEST, **more}, myself({})))


def failure(code: str, **details: t.Any) -> MaqetError:
    return MaqetError(f"it was {code}", code, audit=[{"op": code}], **details)


def test_in_this_order() -> None:
    house = House()
    result = house.run()
    assert house.done == [FREEZE, SNAP, THAW] and house.judged == [FREEZE, THAW, SNAP]
    assert result["frozen"] == 3 and [record["op"] for record in result["audit"]] == house.done


@pytest.mark.parametrize("way", ["check", "explain"])
def test_who_only_asks_freezes_nothing(way: str) -> None:
    house = House()
    house.run(**{way: True})
    assert house.done == [] and SNAP in house.judged


def test_what_is_denied_is_denied_before() -> None:
    house = House(judge=failure("policy_denied"))
    with pytest.raises(MaqetError) as caught:
        house.run()
    assert caught.value.error_code == "policy_denied" and house.done == []


@pytest.mark.parametrize(
    ("fails", "code", "done", "thawed"),
    [
        ({"transaction": failure("qmp_error")}, "qmp_error", [FREEZE, SNAP, THAW], True),
        ({"transaction": failure("qmp_error"), "guest_fsfreeze_thaw": failure("guest_timeout")}, "qmp_error",
         [FREEZE, SNAP, THAW], False),
        ({"guest_fsfreeze_thaw": failure("guest_timeout")}, "guest_timeout", [FREEZE, SNAP, THAW], False),
        ({"guest_fsfreeze_freeze": failure("guest_timeout", sent=True)}, "guest_timeout", [FREEZE, THAW], True),
        ({"guest_fsfreeze_freeze": failure("guest_timeout", sent=False)}, "guest_timeout", [FREEZE], True),
        ({"guest_fsfreeze_freeze": failure("guest_agent_unavailable")}, "guest_agent_unavailable", [FREEZE], True),
        ({"guest_fsfreeze_freeze": failure("guest_error", guest_class="CommandNotFound")}, "guest_error", [FREEZE],
         True),  # somebody else has it frozen
        ({"guest_fsfreeze_freeze": failure("guest_error"), "guest_fsfreeze_thaw": failure("guest_error")},
         "guest_error", [FREEZE, THAW], True),
    ],
)  # fmt: skip
def test_thawed_whatever_happens(fails: dict[str, MaqetError], code: str, done: list[str], thawed: bool) -> None:
    house = House(**fails)
    with pytest.raises(MaqetError) as caught:
        house.run()
    assert (caught.value.error_code, house.done) == (code, done)
    assert caught.value.details.get("thawed", True) is thawed
    assert [record["op"] for record in caught.value.details["audit"]][-1] in (code, THAW, "guest_timeout")


def test_thawed_when_the_runner_is_to_end() -> None:
    house = House(transaction=asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        house.run()
    assert house.done == [FREEZE, SNAP, THAW]
