# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What changes between two intents, and what each change costs a running VM."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.maqet.qemu.plugins.module_utils.definition import defaults, live, unsaid
from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import OPTIONS
from ansible_collections.maqet.qemu.plugins.module_utils.definition.limits import OF_SYSTEMD

LIVE = "live"
RESTART = "restart"
RECREATE = "recreate"
# What the VM is from its first day on.
_RECREATE_OPTIONS = frozenset({"uuid"})
# Options that QEMU never sees. The runner reads them again when it needs them.
_LIVE_OPTIONS = frozenset({"labels", "policy", "restart_policy", "shutdown_timeout", *OF_SYSTEMD})


@dataclass(frozen=True)
class Difference:
    """Only the options that differ. An option that one side lacks is None there."""

    before: dict[str, t.Any] = field(default_factory=dict)
    after: dict[str, t.Any] = field(default_factory=dict)
    impacts: dict[str, str] = field(default_factory=dict)
    #: What a running QEMU is to be told, by option.
    steps: dict[str, list[live.Change]] = field(default_factory=dict)

    @property
    def options(self) -> list[str]:
        """The changed options, in the order of their documentation."""
        return list(self.impacts)

    @property
    def restart(self) -> list[str]:
        """Those of them that a running VM takes only with a restart."""
        return [option for option, cost in self.impacts.items() if cost == RESTART]

    def __bool__(self) -> bool:
        return bool(self.impacts)


def impact(option: str) -> str:
    """What a change of this option costs a running VM.

    ``live`` if it takes any; ``restart``, if not (``live.py`` knows of some that it takes); ``recreate`` if only a new
    VM can have it.
    """
    if option in _RECREATE_OPTIONS:
        return RECREATE
    return LIVE if option in _LIVE_OPTIONS else RESTART


def diff(before: t.Mapping[str, t.Any], after: t.Mapping[str, t.Any], host_arch: str = "") -> Difference:
    """Compare two intents. With ``host_arch``, writing down what is the default already costs no restart."""
    changed = [option for option in OPTIONS if before.get(option) != after.get(option)]
    same: frozenset[str] = frozenset()
    steps: dict[str, list[live.Change]] = {}
    if host_arch and changed:
        old, new = defaults.effective(before, host_arch), defaults.effective(after, host_arch)
        before_all, after_all = unsaid.spelled_out(old), unsaid.spelled_out(new)
        same = frozenset(option for option in changed if before_all[option] == after_all[option])
        found = {option: live.changes(option, old, new) for option in changed if option not in same}
        steps = {option: these for option, these in found.items() if these is not None}
    return Difference(
        before={option: before.get(option) for option in changed},
        after={option: after.get(option) for option in changed},
        impacts={option: LIVE if option in same or option in steps else impact(option) for option in changed},
        steps=steps,
    )
