# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A QMP monitor spoken to by the module itself: ``mode: direct`` (QEMU's qmp-spec).

The connection is closed whatever happens: a monitor socket serves one client at a time, and the
next one must not find it taken.
"""

from __future__ import annotations

import contextlib
import os
import socket
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.passing import Passed
from ansible_collections.maqet.qemu.plugins.module_utils.host.closing import Closing
from ansible_collections.maqet.qemu.plugins.module_utils.qmp import handover
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.lines import Closed, Deadline, LineSocket
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.refusal import QmpError

_ALONE = ". QEMU hangs, or another client holds it: a monitor has one at a time"


class DirectMonitor(Closing):
    """A negotiated QMP session on ``path``; all of it must end within ``seconds``."""

    def __init__(self, path: str, seconds: float) -> None:
        self._path = path
        self._deadline = Deadline(seconds)
        self._id = 0
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

    @property
    def build(self) -> str:
        """Version and package, which tell one build of QEMU from another."""
        return f"{self.version} {self.greeting['version'].get('package', '')}"

    @property
    def peer(self) -> int:
        """The process that made the socket; for a QEMU that made its own, QEMU."""
        return self._lines.peer

    def execute(
        self, command: str, arguments: t.Optional[t.Mapping[str, t.Any]] = None, passed: t.Sequence[Passed] = ()
    ) -> t.Any:
        """QEMU's answer to one command; QmpError as it refuses, MaqetError if the answer does not come.

        QEMU takes the descriptors of ``passed`` first, which rewrite ``arguments``, and lets them go
        after the command; ours are closed in any case.
        """
        waiting = list(passed)
        undo: list[handover.Step] = []
        try:
            while waiting:
                undo.append(self._hand(waiting.pop(0), f"maqet-{len(undo)}", command))
            return self._command(command, arguments)
        finally:
            for one in waiting:
                one.close()
            for step in undo:  # a consumed name is gone already; a QEMU that is gone or hangs cannot be asked
                with contextlib.suppress(QmpError, MaqetError):
                    self._command(*step)

    def _hand(self, passed: Passed, name: str, command: str) -> handover.Step:
        """Have QEMU take one descriptor; the command that lets it go."""
        try:
            answer = self._command(*handover.offer(passed, name), passed.fd)
        except QmpError as error:
            raise handover.not_taken(command, error) from None
        finally:
            passed.close()
        return handover.settle(passed, name, answer)

    def _command(
        self, command: str, arguments: t.Optional[t.Mapping[str, t.Any]] = None, fd: t.Optional[int] = None
    ) -> t.Any:
        message: dict[str, t.Any] = {"execute": command}
        if arguments:
            message["arguments"] = dict(arguments)
        return self._converse(message, fd)

    def next_event(self) -> dict[str, t.Any]:
        """The next event, also one that came during a command."""
        if self.events:
            return self.events.pop(0)
        while True:
            message = self._next()
            if "event" in message:
                return message

    def _greet(self) -> dict[str, t.Any]:
        greeting: t.Any = self._next().get("QMP")
        try:
            if all(isinstance(greeting["version"]["qemu"][part], int) for part in ("major", "minor", "micro")):
                return dict(greeting)
        except (KeyError, TypeError):
            pass
        raise self._unreachable("what answers there is not a QMP monitor")

    def _converse(self, message: dict[str, t.Any], fd: t.Optional[int] = None) -> t.Any:
        """The answer that bears the number of ``message``; any other is not for it, whatever it says (qmp-spec)."""
        self._id += 1
        number = f"maqet-{self._id}"
        try:
            self._lines.send({**message, "id": number}, fd)
        except Closed:
            raise self._unreachable("QEMU hung up") from None
        except socket.timeout:
            raise self._too_late() from None
        while True:
            answer = self._next()
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer and "id" not in answer:
                raise self._unreachable("it could not read what was sent to it")
            elif answer.get("id") == number:
                return self._content(answer)

    def _content(self, answer: dict[str, t.Any]) -> t.Any:
        if "error" not in answer and "return" in answer:
            return answer["return"]
        error = answer.get("error")
        words = [error.get("class"), error.get("desc")] if isinstance(error, dict) else []
        texts = [word for word in words if isinstance(word, str)]
        if len(texts) != 2:
            raise self._unreachable("what it sent is not QMP: neither a return nor an error with class and desc")
        raise QmpError(texts[0], texts[1])

    def _next(self) -> dict[str, t.Any]:
        try:
            message = self._lines.receive()
            if "event" in message and not (
                isinstance(message["event"], str) and isinstance(message.get("data", {}), dict)
            ):
                raise ValueError("an event without a name or data")
            return message
        except Closed:
            raise self._unreachable("QEMU hung up") from None
        except socket.timeout:
            raise self._too_late() from None
        except ValueError as error:
            raise self._unreachable(f"what it sent is not QMP: {error}") from None

    def _too_late(self) -> MaqetError:
        # QEMU takes a second call and greets it when the first client has gone.
        alone = "" if hasattr(self, "greeting") else _ALONE
        return self._unreachable(
            f"no answer within {self._deadline.seconds:g} s; the outcome is unknown{alone}",
            "qmp_timeout",
            outcome_unknown=True,
        )

    def _unreachable(self, why: str, code: str = "monitor_unreachable", **details: t.Any) -> MaqetError:
        return MaqetError(f"QMP monitor {self._path}: {why}.", code, socket=self._path, **details)
