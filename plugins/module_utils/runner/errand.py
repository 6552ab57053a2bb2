# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A command on its way to QEMU together with open files: hand them over, send it, let them go again."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.guard.passing import Passed
from ansible_collections.maqet.qemu.plugins.module_utils.qmp import handover
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.refusal import QmpError
from ansible_collections.maqet.qemu.plugins.module_utils.runner.libraries import ExecuteError, QMPClient, QMPError

#: What the names of descriptors begin with that a runner has handed over. One that takes QEMU over may remove them.
OPAQUE = "maqet-runner-"


class Porter:
    """Hands descriptors to QEMU over a connected client, never two at a time."""

    def __init__(self, client: QMPClient) -> None:
        self._client = client
        self._turn = asyncio.Lock()
        self._count = 0

    async def alone(self, command: str, arguments: t.Optional[t.Mapping[str, t.Any]]) -> t.Any:
        """A command without descriptors; one that could take somebody else's waits until none is on its way."""
        if command not in handover.TAKERS:
            return await self._client.execute(command, arguments)
        async with self._turn:
            return await self._client.execute(command, arguments)

    async def hand(self, passed: Passed, give: t.Callable[[], int], command: str) -> handover.Step:
        """Have QEMU take it; the command that lets it go. ``give`` is asked for the descriptor when its turn comes."""
        async with self._turn:
            self._count += 1
            name = f"{OPAQUE}{self._count}"
            fd = give()
            try:
                await self._send(fd)
            finally:
                os.close(fd)
            try:
                answer = await self._client.execute(*handover.offer(passed, name))
            except ExecuteError as error:
                raise handover.not_taken(command, QmpError(error.error_class, str(error))) from None
        return handover.settle(passed, name, answer)

    async def let_go(self, steps: t.Sequence[handover.Step]) -> None:
        """Undo :meth:`hand`. A name that the command has consumed is gone already, and so may QEMU be."""
        await asyncio.gather(*(self._client.execute(*step) for step in steps), return_exceptions=True)

    async def _send(self, fd: int) -> None:
        """The library writes the byte that carries the descriptor past its own buffer, so that must be empty:

        it would land inside a message of which QEMU has read the first half.
        """
        writer = self._client._writer  # pylint: disable=protected-access  # nothing public says what is unsent
        if writer is None:
            raise QMPError("not connected")
        writer.transport.set_write_buffer_limits(0)  # from now on drain() waits until all is sent
        while True:
            await writer.drain()
            if writer.transport.get_write_buffer_size():
                continue  # somebody wrote between the last byte and our turn
            try:
                self._client.send_fd_scm(fd)
                return
            except BlockingIOError:  # the socket is full: a space between two messages waits for room in it
                writer.write(b" ")


class Errand:
    """One command with its descriptors. It goes on when nobody waits for it any more, to leave QEMU tidy."""

    def __init__(self, command: str, arguments: t.Mapping[str, t.Any], passed: t.Sequence[Passed]) -> None:
        """``arguments`` are read after the descriptors are handed over, since those rewrite them."""
        self._command = command
        self._arguments = arguments
        self._passed = passed
        self._ours = {id(one): one.release() for one in passed}
        self._given_up = False
        self.sent = False
        self.answer: asyncio.Future[t.Any] = asyncio.get_running_loop().create_future()

    def give_up(self) -> None:
        """Nobody waits any more: what has not been sent must not be sent now."""
        self._given_up = True
        self.close()

    def close(self) -> None:
        """Close the descriptors that are still ours."""
        while self._ours:
            os.close(self._ours.popitem()[1])

    async def run(self, porter: Porter) -> None:
        """All of it; the outcome is in :attr:`answer` as soon as QEMU has answered the command itself."""
        steps: list[handover.Step] = []
        try:
            for one in self._passed:
                steps.append(await porter.hand(one, functools.partial(self._give, one), self._command))
            self._demand_wanted()
            self.sent = True
            self._tell(await porter.alone(self._command, dict(self._arguments) or None))
        except Exception as error:  # pylint: disable=broad-except  # whoever waits shall have it
            self._tell(error)
        finally:
            self.close()
            self._tell(asyncio.CancelledError())
            await porter.let_go(steps)

    def _give(self, passed: Passed) -> int:
        self._demand_wanted()
        return self._ours.pop(id(passed))

    def _demand_wanted(self) -> None:
        if self._given_up:
            raise TimeoutError()

    def _tell(self, outcome: t.Any) -> None:
        if self.answer.done():
            return
        if isinstance(outcome, asyncio.CancelledError):
            self.answer.cancel()
        elif isinstance(outcome, Exception):
            self.answer.set_exception(outcome)
            with contextlib.suppress(Exception):
                self.answer.exception()  # seen, so that asyncio does not complain of a late refusal
        else:
            self.answer.set_result(outcome)
