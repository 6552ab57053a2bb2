# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``mode: direct``: judged before QEMU hears of it, on disk before it is sent, and the monitor is let go."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import schema_cache
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.asked import Asked, Target, through_monitor
from ansible_collections.maqet.qemu.tests.unit.guard import schemas
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import (
    PATIENCE,
    UUID,
    Answer,
    Client,
    Descriptors,
    FakeMonitor,
    Message,
    Refusal,
    event,
    records,
    schema_of,
)

# What is asked of every monitor, to know what it is and what it knows.
LOOKS = ["query-qmp-schema", "query-uuid"]


class World:
    """A QEMU that answers, and the files that a VM of that name has."""

    def __init__(self, folder: pathlib.Path) -> None:
        state, run, log, etc = (str(folder / name) for name in ("state", "run", "log", "etc"))
        self.where = Layout(state, run, log, "user", etc)
        self.output = folder / "state" / "vms" / "web" / "output"
        self.output.mkdir(parents=True)
        self.log = folder / "log" / "web.audit.jsonl"
        home = str(self.output.parent)
        self.target = Target(self.where, str(folder / "direct.sock"), "web", str(self.log), home)
        self.answers: dict[str, Answer] = {}
        self.heard: list[str] = []

    def send(self, *commands: t.Union[str, Message], seconds: float = PATIENCE, **rest: t.Any) -> Message:
        """Send commands; the monitor must be free when that has returned, or raised."""
        asked = [{"execute": command} if isinstance(command, str) else command for command in commands]
        with FakeMonitor(self.target.socket, self.answers) as fake:
            try:
                return through_monitor(self.target, Asked(asked, seconds, **rest))
            finally:
                fake.hung_up.get(timeout=PATIENCE)
                self.heard = [name for name in fake.commands if name not in LOOKS]
                os.unlink(self.target.socket)

    def fails(self, *commands: t.Union[str, Message], **rest: t.Any) -> MaqetError:
        with pytest.raises(MaqetError) as caught:
            self.send(*commands, **rest)
        return caught.value

    @property
    def phases(self) -> list[tuple[str, str, str]]:
        """(phase, command, outcome) of each record on disk."""
        return [(record["phase"], record["op"], record.get("res", "")) for record in records(self.log)]


@pytest.fixture
def world(tmp_path: pathlib.Path) -> World:
    return World(tmp_path)


def test_one_command(world: World) -> None:
    answer = world.send("query-status", reason="INC-1", context={"task": "look", "host": "ops"})
    assert answer["responses"] == [{"status": "running", "running": True}]
    assert answer["decisions"][0]["decision"] == "allow"
    assert answer["decisions"][0]["class"] == "read"
    assert answer["audit"] == records(world.log)
    assert world.phases == [("intent", "query-status", ""), ("result", "query-status", "success")]
    for record in answer["audit"]:
        assert {key: record[key] for key in ("vm", "uuid", "qemu", "sock", "via", "reason", "level", "check")} == {
            "vm": "web",
            "uuid": UUID,
            "qemu": "7.2.22",
            "sock": world.target.socket,
            "via": "direct",
            "reason": "INC-1",
            "level": "info",
            "check": False,
        }
        assert (record["pid"], record["uid"]) == (os.getpid(), os.getuid())
        assert record["controller"] == {"task": "look", "host": "ops", "asserted": True}
    assert answer["audit"][1]["duration_ms"] >= 0


def test_the_intent_is_on_disk_before_qemu_hears_of_it(world: World) -> None:
    on_disk: list[list[tuple[str, str, str]]] = []

    def look(client: Client, _message: Message) -> None:
        on_disk.append(world.phases)
        client.send({"return": {}})

    world.answers = {"stop": look, "cont": look}
    world.send("stop", "cont")
    first = [("intent", "stop", "")]
    assert on_disk == [first, [*first, ("result", "stop", "success"), ("intent", "cont", "")]]


def test_arguments_arrive_as_they_were_judged(world: World) -> None:
    arguments = {"val": 0, "size": 4096, "filename": str(world.output / "page")}
    heard: list[Message] = []

    def dump(client: Client, message: Message) -> None:
        heard.append({key: value for key, value in message.items() if key != "id"})
        client.send({"return": {}})

    qemu = Descriptors()
    world.answers = {**qemu.answers, "pmemsave": dump}
    answer = world.send({"execute": "pmemsave", "arguments": dict(arguments)})
    assert heard == [{"execute": "pmemsave", "arguments": {**arguments, "filename": "/proc/self/fd/40"}}]
    assert answer["decisions"][0]["class"] == "host-file"
    page = (world.output / "page").stat()
    assert qemu.seen == [("add-fd", (page.st_dev, page.st_ino))], "the file that was judged is the one that is open"
    assert (qemu.sets, world.heard) == ({}, ["add-fd", "pmemsave", "remove-fd"])
    assert answer["audit"][0]["args"] == arguments
    assert answer["audit"][0]["files"] == [{"arg": "filename", "path": str(world.output / "page"), "as": "procfd"}]


@pytest.mark.parametrize(
    ("command", "rule"),
    [
        ({"execute": "human-monitor-command", "arguments": {"command-line": "info kvm"}}, "consent"),
        ("human-monitor-command", "schema"),
        ("x-query-roms", "consent"),
        ({"execute": "netdev_add", "arguments": {"type": "tap", "id": "n", "script": "/bin/sh"}}, "field-exec"),
        ({"execute": "pmemsave", "arguments": {"val": 0, "size": 1, "filename": "/etc/passwd"}}, "field-path-write"),
        ("query-block-jobs", "unknown-command"),
        ("query-nothing", "unknown-command"),
    ],
)
def test_a_denial_never_reaches_qemu(world: World, command: t.Union[str, Message], rule: str) -> None:
    error = world.fails("query-status", command)
    name = command if isinstance(command, str) else command["execute"]
    assert error.error_code == "policy_denied"
    assert error.details["decision"]["rule"] == rule
    assert error.details["audit"] == records(world.log)
    assert world.phases == [("deny", name, "failed")]
    assert world.heard == []


def test_consent(world: World) -> None:
    world.answers = {"human-monitor-command": "RAX=0"}
    command = {"execute": "human-monitor-command", "arguments": {"command-line": "info registers"}}
    answer = world.send(command, allow_dangerous=True)
    assert answer["responses"] == ["RAX=0"]
    assert [record["consent"] for record in records(world.log)] == [True, True]
    assert answer["decisions"][0]["level"] == "warning"


def test_a_password_is_in_no_record_and_no_error(world: World) -> None:
    secret = "correct horse battery"
    error = world.fails({"execute": "set_password", "arguments": {"protocol": "vnc", "password": secret}})
    assert error.error_code == "policy_denied"
    assert secret not in str(error.as_dict())
    assert secret not in world.log.read_text()


def test_what_qemu_refuses(world: World) -> None:
    world.answers = {"device_del": Refusal("DeviceNotFound", "Device 'x' not found")}
    error = world.fails("query-status", {"execute": "device_del", "arguments": {"id": "x"}}, "cont")
    assert error.error_code == "qmp_error"
    assert str(error) == "QEMU refused device_del: DeviceNotFound: Device 'x' not found"
    assert error.details["command"] == "device_del"
    assert (error.details["qmp_class"], error.details["qmp_desc"]) == ("DeviceNotFound", "Device 'x' not found")
    assert error.details["responses"] == [{"status": "running", "running": True}]
    assert len(error.details["decisions"]) == 3
    assert error.details["audit"] == records(world.log)
    assert error.details["audit"][-1]["error_class"] == "DeviceNotFound"
    assert error.details["audit"][-1]["error"] == "Device 'x' not found"
    assert world.phases[2:] == [("intent", "device_del", ""), ("result", "device_del", "failed")]
    assert world.heard == ["query-status", "device_del"]


def hang_up(client: Client, _message: Message) -> None:
    client.close()


@pytest.mark.parametrize(
    ("answer", "code"), [(hang_up, "monitor_unreachable"), (lambda _client, _message: None, "qmp_timeout")]
)
def test_an_outcome_that_is_unknown(world: World, answer: Answer, code: str) -> None:
    world.answers = {"quit": answer}
    error = world.fails("quit", seconds=0.5)
    assert error.error_code == code
    assert world.phases == [("intent", "quit", ""), ("result", "quit", "failed")]
    assert error.details["audit"] == records(world.log)
    assert error.details["audit"][-1]["error_class"] == code


@pytest.mark.parametrize("command", ["query-status", "quit", {"execute": "send-key", "arguments": {"keys": []}}])
def test_check_mode_sends_and_writes_nothing(world: World, command: t.Union[str, Message]) -> None:
    answer = world.send(command, check=True, wait_for_event="SHUTDOWN")
    assert answer["decisions"][0]["decision"] == "allow"
    assert (answer["responses"], answer["audit"], world.heard) == ([], [], [])
    assert not world.log.parent.exists()


def test_check_mode_denies_without_a_record(world: World) -> None:
    assert world.fails("human-monitor-command", check=True).details["audit"] == []
    assert not world.log.parent.exists()


def test_a_log_that_cannot_be_written_stops_the_command(world: World, tmp_path: pathlib.Path) -> None:
    world.log.parent.mkdir()
    world.log.symlink_to(tmp_path / "elsewhere")
    error = world.fails("quit")
    assert error.error_code == "audit_failed"
    assert "quit was not sent" in str(error)
    assert world.heard == []


@pytest.mark.parametrize("when", ["before the answer", "after the answer", "much later"])
def test_waiting_for_an_event(world: World, when: str) -> None:
    stopped, other = event("STOP"), event("RTC_CHANGE", offset=1)
    order: dict[str, list[Message]] = {
        "before the answer": [stopped, {"return": {}}],
        "after the answer": [{"return": {}}, stopped],
        "much later": [{"return": {}}, *[other] * 100, stopped],
    }
    world.answers = {"stop": lambda client, _message: client.send(*order[when])}
    answer = world.send("stop", wait_for_event="STOP")
    assert answer["events"][-1] == stopped
    assert answer["events"].count(stopped) == 1
    assert answer["responses"] == [{}]


def test_an_event_that_does_not_come(world: World) -> None:
    world.answers = {"stop": lambda client, _message: client.send({"return": {}}, event("RTC_CHANGE"))}
    error = world.fails("stop", wait_for_event="STOP", seconds=0.5)
    assert error.error_code == "wait_timeout"
    assert "STOP did not come within 0.5 s" in str(error)
    assert error.details["responses"] == [{}]
    assert error.details["audit"] == records(world.log)
    assert [one["event"] for one in error.details["events"]] == ["RTC_CHANGE"]


def test_an_event_that_cannot_come_any_more(world: World) -> None:
    def last_words(client: Client, _message: Message) -> None:
        client.send({"return": {}})
        client.close()

    world.answers = {"stop": last_words}
    assert world.fails("stop", wait_for_event="STOP").error_code == "wait_timeout"


def test_a_daemon_without_uuid(world: World) -> None:
    """qemu-storage-daemon speaks QMP too, and is no machine."""
    world.answers = {
        "query-qmp-schema": schema_of(("query-commands", "query-version")),
        "query-uuid": Refusal("CommandNotFound", "The command query-uuid has not been found"),
    }
    assert world.send("query-version")["audit"][0]["uuid"] is None


def test_a_monitor_that_does_not_say_what_it_knows(world: World) -> None:
    world.answers = {"query-qmp-schema": Refusal("GenericError", "not now")}
    error = world.fails("query-status")
    assert error.error_code == "monitor_unreachable"
    assert "GenericError: not now" in str(error)
    assert world.heard == []


def test_nobody_there(world: World) -> None:
    with pytest.raises(MaqetError) as caught:
        through_monitor(world.target, Asked([{"execute": "query-status"}], PATIENCE))
    assert caught.value.error_code == "socket_not_found"
    assert records(world.log) == []


HMP: Message = {"execute": "human-monitor-command", "arguments": {"command-line": "info kvm"}}


def test_explaining_never_fails_and_leaves_nothing(world: World) -> None:
    answer = world.send("query-status", HMP, "query-nothing", explain=True, wait_for_event="SHUTDOWN")
    assert [(one["decision"], one["rule"]) for one in answer["decisions"]] == [
        ("allow", "class-read"),
        ("deny", "consent"),
        ("deny", "unknown-command"),
    ]
    assert answer["decisions"][1]["allow_with"] == {"allow_dangerous": True}
    assert (answer["responses"], answer["audit"], world.heard) == ([], [], [])
    assert not world.log.parent.exists()


def test_a_task_narrows_and_never_widens(world: World) -> None:
    error = world.fails("stop", policy={"classes": {"availability": "deny"}})
    assert (error.details["decision"]["rule"], error.details["decision"]["layer"]) == ("policy", "task")
    assert world.fails(HMP, policy={"consent": True}).details["decision"]["rule"] == "consent"
    assert world.heard == []


def test_a_policy_that_is_none_is_refused_before_anything_is_sent(world: World) -> None:
    with pytest.raises(MaqetError, match="clases") as caught:
        through_monitor(world.target, Asked([{"execute": "stop"}], PATIENCE, policy={"clases": {}}))
    assert caught.value.error_code == "invalid_option"


def test_a_witness_is_confronted_before_anything_is_sent(world: World) -> None:
    last = world.send("query-status")["audit"][-1]
    seen = {"seq": last["seq"], "hash": last["hash"]}
    assert world.send("query-status", witness=seen)["responses"]
    error = world.fails("stop", witness={**seen, "hash": "0" * 64})
    assert error.error_code == "audit_tampered"
    assert world.heard == []


def test_the_schema_is_taken_from_the_runners_cache_and_never_put_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def key_of(program: str, _build: str) -> str:
        asked.append(program)
        return "key"

    monkeypatch.setattr(schema_cache, "key_of", key_of)
    world.send("query-status")
    assert asked == [f"/proc/{os.getpid()}/exe"], "of a QEMU whose process is not known, by who made its socket"
    assert schema_cache.load(world.where.cache, "key") is None
    schema_cache.store(world.where.cache, "key", schemas.schema("11.1").to_json())
    world.answers = {"query-qmp-schema": Refusal("GenericError", "nobody should ask")}
    assert world.send("query-status")["responses"]
