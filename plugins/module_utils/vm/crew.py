# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Working on many VMs at once: each by a process of its own, in waves, and not beyond a number of failures."""

from __future__ import annotations

import dataclasses
import functools
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, as_maqet
from ansible_collections.maqet.qemu.plugins.module_utils.host import locks
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.host.side_by_side import side_by_side
from ansible_collections.maqet.qemu.plugins.module_utils.runner import launch
from ansible_collections.maqet.qemu.plugins.module_utils.runner.bundle import own_digest
from ansible_collections.maqet.qemu.plugins.module_utils.vm import many, outcomes
from ansible_collections.maqet.qemu.plugins.module_utils.vm.carry_out import carry_out
from ansible_collections.maqet.qemu.plugins.module_utils.vm.ensure import Desired
from ansible_collections.maqet.qemu.plugins.module_utils.vm.outcomes import Outcome


@dataclasses.dataclass
class Hand:
    """What one VM's process knows of the task; its warnings travel back with the VM's outcome."""

    check: bool
    context: dict[str, t.Any]
    who: str
    warnings: list[str] = dataclasses.field(default_factory=list)

    def warn(self, text: str) -> None:
        """Keep it for the task."""
        self.warnings.append(text)


@dataclasses.dataclass
class Crew:
    """Makes VMs be what is wanted. ``failed``: how many have failed so far.

    ``leaving``: in check mode, VMs that would have ended by now, and to what; those that come later find them so.
    """

    where: Layout
    hand: Hand
    at_once: int
    limit: many.Limit
    failed: int = 0
    leaving: dict[str, str] = dataclasses.field(default_factory=dict)

    def work(self, wanted: t.Mapping[str, Desired], now: t.Collection[str]) -> list[Outcome]:
        """The outcomes of those of ``wanted`` that are to be worked on ``now``, in the order of ``wanted``."""
        found: dict[str, Outcome] = {}
        own_digest()  # here, once, rather than in each VM's process
        act = functools.partial(_one, self.where, self.hand, wanted, self.leaving)
        due = {name: wish for name, wish in wanted.items() if name in now}
        with launch.several(self.where, [] if self.hand.check else self._to_start(due)):
            for wave in many.waves(due):
                if not self.limit.exceeded(self.failed):
                    done = side_by_side(wave, act, _lost, self.at_once, self._told)
                    found.update(done)
                    self.leaving.update(many.leaving(wanted, done) if self.hand.check else {})
        return [found.get(name) or outcomes.not_begun(name, self.limit.most) for name in wanted if name in now]

    def _to_start(self, due: t.Mapping[str, Desired]) -> list[str]:
        """Those that will need a runner, as far as a look at QEMU's locks tells."""
        return [
            name
            for name, wish in due.items()
            if many.will_start(wish.state, locks.is_held(self.where.vm(name).qemu_log))
        ]

    def _told(self, name: str, outcome: Outcome) -> bool:
        outcome["name"] = name
        self.failed += bool(outcome.get("failed"))
        return not self.limit.exceeded(self.failed)


def _one(
    where: Layout, hand: Hand, wanted: t.Mapping[str, Desired], leaving: t.Mapping[str, str], name: str
) -> Outcome:
    """In the process of VM ``name``."""
    wish = wanted[name]
    reason = f"maqet_vms: state={wish.state}"
    try:
        result = carry_out(hand, where, name, reason, wish.patience.timeout, lambda _: wish, leaving)
    except (MaqetError, OSError) as error:
        result = outcomes.failed(name, as_maqet(error))
    return {"name": name, **result, "warnings": hand.warnings}


def _lost(words: str) -> Outcome:
    return outcomes.failed("", MaqetError(words, "host_error"))
