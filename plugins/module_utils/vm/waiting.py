# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for what a VM does: events, its serial port, its end. Every wait is woken by what it waits for."""

from __future__ import annotations

import os
import re
import socket
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.waits import Wait
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.files import tail
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import wait_readable
from ansible_collections.maqet.qemu.plugins.module_utils.host.watch import GrowingFile
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.lines import Deadline
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.runner_client import RunnerClient, Unread
from ansible_collections.maqet.qemu.plugins.module_utils.vm.observe import Actual
from ansible_collections.maqet.qemu.plugins.module_utils.vm.revive import asking

T = t.TypeVar("T")

# A match may not span more text than this, in bytes.
_WINDOW = 1024 * 1024


class Watch:
    """Waits on one VM that runs. Made before the guest goes on, so that what it does first is not missed.

    Events and serial output count from the start of this QEMU, not from the start of the wait: a
    second run of the same task finds what the first one found.
    """

    def __init__(self, where: Layout, name: str, actual: Actual, waits: t.Sequence[Wait], seconds: float) -> None:
        self._where = where
        self._paths = where.vm(name)
        self._qemu = actual.process
        self._pidfd = self._qemu.open()
        self._deadline = Deadline(seconds)
        self._client: t.Optional[RunnerClient] = None
        self.events: list[dict[str, t.Any]] = []
        if any(wait.kind in ("event", "running") for wait in waits):
            self._talk(lambda _client: None)  # from now on nothing is missed

    def close(self) -> None:
        """Let go of everything."""
        if self._client is not None:
            self._client.close()
        if self._pidfd is not None:
            os.close(self._pidfd)

    def wait(self, wait: Wait) -> None:
        """Return when it has come; ``wait_timeout`` or ``vm_exited`` if it does not."""
        if wait.kind == "serial":
            self._serial(wait)
        elif wait.kind == "exit":
            if self._pidfd is not None and not wait_readable([self._pidfd], self._deadline.left()):
                raise self._too_long(wait)
        elif wait.kind == "running":
            self._running(wait)
        else:
            self._event(wait, wait.value)

    def _talk(self, ask: t.Callable[[RunnerClient], T]) -> T:
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

        return asking(self._where, self._paths.name, self._deadline.left(), once)

    def _connected(self) -> RunnerClient:
        client = RunnerClient(self._paths.runner_socket, self._paths.name, self._deadline.left())
        try:
            client.subscribe(since=self.events[-1]["seq"] if self.events else 0)
        except BaseException:
            client.close()
            raise
        return client

    def _running(self, wait: Wait) -> None:
        status = self._talk(lambda client: client.request("status"))
        if status["run_state"] != "running":
            self._event(wait, "RESUME", since=status["last_event"])

    def _event(self, wait: Wait, name: str, since: int = 0) -> None:
        if any(event["event"] == name and event["seq"] > since for event in self.events):
            return
        while True:
            try:
                event = self._talk(lambda client: client.next_event())
            except socket.timeout:
                raise self._too_long(wait) from None
            except MaqetError:
                if not self._qemu.alive():
                    raise self._exited(wait) from None
                if self._deadline.left() <= 0:
                    raise self._too_long(wait) from None
                raise
            self.events.append(event)
            if event["event"] == name and event["seq"] > since:
                return

    def _serial(self, wait: Wait) -> None:
        pattern = re.compile(wait.value.encode())
        text = b""
        with GrowingFile(self._paths.serial_log) as log:
            fds = [log.fd] if self._pidfd is None else [log.fd, self._pidfd]
            while True:
                ended = not self._qemu.alive()  # asked before reading: what it said last is still read
                text = (text + log.read())[-_WINDOW:]
                if pattern.search(text):
                    return
                if ended:
                    raise self._exited(wait)
                if not wait_readable(fds, self._deadline.left()):
                    raise self._too_long(wait)

    def _too_long(self, wait: Wait) -> MaqetError:
        return MaqetError(
            f"wait_for: {wait} did not come within {self._deadline.seconds:g} s. Raise 'timeout', or look at "
            f"{self._paths.serial_log}, which ends with:\n{tail(self._paths.serial_log, 5)}",
            "wait_timeout",
            wait_for=str(wait),
        )

    def _exited(self, wait: Wait) -> MaqetError:
        return MaqetError(
            f"wait_for: {wait} cannot come any more, the VM has ended. {self._paths.serial_log} ends with:\n"
            f"{tail(self._paths.serial_log, 5)}",
            "vm_exited",
            wait_for=str(wait),
        )
