# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that cannot be mistaken for others, and waiting for their end without polling."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import os
import select
import signal
import struct
import time
import typing as t

# struct pidfd_info as of its first version, 64 bytes: mask, cgroup, eleven ids, and the status as wait(2) has it.
_PIDFD_INFO = "QQ11Ii"
_PIDFD_INFO_EXIT = 1 << 3
_PIDFD_GET_INFO = (3 << 30) | (struct.calcsize(_PIDFD_INFO) << 16) | (0xFF << 8) | 11


@dataclasses.dataclass(frozen=True)
class Process:
    """A pid alone names whoever has it now; with the start time (clock ticks since boot) it is one process."""

    pid: int
    start: int

    def alive(self) -> bool:
        """True while it runs; a zombie does not."""
        return start_time(self.pid) == self.start

    def open(self) -> t.Optional[int]:
        """A pidfd of it, or None if it is gone. The caller closes the descriptor."""
        try:
            fd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return None
        if self.alive():  # checked after opening: the descriptor cannot come to mean another process
            return fd
        os.close(fd)
        return None

    def wait_gone(self, seconds: t.Optional[float]) -> bool:
        """Wait until it has ended, at most ``seconds``; say whether it has."""
        fd = self.open()
        if fd is None:
            return True
        try:
            return bool(wait_readable([fd], seconds))
        finally:
            os.close(fd)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to exactly this process; no error if it is gone."""
        fd = self.open()
        if fd is None:
            return
        try:
            signal.pidfd_send_signal(fd, number)
        except OSError as error:
            if error.errno != errno.ESRCH:
                raise
        finally:
            os.close(fd)


def wait_readable(fds: t.Sequence[int], seconds: t.Optional[float]) -> list[int]:
    """Those of ``fds`` that can be read (a pidfd: has ended), after at most ``seconds`` (None: for ever)."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return [fd for fd, _what in poll.poll(None if seconds is None else max(0, seconds) * 1000)]


def start_time(pid: int) -> t.Optional[int]:
    """When a process started, in clock ticks since boot; None if there is none or it is a zombie.

    Source: proc(5), fields 3 and 22 of /proc/PID/stat; the name in field 2 may hold anything, so
    the fields are counted from its closing parenthesis.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def of_pid(pid: int) -> t.Optional[Process]:
    """The process that has ``pid`` now, or None."""
    start = start_time(pid)
    return None if start is None else Process(pid, start)


def exit_status(pidfd: int, seconds: float = 3.0) -> t.Optional[int]:
    """How a process that is not our child has ended: its status, negative for a signal; None if nobody tells us.

    The kernel tells from Linux 6.15 on, once its parent has heard of it (PIDFD_GET_INFO in linux/pidfd.h), for which
    we wait at most ``seconds``. ``pidfd`` must have been opened before it ended.
    """
    hung_up = select.poll()
    hung_up.register(pidfd, 0)
    hung_up.poll(seconds * 1000)
    info = bytearray(struct.pack(_PIDFD_INFO, _PIDFD_INFO_EXIT, *[0] * 13))
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info)
    except OSError:
        return None
    mask, *_rest, status = struct.unpack(_PIDFD_INFO, info)
    if not mask & _PIDFD_INFO_EXIT:
        return None
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def noted(entry: t.Any) -> t.Optional[Process]:
    """The process that a note of ours (``{"pid", "start"}``) means, whether it lives or not; None if it means none."""
    try:
        return Process(int(entry["pid"]), int(entry["start"]))
    except (KeyError, TypeError, ValueError):
        return None


def boot_id() -> str:
    """Names this boot of the host: random(4)."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def command_lines() -> t.Iterator[tuple[int, list[str]]]:
    """The pid and command line of each process on this host, as far as we may see them."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            words = command_line(int(entry))
            if words:
                yield int(entry), words


def command_line(pid: int) -> list[str]:
    """The words with which a process was started; none if it has ended or is the kernel's (proc(5)).

    Without empty ones at the end: some processes have room there, for they write their own.
    """
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            line = file.read().rstrip(b"\0")
    except OSError:
        return []
    return [os.fsdecode(word) for word in line.split(b"\0")] if line else []


def argument(words: t.Sequence[str], option: str) -> t.Optional[str]:
    """The word behind ``option``, or None."""
    return words[words.index(option) + 1] if option in words[:-1] else None


def with_arguments(*pairs: tuple[str, str]) -> t.Optional[Process]:
    """The process whose command line holds each option of ``pairs`` and behind it its value; None if there is none.

    For a process that nobody wrote down, or whose note is lost.
    """
    for pid, words in command_lines():
        process = of_pid(pid) if all(argument(words, option) == value for option, value in pairs) else None
        if process is not None:
            return process
    return None


def age(process: Process) -> float:
    """Seconds since it started, by a clock that nobody sets: clock_getres(2), CLOCK_BOOTTIME."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - process.start / os.sysconf("SC_CLK_TCK")
