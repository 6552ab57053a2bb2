# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runner's conversation with QEMU's main monitor: commands, and events kept for whoever comes later.

One session is the whole life of one QEMU: a runner that takes QEMU over goes on with its events.
"""

from __future__ import annotations

import asyncio
import collections
import logging
import time
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.passing import Passed
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.events import KEPT, Event, EventFile
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.refusal import QmpError
from ansible_collections.maqet.qemu.plugins.module_utils.runner.client import Client
from ansible_collections.maqet.qemu.plugins.module_utils.runner.errand import Errand, Porter
from ansible_collections.maqet.qemu.plugins.module_utils.runner.libraries import (
    BadReplyError,
    ExecuteError,
    QMPError,
    Runstate,
)

# A QEMU that takes longer to say how it is doing hangs.
_STATE_SECONDS = 10.0

# A QEMU that takes longer to read what was sent to it before we leave does not read, in seconds.
_GOODBYE = 3.0

log = logging.getLogger("maqet.session")


class Session:
    """The main monitor. Events get a number each, from 1; the last thousand are kept, also in ``file``."""

    def __init__(self, name: str, file: t.Optional[EventFile] = None) -> None:
        self._client = Client(name)
        self._porter = Porter(self._client)
        self._file = file
        self._kept: collections.deque[Event] = collections.deque(file.load() if file else (), maxlen=KEPT)
        self._listeners: set[t.Callable[[Event], None]] = set()
        self._pump: t.Optional[asyncio.Task[None]] = None
        self._unfinished: set[asyncio.Task[t.Any]] = set()
        # Questions for the run state: the one that QEMU has, and the one that goes to it afterwards.
        self._this_state: t.Optional[asyncio.Task[str]] = None
        self._next_state: t.Optional[asyncio.Task[str]] = None
        self.last_event = self._kept[-1]["seq"] if self._kept else 0
        self.version = "unknown"
        self.build = "unknown"

    async def connect(self, path: str) -> None:
        """Greet QEMU and learn what it is; QMPError if it does not come up."""
        await self._client.connect(path)
        self._pump = asyncio.create_task(self._collect())
        about: t.Any = await self._client.execute("query-version")
        try:
            self.version = ".".join(str(about["qemu"][part]) for part in ("major", "minor", "micro"))
            self.build = f"{self.version} {about.get('package', '')}"
        except (KeyError, TypeError, AttributeError):
            raise QMPError("what answers there does not say which QEMU it is") from None

    async def close(self) -> None:
        """Hang up, also on a QEMU that is gone."""
        if self._pump is not None:
            self._pump.cancel()
        await self._client.leave(_GOODBYE)
        if self._file is not None:
            self._file.close()

    async def broken(self) -> None:
        """Return when the conversation is over although nobody has ended it: QEMU has, or said what is not QMP."""
        while self._client.runstate == Runstate.RUNNING:
            await self._client.runstate_changed()

    async def run_state(self) -> str:
        """QEMU's own word for what the VM does (RunState in its QMP reference), asked after the caller asks us.

        Two hundred who ask at once cost QEMU two questions: the one that is on its way, and the next.
        """
        if self._next_state is None:
            self._next_state = asyncio.ensure_future(self._ask_state(self._this_state))
            self._next_state.add_done_callback(lambda task: task.cancelled() or task.exception())
        asked = self._next_state
        done, _pending = await asyncio.wait({asked}, timeout=_STATE_SECONDS)
        if not done:
            raise _too_late("query-status", _STATE_SECONDS, True)
        return asked.result()

    async def _ask_state(self, before: t.Optional[asyncio.Task[str]]) -> str:
        if before is not None:
            await asyncio.wait({before})
        self._this_state, self._next_state = self._next_state, None
        answer = await self.execute("query-status", {}, _STATE_SECONDS)
        if not isinstance(answer, dict) or not isinstance(answer.get("status"), str):
            raise _not_qmp("query-status")
        return str(answer["status"])

    async def execute(
        self, command: str, arguments: t.Mapping[str, t.Any], seconds: float, passed: t.Sequence[Passed] = ()
    ) -> t.Any:
        """One command: its answer, QmpError, or MaqetError when the outcome is unknown.

        QEMU takes the descriptors of ``passed`` first, which rewrite ``arguments``, and lets them go
        after the command; ours are closed in any case. The wait for all of it ends after ``seconds``,
        a command that was sent does not: QEMU has no way to take it back, so its answer is still
        awaited, and dropped.
        """
        errand = Errand(command, arguments, passed)
        task = asyncio.ensure_future(errand.run(self._porter))
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        done, _pending = await asyncio.wait({errand.answer}, timeout=seconds)
        if not done:
            errand.give_up()
            raise _too_late(command, seconds, errand.sent)
        try:
            return errand.answer.result()
        except ExecuteError as error:
            raise QmpError(error.error_class, str(error)) from None
        except MaqetError:
            raise
        except BadReplyError:  # whose text is the reply, which may be long and hold secrets
            raise _not_qmp(command) from None
        except (QMPError, OSError, EOFError) as error:
            raise MaqetError(
                f"QEMU went away before it answered {command}; the outcome is unknown ({error}).",
                "qemu_gone",
                command=command,
                outcome_unknown=True,
            ) from None

    async def schema(self) -> t.Any:
        """All that this QEMU says of its commands and their arguments: 0.3 MB, which takes some 35 ms."""
        return await self._client.execute("query-qmp-schema")

    def events(self, since: int) -> list[Event]:
        """The kept events with a number above ``since``."""
        return [event for event in self._kept if event["seq"] > since]

    def listen(self, listener: t.Callable[[Event], None]) -> None:
        """Call ``listener`` with each event from now on."""
        self._listeners.add(listener)

    def unlisten(self, listener: t.Callable[[Event], None]) -> None:
        """Stop calling it."""
        self._listeners.discard(listener)

    def take(self, message: t.Mapping[str, t.Any]) -> None:
        """Number an event, keep it, and tell those who listen."""
        self.last_event += 1
        event = {**message, "seq": self.last_event}
        self._kept.append(event)
        if self._file is not None:
            self._file.append(event, self._kept)
        for listener in list(self._listeners):
            try:
                listener(event)
            except Exception:  # pylint: disable=broad-except  # one client's fault must not cost the others theirs
                log.exception("a listener failed")

    async def _collect(self) -> None:
        async for message in self._client.events:
            if not isinstance(message["event"], str) or not isinstance(message.get("data", {}), dict):
                log.error("QEMU sent an event without a name or data: it is dropped")
                continue
            self.take(message)


def now() -> dict[str, int]:
    """The time as events have it."""
    seconds, micro = divmod(time.time_ns() // 1000, 1_000_000)
    return {"seconds": seconds, "microseconds": micro}


def _not_qmp(command: str) -> MaqetError:
    return MaqetError(
        f"What QEMU answered to {command} is not QMP; the outcome is unknown.", "monitor_unreachable", command=command
    )


def _too_late(command: str, seconds: float, sent: bool) -> MaqetError:
    if sent:
        words = f"QEMU did not answer {command} within {seconds:g} s; the outcome is unknown."
    else:
        words = f"QEMU did not take the open files for {command} within {seconds:g} s; {command} was not sent."
    return MaqetError(
        f"{words} Raise 'timeout' if the command needs longer.",
        "qmp_timeout",
        command=command,
        **({"outcome_unknown": True} if sent else {}),
    )
