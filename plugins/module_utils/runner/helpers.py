# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Helpers of one QEMU: started before it, watched while it lives, ended after it.

Like QEMU they outlive the runner, whose next one takes them over. Each is at the other end of a socket that QEMU
inherits, so that it notices QEMU's end by itself; the runner sees to it that it goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import subprocess
import time
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import files, helpers, processes
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.runner.spawn import locked_log, spawn

#: What clients see among the events when a helper has ended before its QEMU.
EVENT = "MAQET_HELPER_EXITED"

# How long a helper may take to go by itself once QEMU is gone, in seconds.
_BY_ITSELF = 2.0


@dataclasses.dataclass(frozen=True)
class Helper:
    """One process. ``pidfd`` is None for one that has ended before we looked; ``popen`` for another runner's."""

    kind: str
    process: processes.Process
    pidfd: t.Optional[int]
    popen: t.Optional[subprocess.Popen[bytes]] = None

    def status(self) -> t.Optional[int]:
        """How it has ended, as subprocess has it; None if nobody tells us."""
        if self.popen is not None:
            return self.popen.wait()
        return None if self.pidfd is None else processes.exit_status(self.pidfd, 0.5)


class Crew:
    """All helpers of a QEMU. As a context manager, for the start: they are ended if the block fails."""

    def __init__(self, paths: VmPaths, rights: t.Optional[t.Mapping[str, t.Any]] = None) -> None:
        """``rights``: those of QEMU's user, see ``spawn.py``."""
        self._paths = paths
        self._rights = rights or {}
        self._helpers: list[Helper] = []

    @classmethod
    def adopt(cls, paths: VmPaths, noted: t.Any) -> Crew:
        """Those that another runner has started: what it ``noted``, or what lives where there is no note."""
        crew = cls(paths)
        if not isinstance(noted, dict):
            noted = {
                kind: dataclasses.asdict(min(found, key=lambda process: process.start))
                for kind, found in helpers.living(paths).items()
            }
        for kind, entry in noted.items():
            process = processes.noted(entry)
            if process is not None:
                crew._helpers.append(Helper(kind, process, process.open()))
        return crew

    def __enter__(self) -> Crew:
        """Those of a QEMU that is gone would be in the way of ours."""
        for found in helpers.living(self._paths).values():
            for process in found:
                helpers.end(process)
        return self

    def __exit__(self, kind: t.Any, _error: t.Any, _trace: t.Any) -> None:
        if kind is not None:
            self.end(0.0)

    @property
    def facts(self) -> dict[str, dict[str, int]]:
        """For the status: who they are."""
        return {one.kind: {"pid": one.process.pid, "start": one.process.start} for one in self._helpers}

    def start(self, kind: str, argv: t.Sequence[str], passed: tuple[int, ...]) -> None:
        """Start one more; it inherits the descriptors ``passed``."""
        log = self._paths.helper_log(kind)
        files.rotate(log)
        with contextlib.ExitStack() as stack:
            popen = spawn(argv, locked_log(log, stack), passed, self._paths.output, self._rights)
        pidfd = os.pidfd_open(popen.pid)
        process = processes.of_pid(popen.pid)
        if process is None:
            os.close(pidfd)
            raise MaqetError(
                f"{argv[0]} ended with status {popen.wait()} at once. Its last words: {files.tail(log) or '(none)'}",
                "qemu_failed",
            )
        self._helpers.append(Helper(kind, process, pidfd, popen))

    @contextlib.contextmanager
    def watched(self, tell: t.Callable[[Helper], None]) -> t.Iterator[None]:
        """Have ``tell`` called for each that ends within the block, or has ended before it."""
        loop, added = asyncio.get_running_loop(), []

        def end(one: Helper, pidfd: int) -> None:
            loop.remove_reader(pidfd)  # it stays readable, and would wake the loop for ever
            tell(one)

        for one in self._helpers:
            if one.pidfd is None:
                loop.call_soon(tell, one)
            else:
                loop.add_reader(one.pidfd, end, one, one.pidfd)
                added.append(one.pidfd)
        try:
            yield
        finally:
            for pidfd in added:
                loop.remove_reader(pidfd)

    def end(self, patience: float = _BY_ITSELF) -> None:
        """See that all are gone, after QEMU has: they have ``patience`` seconds to notice."""
        deadline = time.monotonic() + patience
        for one in self._helpers:
            if not one.process.wait_gone(max(0.0, deadline - time.monotonic())):
                helpers.end(one.process)
            if one.popen is not None:
                one.popen.wait()
            if one.pidfd is not None:
                os.close(one.pidfd)
        self._helpers = []

    def last_words(self) -> str:
        """What those said last that have failed."""
        failed = [one.kind for one in self._helpers if one.popen is not None and one.popen.poll()]
        words = ((kind, files.tail(self._paths.helper_log(kind), 5)) for kind in failed)
        return " ".join(f"Its helper {kind} failed, and said: {said or '(nothing)'}" for kind, said in words)
