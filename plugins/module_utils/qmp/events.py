# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The events of one QEMU on disk, so that they outlive a runner: the next one goes on counting where it ended."""

from __future__ import annotations

import errno
import json
import logging
import os
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.host import files

log = logging.getLogger("maqet.events")

Event = t.Dict[str, t.Any]

#: Enough for a client that comes late to see how the VM got where it is.
KEPT = 1000
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class EventFile:
    """One event a line, in the order of their numbers. It is a help, never a reason to fail."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd: t.Optional[int] = None
        self._lines = 0
        self._failed = False
        # Whether the file ends in the middle of a line.
        self._torn = False

    def load(self) -> list[Event]:
        """The events of a runner before us, the last :data:`KEPT` of them; a line that is none is left out."""
        events: list[Event] = []
        try:
            with open(self._path, "rb") as file:
                for line in file:
                    self._lines += 1
                    self._torn = not line.endswith(b"\n")
                    event = _event(line)
                    if event is not None and (not events or event["seq"] > events[-1]["seq"]):
                        events.append(event)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._trouble(error)
        return events[-KEPT:]

    def forget(self) -> None:
        """Begin anew, for another QEMU."""
        self.close()
        files.remove(self._path)
        self._lines = 0
        self._torn = False

    def append(self, event: Event, kept: t.Iterable[Event]) -> None:
        """Add one event; ``kept`` are all that are still of interest, this one included."""
        try:
            if self._fd is None:
                self._fd = os.open(self._path, _FLAGS, 0o600)
            data = b"\n" * self._torn + _line(event)  # a line that was cut short stays alone
            self._torn = True
            if os.write(self._fd, data) < len(data):  # the disk is full: the next write would say so
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._torn = self._failed = False
            self._lines += 1
            if self._lines > 2 * KEPT:
                self.close()
                whole = [_line(one) for one in kept]
                files.write_atomic(self._path, b"".join(whole), durable=False)
                self._lines = len(whole)
        except OSError as error:
            self._trouble(error)

    def close(self) -> None:
        """Let go of the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _trouble(self, error: OSError) -> None:
        if not self._failed:
            log.warning("events are not kept: %s", error)
        self._failed = True


def _line(event: Event) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"


def _event(line: bytes) -> t.Optional[Event]:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    sound = isinstance(event, dict) and isinstance(event.get("event"), str) and isinstance(event.get("seq"), int)
    return event if sound else None
