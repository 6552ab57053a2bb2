# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module's end of the runner's socket: the fast path of ``maqet_qmp``, so it stays small."""

from __future__ import annotations

import socket
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.closing import Closing
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.lines import Closed, Deadline, LineSocket
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.protocol import OLDEST, PROTOCOL

_REMEDY = (
    "If QEMU still runs, 'mode: direct' reaches it; 'maqet_vm: state=stopped' or 'state=restarted' "
    "puts things in order."
)


class Unread(MaqetError):
    """``runner_unreachable``, and what was asked has not been read: the next runner may be asked the same."""


class RunnerClient(Closing):
    """A conversation with the runner of one VM. All of it must end within ``seconds``."""

    def __init__(self, path: str, name: str, seconds: float) -> None:
        """Connect and read the hello.

        ``runner_unreachable`` if there is no runner, or a stranger; ``policy_denied`` if it does not talk to us.
        """
        self._name = name
        self._deadline = Deadline(seconds)
        self._id = 0
        self._asking = False
        self.events: list[dict[str, t.Any]] = []
        try:
            self._lines = LineSocket(path, self._deadline)
        except socket.timeout:
            raise self._stranger(f"{path}: nobody took the call within {seconds:g} s") from None
        except OSError as error:
            raise self._unreachable(f"{path}: {error.strerror or error}") from None
        try:
            try:
                first = self._next()
            except socket.timeout:
                raise self._stranger(f"no hello within {seconds:g} s") from None
            if "error" in first:  # the runner does not talk to this user
                self._result(first)
            self.hello = first.get("hello")
            if not isinstance(self.hello, dict):
                raise self._stranger("what answers there is no runner")
            if self.hello.get("protocol") not in range(OLDEST, PROTOCOL + 1):
                raise MaqetError(
                    f"The runner of VM {name} speaks protocol {self.hello.get('protocol')}, this module {OLDEST} to "
                    f"{PROTOCOL}. Use the collection's version that started the VM, or replace its runner, which the "
                    "guest does not notice: maqet_vm with runner: upgrade.",
                    "runner_unreachable",
                )
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Hang up."""
        self._lines.close()

    def allow(self, seconds: float) -> None:
        """The rest of the conversation must end within ``seconds`` from now."""
        self._deadline = self._lines.deadline = Deadline(seconds)

    def request(self, op: str, **fields: t.Any) -> dict[str, t.Any]:
        """One operation and its result; MaqetError as the runner reports it. Events on the way are kept."""
        try:
            self.begin(op, **fields)
            while True:
                result = self._answer(self._next())
                if result is not None:
                    return result
        except socket.timeout:
            raise self._too_late(op) from None
        finally:
            self._asking = False

    def begin(self, op: str, **fields: t.Any) -> None:
        """Ask for one operation, whose result :meth:`arrived` will tell; see ``fileno``."""
        self._id += 1
        try:
            self._lines.send({"id": self._id, "op": op, **fields})
        except Closed:  # the end of the line, without which it is none, did not arrive
            raise self._unreachable("it hung up") from None
        self._asking = True

    def arrived(self) -> t.Optional[dict[str, t.Any]]:
        """The result of :meth:`begin` if it has come, else None. ``events`` has all that has come."""
        while self._lines.arrived():
            result = self._answer(self._next())
            if result is not None:
                return result
        return None

    def fileno(self) -> int:
        """Readable when something has come for :meth:`arrived`."""
        return self._lines.fileno()

    def _answer(self, message: dict[str, t.Any]) -> t.Optional[dict[str, t.Any]]:
        if "event" in message:
            self.events.append(message["event"])
        elif message.get("id") == self._id:
            self._asking = False
            return self._result(message)
        return None

    def subscribe(self, names: t.Optional[list[str]] = None, since: t.Optional[int] = None) -> None:
        """Have events sent from now on (or from event number ``since`` on); see ``events``, ``next_event``."""
        self.request("subscribe", names=names, since=since)

    def next_event(self, deadline: t.Optional[Deadline] = None) -> dict[str, t.Any]:
        """The next event that has been subscribed to; socket.timeout at ``deadline``, or at the conversation's."""
        if deadline is not None:
            self._lines.deadline = deadline
        if self.events:
            return self.events.pop(0)
        while True:
            message = self._next()
            if "event" in message:
                return dict(message["event"])

    def _result(self, message: dict[str, t.Any]) -> dict[str, t.Any]:
        try:
            error = MaqetError.from_dict(message["error"]) if "error" in message else None
            result = {} if error else dict(message["result"])
        except (KeyError, TypeError, ValueError) as problem:
            raise self._stranger(f"it sent what is not its protocol: {problem!r}") from None
        if error is not None:
            raise error
        return result

    def _next(self) -> dict[str, t.Any]:
        try:
            message = self._lines.receive()
        except Closed:
            if self._asking:
                raise MaqetError(
                    f"The runner of VM {self._name} ended before it answered; the outcome is unknown. The VM's audit "
                    "log says whether the command was sent to QEMU.",
                    "runner_unreachable",
                    outcome_unknown=True,
                ) from None
            raise self._unreachable("it hung up") from None
        except ValueError as error:
            raise self._stranger(f"it sent what is not its protocol: {error}") from None
        if "goodbye" in message:
            raise self._unreachable("it has made way for another")
        return message

    def _too_late(self, op: str) -> MaqetError:
        return MaqetError(
            f"The runner of VM {self._name} did not answer '{op}' within {self._deadline.seconds:g} s; "
            "the outcome is unknown. Raise 'timeout' if the command needs longer.",
            "qmp_timeout",
            outcome_unknown=True,
        )

    def _unreachable(self, why: str) -> MaqetError:
        return Unread(f"The runner of VM {self._name} cannot be reached ({why}). {_REMEDY}", "runner_unreachable")

    def _stranger(self, why: str) -> MaqetError:
        return MaqetError(f"The runner of VM {self._name} cannot be reached ({why}). {_REMEDY}", "runner_unreachable")
