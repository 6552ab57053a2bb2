# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a VM is while it moves from one host to another: one durable mark in its folder on each of the two.

A guest may run on the source until that host has written ``handed_over``, and on the destination from ``taken`` on.
``taken`` is only written by who knows of a ``handed_over`` of the same migration, which is never taken back without
the destination's durable word (``discarded``), or its user's. So there is no moment at which both may run it.

===============  ===========  ============================================================================
phase            on           meaning
===============  ===========  ============================================================================
``sending``      source       it is on its way, and still ours: what fails is taken back
``handed_over``  source       the other host has all of it, and may run it from now on; we never do
``confirmed``    source       the other host runs it: what is left here may go
``receiving``    destination  it is on its way to us, and not ours: its guest must not run
``taken``        destination  it is ours, and its guest is to run at once
``arrived``      destination  it runs here, and nothing is left to be done
``discarded``    destination  it did not come, and will not; what is left of it may go
===============  ===========  ============================================================================
"""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import files
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths

SENDING, HANDED_OVER, CONFIRMED = "sending", "handed_over", "confirmed"
RECEIVING, TAKEN, ARRIVED, DISCARDED = "receiving", "taken", "arrived", "discarded"
PHASES = (SENDING, HANDED_OVER, CONFIRMED, RECEIVING, TAKEN, ARRIVED, DISCARDED)
#: While a mark says one of these, nobody but the migration itself may have QEMU do anything.
HELD = (SENDING, HANDED_OVER, CONFIRMED, RECEIVING, DISCARDED)
#: While it says one of these, the guest must not be started here, whatever has become of QEMU.
NOT_OURS = (HANDED_OVER, CONFIRMED, RECEIVING, DISCARDED)
#: What clients see among the events of a runner that sends a VM: how far it is.
EVENT = "MAQET_MIGRATION"


@dataclasses.dataclass(frozen=True)
class Mark:
    """What one host knows of one migration. ``peer`` is the other host's name in the inventory.

    ``resume``: whether the guest executes, so that it is to go on. On the destination, ``machine`` and ``accel`` are
    those of the QEMU that sends, and ``made`` are the files that were made for it here.
    """

    id: str
    phase: str
    peer: str
    resume: bool = True
    machine: t.Optional[str] = None
    accel: t.Optional[str] = None
    made: tuple[str, ...] = ()

    @property
    def held(self) -> bool:
        """Whether commands of others must wait."""
        return self.phase in HELD

    @property
    def not_ours(self) -> bool:
        """Whether the guest must not be started here."""
        return self.phase in NOT_OURS

    def moved(self, phase: str) -> Mark:
        """The same migration, further on."""
        return dataclasses.replace(self, phase=phase)

    def as_dict(self) -> dict[str, t.Any]:
        """As results show it."""
        return {"id": self.id, "phase": self.phase, "peer": self.peer}


def read(paths: VmPaths) -> t.Optional[Mark]:
    """The mark of a VM; None if it does not move. ``state_unsafe`` for one that cannot be read: guessing could cost
    the guest its disks."""
    data = files.read_json(paths.migration)
    if data is None and not os.path.lexists(paths.migration):
        return None
    try:
        mark = Mark(**{**data, "made": tuple(data["made"])})
        sound = mark.phase in PHASES and isinstance(mark.id, str) and isinstance(mark.peer, str)
    except (TypeError, KeyError):
        sound = False
    if not sound:
        raise MaqetError(
            f"{paths.migration} is damaged. It says which host may run this VM: restore it from a backup, or remove it "
            "once it is certain that the VM runs nowhere else.",
            "state_unsafe",
            path=paths.migration,
        )
    return mark


def write(paths: VmPaths, mark: Mark) -> None:
    """Replace the mark; it is on the disk when this returns."""
    files.write_json(paths.migration, dataclasses.asdict(mark))


def forget(paths: VmPaths) -> None:
    """The VM does not move, and is this host's; that is on the disk when this returns."""
    files.remove(paths.migration)
    if os.path.isdir(paths.home):
        files.sync_folder(paths.home)


def refusal(name: str, mark: Mark) -> MaqetError:
    """Why nobody may do anything to a VM with this mark, and what helps."""
    again = f"Run maqet_migrate on it again, with 'name: {name}' and the same 'to'"
    on = mark.peer
    away = "'maqet_vm: state=absent force=true purge=true'"
    words = {
        SENDING: f"is on its way to {on}. Wait for that task. If it is gone: {again.lower()}.",
        HANDED_OVER: (
            f"was handed over to {on}, which has not said yet that it runs there. It must not run here. {again} ({on}) "
            f"on this host, which settles it; if {on} is lost for good, with 'reclaim: true'."
        ),
        CONFIRMED: f"has moved to {on}, and runs there. {again} on this host, which removes what is left here.",
        RECEIVING: (
            f"is on its way here from {on}. Wait for that task. If it is gone: {again.lower()} on {on}, or remove what "
            f"came with {away} here, once it is certain that it runs on {on}."
        ),
        DISCARDED: f"did not come here from {on}. {again} on {on}, or remove what is left of it here with {away}.",
    }[mark.phase]
    code = "vm_migrated" if mark.phase in (HANDED_OVER, CONFIRMED) else "vm_migrating"
    return MaqetError(f"VM {name} {words}", code, migration=mark.as_dict())
