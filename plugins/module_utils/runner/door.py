# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a client may come in, and stay: asked in a thread, for all who wait at that moment together.

In a thread, since a policy that has changed may ask the network for groups. In one of its own, since those whose
commands are recorded wait for the disk. Together, since a thread for each of two hundred costs more than their answers.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import Caller
from ansible_collections.maqet.qemu.plugins.module_utils.guard.entry import Entry


class Visitor(t.NamedTuple):
    """What the kernel says of who connects, and how to learn the rest, which takes longer: only a refusal needs it."""

    uid: int
    groups: t.Collection[int]
    look: t.Callable[[], Caller]


class Door:
    """The door of one runner; ``entry`` is None where the socket's mode lets in its owner alone."""

    def __init__(self, entry: t.Optional[Entry]) -> None:
        self._entry = entry
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "door")
        self._waiting: list[tuple[Visitor, asyncio.Future[None]]] = []
        self._asking: t.Optional[asyncio.Task[None]] = None

    def close(self) -> None:
        """Nobody comes any more."""
        self._thread.shutdown(wait=False)

    async def demand_role(self, visitor: Visitor) -> None:
        """What :meth:`Entry.demand` says by the policy as it is after this call."""
        if self._entry is None:
            return
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((visitor, answer))
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._ask(self._entry))
        await answer

    async def _ask(self, entry: Entry) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                asked, self._waiting = self._waiting, []
                errors = await loop.run_in_executor(self._thread, _errors, entry, [one for one, _answer in asked])
                for (_visitor, answer), error in zip(asked, errors):
                    if answer.done():  # its client has gone
                        continue
                    if error is None:
                        answer.set_result(None)
                    else:
                        answer.set_exception(error)
        finally:
            self._asking = None


def _errors(entry: Entry, visitors: list[Visitor]) -> list[t.Optional[Exception]]:
    errors: list[t.Optional[Exception]] = []
    for visitor in visitors:
        try:
            if not entry.admits(visitor.uid, visitor.groups):
                entry.demand(visitor.look())
            errors.append(None)
        except Exception as error:  # pylint: disable=broad-except  # each gets its own, and no one that of another
            errors.append(error)
    return errors
