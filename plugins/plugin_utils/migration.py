# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A migration as its driver sees it: two sides that do steps, and a tunnel between them. Knows nothing of Ansible."""

from __future__ import annotations

import dataclasses
import typing as t
import uuid

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.plugin_utils.migration_decide import Next, Seen, decide

Result = t.Dict[str, t.Any]

# Far more steps than any state of two hosts takes to settle.
_STEPS = 10
_FIGURES = ("downtime", "stopped", "total_time", "memory_transferred")


class Unreachable(Exception):
    """A host does not answer; the text says why."""


class Failed(Exception):
    """A step has failed; ``result`` is the module's."""

    def __init__(self, result: Result) -> None:
        super().__init__(str(result.get("msg")))
        self.result = result
        self.code = str(result.get("error_code", "module_failed"))


class Side(t.Protocol):
    """One of the two hosts."""

    @property
    def name(self) -> str:
        """Its name in the inventory."""

    def call(self, step: str, data: t.Mapping[str, t.Any]) -> Result:
        """One step there; :class:`Failed` or :class:`Unreachable`."""


#: Sockets in a folder on each side that lead to the other one, while the context is open: ``here`` and ``there`` are
#: the folders; ``watch`` is where the sender tells how far it is, or None.
Tunnel = t.ContextManager[t.Mapping[str, t.Any]]


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What the task says."""

    vm: str
    storage: str = "auto"
    keep_disks: bool = False
    reclaim: bool = False
    check: bool = False
    more: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)


class Migration:
    """One task. ``tell`` is for people who watch."""

    def __init__(
        self,
        here: Side,
        there: Side,
        wanted: Wanted,
        tunnel: t.Callable[[], Tunnel],
        tell: t.Callable[[str], None],
    ) -> None:
        self._here = here
        self._there = there
        self._wanted = wanted
        self._tunnel = tunnel
        self._tell = tell
        self._offered: Result = {}
        self._examined: Result = {}
        self._last: Result = {}
        self._kept: t.List[str] = []
        self._reclaimed = False
        self.audit: t.List[Result] = []
        self.settled: t.List[str] = []
        self.warnings: t.List[str] = []
        self.changed = False

    def run(self) -> Result:
        """All of it; MaqetError, Failed or Unreachable if it did not come to that."""
        following = self._settle()
        if following.what == "step":  # check mode
            action = {"action": "settle_migration", "impact": "live", "host": following.host, "step": following.step}
            return self._result(True, [action])
        if following.what == "there":
            return self._result(self.changed, [], self._finished() if not self._wanted.check else self._examined)
        if following.what == "reclaimed":
            return self._result(True, [{"action": "reclaim", "impact": "live"}], self._last)
        for said in (self._offered, self._examined):
            if "problem" in said:
                raise MaqetError.from_dict(dict(said["problem"]))
        copied = [name for name, disk in self._offered["offer"]["disks"].items() if disk["way"] == "copy"]
        action = {"action": "migrate", "impact": "live", "from": self._here.name, "to": self._there.name}
        actions = [{**action, "copied": copied}]
        if self._wanted.check:
            return self._result(True, actions, self._examined)
        figures = self._move()
        return {**self._result(True, actions, self._finished()), **figures}

    # --- before, and after something was broken off ---

    def _settle(self) -> Next:
        """Bring what an earlier attempt has left to an end, step by step; what comes then."""
        for _number in range(_STEPS):
            here, there = self._look()
            following = decide(here, there, self._there.name, self._wanted.vm, self._wanted.reclaim)
            if following.what != "step" or self._wanted.check:
                return following
            self._step(following)
            if self._reclaimed:  # that is what the user wants of it, and the other host may be gone for good
                return Next("reclaimed")
        raise MaqetError(f"What is left of a migration of VM {self._wanted.vm} does not settle.", "migration_undecided")

    def _look(self) -> t.Tuple[Seen, t.Optional[Seen]]:
        self._offered = self._call(self._here, "inspect", storage=self._wanted.storage, **self._wanted.more)
        here = Seen.of(self._here.name, self._offered["seen"])
        try:
            self._examined = self._call(self._there, "examine", offer=self._offered.get("offer"))
        except Unreachable:
            if here.phase is None:
                raise
            return here, None
        return here, Seen.of(self._there.name, self._examined["seen"])

    def _step(self, following: Next) -> None:
        side = self._here if following.host == self._here.name else self._there
        words = f"{following.step} on {side.name}"
        self._tell(f"an earlier migration is settled: {words}")
        try:
            answer = self._call(side, following.step, id=following.id, keep_disks=self._wanted.keep_disks)
        except Failed as error:
            if following.step != "take" or error.code != "migration_failed":
                raise
            # All of it had not come after all: it is given up there, and goes on where it was.
            answer = self._call(side, "refuse", id=following.id)
        if following.step == "reclaim" and self._wanted.reclaim:
            self._reclaimed = True
        self._last = answer
        self._kept += answer.get("kept", ())
        self.settled.append(words)
        self.changed = True

    # --- the migration itself ---

    def _move(self) -> Result:
        offer, number = self._offered["offer"], uuid.uuid4().hex
        common = {"id": number}
        with self._tunnel() as ways:
            told = {**common, "offer": offer, "peer": self._here.name, "folder": ways["there"]}
            received = self._call(self._there, "receive", **told)
            overlays = [name for name, disk in offer["disks"].items() if "base" in disk]
            order = {**common, "peer": self._there.name, "folder": ways["here"], "watch": ways.get("watch")}
            order = {**order, "disks": received["disks"], "proofs": received["proofs"], "overlays": overlays}
            try:
                figures = self._call(self._here, "send", **order, **self._offered.get("limits", {}))["figures"]
            except (Failed, Unreachable) as error:
                self._after(error)
                return {}
        self.changed = True
        answer = self._call(self._here, "retire", **common, keep_disks=self._wanted.keep_disks)
        self._kept += answer.get("kept", ())
        return {key: figures[key] for key in _FIGURES if figures.get(key) is not None}

    def _after(self, error: t.Union[Failed, Unreachable]) -> None:
        """It did not end as it should: find out on both hosts what became of it, and put that in order.

        Returns if the VM has arrived after all; else raises ``error``, with what the user must know beside it.
        """
        self._tell(f"the migration did not end as it should, and is settled: {error}")
        if isinstance(error, Failed):
            self._offered = {}
        try:
            following = self._settle()
        except (Failed, Unreachable, MaqetError) as other:
            if isinstance(error, Failed) and not isinstance(other, MaqetError):
                error.result["msg"] = f"{error.result.get('msg')} Then it could not be settled: {other}"
            elif isinstance(other, MaqetError):
                raise other from error
            raise error from other
        if following.what == "there":
            self.warnings.append(f"The migration was interrupted ({error}), and has come to its end all the same.")
            return
        self.changed = False
        raise error

    def _finished(self) -> Result:
        """The VM runs there: the last step, which can be done again at any time."""
        return self._call(self._there, "settle")

    # --- what all have in common ---

    def _call(self, side: Side, step: str, **data: t.Any) -> Result:
        try:
            result = side.call(step, data)
        except Failed as error:
            self.audit += error.result.get("audit", ())
            raise
        self.audit += result.get("audit", ())
        self.warnings += result.get("warnings", ())
        return result

    def _result(self, changed: bool, actions: t.List[Result], last: t.Optional[Result] = None) -> Result:
        found: Result = {"changed": changed, "actions": actions, "audit": self.audit}
        if last and "seen" in last:
            found["vm"] = last["seen"]["vm"]
        if self.settled:
            found["settled"] = self.settled
        if self._kept:
            found["kept"] = self._kept
        if self.warnings:
            found["warnings"] = self.warnings
        return found
