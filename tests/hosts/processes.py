# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting and ending the processes of a test host: notify socket, pidfds, cgroups. Nothing here polls."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
import typing as t
from pathlib import Path

# Runs first in the new process: enters the cgroups, then becomes the command. A preexec_fn would do the same,
# but must not be used by a test runner that may have threads.
_ENTER = """\
import os, sys
split = sys.argv.index("--")
for procs in sys.argv[1:split]:
    with open(procs, "w") as file:
        file.write(str(os.getpid()))
os.execvp(sys.argv[split + 1], sys.argv[split + 1:])
"""


class BootError(RuntimeError):
    """The host did not get to ready; the text says what ended or how long we waited."""


def start_time(pid: int) -> int:
    """When a process began, in clock ticks since the machine's boot (proc(5)); 0 if there is none.

    Together with the pid it names a process for good, which a pid alone does not.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[19])


def cgroup_folders(name: str) -> list[Path]:
    """The cgroups that a container manager without a systemd above it must make: none where systemd reigns.

    Two containers in one cgroup would see each other's units there and stop each other's services.
    """
    if Path("/run/systemd/system").is_dir():
        return []
    folders = []
    for line in Path("/proc/self/mountinfo").read_text("utf-8").splitlines():
        fields, _dash, filesystem = line.partition(" - ")
        kind, _source, options = filesystem.split()[:3]
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            folders.append(Path(fields.split()[4]) / name)
    return folders


def make_cgroups(folders: list[Path]) -> list[Path]:
    """Make the cgroups; returns those that could be made (in a container the hierarchy may be read-only)."""
    made = []
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.mkdir(exist_ok=True)
            made.append(folder)
    return made


def remove_cgroups(folders: list[Path]) -> None:
    """Remove cgroups with all below them; they must hold no process any more. Absent ones are fine."""
    for top in folders:
        if top.is_dir():
            for path, _folders, _files in os.walk(top, topdown=False):
                os.rmdir(path)


def spawn(argv: list[str], cgroups: list[Path], log: Path, notify: str) -> int:
    """Start a command that outlives us, in its own session and cgroups; returns its pid."""
    enter = [sys.executable, "-c", _ENTER, *(str(folder / "cgroup.procs") for folder in cgroups), "--", *argv]
    with log.open("ab") as output:
        process = subprocess.Popen(
            enter,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            start_new_session=True,
            env={**os.environ, "NOTIFY_SOCKET": notify},
        )
    _CHILDREN.append(process)
    return process.pid


_CHILDREN: list[subprocess.Popen[bytes]] = []  # kept, since a Popen that is forgotten complains that it still runs


@contextlib.contextmanager
def notify_socket(name: str) -> t.Iterator[tuple[socket.socket, str]]:
    """A datagram socket for sd_notify messages, and the value for NOTIFY_SOCKET.

    Abstract, as a path in a cache folder may exceed the 107 bytes that a socket address can hold.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as listener:
        listener.bind(f"\0{name}")
        yield listener, f"@{name}"


def wait_ready(listener: socket.socket, pid: int, seconds: float) -> int:
    """Wait for the host's ``READY=1``; returns the pid of its init, which nspawn announces before.

    Raises :class:`BootError` when nspawn ends first or ``seconds`` pass.
    """
    deadline = time.monotonic() + seconds
    leader = 0
    with _pidfd(pid) as ended:
        poller = select.poll()
        poller.register(listener, select.POLLIN)
        if ended is not None:
            poller.register(ended, select.POLLIN)
        while True:
            ready = poller.poll(max(0.0, deadline - time.monotonic()) * 1000)
            descriptors = [descriptor for descriptor, _events in ready]
            if listener.fileno() in descriptors:
                fields = dict(line.partition("=")[::2] for line in listener.recv(4096).decode().splitlines())
                leader = int(fields.get("X_NSPAWN_LEADER_PID", leader))
                if fields.get("READY") == "1":
                    return leader
            elif descriptors or ended is None:
                raise BootError("systemd-nspawn ended before the host was ready")
            else:
                raise BootError(f"the host was not ready within {seconds:.0f} s")


def kill(processes: t.Sequence[tuple[int, int]], seconds: float = 30.0) -> None:
    """SIGKILL processes, given as (pid, start time), and return when they are gone; strangers are left alone.

    The end of a container's init means that of all its processes: the kernel sees to it first.
    Raises :class:`BootError` when one is still there after ``seconds``.
    """
    with contextlib.ExitStack() as stack:
        waiting = []
        for pid, began in processes:
            descriptor = stack.enter_context(_pidfd(pid)) if pid else None
            # Compared after the descriptor was opened: from here on it means this very process.
            if descriptor is not None and start_time(pid) == began:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                waiting.append((pid, descriptor))
        for pid, descriptor in waiting:
            poller = select.poll()
            poller.register(descriptor, select.POLLIN)
            if not poller.poll(seconds * 1000):
                raise BootError(f"process {pid} is still there {seconds:.0f} s after SIGKILL")
    for child in _CHILDREN[:]:
        if child.poll() is not None:
            _CHILDREN.remove(child)


@contextlib.contextmanager
def _pidfd(pid: int) -> t.Iterator[int | None]:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)
