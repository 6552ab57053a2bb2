# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many runners of one task: everything is imported once, and each runner is a fork, which takes milliseconds.

They share the memory that none of them writes to. A nursery lives as long as the task that starts VMs, and is no
parent to its children after that; one that dies takes none of them with it. A VM whose runner is started again later
gets an ordinary one. With systemd each runner is a unit's own process instead, see ``host/starting.py``.

An order is one datagram: the options of a runner as JSON, and with it the pipe that the runner closes when it is
ready, on which its pid is said first, and its log.
"""

from __future__ import annotations

import ctypes
import gc
import json
import logging
import os
import signal
import socket
import sys
import typing as t

# A datagram is far smaller: names of folders and of a VM.
_LONGEST = 65536

#: Starts with a runner's options and returns its exit status, as ``daemon.live`` does.
Live = t.Callable[[t.Mapping[str, str]], int]


def serve(fd: int, live: Live) -> int:
    """Fork a runner for each order that comes by the socket ``fd``, until the task has closed its end."""
    # Nobody waits for a runner that ends before we do. Not in the runners: they wait for their QEMU.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.collect()
    gc.freeze()  # a collection in a child must not touch, and so copy, what all of them share
    with socket.socket(fileno=fd) as orders:
        while True:
            words, passed, _flags, _address = socket.recv_fds(orders, _LONGEST, 2)
            if not words:
                return 0
            _bear(json.loads(words), passed, orders, live)


def _bear(options: dict[str, str], passed: list[int], orders: socket.socket, live: Live) -> None:
    ready, log = passed
    if os.fork() == 0:
        orders.close()
        _grow_up(log)
        _name(options)
        status = 1
        try:
            os.write(
                ready, b"%d\n" % os.getpid()
            )  # fails where the task has given up: then nothing is started any more
            status = live({**options, "ready-fd": str(ready)})
        except BaseException:  # pylint: disable=broad-exception-caught  # the last frame of a process
            logging.getLogger("maqet.runner").exception("the runner failed")
        finally:
            os._exit(status)
    os.close(ready)
    os.close(log)


def _grow_up(log: int) -> None:
    """What Popen does for an ordinary runner: a session of its own, and its log for all it says."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    for fd in (1, 2):
        os.dup2(log, fd)
    os.close(log)


def _name(options: t.Mapping[str, str]) -> None:
    """Have ps(1) and /proc show the command line of an ordinary runner, by which one can be found.

    A process may write over its arguments (proc(5), /proc/PID/cmdline); fields 48 and 49 of /proc/PID/stat say where
    they are. The nursery was given more of them than it needs, to make room.
    """
    shown = [sys.executable, *sys.argv[:1], *(word for key, value in options.items() for word in (f"--{key}", value))]
    line = b"\0".join(map(os.fsencode, shown)) + b"\0"
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    begin, end = int(fields[45]), int(fields[46])
    if begin > 0 and len(line) <= end - begin:
        ctypes.memset(begin, 0, end - begin)
        ctypes.memmove(begin, line, len(line))
