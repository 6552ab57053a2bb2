# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a long operation is, in a log that people can watch: Ansible shows nothing of a task before it ends."""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.host.closing import Closing


class Progress(Closing):
    """One operation; a line for its beginning, for each percent and for its end, with the time (UTC)."""

    def __init__(self, path: str, what: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._what = what
        self._last = -1
        self.say("begins")

    def say(self, words: str) -> None:
        """A line of its own; with O_APPEND it is written at once and as a whole."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        os.write(self._file, f"{now} {self._what}: {words}\n".encode("utf-8", "replace"))

    def phase(self, doing: str, whole: float = 100.0) -> t.Callable[[float], None]:
        """What is to be told how much of ``whole`` is done; each percent is written once."""
        self._last = -1

        def at(done: float) -> None:
            percent = int(100 * done / whole) if whole else 100
            if percent > self._last:
                self._last = percent
                self.say(f"{doing}: {percent} %")

        return at

    def close(self) -> None:
        os.close(self._file)
