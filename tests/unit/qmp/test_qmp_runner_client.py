# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module's end of the runner's socket, with runners that answer well, badly, late and not at all."""

from __future__ import annotations

import pathlib
import socket
import threading
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.protocol import OLDEST, PROTOCOL
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import RunnerClient, Unread
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import PATIENCE, UUID, Client, FakeServer, Message, runner


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    return str(tmp_path / "runner.sock")


def seen(number: int, name: str = "STOP") -> Message:
    return {"event": {"seq": number, "event": name, "data": {}}}


def test_requests_and_answers(path: str) -> None:
    heard: list[Message] = []

    def answer(message: Message) -> list[Message]:
        heard.append(message)
        return [{"id": message["id"], "result": {"op": message["op"]}}]

    with FakeServer(path, runner(answer)) as server:
        with RunnerClient(path, "web", PATIENCE) as client:
            assert client.hello == {"protocol": PROTOCOL, "vm": "web", "uuid": UUID, "pid": 1, "digest": "d"}
            assert client.request("status") == {"op": "status"}
            assert client.request("qmp", commands=[], check=True) == {"op": "qmp"}
        server.hung_up.get(timeout=PATIENCE)
    assert heard == [{"id": 1, "op": "status"}, {"id": 2, "op": "qmp", "commands": [], "check": True}]


def test_answers_to_other_requests_and_events_between(path: str) -> None:
    def answer(message: Message) -> list[Message]:
        number = message["id"]
        return [seen(1), {"id": number - 1, "result": {}}, {"id": None, "error": {}}, seen(2),
                {"id": number, "result": {"mine": True}}, seen(3)]  # fmt: skip

    with FakeServer(path, runner(answer)), RunnerClient(path, "web", PATIENCE) as client:
        assert client.request("status") == {"mine": True}
        assert [client.next_event()["seq"] for _number in range(3)] == [1, 2, 3]


def test_errors_of_the_runner(path: str) -> None:
    error = MaqetError("No.", "policy_denied", audit=[{"seq": 1}], decision={"class": "host-exec"})

    def answer(message: Message) -> list[Message]:
        return [{"id": message["id"], "error": error.as_dict()}]

    with FakeServer(path, runner(answer)) as server:
        with pytest.raises(MaqetError) as caught, RunnerClient(path, "web", PATIENCE) as client:
            client.request("qmp")
        server.hung_up.get(timeout=PATIENCE)
    assert caught.value.as_dict() == error.as_dict()


def test_subscribing(path: str) -> None:
    def answer(message: Message) -> list[Message]:
        assert message == {"id": 1, "op": "subscribe", "names": ["STOP"], "since": 4}
        return [{"id": 1, "result": {"last_event": 4}}]

    with FakeServer(path, runner(answer)), RunnerClient(path, "web", 0.3) as client:
        client.subscribe(["STOP"], 4)
        with pytest.raises(socket.timeout):
            client.next_event()


def speaking(*words: t.Union[Message, bytes]) -> t.Callable[[Client], None]:
    return lambda client: client.send(*words)


def hanging_up(client: Client) -> None:
    client.close()


@pytest.mark.parametrize(
    ("talk", "words"),
    [
        (runner(lambda _message: [], PROTOCOL + 1), f"speaks protocol {PROTOCOL + 1}, this module 1 to {PROTOCOL}"),
        (runner(lambda _message: [], OLDEST - 1), f"speaks protocol {OLDEST - 1}, this module 1 to {PROTOCOL}"),
        (runner(lambda _message: [], None), "speaks protocol None, this module 1 to"),
        (runner(lambda _message: [], "2"), "speaks protocol 2, this module 1 to"),
        (speaking({"hello": {}}), "speaks protocol None, this module 1 to"),
        (speaking({"hello": 1}), "what answers there is no runner"),
        (speaking({"QMP": {}}), "what answers there is no runner"),
        (speaking(b"nonsense\n"), "it sent what is not its protocol"),
        (speaking(b"[]\n"), "it sent what is not its protocol"),
        (speaking(), "no hello within 0.3 s"),
        (speaking(b'{"hel'), "no hello within 0.3 s"),
        (hanging_up, "it hung up"),
        (speaking({"goodbye": {}}), "it has made way for another"),
    ],
)
def test_what_goes_wrong_at_the_door(path: str, talk: t.Callable[[Client], None], words: str) -> None:
    with FakeServer(path, talk) as server:
        with pytest.raises(MaqetError) as caught:
            RunnerClient(path, "web", 0.3)
        if talk is not hanging_up:
            server.hung_up.get(timeout=PATIENCE)
    assert caught.value.error_code == "runner_unreachable"
    assert words in str(caught.value)
    assert "VM web" in str(caught.value)


@pytest.mark.parametrize("name", ["missing", "dead", "l" * 200])
def test_no_runner(tmp_path: pathlib.Path, name: str) -> None:
    FakeServer(tmp_path / "dead", hanging_up).close()
    with pytest.raises(MaqetError, match="cannot be reached") as caught:
        RunnerClient(str(tmp_path / name), "web", PATIENCE)
    assert caught.value.error_code == "runner_unreachable"
    assert "mode: direct" in str(caught.value)
    assert "state=restarted" in str(caught.value)


def gone(_message: Message) -> t.Iterable[Message]:
    raise ConnectionResetError


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (lambda _message: [], "qmp_timeout", "did not answer 'qmp' within 0.3 s; the outcome is unknown"),
        (lambda _message: [b'{"id": 1, "res'], "qmp_timeout", "the outcome is unknown"),
        (lambda _message: [b"nonsense\n"], "runner_unreachable", "it sent what is not its protocol"),
        (lambda _message: [{"id": 1}], "runner_unreachable", "it sent what is not its protocol"),
        (lambda _message: [{"id": 1, "result": 5}], "runner_unreachable", "it sent what is not its protocol"),
        (lambda _message: [{"id": 1, "error": {}}], "runner_unreachable", "it sent what is not its protocol"),
        (lambda _message: [{"id": 1, "error": None}], "runner_unreachable", "it sent what is not its protocol"),
        (gone, "runner_unreachable", "ended before it answered; the outcome is unknown"),
        (lambda _message: [{"goodbye": {}}], "runner_unreachable", "it has made way for another"),
    ],
)
def test_what_goes_wrong_in_a_request(path: str, answer: t.Any, code: str, words: str) -> None:
    with FakeServer(path, runner(answer)) as server:
        with pytest.raises(MaqetError) as caught, RunnerClient(path, "web", 0.3) as client:
            client.request("qmp")
        if answer is not gone:
            server.hung_up.get(timeout=PATIENCE)
    assert caught.value.error_code == code
    assert words in str(caught.value)


def test_a_runner_that_does_not_read(path: str) -> None:
    over = threading.Event()

    def talk(client: Client) -> None:
        client.send({"hello": {"protocol": PROTOCOL}})
        over.wait(PATIENCE)

    with FakeServer(path, talk), RunnerClient(path, "web", 0.3) as client:
        try:
            with pytest.raises(MaqetError, match="the outcome is unknown") as caught:
                client.request("qmp", commands=["x" * 20_000_000])
        finally:
            over.set()
    assert caught.value.error_code == "qmp_timeout"


def test_events_without_end_do_not_give_more_time(path: str) -> None:
    over = threading.Event()

    def talk(client: Client) -> None:
        client.send({"hello": {"protocol": PROTOCOL}})
        while not over.is_set():
            client.send(seen(1))

    with FakeServer(path, talk), RunnerClient(path, "web", 0.3) as client:
        try:
            with pytest.raises(MaqetError) as caught:
                client.request("status")
        finally:
            over.set()
    assert caught.value.error_code == "qmp_timeout"


@pytest.mark.parametrize("protocol", range(OLDEST, PROTOCOL + 1))
def test_runners_of_older_collections_are_spoken_to(path: str, protocol: int) -> None:
    with (
        FakeServer(path, runner(lambda message: [{"id": message["id"], "result": {}}], protocol)),
        RunnerClient(path, "web", PATIENCE) as client,
    ):
        assert client.request("status") == {}


def caught(path: str, talk: t.Callable[[Client], None], use: t.Callable[[RunnerClient], t.Any]) -> MaqetError:
    with FakeServer(path, talk), pytest.raises(MaqetError) as found, RunnerClient(path, "web", 0.5) as client:
        use(client)
    return found.value


def ask(client: RunnerClient) -> t.Any:
    return client.request("qmp")


GOODBYE: Message = {"goodbye": {}}


@pytest.mark.parametrize(
    ("talk", "use"),
    [
        (hanging_up, ask),
        (speaking(GOODBYE), ask),
        (runner(lambda _message: [GOODBYE]), ask),
        (runner(lambda _message: [seen(1), GOODBYE]), ask),
        (runner(lambda message: [{"id": message["id"], "result": {}}, GOODBYE]), lambda c: (ask(c), ask(c))),
        (speaking({"hello": {"protocol": PROTOCOL}}, GOODBYE), lambda c: c.next_event()),
    ],
    ids=["no hello", "at the door", "unread", "behind an event", "the second one", "an event"],
)
def test_what_no_runner_has_read(path: str, talk: t.Callable[[Client], None], use: t.Any) -> None:
    error = caught(path, talk, use)
    assert isinstance(error, Unread)
    assert (error.error_code, error.details) == ("runner_unreachable", {})


def hello_and_gone(client: Client) -> None:
    client.send({"hello": {"protocol": PROTOCOL}})
    client.close()


def test_one_that_has_gone_before_it_was_asked(path: str) -> None:
    """Nothing can be sent any more; or all of it could, to somebody who will not read it."""
    with FakeServer(path, hello_and_gone), RunnerClient(path, "web", 0.5) as client:
        with pytest.raises(Unread, match="it hung up"):
            client.next_event()
        with pytest.raises(Unread, match="it hung up"):
            ask(client)


@pytest.mark.parametrize(
    ("talk", "code"),
    [
        (runner(gone), "runner_unreachable"),
        (runner(lambda _message: [b'{"id": 1, "result": {']), "qmp_timeout"),
        (runner(lambda _message: []), "qmp_timeout"),
    ],
    ids=["gone", "half an answer", "late"],
)
def test_what_may_have_happened(path: str, talk: t.Callable[[Client], None], code: str) -> None:
    error = caught(path, talk, ask)
    assert not isinstance(error, Unread)
    assert (error.error_code, error.details) == (code, {"outcome_unknown": True})


def test_whoever_waits_for_events_has_asked_for_nothing(path: str) -> None:
    """A subscription is made again without harm, also with a runner that was killed."""

    def killed(client: Client) -> None:
        client.send({"hello": {"protocol": PROTOCOL}})
        message = client.receive()
        assert message is not None
        client.send({"id": message["id"], "result": {}})
        client.end()

    error = caught(path, killed, lambda client: (client.subscribe(), client.next_event()))  # type: ignore[func-returns-value]
    assert isinstance(error, Unread)


@pytest.mark.parametrize("words", [b"nonsense\n", b"[]\n", {"id": 1, "result": 5}])
def test_a_stranger_may_have_read_it(path: str, words: t.Any) -> None:
    error = caught(path, runner(lambda _message: [words]), ask)
    assert error.error_code == "runner_unreachable" and not isinstance(error, Unread)
