# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a runner tells its launcher that the VM is ready, or why it is not.

The word is in ``status.json`` in both cases; the signal to read it is the end of a pipe (plain
session), or systemd's notification and the unit's end (sd_notify(3), ``Type=notify``).
"""

from __future__ import annotations

import contextlib
import os
import socket
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.files import write_json
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths


class Report:
    """One launch and its outcome. ``launch`` is the launcher's own word for it, so that no old status fools it."""

    def __init__(self, paths: VmPaths, launch: str, ready_fd: t.Optional[int]) -> None:
        self._paths = paths
        self._launch = launch
        self._ready_fd = ready_fd

    def starting(self, facts: t.Mapping[str, t.Any]) -> None:
        """Who we are, before there is anything to say: whoever finds us dead knows what to clean up."""
        write_json(self._paths.status, {**facts, "launch": self._launch, "phase": "starting"})

    def ready(self, status: t.Mapping[str, t.Any]) -> None:
        """Everything is in place: write the status, then give the signal."""
        write_json(self._paths.status, {**status, "launch": self._launch, "phase": "ready"})
        self._signal(b"READY=1")

    def failed(self, error: MaqetError) -> None:
        """The VM cannot run: write why, then give the signal."""
        failure = {"launch": self._launch, "phase": "failed", "error": error.as_dict()}
        with contextlib.suppress(OSError):  # the launcher then finds the end of the log instead
            write_json(self._paths.status, failure)
        self._signal(b"STATUS=" + str(error).encode().replace(b"\n", b" "))

    def _signal(self, words: bytes) -> None:
        if self._ready_fd is not None:
            os.close(self._ready_fd)
            self._ready_fd = None
        address = os.environ.get("NOTIFY_SOCKET")
        if address:
            notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            with notify, contextlib.suppress(OSError):  # nobody listens: the VM is none the worse
                notify.connect("\0" + address[1:] if address.startswith("@") else address)
                notify.sendall(words)
