# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a request is to run, and by whose right: what the host, not the caller, knows."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from ansible_collections.maqet.qemu.plugins.module_utils.guard.paths import Place
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import BUILTIN, Layer, Policy
from ansible_collections.maqet.qemu.plugins.module_utils.guard.roles import Role
from ansible_collections.maqet.qemu.plugins.module_utils.guard.schema import Schema


@dataclass(frozen=True)
class Grants:
    """What a VM's definition gives its QEMU of the host: the word of whoever may define it, for one request."""

    #: Files, each by its own path.
    places: tuple[Place, ...] = ()
    #: Addresses to listen on, as policies write them: ``127.0.0.1:2222``.
    listen: tuple[str, ...] = ()
    #: Network interfaces.
    devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scope:
    """One QEMU. Whoever judges for it replaces the scope when more is known."""

    vm: str | None = None
    #: Absolute path of the VM's own folder; None for a QEMU that is not ours.
    home: str | None = None
    #: What this QEMU itself says that it understands; None while it was not asked.
    schema: Schema | None = None
    #: The user and group that QEMU runs as; None if that is our own.
    uid: int | None = None
    gid: int | None = None
    granted: Grants = field(default_factory=Grants)

    @property
    def output(self) -> str | None:
        """The folder where QEMU may write at a caller's wish; relative names are names in it."""
        return None if self.home is None else f"{self.home}/output"

    @property
    def own(self) -> tuple[Place, ...]:
        """What belongs to the VM and to nobody else."""
        if self.home is None:
            return ()
        return Place(f"{self.home}/output", "write", True), Place(f"{self.home}/disks", "write", True)


@dataclass(frozen=True)
class Rights:
    """What the policies say about one VM and one caller at this moment."""

    policy: Policy = BUILTIN
    host: Layer = field(default_factory=lambda: BUILTIN.layer(None))
    #: Policies that can only take away: the VM's own, the task's.
    tighter: tuple[Layer, ...] = ()
    #: None: nobody's; such a caller may do nothing.
    role: t.Optional[Role] = field(default_factory=lambda: BUILTIN.role_of(0, ()))

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The host's policy first."""
        return (self.host, *self.tighter)

    def tightened(self, *layers: Layer) -> Rights:
        """The same rights less what ``layers`` take away."""
        return replace(self, tighter=(*self.tighter, *layers))
