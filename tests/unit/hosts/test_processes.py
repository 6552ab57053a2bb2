# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for and ending the processes of test hosts, on processes that any user may have."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
from ansible_collections.maqet.qemu.tests.hosts import processes

NAME = f"maqet-unit-{os.getpid()}"

# Says READY=1 as the arguments tell it to, then waits for its stdin to close.
SPEAKER = """
import os, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
    out.connect("\\0" + os.environ["NOTIFY_SOCKET"][1:])
    for message in sys.argv[1:]:
        out.send(message.encode())
sys.stdin.read()
"""


def _speak(address: str, *messages: str, stdin: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "NOTIFY_SOCKET": address}
    return subprocess.Popen([sys.executable, "-c", SPEAKER, *messages], env=environment, stdin=stdin)


@pytest.mark.parametrize(
    "messages",
    [("X_NSPAWN_LEADER_PID=42", "READY=1"), ("READY=1\nX_NSPAWN_LEADER_PID=42",)],
    ids=["two messages", "one message"],
)
def test_ready_tells_the_leader(messages: tuple[str, ...]) -> None:
    """The pid that nspawn announced comes back once the host is ready."""
    with processes.notify_socket(NAME) as notify, _speak(notify[1], *messages) as speaker:
        assert processes.wait_ready(notify[0], speaker.pid, 30) == 42
        speaker.communicate()


def test_an_end_before_ready_is_an_error_at_once() -> None:
    """Nobody waits for a process that has ended."""
    with processes.notify_socket(NAME) as notify, _speak(notify[1], stdin=subprocess.DEVNULL) as speaker:
        with pytest.raises(processes.BootError, match="ended before"):
            processes.wait_ready(notify[0], speaker.pid, 30)
        assert speaker.wait() == 0


def test_silence_is_an_error_after_the_time_given() -> None:
    """A host that never gets ready does not hold the tests for ever."""
    with processes.notify_socket(NAME) as notify, _speak(notify[1]) as speaker:
        with pytest.raises(processes.BootError, match="not ready within 0 s"):
            processes.wait_ready(notify[0], speaker.pid, 0.05)
        speaker.communicate()


def test_kill_ends_the_process_and_only_it() -> None:
    """A pid whose start time differs belongs to somebody else by now, and is left alone."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        began = processes.start_time(process.pid)
        processes.kill([(process.pid, began + 1), (0, 0)])
        assert process.poll() is None

        processes.kill([(process.pid, began)])
        assert process.wait() == -9


def test_start_time_of_nobody() -> None:
    """No process, no start time; and one's own does not change."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
        assert processes.start_time(process.pid) == 0
    assert processes.start_time(os.getpid()) == processes.start_time(os.getpid()) > 0


def test_notify_socket_takes_messages() -> None:
    """The value for NOTIFY_SOCKET names an abstract socket, as sd_notify(3) writes it."""
    with processes.notify_socket(NAME) as (listener, address):
        assert address.startswith("@")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.sendto(b"READY=1", "\0" + address[1:])
        assert listener.recv(100) == b"READY=1"
