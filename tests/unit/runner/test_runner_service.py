# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands that clients ask for: judged, recorded, sent one after another, and none of them past the guard."""

from __future__ import annotations

import asyncio
import os
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.refusal import QmpError
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import UUID, Message, records
from ansible_collections.maqet.qemu.tests.unit.runner.serving import World, qmp


def test_status(world: World) -> None:
    async def scenario() -> None:
        talk = await world.talk()
        world.session.happens("STOP")
        world.session.state = "paused"
        answer = await talk.ask({"id": 7, "op": "status"})
        assert answer == {
            "id": 7,
            "result": {"vm": "web", "uuid": UUID, "run_state": "paused", "last_event": 1},
        }

    world.run(scenario)


def test_a_state_is_never_older_than_its_last_event(world: World) -> None:
    async def scenario() -> None:
        real = world.session.run_state

        async def run_state() -> str:
            state = await real()
            world.session.happens("RESUME")  # comes between QEMU's answer and ours
            return state

        world.session.run_state = run_state  # type: ignore[method-assign]
        answer = await (await world.talk()).ask({"id": 1, "op": "status"})
        assert answer["result"]["last_event"] == 0

    world.run(scenario)


def test_commands_and_their_records(world: World) -> None:
    async def scenario() -> None:
        talk = await world.talk()
        command = {"execute": "send-key", "arguments": {"keys": []}}
        answer = await talk.ask(qmp("a", "stop", command, reason="INC-1", context={"task": "look"}))
        result = answer["result"]
        assert answer["id"] == "a"
        assert result["responses"] == [{}, {}]
        assert [verdict["decision"] for verdict in result["decisions"]] == ["allow", "allow"]
        assert result["audit"] == records(world.log)
        assert result["events"] == []

    world.run(scenario)
    assert world.session.heard == [("stop", {}), ("send-key", {"keys": []})]
    for record in records(world.log):
        assert (record["via"], record["reason"], record["vm_pid"]) == ("ipc", "INC-1", 4711)
        assert record["peer"] == {"pid": os.getpid(), "uid": os.getuid(), "gid": os.getgid()}
        assert record["controller"] == {"task": "look", "asserted": True}


def test_the_intent_is_on_disk_before_it_is_sent(world: World) -> None:
    on_disk: list[list[str]] = []

    async def look() -> None:
        on_disk.append([record["phase"] for record in records(world.log)])

    async def scenario() -> None:
        world.session.acts = {"stop": look, "cont": look}
        await (await world.talk()).ask(qmp(1, "stop", "cont"))

    world.run(scenario)
    assert on_disk == [["intent"], ["intent", "result", "intent"]]


def test_what_only_looks_has_its_intents_on_disk_together(world: World) -> None:
    on_disk: list[list[str]] = []

    async def look() -> None:
        on_disk.append([record["phase"] for record in records(world.log)])

    async def scenario() -> None:
        world.session.acts = {"query-status": look, "stop": look}
        asked = qmp(1, "query-status", "query-name", "stop", "query-status", "query-kvm")
        result = (await (await world.talk()).ask(asked))["result"]
        assert result["audit"] == records(world.log)

    world.run(scenario)
    before = ["intent", "intent", "result", "result", "intent", "result"]
    assert on_disk == [["intent", "intent"], before[:5], [*before, "intent", "intent"]]
    assert [record["op"] for record in records(world.log) if record["phase"] == "result"] == [
        *("query-status", "query-name", "stop", "query-status", "query-kvm")
    ]


def test_what_was_not_sent_any_more_is_recorded_as_that(world: World) -> None:
    async def refuse() -> None:
        raise QmpError("GenericError", "not now")

    async def scenario() -> None:
        world.session.acts = {"query-name": refuse}
        asked = qmp(1, "query-status", "query-name", "query-kvm", "query-cpus-fast", "stop")
        error = (await (await world.talk()).ask(asked))["error"]
        assert error["error_code"] == "qmp_error" and error["responses"] == [{}]
        assert error["audit"] == records(world.log)

    world.run(scenario)
    assert [name for name, _arguments in world.session.heard] == ["query-status", "query-name"]
    ended = {record["op"]: record for record in records(world.log) if record["phase"] == "result"}
    assert {name: (record["res"], record.get("error_class")) for name, record in ended.items()} == {
        "query-status": ("success", None),
        "query-name": ("failed", "GenericError"),
        "query-kvm": ("failed", "not_sent"),
        "query-cpus-fast": ("failed", "not_sent"),
    }
    assert "it was not sent" in ended["query-kvm"]["error"]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("human-monitor-command", "policy_denied"),
        ({"execute": "netdev_add", "arguments": {"type": "tap", "id": "n"}}, "policy_denied"),
        ("query-nothing", "policy_denied"),
        ("quit; rm -rf /", "invalid_command"),
        ({"execute": None}, "invalid_command"),
        ({"execute": ["quit"]}, "invalid_command"),
        ({}, "invalid_command"),
        ({"execute": "stop", "arguments": "x"}, "policy_denied"),
    ],
)
def test_a_denial_never_reaches_qemu(world: World, command: t.Any, code: str) -> None:
    async def scenario() -> None:
        answer = await (await world.talk()).ask(qmp(1, "stop", command))
        assert answer["error"]["error_code"] == code
        assert answer["error"]["audit"] == records(world.log)

    world.run(scenario)
    assert world.session.heard == []
    assert [record["phase"] for record in records(world.log)] == ["deny"]


@pytest.mark.parametrize("odd", ["exec-oob", "id", "no"])
def test_a_command_has_no_second_door(world: World, odd: str) -> None:
    async def scenario() -> None:
        answer = await (await world.talk()).ask(qmp(1, {"execute": "query-status", odd: "migrate-pause"}))
        assert answer["error"]["error_code"] == "invalid_request" and odd in answer["error"]["message"]

    world.run(scenario)
    assert (world.session.heard, records(world.log)) == ([], [])


HMP: Message = {"execute": "human-monitor-command", "arguments": {"command-line": "info kvm"}}


@pytest.mark.parametrize("consent", ["yes", 1, "true", [True]])
def test_consent_is_true_and_nothing_else(world: World, consent: t.Any) -> None:
    async def scenario() -> None:
        talk = await world.talk()
        answer = await talk.ask(qmp(1, HMP, allow_dangerous=consent))
        assert answer["error"]["error_code"] == "policy_denied"
        assert "result" in await talk.ask(qmp(2, HMP, allow_dangerous=True))

    world.run(scenario)


def test_check_mode(world: World) -> None:
    async def scenario() -> None:
        answer = await (await world.talk()).ask(qmp(1, "quit", check=True))
        assert answer["result"]["decisions"][0]["decision"] == "allow"
        assert [answer["result"][key] for key in ("responses", "audit", "events")] == [[], [], []]

    world.run(scenario)
    assert world.session.heard == []
    assert not world.log.exists()


def test_what_qemu_refuses_ends_the_list(world: World) -> None:
    async def refuse() -> None:
        world.session.happens("RTC_CHANGE")
        raise QmpError("DeviceNotFound", "Device 'x' not found")

    async def scenario() -> None:
        world.session.happens("STOP")
        world.session.acts = {"device_del": refuse}
        gone = {"execute": "device_del", "arguments": {"id": "x"}}
        answer = await (await world.talk()).ask(qmp(1, "query-status", gone, "cont"))
        error = answer["error"]
        assert error["error_code"] == "qmp_error"
        assert error["message"] == "QEMU refused device_del: DeviceNotFound: Device 'x' not found"
        assert (error["qmp_class"], error["qmp_desc"]) == ("DeviceNotFound", "Device 'x' not found")
        assert (error["responses"], len(error["decisions"])) == ([{}], 3)
        assert [event["event"] for event in error["events"]] == ["RTC_CHANGE"]
        assert error["audit"] == records(world.log)

    world.run(scenario)
    assert [name for name, _arguments in world.session.heard] == ["query-status", "device_del"]
    assert [record.get("res") for record in records(world.log)] == [None, "success", None, "failed"]


def test_one_limit_of_time_for_a_list(world: World) -> None:
    async def scenario() -> None:
        world.session.acts = {"stop": asyncio.Event().wait}
        answer = await (await world.talk()).ask(qmp(1, "query-status", "stop", timeout=0.2))
        assert answer["error"]["error_code"] == "qmp_timeout"
        assert answer["error"]["responses"] == [{}]

    world.run(scenario)
    assert records(world.log)[-1]["error_class"] == "qmp_timeout"
