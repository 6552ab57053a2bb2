# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runner's conversation with the agent in the guest: one command at a time, each with its own deadline.

The port is a plain stream, and nothing in it says to which command an answer belongs. So whenever the last
command did not end well the stream is brought in step again, as the QGA reference demands under
guest-sync-delimited: a 0xFF byte and a random number go in, and all is dropped until they come back.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.render import AGENT, AGENT_PORT
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.agent_commands import SILENT
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.events import Event
from ansible_collections.maqet.qemu.plugins.module_utils.runner import reply
from ansible_collections.maqet.qemu.plugins.module_utils.runner.session import Session

MAX_REPLY = 16 * 1024 * 1024
_CHUNK = 256 * 1024
# A line longer than this is parsed in a thread, so that other clients do not wait for it.
_LARGE = 64 * 1024
# The answer to guest-sync-delimited has about 40 bytes.
_MAX_SYNC = 1024
# A QEMU that takes longer to say whether a port is open hangs; in seconds.
_PORT_SECONDS = 10.0
# After these the guest that was asked to sleep or to end is doing it, and its agent says no more.
_FAREWELLS = frozenset({"SHUTDOWN", "RESET", "SUSPEND", "SUSPEND_DISK"})


_T = t.TypeVar("_T")


class _Gone(Exception):
    """The agent has closed its port, or QEMU the channel."""


class _Progress:
    """How far a command has come, for the error of one that came no further."""

    sent = False
    stage = "other commands to the agent were still running"


class Agent:
    """The agent of one VM. It connects when it is first needed, and stays connected."""

    def __init__(self, path: str, session: Session) -> None:
        """``path`` is the socket of the port's chardev, on which QEMU listens."""
        self._path = path
        self._session = session
        self._turn = asyncio.Lock()
        self._streams: t.Optional[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = None
        self._buffer = bytearray()
        self._in_step = False

    async def execute(
        self,
        command: str,
        arguments: t.Mapping[str, t.Any],
        seconds: float,
        max_reply: int = MAX_REPLY,
        wait: bool = False,
        gone: t.Optional[asyncio.Event] = None,
    ) -> t.Any:
        """One command: what it returns (None for one that answers nothing), or QmpError for the agent's refusal.

        MaqetError otherwise: ``guest_agent_unavailable`` at once when no agent has opened the port, unless
        ``wait``; ``guest_timeout`` after ``seconds``; ``guest_reply_too_large`` above ``max_reply`` bytes;
        ``guest_unreachable`` for all else. Its detail ``sent`` says whether the agent may have got the command.

        When ``gone`` is set, nobody waits for it any more: what was not sent by then is ``client_gone``; what was
        goes on, for its outcome is still to be known.
        """
        progress = _Progress()
        try:
            work = self._in_turn(command, arguments, max_reply, wait, progress)
            return await asyncio.wait_for(work if gone is None else _unless_gone(work, gone, progress), seconds)
        except asyncio.TimeoutError:
            fate = "its outcome is unknown" if progress.sent else "it was not sent"
            error = MaqetError(
                f"The guest's agent did not answer {command} within {seconds:g} s ({progress.stage}); {fate}. "
                "Raise 'timeout', or see whether the guest is paused or busy.",
                "guest_timeout",
                command=command,
            )
        except _Gone:
            error = MaqetError(
                f"The guest's agent went away before it answered {command}"
                f"{'; the outcome is unknown' if progress.sent else '; it was not sent'}. "
                "See whether the agent or the guest was restarted.",
                "guest_unreachable",
                command=command,
            )
        except MaqetError as other:
            error = other
        error.details["sent"] = progress.sent
        raise error

    async def _in_turn(
        self, command: str, arguments: t.Mapping[str, t.Any], max_reply: int, wait: bool, progress: _Progress
    ) -> t.Any:
        async with self._turn:
            with _Signs(self._session) as signs:
                progress.stage = "no agent has opened the port"
                await self._demand_agent(signs, wait)
                try:
                    progress.stage = "it did not even answer guest-sync-delimited"
                    await signs.or_gone(self._get_in_step())
                    self._in_step = False
                    progress.sent, progress.stage = True, "it has got the command"
                    line = await self._ask(command, arguments, max_reply, signs)
                    self._in_step = command not in SILENT
                    return await self._value(command, line)
                finally:
                    if not self._in_step:
                        self.drop()

    async def _demand_agent(self, signs: _Signs, wait: bool) -> None:
        """``guest_agent_unavailable``, or patience, unless something in the guest holds the port open."""
        chardevs = await self._session.execute("query-chardev", {}, _PORT_SECONDS)
        if any(chardev["label"] == AGENT and chardev["frontend-open"] for chardev in chardevs):
            return
        if not wait:
            raise MaqetError(
                "No agent runs in the guest: nothing has opened the port. Install it (Linux distributions call the "
                "package qemu-guest-agent, for Windows it is in the virtio-win ISO) and start it, or set "
                "'wait_for_agent' for a guest that is still booting.",
                "guest_agent_unavailable",
            )
        await signs.opened.wait()

    async def _ask(
        self, command: str, arguments: t.Mapping[str, t.Any], max_reply: int, signs: _Signs
    ) -> t.Optional[bytes]:
        await signs.or_gone(self._send({"execute": command, **({"arguments": arguments} if arguments else {})}))
        return await (
            self._silence(command, signs) if command in SILENT else signs.or_gone(self._line(command, max_reply))
        )

    async def _value(self, command: str, line: t.Optional[bytes]) -> t.Any:
        if line is None:
            return None
        try:
            if len(line) <= _LARGE:
                return reply.value_of(command, line)
            return await asyncio.to_thread(reply.value_of, command, line)
        except MaqetError:  # no answer at all: who knows what else is in the stream
            self._in_step = False
            raise

    async def _silence(self, command: str, signs: _Signs) -> t.Optional[bytes]:
        """The refusal of a command that answers nothing on success, or None.

        The agent does one thing after another. So a second question that is answered says that the first one is
        done; and so does QEMU's word that the guest sleeps or ends. A port that is closed says that of a shutdown
        only: drivers close it for a sleep that may yet fail, and when it opens again we have to ask again.
        """
        number = secrets.randbits(62)
        last = signs.gone if command == "guest-shutdown" else signs.farewell
        told = asyncio.ensure_future(self._refusal_before(number))
        others = [
            asyncio.ensure_future(t.cast("t.Coroutine[t.Any, t.Any, t.Any]", work))
            for work in (signs.farewell.wait(), last.wait(), self._again(number, signs))
        ]
        try:
            await asyncio.wait({told, *others}, return_when=asyncio.FIRST_COMPLETED)
            return told.result() if told.done() else None
        except _Gone:  # QEMU itself has ended
            return None
        finally:
            await _cancel(told, *others)

    async def _refusal_before(self, number: int) -> t.Optional[bytes]:
        await self._send(_sync(number))
        line = await self._line("guest-sync-delimited", _LARGE)
        return None if _answers(line, number) else line

    async def _again(self, number: int, signs: _Signs) -> t.NoReturn:
        """Put the second question again whenever the port has been opened anew."""
        while True:
            await signs.gone.wait()
            await signs.opened.wait()
            await self._send(_sync(number))

    async def _get_in_step(self) -> None:
        """Connected, and nothing of an earlier command is to come."""
        if self._streams is None or self._streams[0].at_eof():
            self.drop()
            try:
                self._streams = await asyncio.open_unix_connection(self._path)
            except OSError:
                raise _Gone() from None
        if self._in_step and not self._buffer:
            return
        number = secrets.randbits(62)
        self._buffer.clear()
        await self._send(_sync(number), b"\xff")
        while True:
            line, found, _rest = bytes(self._buffer).rpartition(b"\xff")[2].partition(b"\n")
            if found and _answers(line, number):
                break
            if len(self._buffer) > _MAX_SYNC:  # whatever it is, keep what may be the beginning of the answer
                del self._buffer[: max(self._buffer.rfind(b"\xff"), len(self._buffer) - _MAX_SYNC)]
            await self._more()
        self._buffer.clear()
        self._in_step = True

    async def _line(self, command: str, most: int) -> bytes:
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > most:
                raise reply.too_large(command, f"it has more than {most} bytes")
            await self._more()
        if end > most:
            raise reply.too_large(command, f"it has more than {most} bytes")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    async def _more(self) -> None:
        if self._streams is None:
            raise _Gone()
        try:
            data = await self._streams[0].read(_CHUNK)
        except ConnectionError:
            raise _Gone() from None
        if not data:
            raise _Gone()
        self._buffer += data

    async def _send(self, message: t.Mapping[str, t.Any], before: bytes = b"") -> None:
        if self._streams is None:
            raise _Gone()
        writer = self._streams[1]
        try:
            writer.write(before + json.dumps(message).encode() + b"\n")
            await writer.drain()
        except ConnectionError:
            raise _Gone() from None

    def drop(self) -> None:
        """Hang up; what was not sent yet never is. The next command connects again."""
        if self._streams is not None:
            self._streams[1].transport.abort()
        self._streams = None
        self._buffer.clear()
        self._in_step = False


class _Signs:
    """What QEMU's events say of the port and the guest, while a command is under way."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.opened, self.gone, self.farewell = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def __enter__(self) -> _Signs:
        self._session.listen(self._event)
        return self

    def __exit__(self, *_error: object) -> None:
        self._session.unlisten(self._event)

    def _event(self, event: Event) -> None:
        if event["event"] == "VSERPORT_CHANGE" and event["data"]["id"] == AGENT_PORT:
            came, went = (self.opened, self.gone) if event["data"]["open"] else (self.gone, self.opened)
            came.set()
            went.clear()
        elif event["event"] in _FAREWELLS:
            self.farewell.set()

    async def or_gone(self, work: t.Coroutine[t.Any, t.Any, _T]) -> _T:
        """What ``work`` returns; _Gone if the agent closes its port before."""
        doing, gone = asyncio.ensure_future(work), asyncio.ensure_future(self.gone.wait())
        try:
            await asyncio.wait({doing, gone}, return_when=asyncio.FIRST_COMPLETED)
            if doing.done():
                return doing.result()
            raise _Gone()
        finally:
            await _cancel(doing, gone)


async def _unless_gone(work: t.Coroutine[t.Any, t.Any, t.Any], gone: asyncio.Event, progress: _Progress) -> t.Any:
    """What ``work`` returns; ``client_gone``, and an end of it, if its client hangs up before it has sent anything."""
    doing, leaving = asyncio.ensure_future(work), asyncio.ensure_future(gone.wait())
    try:
        await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done() and not progress.sent:
            raise MaqetError(f"Its client has hung up while {progress.stage}; it was not sent.", "client_gone")
        return await doing
    finally:
        await _cancel(doing, leaving)


def _sync(number: int) -> dict[str, t.Any]:
    return {"execute": "guest-sync-delimited", "arguments": {"id": number}}


def _answers(line: bytes, number: int) -> bool:
    """Whether a line is the answer to that guest-sync-delimited."""
    try:
        return len(line) <= _MAX_SYNC and json.loads(line.lstrip(b"\xff")).get("return") == number
    except (ValueError, AttributeError, RecursionError):
        return False


async def _cancel(*tasks: asyncio.Future[t.Any]) -> None:
    """End what is still running, and have asked for every result, so that asyncio does not complain."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
