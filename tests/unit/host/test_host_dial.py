# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calling a port until somebody answers, against a stand-in for QEMU that takes every call."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import types
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host import dial as room
from ansible_collections.maqet.qemu.plugins.module_utils.host.dial import Dial, Place
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import wait_readable

# Nothing here takes longer, in seconds.
PATIENCE = 20.0


class Qemu:
    """Takes calls as QEMU's user network does; ``guest`` says what happens to each."""

    def __init__(self, stack: contextlib.ExitStack, guest: t.Callable[[socket.socket], None]) -> None:
        self.guest = guest
        self.calls = 0
        self._stack = stack
        self._listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.port = self._listening.getsockname()[1]
        stack.callback(self._listening.shutdown, socket.SHUT_RDWR)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                line = self._listening.accept()[0]
            except OSError:
                return
            self.calls += 1
            self._stack.callback(line.close)
            threading.Thread(target=self.guest, args=(line,), daemon=True).start()


def no_network(_line: socket.socket) -> None:
    """Not even read."""


def refuses(line: socket.socket) -> None:
    line.shutdown(socket.SHUT_RDWR)


def silent(line: socket.socket) -> None:
    """A server that waits for a question, and ends with who asks none."""
    with contextlib.suppress(OSError):
        if line.recv(1) == b"":
            line.shutdown(socket.SHUT_RDWR)


def speaks(*words: bytes) -> t.Callable[[socket.socket], None]:
    def guest(line: socket.socket) -> None:
        with contextlib.suppress(OSError):
            for word in words:
                line.sendall(word)
                time.sleep(0.01)  # so that it comes in pieces
            line.recv(1)

    return guest


@pytest.fixture
def stack() -> t.Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as opened:
        yield opened


def found(dial: Dial, seconds: float = PATIENCE) -> t.Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = dial.step()
        if answer is not None:
            return answer
        wait_readable([dial.fd], min(max(0.0, dial.due() - time.monotonic()) + 0.001, end - time.monotonic()))
    return None


def forwarded(qemu: Qemu, banner: bytes = b"") -> Dial:
    return Dial(Place("127.0.0.1", qemu.port, True, banner))


def test_a_guest_without_network_is_not_one_that_listens(stack: contextlib.ExitStack) -> None:
    qemu = Qemu(stack, no_network)
    with forwarded(qemu) as dial:
        assert found(dial, 1.0) is None
        assert dial.seen.endswith("does not answer")
    assert 3 <= qemu.calls <= 20


def test_a_guest_without_network_does_not_use_up_qemus_descriptors(
    stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QEMU keeps every call for 75 s. Time is ours here: as soon as there is nothing to do it is later."""
    clock = [0.0]
    monkeypatch.setattr(room, "time", types.SimpleNamespace(monotonic=lambda: clock[0]))
    begun: list[float] = []
    qemu = Qemu(stack, no_network)
    with forwarded(qemu, b"SSH-") as dial:
        call = dial._call

        def noted(now: float) -> None:
            begun.append(now)
            call(now)

        monkeypatch.setattr(dial, "_call", noted)
        while clock[0] < 300:
            assert dial.step() is None
            clock[0] = max(clock[0] + 0.001, dial.due())
    most = max(sum(first <= at < first + 75 for at in begun) for first in begun)
    assert most <= 100 and max(after - before for before, after in zip(begun, begun[1:])) < 2
    assert sum(at < 1 for at in begun) >= 5, "at first it is called often: most guests are quick"


def test_a_guest_that_refuses(stack: contextlib.ExitStack) -> None:
    qemu = Qemu(stack, refuses)
    with forwarded(qemu) as dial:
        assert found(dial, 0.5) is None
        assert dial.seen.endswith("refuses: nobody listens in the guest")
    assert 3 <= qemu.calls <= 50, "it is called again and again, and not all the time"


@pytest.mark.parametrize("before", [no_network, refuses])
def test_a_silent_server_that_comes(stack: contextlib.ExitStack, before: t.Callable[[socket.socket], None]) -> None:
    qemu = Qemu(stack, before)
    with forwarded(qemu) as dial:
        assert found(dial, 0.4) is None
        qemu.guest = silent
        begun = time.monotonic()
        assert found(dial) == {"address": "127.0.0.1", "port": qemu.port}
        assert time.monotonic() - begun < 1


def test_a_silent_server_that_hears_no_end(stack: contextlib.ExitStack) -> None:
    """It is known by the refusals before it, and by them alone."""
    qemu = Qemu(stack, refuses)
    with forwarded(qemu) as dial:
        assert found(dial, 0.2) is None
        qemu.guest = no_network
        assert found(dial) is not None


def test_a_banner(stack: contextlib.ExitStack) -> None:
    """Lines may come before it (RFC 4253, 4.2), and half of it is none."""
    qemu = Qemu(stack, refuses)
    with forwarded(qemu, b"SSH-") as dial:
        assert found(dial, 0.2) is None
        qemu.guest = speaks(b"welcome\r\nSSH", b"-2.0-OpenSSH_9.2p1", b" Debian\r\n")
        assert found(dial)["banner"] == "SSH-2.0-OpenSSH_9.2p1 Debian"


def test_other_words_are_no_banner(stack: contextlib.ExitStack) -> None:
    qemu = Qemu(stack, speaks(b"220 mail SSH-\r\n"))
    with forwarded(qemu, b"SSH-") as dial:
        assert found(dial, 0.5) is None
        assert "says b'220 mail" in dial.seen


def test_a_silent_port_has_no_banner(stack: contextlib.ExitStack) -> None:
    """One call at a time where somebody is known to be: each costs the guest a process."""
    qemu = Qemu(stack, refuses)
    with forwarded(qemu, b"SSH-") as dial:
        assert found(dial, 0.2) is None
        qemu.guest, qemu.calls = silent, 0
        assert found(dial, 0.5) is None
        assert qemu.calls <= 2


def test_an_address_of_its_own(stack: contextlib.ExitStack) -> None:
    """There the kernel tells: refused, or taken."""
    qemu = Qemu(stack, no_network)
    with Dial(Place("127.0.0.1", qemu.port)) as dial:
        assert found(dial) == {"address": "127.0.0.1", "port": qemu.port}
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
    with Dial(Place("127.0.0.1", port)) as dial:
        assert found(dial, 0.3) is None
        assert dial.seen == f"127.0.0.1 port {port} refuses: Connection refused"
        with contextlib.closing(socket.create_server(("127.0.0.1", port))):
            assert found(dial, 5) is not None


def test_a_call_that_nobody_takes_is_waited_for(stack: contextlib.ExitStack) -> None:
    """The queue of a QEMU that hangs is full: a look a millisecond would tell nothing more."""
    listening = stack.enter_context(socket.socket())
    listening.bind(("127.0.0.1", 0))
    listening.listen(0)
    for _number in range(2):
        waiting = stack.enter_context(socket.socket())
        waiting.setblocking(False)
        waiting.connect_ex(listening.getsockname())
    dial = stack.enter_context(Dial(Place("127.0.0.1", listening.getsockname()[1], forwarded=True)))
    end, looks = time.monotonic() + 1.0, 0
    while time.monotonic() < end:
        assert dial.step() is None
        looks += 1
        wait_readable([dial.fd], max(0.0, dial.due() - time.monotonic()) + 0.001)
    assert looks < 60


def test_no_line_is_left_open(stack: contextlib.ExitStack) -> None:
    ends: list[bytes] = []

    def until_the_end(line: socket.socket) -> None:
        line.shutdown(socket.SHUT_WR)  # so that it is dropped
        ends.append(line.recv(1))

    qemu = Qemu(stack, until_the_end)
    with forwarded(qemu) as dial:
        found(dial, 0.3)
    end = time.monotonic() + PATIENCE
    while len(ends) < qemu.calls and time.monotonic() < end:
        time.sleep(0.01)
    assert qemu.calls and ends == [b""] * qemu.calls
