# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a runner tells its launcher that the VM is ready, or why it is not, and systemd how it is doing.

The word is in ``status.json`` in both cases; the signal to read it is the end of a pipe (plain
session), or systemd's notification and the unit's end (sd_notify(3), ``Type=notify``).
"""

from __future__ import annotations

import contextlib
import os
import socket
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import files, status
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths

Facts = t.Mapping[str, t.Any]


class Report:
    """What one runner says of itself, and what it was told: ``known`` by the one before it, ``order`` by a task."""

    def __init__(self, paths: VmPaths, ready_fd: t.Optional[int]) -> None:
        self._paths = paths
        self._ready_fd = ready_fd
        self.known = status.of_this_boot(paths)
        self.order = _order(paths)
        self._written: Facts = self.known

    @property
    def purpose(self) -> t.Optional[str]:
        """START or ADOPT if a task has started us; None at boot, and after the end of another runner."""
        return self.order.get("purpose")

    def starting(self, facts: Facts) -> None:
        """Who we are, before there is anything to say: whoever finds us dead knows what to clean up."""
        self._write({**facts, "phase": "starting"})

    def ready(self, facts: Facts) -> None:
        """Everything is in place: write the status, then give the signal."""
        self._write({**facts, "phase": "ready"})
        self._signal(f"READY=1\nSTATUS=QEMU {facts['qemu']['version']} runs, pid {facts['qemu']['pid']}")

    def waiting(self, facts: Facts, seconds: float) -> None:
        """QEMU has ended, and is to be started again after ``seconds``."""
        self._write({**facts, "phase": "waiting", "pause": seconds})
        self._signal(f"READY=1\nSTATUS=QEMU has ended, and is started again in {seconds:g} s")

    def failed(self, error: MaqetError, keep: bool = False) -> None:
        """The VM cannot run: write why, then give the signal. ``keep``: a QEMU lives, so what is known of it stays."""
        facts = self._written if keep else {"phase": "failed"}
        with contextlib.suppress(OSError):  # the launcher then finds the end of the log instead
            self._write({**facts, "error": error.as_dict()})
        self._signal(f"STATUS={' '.join(str(error).split())}")  # QEMU's words are in it: one line, and no other's

    def alive(self) -> None:
        """systemd's watchdog shall know that our loop turns."""
        self._notify("WATCHDOG=1")

    def stopping(self, seconds: float) -> None:
        """The guest is on its way down, which may take ``seconds``."""
        self._notify(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}\nSTATUS=the guest is powering off")

    def _write(self, facts: Facts) -> None:
        files.write_json(self._paths.status, {**facts, "launch": self.order.get("word")})
        self._written = facts

    def _signal(self, words: str) -> None:
        if self._ready_fd is not None:
            os.close(self._ready_fd)
            self._ready_fd = None
        self._notify(words)

    def _notify(self, words: str) -> None:
        address = os.environ.get("NOTIFY_SOCKET")
        if address:
            notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            with notify, contextlib.suppress(OSError):  # nobody listens: the VM is none the worse
                notify.connect("\0" + address[1:] if address.startswith("@") else address)
                notify.sendall(words.encode())


def watchdog_seconds() -> t.Optional[float]:
    """How often systemd wants to hear of us: half of what it is willing to wait (sd_watchdog_enabled(3))."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        return int(os.environ["WATCHDOG_USEC"]) / 2_000_000
    except (KeyError, ValueError):
        return None


def _order(paths: VmPaths) -> dict[str, t.Any]:
    """What a task asked for; taken once, so that it does not hold for the runner after us."""
    order = status.read_object(paths.order)
    files.remove(paths.order)
    return order
