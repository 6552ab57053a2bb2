# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""QMP as it is, without library, guard or log: a socket, one line there and one line back."""

from __future__ import annotations

import json
import socket
import time
import typing as t


class Raw:
    """A conversation with a monitor that nobody else uses; ``close`` it, or use ``with contextlib.closing``."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(path)
            self._file = self._socket.makefile("rb")
            self._file.readline()  # the greeting
            self.round_trip(b'{"execute": "qmp_capabilities"}\n')
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def send(self, command: bytes) -> None:
        """One command, whose answer is read by :meth:`answer`."""
        self._socket.sendall(command)

    def answer(self) -> dict[str, t.Any]:
        """The next answer; events before it are dropped."""
        while True:
            message = json.loads(self._file.readline())
            if "event" not in message:
                return dict(message)

    def round_trip(self, command: bytes) -> float:
        """Seconds from sending a command until the line of its answer is here, which is not looked at."""
        begun = time.perf_counter()
        self._socket.sendall(command)
        self._file.readline()
        return time.perf_counter() - begun
