# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module's end of a nursery: a process that forks runners of one archive, see ``runner/nursery.py``."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.host.commands import detached

# How long one that has no more to do may take to end, in seconds.
_END_SECONDS = 10.0
# Characters for the command line of each child, which is that of an ordinary runner.
_ROOM = 1024


class Nursery:
    """To be used by the module and by its own forks, which order from it side by side. Close it when all is ordered."""

    def __init__(self, python: str, archive: str) -> None:
        self.archive = archive
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            fd = theirs.fileno()
            self._process = detached([python, archive, "--nursery", str(fd), "--room", "." * _ROOM], fd)

    def order(self, options: t.Mapping[str, str], ready: int, log: int) -> bool:
        """Have a runner forked with these options, to which the two descriptors go; False if no nursery is there.

        The runner's pid is said on ``ready``, see :func:`pid_of`.
        """
        try:
            socket.send_fds(self._orders, [json.dumps(options).encode()], [ready, log])
        except OSError:  # it has ended: its Python lacks the libraries, or somebody killed it
            return False
        return True

    @property
    def status(self) -> t.Optional[int]:
        """How it has ended, as subprocess has it; None while it lives."""
        return self._process.poll()

    def close(self) -> None:
        """No more orders. Its children live on."""
        self._orders.close()
        self.wait()

    def wait(self) -> None:
        """Until it has ended; one that hangs is ended."""
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def pid_of(ready: int) -> int:
    """What a nursery says first on the pipe ``ready``; 0 if it has ended before that."""
    said = b""
    while not said.endswith(b"\n"):
        more = os.read(ready, 1)
        if not more:
            return 0
        said += more
    return int(said)
