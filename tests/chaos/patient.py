# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client that behaves well while others do not: how long it waits for each answer.

A process of its own, so that it does not wait for the others' Python. It reads the names of phases, one a line; when
there are no more it writes the milliseconds of each phase as a JSON object.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import RunnerClient

# A well-behaved client pauses between its questions, in seconds.
_PAUSE: t.Final = 0.01
# It gives up when this is over, in seconds.
_LONGEST: t.Final = 3600.0


class Patient:
    """The process; leave the context to have ``waits``, milliseconds by phase."""

    def __init__(self, socket: str, collections: t.Union[str, os.PathLike[str]]) -> None:
        self.waits: dict[str, list[float]] = {}
        self._popen = subprocess.Popen(
            [sys.executable, "-m", __name__, socket],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.fspath(collections), "PYTHONDONTWRITEBYTECODE": "1"},
        )

    def phase(self, name: str) -> None:
        """What it measures from now on belongs to this."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(name.encode() + b"\n")
        self._popen.stdin.flush()

    def __enter__(self) -> Patient:
        return self

    def __exit__(self, *_error: object) -> None:
        said, _words = self._popen.communicate(timeout=60)
        self.waits = json.loads(said) if said else {}


def main(path: str) -> None:
    """Ask, pause, ask again; the connection is a new one each tenth time."""
    waits: dict[str, list[float]] = {}
    phase, rest = "", b""
    while True:
        with RunnerClient(path, "patient", _LONGEST) as client:
            for _number in range(10):
                begun = time.monotonic()
                client.request("status")
                waits.setdefault(phase, []).append(1000 * (time.monotonic() - begun))
                if select.select([0], [], [], _PAUSE)[0]:
                    data = os.read(0, 4096)
                    if not data:
                        waits.pop("", None)
                        json.dump(waits, sys.stdout)
                        return
                    *names, rest = (rest + data).split(b"\n")
                    phase = names[-1].decode() if names else phase


if __name__ == "__main__":
    main(sys.argv[1])
