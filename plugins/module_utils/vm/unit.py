# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd does for a VM beside keeping its runner: limits, and a start at boot."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.limits import OF_SYSTEMD, properties
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.host.systemd import Manager, advice, manager_of
from ansible_collections.maqet.qemu.plugins.module_utils.vm.plan import Action

Intent = t.Mapping[str, t.Any]


class Unit:
    """The unit of one VM, which there may be nobody to keep."""

    def __init__(self, where: Layout, paths: VmPaths) -> None:
        self._where = where
        self._paths = paths
        self._manager = manager_of(where)

    def plan(self, before: Intent, after: Intent) -> list[Action]:
        """What must be done for ``after``; ``invalid_option`` if it takes a systemd that is not there."""
        if self._manager is None:
            self._refuse(after)
            return []
        actions = []
        changed = {key: value for key, value in properties(after).items() if value != properties(before)[key]}
        if changed:
            actions.append(Action("limit", detail={"properties": changed}))
        wanted = after.get("autostart")
        if wanted is not None and wanted != self._manager.enabled(self._paths):
            actions.append(Action("autostart", detail={"enabled": wanted}))
        elif wanted is None and before.get("autostart"):
            actions.append(Action("autostart", detail={"enabled": False}))
        return actions

    def limit(self, intent: Intent) -> None:
        """Set the limits of ``intent``, also those that it takes back."""
        self._there.limits(self._paths, properties(intent))

    def autostart(self, enabled: bool) -> None:
        """Whether the VM is started when the host comes up."""
        self._there.enable(self._paths, enabled)

    def prepare(self, intent: Intent) -> None:
        """The limits of a VM that is about to be started; its start with the host is for later, see :meth:`settle`."""
        if self._manager is not None:
            self._manager.limits(self._paths, properties(intent))

    def settle(self, intent: Intent) -> None:
        """Whether it starts with the host is as the definition says."""
        wanted = bool(intent.get("autostart"))
        if self._manager is not None and wanted != self._manager.enabled(self._paths):
            self._manager.enable(self._paths, wanted)

    def forget(self) -> None:
        """Leave nothing of it for another VM of this name."""
        if self._manager is not None:
            self._manager.forget(self._paths)

    @property
    def _there(self) -> Manager:
        if self._manager is None:
            raise MaqetError("There is no systemd that could do that.", "host_error")
        return self._manager

    def _refuse(self, intent: Intent) -> None:
        for option in OF_SYSTEMD:
            if intent.get(option):
                why = "needs systemd, which does not keep VMs on this host"
                remedy = "Leave it out"
                if os.path.isdir("/run/systemd/system"):
                    why, remedy = "needs systemd, which keeps no VMs of this user", advice(self._where) or remedy
                raise invalid_option(option, intent[option], why, remedy)
