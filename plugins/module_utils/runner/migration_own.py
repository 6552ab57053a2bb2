# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of a migration to our own QEMU, written to the audit log like all others, and what QEMU says meanwhile."""

from __future__ import annotations

import asyncio
import time
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.gate import Asker, Gate, Outcome
from ansible_collections.maqet.qemu.plugins.module_utils.guard.passing import Passed
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Request
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.refusal import QmpError
from ansible_collections.maqet.qemu.plugins.module_utils.runner.session import Session

Arguments = t.Dict[str, t.Any]
T = t.TypeVar("T")

#: How long QEMU may take for one command of a migration, in seconds: some wait for the disks.
COMMAND = 60.0
_WHY = "a step of a migration, which the runner makes itself"


class Own:
    """One migration's conversation with QEMU. Open descriptors are given with :meth:`passing`."""

    def __init__(self, session: Session, gate: Gate, asker: Asker) -> None:
        self.session = session
        self._gate = gate
        self._asker = asker
        self.audit: list[dict[str, t.Any]] = []

    async def __call__(self, command: str, arguments: t.Optional[Arguments] = None) -> t.Any:
        """One command that changes something; MaqetError ``qmp_error`` with QEMU's words if it refuses."""
        return await self.passing(command, arguments or {}, ())

    async def passing(self, command: str, arguments: Arguments, passed: t.Sequence[Passed]) -> t.Any:
        """The same, with descriptors that QEMU gets first, and which are closed whatever happens."""
        try:
            ticket = await asyncio.to_thread(self._gate.own, Request(command, arguments), self._asker, _WHY)
        except BaseException:
            for one in passed:
                one.close()
            raise
        outcome = Outcome("success")
        try:
            return await self.session.execute(command, arguments, COMMAND, passed)
        except QmpError as error:
            outcome = Outcome("failed", error.error_class, error.desc)
            raise error.of(command) from None
        except MaqetError as error:
            outcome = Outcome("failed", error.error_code, str(error))
            raise
        finally:
            self.audit += await asyncio.to_thread(self._gate.close, ticket, outcome)

    async def look(self, command: str, arguments: t.Optional[Arguments] = None) -> t.Any:
        """A question, which changes nothing and is not recorded."""
        try:
            return await self.session.execute(command, arguments or {}, COMMAND)
        except QmpError as error:
            raise error.of(command) from None


class Signals:
    """What may come while a migration is on its way: QEMU's events and whatever else is put in, in one row."""

    def __init__(self, session: Session, seconds: float) -> None:
        self._session = session
        self._row: asyncio.Queue[tuple[str, t.Any]] = asyncio.Queue()
        self._end = time.monotonic() + seconds
        self.seconds = seconds
        session.listen(self._event)

    def close(self) -> None:
        """Listen no more."""
        self._session.unlisten(self._event)

    def put(self, kind: str, value: t.Any = None) -> None:
        """Something that is no event of QEMU's."""
        self._row.put_nowait((kind, value))

    async def until(self, wanted: t.Callable[[str, t.Any], t.Optional[T]], seconds: t.Optional[float] = None) -> T:
        """What ``wanted`` makes of the first (kind, value) that it makes something of. It may raise.

        ``wait_timeout`` when the time of the whole migration is over, or ``seconds`` are.
        """
        end = self._end if seconds is None else time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            try:
                kind, value = await asyncio.wait_for(self._row.get(), max(0.0, left))
            except asyncio.TimeoutError:
                raise MaqetError(
                    f"The migration has not come further within {seconds or self.seconds:g} s. Raise 'timeout', give "
                    "it more 'bandwidth' or 'downtime_limit', or set 'auto_converge' for a guest that writes faster "
                    "than its memory can be sent.",
                    "wait_timeout",
                ) from None
            found = wanted(kind, value)
            if found is not None:
                return found

    def _event(self, event: t.Mapping[str, t.Any]) -> None:
        self._row.put_nowait(("event", event))
