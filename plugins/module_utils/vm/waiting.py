# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for what a VM does. Every wait is woken by what it waits for, where that can wake anybody.

=========================  ==================================================================================
running, event             pushed: the runner sends QEMU's events
exit                       pushed: a pidfd (pidfd_open(2))
serial, cloud_init         pushed: inotify(7) on the serial log
agent                      pushed: QEMU tells the runner when the port is opened (VSERPORT_CHANGE)
ip, from a bridge          pushed: netlink (RTNLGRP_NEIGH) and inotify on the DHCP servers' lease files
ip, from the agent         not pushed: the agent has no events; the runner asks it ten times a second
ssh, port                  not pushed: TCP tells nobody that a port is open; called ten times a second, or thirty
=========================  ==================================================================================
"""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_networks import mac_address
from ansible_collections.maqet.qemu.plugins.module_utils.definition.waits import Wait
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.files import tail
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import wait_readable
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.lines import Deadline
from ansible_collections.maqet.qemu.plugins.module_utils.vm import awaited
from ansible_collections.maqet.qemu.plugins.module_utils.vm.awaited import Feed, Over, Source, Watched
from ansible_collections.maqet.qemu.plugins.module_utils.vm.awaited_guest import Addresses, Agent, Port
from ansible_collections.maqet.qemu.plugins.module_utils.vm.observe import Actual


class _Open:
    """A wait that is not over."""

    def __init__(self, wait: Wait, deadline: Deadline, source: Source) -> None:
        self.wait, self.deadline, self.source = wait, deadline, source

    @property
    def words(self) -> str:
        """Of a wait that may not be the one that has failed."""
        return f"{self.wait} ({self.source.seen()})"


class Watch:
    """Waits on one VM that runs. Made before the guest goes on, so that what it does first is not missed.

    Events and serial output count from the start of this QEMU, not from the start of the wait: a
    second run of the same task finds what the first one found.
    """

    def __init__(
        self,
        where: Layout,
        name: str,
        actual: Actual,
        waits: t.Sequence[Wait],
        seconds: float,
        asker: t.Optional[t.Mapping[str, t.Any]] = None,
    ) -> None:
        """``seconds`` for each wait that has no time-out of its own; ``asker``: reason and context, for the audit."""
        self._paths = where.vm(name)
        self._waits = waits
        self._seconds = seconds
        self._watched = _watched(where, name, actual, asker or {})
        self._pidfd = self._watched.qemu.open()
        self._feed: t.Optional[Feed] = None
        self._open: list[_Open] = []
        #: What has come, in the order in which it came.
        self.waited: list[dict[str, t.Any]] = []
        if any(wait.kind in ("event", "running") for wait in waits):
            longest = max(seconds, *(wait.timeout or 0 for wait in waits))
            try:
                self._feed = Feed(self._watched, longest)
            except BaseException:
                self.close()
                raise

    @property
    def events(self) -> list[dict[str, t.Any]]:
        """Of QEMU, as far as somebody has waited for events."""
        return self._feed.events if self._feed else []

    @property
    def audit(self) -> list[dict[str, t.Any]]:
        """Records of what was asked of the guest's agent."""
        return self._watched.audit

    @property
    def addresses(self) -> t.Optional[list[dict[str, t.Any]]]:
        """Of the guest, if it was waited for them."""
        found = [entry["found"]["addresses"] for entry in self.waited if entry["wait"].split(":")[0] == "ip"]
        return found[-1] if found else None

    def close(self) -> None:
        """Let go of everything."""
        for one in self._open:
            one.source.close()
        if self._feed is not None:
            self._feed.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    def wait(self) -> None:
        """Return when all has come; ``wait_timeout`` or ``vm_exited`` with the first that does not."""
        begun = time.monotonic()
        for wait in self._waits:
            deadline = Deadline(self._seconds if wait.timeout is None else wait.timeout)
            self._open.append(_Open(wait, deadline, self._source(wait, deadline)))
        while True:
            ended = not self._watched.qemu.alive()  # asked before looking: what it did last still counts
            for one in list(self._open):
                self._look(one, ended, begun)
            if not self._open:
                return
            late = next((one for one in self._open if one.deadline.left() <= 0), None)
            if late is not None:
                raise self._too_long(late)
            fds = [fd for one in self._open for fd in one.source.fds()]
            if self._pidfd is not None and not ended:
                fds.append(self._pidfd)
            wait_readable(fds, self._pause())

    def _pause(self) -> float:
        """Until somebody has to look though nothing has woken us, in seconds."""
        now = time.monotonic()
        times = [due - now for due in (one.source.due() for one in self._open) if due is not None]
        # poll(2) counts in milliseconds: rounded up, or we would come too early and turn in circles.
        return max(0.0, min([*times, *(one.deadline.left() for one in self._open)])) + 0.001

    def _look(self, one: _Open, ended: bool, begun: float) -> None:
        try:
            found = one.source.look(ended)
        except Over:
            raise self._exited(one) from None
        if found is not None:
            seconds = round(time.monotonic() - begun, 3)
            self.waited.append({"wait": str(one.wait), "seconds": seconds, "found": found.value})
            self._open.remove(one)
            one.source.close()

    def _source(self, wait: Wait, deadline: Deadline) -> Source:
        if wait.kind == "serial":
            return awaited.Serial(self._paths.serial_log, wait.value)
        if wait.kind == "cloud_init":
            return awaited.cloud_init(self._paths.serial_log)
        if wait.kind == "exit":
            return awaited.End()
        if wait.kind == "agent":
            return Agent(self._watched, deadline)
        if wait.kind == "ip":
            return Addresses(self._watched, deadline, wait.value)
        if wait.kind in ("ssh", "port"):
            return Port(self._watched, deadline, wait)
        feed = t.cast(awaited.Feed, self._feed)  # made with the watch, since there is such a wait
        return awaited.Running(feed) if wait.kind == "running" else awaited.Event(feed, wait.value)

    def _too_long(self, late: _Open) -> MaqetError:
        words = f"did not come within {late.deadline.seconds:g} s; last seen: {late.source.seen().rstrip('.')}"
        return self._failed(late, words, "Raise its timeout, or look at", ", which ends with", "wait_timeout")

    def _exited(self, one: _Open) -> MaqetError:
        words = f"cannot come any more, the VM has ended; last seen: {one.source.seen().rstrip('.')}"
        return self._failed(one, words, "", " ends with", "vm_exited")

    def _failed(self, one: _Open, words: str, before: str, after: str, code: str) -> MaqetError:
        others = [other.words for other in self._open if other is not one]
        beside = f" Still open: {', '.join(others)}." if others else ""
        log = f"{before} {self._paths.serial_log}{after}:\n{tail(self._paths.serial_log, 5)}".lstrip()
        return MaqetError(
            f"wait_for: {one.wait} {words}.{beside} {log}",
            code,
            wait_for=str(one.wait),
            last_seen={str(other.wait): other.source.seen() for other in self._open},
            waited=self.waited,
        )


def _watched(where: Layout, name: str, actual: Actual, asker: t.Mapping[str, t.Any]) -> Watched:
    definition = actual.definition
    if definition is None:
        return Watched(where, where.vm(name), actual.process, asker=asker)
    networks = definition.intent.get("networks", ())
    macs = [network.get("mac") or mac_address(definition.uuid, index) for index, network in enumerate(networks)]
    agent = bool(definition.intent.get("agent"))
    return Watched(where, where.vm(name), actual.process, networks, macs, agent, asker)
