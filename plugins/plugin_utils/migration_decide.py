# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done with a VM that a task wants to move, from what its two hosts know of it. Nothing is touched here.

The marks are those of ``host/migration.py``. Each answer is one step that leaves something simpler behind, which is
looked at again; so it does not matter where the last attempt was broken off, nor in which of its steps this one is.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import migration
from ansible_collections.maqet.qemu.plugins.module_utils.host.migration import (
    ARRIVED,
    CONFIRMED,
    DISCARDED,
    HANDED_OVER,
    RECEIVING,
    SENDING,
    TAKEN,
)

_SENT = (SENDING, HANDED_OVER, CONFIRMED)
_TO_COME = (RECEIVING, TAKEN, DISCARDED)
# QEMU's RunState while it waits for the rest of a guest.
_INCOMPLETE = "inmigrate"


@dataclasses.dataclass(frozen=True)
class Seen:
    """What one host says of the VM. ``runs``: its QEMU lives, in ``run_state`` (None: it did not say)."""

    host: str
    defined: bool = False
    runs: bool = False
    run_state: t.Optional[str] = None
    phase: t.Optional[str] = None
    id: t.Optional[str] = None
    peer: t.Optional[str] = None

    @classmethod
    def of(cls, host: str, told: t.Mapping[str, t.Any]) -> Seen:
        """From the answer of a module's step."""
        mark = told["mark"] or {}
        known = {key: mark.get(key) for key in ("phase", "id", "peer")}
        return cls(host, bool(told["defined"]), bool(told["runs"]), told["run_state"], **known)


@dataclasses.dataclass(frozen=True)
class Next:
    """``move`` it, it is ``there`` already, or do ``step`` on ``host`` for the migration ``id`` and look again."""

    what: str  # "move", "there" or "step"
    host: str = ""
    step: str = ""
    id: str = ""


def decide(here: Seen, there: t.Optional[Seen], to: str, name: str, reclaim: bool = False) -> Next:
    """What comes next for VM ``name``, which is to be on the host ``to``; MaqetError if nobody can know, or do it.

    ``there`` is None if that host cannot be reached.
    """
    step = _left_behind(here, there, to, name, reclaim)
    if step is None and there is not None:
        step = _left_behind(there, here, here.host, name, reclaim)
    if step is not None:
        return step
    if there is None:
        raise MaqetError(f"The host {to} cannot be reached, so nothing was begun.", "destination_unreachable")
    if here.defined and there.defined:
        raise MaqetError(
            f"VM {name} is defined on {here.host} and on {to}. They are two VMs of one name: give one of them another, "
            "or remove it.",
            "vm_exists",
        )
    if there.defined:
        return Next("there")
    return Next("move")


def _left_behind(origin: Seen, target: t.Optional[Seen], to: str, name: str, reclaim: bool) -> t.Optional[Next]:
    """The next step to settle a migration from ``origin`` to ``target``; None if there is none to be settled."""
    if origin.phase in _SENT:
        return _of_sent(origin, target, to, name, reclaim)
    if target is not None and target.phase in _TO_COME and target.peer == origin.host:
        return _of_received(origin, target, name)
    if target is not None and target.phase in (RECEIVING, DISCARDED):
        raise _refused(target, name)
    return None


def _of_sent(origin: Seen, target: t.Optional[Seen], to: str, name: str, reclaim: bool) -> Next:
    number = str(origin.id)
    if origin.phase == CONFIRMED:
        return Next("step", origin.host, "retire", number)
    if origin.phase == SENDING:
        return Next("step", origin.host, "recover", number)
    if origin.peer != to:
        raise _refused(origin, name)
    if target is not None and target.id == number:
        if target.phase == ARRIVED:
            return Next("step", origin.host, "retire", number)
        if target.phase == DISCARDED:
            return Next("step", origin.host, "reclaim", number)
        if target.phase == TAKEN:
            return Next("step", target.host, "take", number)
        if not target.runs or target.run_state == _INCOMPLETE:
            return Next("step", target.host, "refuse", number)
        if target.run_state is None:
            raise _undecided(name, origin.host, to, f"QEMU on {to} does not answer")
        return Next("step", target.host, "take", number)
    if reclaim:
        return Next("step", origin.host, "reclaim", number)
    why = f"{to} cannot be reached" if target is None else f"{to} knows nothing of it"
    raise _undecided(name, origin.host, to, why)


def _of_received(origin: Seen, target: Seen, name: str) -> Next:
    """The host that sent has no mark of it: it never handed over, or it is all over there."""
    number = str(target.id)
    if target.phase == TAKEN:
        return Next("step", target.host, "take", number)
    if not origin.defined:
        raise _undecided(name, origin.host, target.host, f"{origin.host} does not know the VM any more")
    return Next("step", target.host, "discard", number)


def _refused(seen: Seen, name: str) -> MaqetError:
    return migration.refusal(name, migration.Mark(str(seen.id), str(seen.phase), str(seen.peer)))


def _undecided(name: str, origin: str, to: str, why: str) -> MaqetError:
    return MaqetError(
        f"VM {name} was handed over by {origin} to {to}, and whether it runs there is not known: {why}. It stands "
        f"still on {origin}. Run the task again when {to} is back, which settles it. If {to} is lost for good, "
        f"'reclaim: true' has it run on {origin} again.",
        "migration_undecided",
    )
