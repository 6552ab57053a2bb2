# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines over a socket: however the bytes come, and whenever they stop."""

from __future__ import annotations

import contextlib
import pathlib
import socket
import threading
import time
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.qmp import lines, protocol
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.lines import Closed, Deadline, LineSocket
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import PATIENCE, Client, FakeServer

Connect = t.Callable[..., LineSocket]


@pytest.fixture
def connect(tmp_path: pathlib.Path) -> t.Iterator[Connect]:
    """``connect(talk, seconds)``: a line socket whose other end does as ``talk`` says."""
    with contextlib.ExitStack() as stack:

        def make(talk: t.Callable[[Client], None], seconds: float = PATIENCE) -> LineSocket:
            server = stack.enter_context(FakeServer(tmp_path / "socket", talk))
            return stack.enter_context(LineSocket(server.path, Deadline(seconds)))

        yield make


def saying(*words: bytes) -> t.Callable[[Client], None]:
    def talk(client: Client) -> None:
        for word in words:
            client.send(word)

    return talk


def hanging_up(*words: bytes) -> t.Callable[[Client], None]:
    def talk(client: Client) -> None:
        client.send(*words)
        client.close()

    return talk


@pytest.mark.parametrize(
    "words",
    [
        [b'{"a": "\xc3\xa4"}\n{"b": 2}\n'],
        [bytes([byte]) for byte in b'{"a": "\xc3\xa4"}\n{"b": 2}\n'],
        [b'{"a": "\xc3', b'\xa4"}\n{"b": 2}', b"\n"],
        [b'{"a": "\xc3\xa4"}\r\n{"b": 2}\r\n'],
    ],
)
def test_lines_do_not_depend_on_packets(connect: Connect, words: list[bytes]) -> None:
    channel = connect(saying(*words))
    assert [channel.receive(), channel.receive()] == [{"a": "ä"}, {"b": 2}]


def test_lines_of_20_mb_both_ways(connect: Connect) -> None:
    def echo(client: Client) -> None:
        message = client.receive()
        assert message is not None
        client.send(message, {"next": 1})

    channel = connect(echo)
    channel.send({"data": "x" * 20_000_000})
    assert len(channel.receive()["data"]) == 20_000_000
    assert channel.receive() == {"next": 1}


def test_a_line_has_an_end(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINE", 1000)
    with pytest.raises(ValueError, match="a line of more than 1000 bytes"):
        connect(saying(b"x" * 300_000)).receive()


@pytest.mark.parametrize(
    "garbage",
    [b"\n", b"nonsense\n", b"[1]\n", b"1\n", b'{"a":\n', b"\xff\xfe\n", b'{"a": 1} x\n', b"[" * 99_999 + b"\n"],
)
def test_garbage_is_a_value_error_and_the_next_line_is_read(connect: Connect, garbage: bytes) -> None:
    channel = connect(saying(garbage, b'{"good": 1}\n'))
    with pytest.raises(ValueError):
        channel.receive()
    assert channel.receive() == {"good": 1}


@pytest.mark.parametrize("words", [[], [b'{"half": ']])
def test_the_other_side_hangs_up(connect: Connect, words: list[bytes]) -> None:
    with pytest.raises(Closed):
        connect(hanging_up(*words)).receive()


def test_sending_to_nobody(connect: Connect) -> None:
    channel = connect(hanging_up())
    with pytest.raises(Closed):
        channel.receive()
    with pytest.raises(Closed):
        channel.send({"a": 1})


@pytest.mark.parametrize("words", [[], [b'{"half": ']])
def test_the_other_side_stalls(connect: Connect, words: list[bytes]) -> None:
    begun = time.monotonic()
    with pytest.raises(socket.timeout):
        connect(saying(*words), 0.2).receive()
    assert 0.2 <= time.monotonic() - begun < 30


def test_one_deadline_for_the_whole_conversation(connect: Connect) -> None:
    """A line now and then does not give more time."""

    def chatter(client: Client) -> None:
        while client.receive() is not None:
            client.send(b'{"more": 1}\n')

    begun = time.monotonic()
    channel = connect(chatter, 0.3)

    def converse() -> None:
        while True:
            channel.send({"and": 1})
            channel.receive()

    with pytest.raises(socket.timeout):
        converse()
    assert 0.3 <= time.monotonic() - begun < 30


def test_a_peer_that_does_not_read(tmp_path: pathlib.Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.listen()
        with LineSocket(str(tmp_path / "socket"), Deadline(0.2)) as channel, pytest.raises(socket.timeout):
            channel.send({"data": "x" * 20_000_000})


def test_no_time_is_no_connection(tmp_path: pathlib.Path) -> None:
    with pytest.raises(socket.timeout):
        LineSocket(str(tmp_path / "socket"), Deadline(0))


@pytest.mark.parametrize("listening", [False, True])
def test_nobody_listens(tmp_path: pathlib.Path, listening: bool) -> None:
    path = tmp_path / "socket"
    if listening:
        with socket.socket(socket.AF_UNIX) as gone:
            gone.bind(str(path))
    with pytest.raises(ConnectionRefusedError if listening else FileNotFoundError):
        LineSocket(str(path), Deadline(PATIENCE))


@pytest.mark.parametrize("message", [{}, {"a": "ä\n\x00\u2028", "b": [1.5, None, True]}])
def test_a_message_is_one_line_of_ascii(message: dict[str, t.Any]) -> None:
    line = protocol.encode(message)
    assert line.endswith(b"\n") and line.count(b"\n") == 1 and line.isascii()
    assert protocol.decode(line) == message


def test_the_protocol_is_pinned() -> None:
    """A runner lives longer than the module that started it: a change of meaning needs a new number."""
    assert (protocol.OLDEST, protocol.PROTOCOL) == (1, 2)
    assert protocol.MAX_LINE >= 16 * 1024 * 1024


def full(path: pathlib.Path, stack: contextlib.ExitStack) -> socket.socket:
    """A listener whose queue is full: Linux takes one more than it was told."""
    listening = stack.enter_context(socket.socket(socket.AF_UNIX))
    listening.bind(str(path))
    listening.listen(0)
    stack.enter_context(socket.socket(socket.AF_UNIX)).connect(str(path))
    return listening


def test_a_full_queue_is_waited_for(tmp_path: pathlib.Path) -> None:
    """As when two hundred tasks ask one runner in the same moment; Linux says EAGAIN to who does not wait."""
    path = tmp_path / "socket"
    with contextlib.ExitStack() as stack:
        listening = full(path, stack)
        late = threading.Timer(0.3, lambda: stack.enter_context(listening.accept()[0]))
        late.start()
        stack.callback(late.join)
        stack.enter_context(LineSocket(str(path), Deadline(PATIENCE)))


def test_a_full_queue_is_not_waited_for_longer_than_allowed(tmp_path: pathlib.Path) -> None:
    with contextlib.ExitStack() as stack:
        full(tmp_path / "socket", stack)
        begun = time.monotonic()
        with pytest.raises(socket.timeout):
            LineSocket(str(tmp_path / "socket"), Deadline(0.2))
        assert 0.1 < time.monotonic() - begun < PATIENCE
