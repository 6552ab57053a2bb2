# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A QMP monitor spoken to by the module itself: ``mode: direct`` (QEMU's qmp-spec).

The connection is closed whatever happens: a monitor socket serves one client at a time, and the
next one must not find it taken.
"""

from __future__ import annotations

import os
import socket
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.closing import Closing
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.lines import Closed, Deadline, LineSocket
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.refusal import QmpError


class DirectMonitor(Closing):
    """A negotiated QMP session on ``path``; all of it must end within ``seconds``."""

    def __init__(self, path: str, seconds: float) -> None:
        self._path = path
        self._deadline = Deadline(seconds)
        self.events: list[dict[str, t.Any]] = []
        try:
            self._lines = LineSocket(path, self._deadline)
        except socket.timeout:
            raise self._unreachable("another client seems to hold it") from None
        except OSError as error:
            raise MaqetError(
                f"No QMP monitor at {path}: {error.strerror or error}. "
                + ("Is the VM running?" if not os.path.exists(path) else "Nobody listens there any more."),
                "socket_not_found",
                socket=path,
            ) from None
        try:
            self.greeting = self._greet()
            self._converse({"execute": "qmp_capabilities"})
        except QmpError as error:
            self.close()
            raise self._unreachable(f"QEMU refuses to be spoken to: {error.error_class}: {error.desc}") from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Hang up, so that the next client is served."""
        self._lines.close()

    @property
    def version(self) -> str:
        """QEMU's version from its greeting, such as ``7.2.22``."""
        numbers = self.greeting["version"]["qemu"]
        return f"{numbers['major']}.{numbers['minor']}.{numbers['micro']}"

    def execute(self, command: str, arguments: t.Optional[t.Mapping[str, t.Any]] = None) -> t.Any:
        """QEMU's answer to one command; QmpError as it refuses, MaqetError if the answer does not come."""
        message: dict[str, t.Any] = {"execute": command}
        if arguments:
            message["arguments"] = dict(arguments)
        return self._converse(message)

    def next_event(self) -> dict[str, t.Any]:
        """The next event, also one that came during a command."""
        if self.events:
            return self.events.pop(0)
        while True:
            message = self._next()
            if "event" in message:
                return message

    def _greet(self) -> dict[str, t.Any]:
        message = self._next()
        if not isinstance(message.get("QMP"), dict):
            raise self._unreachable("what answers there is not a QMP monitor")
        return dict(message["QMP"])

    def _converse(self, message: dict[str, t.Any]) -> t.Any:
        try:
            self._lines.send(message)
        except Closed:
            raise self._unreachable("QEMU hung up") from None
        except socket.timeout:
            raise self._too_late() from None
        while True:
            answer = self._next()
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                if not isinstance(answer["error"], dict):
                    raise self._unreachable("what it sent is not QMP: an error without words")
                raise QmpError(str(answer["error"].get("class")), str(answer["error"].get("desc")))
            elif "return" in answer:
                return answer["return"]

    def _next(self) -> dict[str, t.Any]:
        try:
            return self._lines.receive()
        except Closed:
            raise self._unreachable("QEMU hung up") from None
        except socket.timeout:
            raise self._too_late() from None
        except ValueError as error:
            raise self._unreachable(f"what it sent is not QMP: {error}") from None

    def _too_late(self) -> MaqetError:
        return self._unreachable(
            f"no answer within {self._deadline.seconds:g} s; the outcome is unknown", "qmp_timeout"
        )

    def _unreachable(self, why: str, code: str = "monitor_unreachable") -> MaqetError:
        return MaqetError(f"QMP monitor {self._path}: {why}.", code, socket=self._path)
