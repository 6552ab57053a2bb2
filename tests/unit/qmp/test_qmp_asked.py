# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``mode: ipc``: what reaches the runner, and what comes back."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.qmp import asked as room
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.asked import Asked, through_runner
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import PATIENCE, FakeServer, Message, runner

ANSWER: Message = {"decisions": [{"class": "read"}], "responses": [{}], "audit": [{"seq": 1}], "events": []}


class Runner:
    """A runner that gives ``ANSWER`` and events around it, and remembers what it was asked."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = str(path)
        self.heard: list[Message] = []
        self.before: list[Message] = []
        self.after: list[Message] = []
        self.answer: Message = {"result": ANSWER}

    def send(self, asked: Asked) -> Message:
        with FakeServer(self.path, runner(self._talk)):
            return through_runner(self.path, "web", asked)

    def _talk(self, message: Message) -> list[Message]:
        self.heard.append(message)
        if message["op"] == "subscribe":
            return [{"id": message["id"], "result": {"last_event": 0}}]
        return [*self.before, {"id": message["id"], **self.answer}, *self.after]


@pytest.fixture
def vm(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    monkeypatch.setattr(room, "_GRACE", 0.0)
    return Runner(tmp_path / "runner.sock")


def seen(number: int, name: str) -> Message:
    return {"event": {"seq": number, "event": name}}


def test_all_that_is_asked_reaches_the_runner(vm: Runner) -> None:
    commands: list[Message] = [{"execute": "stop"}, {"execute": "send-key", "arguments": {"keys": []}}]
    more: Message = {"explain": True, "policy": {"consent": False}, "witness": {"seq": 1, "hash": "0" * 64}}
    more["grants"] = {"files": [["/srv/a", True]], "listen": [], "devices": []}
    asked = Asked(commands, PATIENCE, True, True, "INC-1", {"task": "look"}, **more)
    assert vm.send(asked) == ANSWER
    assert vm.heard == [
        {
            "id": 1,
            "op": "qmp",
            "commands": commands,
            "allow_dangerous": True,
            "check": True,
            "reason": "INC-1",
            "context": {"task": "look"},
            "timeout": PATIENCE,
            "explain": True,
            "policy": {"consent": False},
            "witness": {"seq": 1, "hash": "0" * 64},
            "grants": {"files": [["/srv/a", True]], "listen": [], "devices": []},
        }
    ]


def test_what_is_not_asked_has_safe_defaults(vm: Runner) -> None:
    vm.send(Asked([{"execute": "stop"}], PATIENCE))
    assert {key: vm.heard[0][key] for key in ("allow_dangerous", "check", "reason", "context")} == {
        "allow_dangerous": False,
        "check": False,
        "reason": "",
        "context": {},
    }


@pytest.mark.parametrize(
    ("before", "after", "known"),
    [
        ([], [seen(8, "STOP")], []),
        ([seen(8, "STOP")], [], []),
        ([seen(8, "STOP")], [], [{"seq": 8, "event": "STOP"}]),
        ([], [seen(8, "STOP")], [{"seq": 7, "event": "RTC_CHANGE"}]),
    ],
)
def test_an_event_is_waited_for_and_returned_once(
    vm: Runner, before: list[Message], after: list[Message], known: list[t.Any]
) -> None:
    vm.before, vm.after, vm.answer = before, after, {"result": {**ANSWER, "events": list(known)}}
    answer = vm.send(Asked([{"execute": "stop"}], PATIENCE, wait_for_event="STOP"))
    assert [message["op"] for message in vm.heard] == ["subscribe", "qmp"]
    assert vm.heard[0]["names"] == ["STOP"]
    assert [one for one in answer["events"] if one["event"] == "STOP"] == [{"seq": 8, "event": "STOP"}]


def test_an_event_that_does_not_come(vm: Runner) -> None:
    with pytest.raises(MaqetError, match=r"STOP did not come within 0\.3 s") as caught:
        vm.send(Asked([{"execute": "stop"}], 0.3, wait_for_event="STOP"))
    assert caught.value.error_code == "wait_timeout"
    assert caught.value.details == ANSWER


def test_in_check_mode_no_event_is_waited_for(vm: Runner) -> None:
    assert vm.send(Asked([{"execute": "stop"}], PATIENCE, check=True, wait_for_event="STOP")) == ANSWER
    assert [message["op"] for message in vm.heard] == ["qmp"]


def test_what_the_runner_says_no_to(vm: Runner) -> None:
    error = MaqetError("No.", "qmp_error", qmp_class="GenericError", qmp_desc="no", responses=[{}], audit=[{"seq": 3}])
    vm.answer = {"error": error.as_dict()}
    with pytest.raises(MaqetError) as caught:
        vm.send(Asked([{"execute": "stop"}], PATIENCE))
    assert caught.value.as_dict() == error.as_dict()
