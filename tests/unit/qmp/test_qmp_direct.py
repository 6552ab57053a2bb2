# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A monitor spoken to by the module itself: every way in which it can go wrong is one error, and it is let go."""

from __future__ import annotations

import contextlib
import os
import pathlib
import threading
import time
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.direct import DirectMonitor
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.refusal import QmpError
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import (
    GREETING,
    PATIENCE,
    Answer,
    Client,
    FakeMonitor,
    Message,
    Refusal,
    event,
)


@pytest.fixture
def socket_path(tmp_path: pathlib.Path) -> str:
    return str(tmp_path / "direct.sock")


def hang_up(client: Client, _message: Message) -> None:
    client.send(b'{"ret')
    client.close()


def stall(_client: Client, _message: Message) -> None:
    """As QEMU does in a blocking command."""


def saying(*words: t.Union[Message, bytes]) -> t.Callable[[Client, Message], None]:
    return lambda client, _message: client.send(*words)


def test_commands_and_answers(socket_path: str) -> None:
    with FakeMonitor(socket_path, {"send-key": {"a": [1]}}) as fake:
        with DirectMonitor(socket_path, PATIENCE) as monitor:
            assert monitor.version == "7.2.22"
            assert monitor.execute("query-status") == {"status": "running", "running": True}
            assert monitor.execute("send-key", {"keys": []}) == {"a": [1]}
            assert monitor.execute("cont", {}) == {}
        fake.hung_up.get(timeout=PATIENCE)
    assert fake.received == [
        {"execute": "query-status"},
        {"execute": "send-key", "arguments": {"keys": []}},
        {"execute": "cont"},
    ]


def test_events_between_the_answers(socket_path: str) -> None:
    """Before the first answer, before another, and on their own: none is lost, none is taken for an answer."""
    first, second, third = event("NIC_RX_FILTER_CHANGED"), event("STOP"), event("RESUME", reason="x")
    answers: dict[str, Answer] = {
        "qmp_capabilities": saying(first, {"return": {}}),
        "stop": saying(second, {"return": {}}, third),
    }
    with FakeMonitor(socket_path, answers), DirectMonitor(socket_path, PATIENCE) as monitor:
        assert monitor.execute("stop") == {}
        assert monitor.events == [first, second]
        assert [monitor.next_event() for _number in range(3)] == [first, second, third]


def test_an_answer_to_another_command_is_not_its_own(socket_path: str) -> None:
    """One that comes twice, one to nobody, one to somebody else: each stands before the answer that counts."""
    strangers: list[Message] = [
        {"return": "twice", "id": "maqet-2"},
        {"return": "to nobody", "id": None},
        {"error": {"class": "GenericError", "desc": "to somebody else"}, "id": "maqet-99"},
        {"return": "a number", "id": 3},
    ]
    answers: dict[str, Answer] = {
        "stop": saying({"return": "stopped"}, {"return": "stopped"}),
        "cont": saying(b'{"return": "to nobody"}\n', *strangers, {"return": "runs"}),
    }
    with FakeMonitor(socket_path, answers), DirectMonitor(socket_path, PATIENCE) as monitor:
        assert monitor.execute("stop") == "stopped"
        assert monitor.execute("cont") == "runs"
        assert monitor.execute("query-status")["running"] is True


def test_a_refusal(socket_path: str) -> None:
    with FakeMonitor(socket_path, {"device_del": Refusal("DeviceNotFound", "Device 'x' not found")}) as fake:
        with DirectMonitor(socket_path, PATIENCE) as monitor:
            with pytest.raises(QmpError) as caught:
                monitor.execute("device_del", {"id": "x"})
            assert (caught.value.error_class, caught.value.desc) == ("DeviceNotFound", "Device 'x' not found")
            assert monitor.execute("query-status")["running"] is True
        fake.hung_up.get(timeout=PATIENCE)


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (hang_up, "monitor_unreachable", "QEMU hung up"),
        (stall, "qmp_timeout", "no answer within 0.3 s; the outcome is unknown"),
        (saying(b"nonsense\n"), "monitor_unreachable", "what it sent is not QMP"),
        (saying(b"\xff\n"), "monitor_unreachable", "what it sent is not QMP"),
        (saying(b"[1]\n"), "monitor_unreachable", "what it sent is not QMP"),
        (saying({"error": 5}), "monitor_unreachable", "what it sent is not QMP"),
        (saying({"error": {"class": None, "desc": "x"}}), "monitor_unreachable", "what it sent is not QMP"),
        (saying({"error": {"class": "GenericError"}, "return": {}}), "monitor_unreachable", "what it sent is not QMP"),
        (saying({"error": {"class": "E", "desc": ["x"]}}), "monitor_unreachable", "what it sent is not QMP"),
        (saying(b'{"id": "maqet-2"}\n'), "monitor_unreachable", "what it sent is not QMP"),
        (saying({"event": ["STOP"]}), "monitor_unreachable", "an event without a name or data"),
        (saying({"event": "STOP", "data": 5}), "monitor_unreachable", "an event without a name or data"),
        (
            saying(b'{"error": {"class": "E", "desc": "what?"}}\n'),
            "monitor_unreachable",
            "could not read what was sent",
        ),
    ],
)
def test_what_goes_wrong_in_a_command(socket_path: str, answer: Answer, code: str, words: str) -> None:
    with FakeMonitor(socket_path, {"stop": answer}) as fake:
        with pytest.raises(MaqetError) as caught, DirectMonitor(socket_path, 0.3) as monitor:
            monitor.execute("stop")
        if answer is not hang_up:
            fake.hung_up.get(timeout=PATIENCE)
    assert caught.value.error_code == code
    assert words in str(caught.value)
    assert socket_path in str(caught.value)


@pytest.mark.parametrize(
    ("greeting", "capabilities", "code", "words"),
    [
        (b"", {}, "qmp_timeout", "QEMU hangs, or another client holds it: a monitor has one at a time."),
        (b"SSH-2.0-OpenSSH\r\n", {}, "monitor_unreachable", "what it sent is not QMP"),
        ({"hello": {"protocol": 1}}, {}, "monitor_unreachable", "what answers there is not a QMP monitor"),
        ({"QMP": {}}, {}, "monitor_unreachable", "what answers there is not a QMP monitor"),
        ({"QMP": {"version": {"qemu": "7"}}}, {}, "monitor_unreachable", "what answers there is not a QMP monitor"),
        ({"QMP": 1}, {}, "monitor_unreachable", "what answers there is not a QMP monitor"),
        (GREETING, hang_up, "monitor_unreachable", "QEMU hung up"),
        (GREETING, stall, "qmp_timeout", "no answer within 0.3 s"),
        (GREETING, Refusal("CommandNotFound", "no"), "monitor_unreachable", "CommandNotFound: no"),
    ],
)
def test_what_goes_wrong_at_the_door(
    socket_path: str, greeting: t.Any, capabilities: Answer, code: str, words: str
) -> None:
    with FakeMonitor(socket_path, {"qmp_capabilities": capabilities}, greeting) as fake:
        with pytest.raises(MaqetError) as caught:
            DirectMonitor(socket_path, 0.3)
        if capabilities is not hang_up:
            fake.hung_up.get(timeout=PATIENCE)
    assert caught.value.error_code == code
    assert words in str(caught.value)


def test_a_monitor_that_somebody_holds(socket_path: str) -> None:
    """QEMU accepts the next client when the one before has gone; the connection itself succeeds."""
    with FakeMonitor(socket_path) as fake, DirectMonitor(socket_path, PATIENCE) as first:
        with pytest.raises(MaqetError) as caught:
            DirectMonitor(socket_path, 0.2)
        assert caught.value.error_code == "qmp_timeout"
        assert first.execute("query-status")
        first.close()
        fake.hung_up.get(timeout=PATIENCE)
        with DirectMonitor(socket_path, PATIENCE) as third:
            assert third.execute("query-status")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing.sock", "No such file or directory. Is the VM running?"),
        ("dead.sock", "Connection refused. Nobody listens there any more."),
        ("l" * 200, "AF_UNIX path too long"),
    ],
)
def test_no_monitor(tmp_path: pathlib.Path, name: str, words: str) -> None:
    FakeMonitor(tmp_path / "dead.sock").close()
    with pytest.raises(MaqetError) as caught:
        DirectMonitor(str(tmp_path / name), PATIENCE)
    assert caught.value.error_code == "socket_not_found"
    assert words in str(caught.value)
    assert caught.value.details == {"socket": str(tmp_path / name)}


def test_an_error_of_ours_lets_it_go_as_well(socket_path: str) -> None:
    with FakeMonitor(socket_path) as fake:
        with pytest.raises(ZeroDivisionError), DirectMonitor(socket_path, PATIENCE):
            raise ZeroDivisionError
        fake.hung_up.get(timeout=PATIENCE)


def test_arguments_that_it_does_not_read(socket_path: str) -> None:
    """A monitor that is busy does not take what does not fit into the socket's buffer."""
    over = threading.Event()

    def busy(_client: Client, _message: Message) -> None:
        over.wait(PATIENCE)

    with FakeMonitor(socket_path, {"stop": busy}), contextlib.ExitStack() as stack:
        stack.callback(over.set)
        monitor, begun = stack.enter_context(DirectMonitor(socket_path, 0.5)), time.monotonic()
        monitor._lines.send({"execute": "stop"})
        with pytest.raises(MaqetError) as caught:
            monitor.execute("send-key", {"keys": "x" * 20_000_000})
        assert caught.value.error_code == "qmp_timeout"
        assert time.monotonic() - begun < 30


def test_no_descriptor_is_left(socket_path: str) -> None:
    before = os.listdir("/proc/self/fd")
    with FakeMonitor(socket_path, {"stop": Refusal("GenericError", "no")}, b"nonsense\n") as fake:
        with pytest.raises(MaqetError):
            DirectMonitor(socket_path, PATIENCE)
        fake.hung_up.get(timeout=PATIENCE)
    assert os.listdir("/proc/self/fd") == before
