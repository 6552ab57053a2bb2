# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tells that a VM has come to what somebody waits for: its process, its events, its serial port."""

from __future__ import annotations

import dataclasses
import re
import time
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import Process
from ansible_collections.maqet.qemu.plugins.module_utils.host.watch import GrowingFile
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.lines import Deadline
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import RunnerClient, Unread
from ansible_collections.maqet.qemu.plugins.module_utils.vm.revive import asking

T = t.TypeVar("T")

# A match may not span more text than this, in bytes; nor is more read at a time, of a log as long as the guest likes.
_WINDOW = 1024 * 1024
# Of what was found on a serial port, in characters.
_SHOWN = 255

# The message of cloud-init's last module, which it says on the console whatever its log level (final_message; the
# text is cloud-init's default), and what it says there of each stage before.
CLOUD_INIT = r"Cloud-init v\. \S+ finished at [^\r\n]*(?=[\r\n])"
_CLOUD_INIT_STAGE = re.compile(rb"Cloud-init v\. [^\r\n]*")


class Over(Exception):
    """It cannot come any more."""


@dataclasses.dataclass(frozen=True)
class Found:
    """It has come; ``value`` is what there is to say of it."""

    value: t.Any = None


@dataclasses.dataclass(frozen=True)
class Watched:
    """The VM, what is known of it, and who asks (``reason`` and ``context`` of the audit)."""

    where: Layout
    paths: VmPaths
    qemu: Process
    networks: t.Sequence[t.Mapping[str, t.Any]] = ()
    macs: t.Sequence[str] = ()
    agent: bool = False
    asker: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    audit: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)


class Source:
    """One thing that is waited for."""

    _seen = "nothing"

    def seen(self) -> str:
        """How far it has come, for the message of one that comes no further."""
        return self._seen

    def look(self, ended: bool) -> t.Optional[Found]:
        """Whether it has come, without waiting; Over if it cannot any more. ``ended``: QEMU has, before this look."""
        raise NotImplementedError

    def fds(self) -> list[int]:
        """Descriptors that are readable when it is worth another look; the end of QEMU is watched anyway."""
        return []

    def due(self) -> t.Optional[float]:
        """time.monotonic() when it wants a look though nothing tells it; None if never."""
        return None

    def close(self) -> None:
        """Let go of everything."""


class End(Source):
    """``exit``."""

    _seen = "QEMU runs"

    def look(self, ended: bool) -> t.Optional[Found]:
        return Found() if ended else None


class Serial(Source):
    """A text on the serial port. ``stage``: what shows on the way there that it is coming."""

    def __init__(self, path: str, pattern: str, stage: t.Optional[t.Pattern[bytes]] = None) -> None:
        self._pattern = re.compile(pattern.encode())
        self._stage = stage
        self._log = GrowingFile(path)
        self._text = b""
        self._behind = False

    def look(self, ended: bool) -> t.Optional[Found]:
        data = self._log.read(_WINDOW)
        self._behind = len(data) == _WINDOW
        self._text = self._text[-_WINDOW:] + data
        match = self._pattern.search(self._text)
        if match and not (self._behind and match.end() == len(self._text)):  # a $ means the end of the log
            return Found(_shown(match.group()))
        if ended and not self._behind:
            raise Over()
        return None

    def fds(self) -> list[int]:
        return [self._log.fd]

    def due(self) -> t.Optional[float]:
        return time.monotonic() if self._behind else None

    def seen(self) -> str:
        if self._stage is not None:
            stages = self._stage.findall(self._text)
            return _shown(stages[-1]) if stages else "cloud-init has said nothing on the serial port"
        lines = self._text.split(b"\n")
        last = next((line for line in reversed(lines) if line.strip()), b"")
        return f"the line {_shown(last.strip())!r}" if last else "nothing on the serial port"

    def close(self) -> None:
        self._log.close()


def cloud_init(path: str) -> Serial:
    """The end of cloud-init's last stage."""
    return Serial(path, CLOUD_INIT, _CLOUD_INIT_STAGE)


def _shown(text: bytes) -> str:
    return text.decode("utf-8", "replace")[:_SHOWN]


class Feed:
    """All events of one QEMU from its start on, from whichever runner it has."""

    def __init__(self, watched: Watched, seconds: float) -> None:
        """Subscribe: from now on nothing is missed."""
        self._watched = watched
        self._deadline = Deadline(seconds)
        self._client: t.Optional[RunnerClient] = None
        #: All that has come. After ``over`` no more does.
        self.events: list[dict[str, t.Any]] = []
        self.over = False
        self.talk(lambda _client: None)

    def talk(self, ask: t.Callable[[RunnerClient], T]) -> T:
        """What ``ask`` gets of a runner from which all events come, also past ones; of the next if it hangs up."""

        def once() -> T:
            if self._client is None:
                self._client = self._connected()
            try:
                return ask(self._client)
            except Unread:
                self._client.close()
                self._client = None
                raise

        return asking(self._watched.where, self._watched.paths.name, self._deadline.left(), once)

    def look(self) -> None:
        """Take in what has come. When the runner has gone with its QEMU, that was all."""
        if self.over:
            return
        try:
            self.talk(self._take)
        except MaqetError:
            if self._watched.qemu.alive():
                raise
            self.over = True

    def fds(self) -> list[int]:
        """Readable when there may be more."""
        return [self._client.fileno()] if self._client is not None and not self.over else []

    def close(self) -> None:
        """Hang up."""
        if self._client is not None:
            self._client.close()

    def _connected(self) -> RunnerClient:
        # More than the waits themselves have: each of them knows when it is too late.
        client = RunnerClient(self._watched.paths.runner_socket, self._watched.paths.name, self._deadline.left() + 5)
        try:
            client.subscribe(since=self.events[-1]["seq"] if self.events else 0)
        except BaseException:
            client.close()
            raise
        return client

    def _take(self, client: RunnerClient) -> None:
        try:
            client.arrived()
        finally:
            self.events += client.events
            client.events = []


class Event(Source):
    """A QMP event with a number above ``since``."""

    def __init__(self, feed: Feed, name: str, since: int = 0) -> None:
        self._feed, self._name, self._since = feed, name, since

    def look(self, ended: bool) -> t.Optional[Found]:
        self._feed.look()
        for event in self._feed.events:
            if event["event"] == self._name and event["seq"] > self._since:
                return Found(event)
        if self._feed.over:
            raise Over()
        return None

    def fds(self) -> list[int]:
        return self._feed.fds()

    def seen(self) -> str:
        events = self._feed.events
        return f"the event {events[-1]['event']}" if events else "no event"


class Running(Event):
    """``running``: the run state when it was asked, or RESUME after that."""

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed, "RESUME")
        self._state: t.Optional[str] = None

    def look(self, ended: bool) -> t.Optional[Found]:
        if self._state is None and not self._feed.over:
            status = self._feed.talk(lambda client: client.request("status"))
            self._state, self._since = str(status["run_state"]), status["last_event"]
        return Found() if self._state == "running" else _nothing_to_say(super().look(ended))

    def seen(self) -> str:
        return f"the state {self._state}"


def _nothing_to_say(found: t.Optional[Found]) -> t.Optional[Found]:
    return found and Found()
