# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Details of all VMs that one task looks at. Whoever has to wait for a guest waits for all of them at once."""

from __future__ import annotations

import typing as t
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.vm.control import Control
from ansible_collections.maqet.qemu.plugins.module_utils.vm.details import Details
from ansible_collections.maqet.qemu.plugins.module_utils.vm.observe import Actual

Found = t.Dict[str, t.Any]

# A guest answers these. They talk to sockets alone: what takes a lock needs the main thread (host/locks.py).
_OF_GUESTS = ("addresses", "guest")
# More threads than this would be of no use to a host.
_AT_ONCE = 128


class Several:
    """The VMs are given to :meth:`add` one after another; :meth:`ask` then completes what that has returned."""

    def __init__(
        self, where: Layout, subjects: t.Sequence[str], seconds: float, context: t.Mapping[str, t.Any]
    ) -> None:
        """``subjects``: those of :class:`Details`. ``seconds``: how long one VM may take."""
        self._where = where
        self._slow = [subject for subject in subjects if subject in _OF_GUESTS]
        self._quick = [subject for subject in subjects if subject not in _OF_GUESTS]
        self._seconds = seconds
        self._context = context
        self._waiting: list[tuple[Details, Found, Control]] = []

    def add(self, paths: VmPaths, actual: Actual) -> Found:
        """The details of one VM so far, to be merged into its facts."""
        if not (self._slow or self._quick):
            return {}
        control = Control(self._where, paths, "maqet_vm_info", self._context)
        details = Details(self._where, paths, actual, control, self._seconds)
        found = details.gather(self._quick)
        self._waiting.append((details, found, control))
        return {"details": found}

    def ask(self) -> None:
        """Ask all guests, side by side."""
        if not (self._slow and self._waiting):
            return
        with ThreadPoolExecutor(min(len(self._waiting), _AT_ONCE)) as pool:
            answers = list(pool.map(lambda one: one[0].gather(self._slow), self._waiting))
        for (_details, found, _control), told in zip(self._waiting, answers):
            errors = {**found.pop("errors", {}), **told.pop("errors", {})}
            found.update({**told, "errors": errors} if errors else told)

    @property
    def audit(self) -> list[Found]:
        """The records of all that was asked."""
        return [record for _details, _found, control in self._waiting for record in control.audit]
