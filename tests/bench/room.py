# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the families of figures have in common: how often they do things, their VMs, their playbooks.

All of it is in a world of its own (``tests/chaos/enter.py``): our folders are new and empty, on a real disk, and what
was started ends with the bench. VMs of the machine are neither seen nor harmed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import typing as t
from pathlib import Path

from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths, layout
from ansible_collections.maqet.qemu.tests.bench.playbooks import WARM, Object, Playbooks
from ansible_collections.maqet.qemu.tests.hosts import modules

#: A VM without an operating system, the same in all figures.
VM: t.Final[Object] = {"memory": "32", "accel": "tcg"}
#: No guest of these can notice a power button.
END: t.Final[Object] = {"force": True, "stop_timeout": 0}


@dataclasses.dataclass(frozen=True)
class Room:
    """Where a family measures."""

    folder: Path
    collections: Path
    play: Playbooks
    is_short: bool = False

    def count(self, full: int, short: int = 1) -> int:
        """How often, or how many: ``short`` in the short form, which only shows that the figure can be made."""
        return short if self.is_short else full

    def count_series(self, full: t.Sequence[int], short: t.Sequence[int]) -> t.Sequence[int]:
        """The same for several numbers."""
        return short if self.is_short else full

    def warm(self, *tasks: Object) -> list[Object]:
        """Tasks that are no figure: they make the archives of their modules. The short form has no use for that."""
        return [] if self.is_short else [{**one, "name": WARM} for one in tasks]

    def names(self, count: int, prefix: str = "bench") -> list[str]:
        return [f"{prefix}-{number}" for number in range(count)]

    def paths(self, name: str) -> VmPaths:
        return layout().vm(name)

    @contextlib.contextmanager
    def vms(self, names: t.Sequence[str], state: str = "paused", **more: t.Any) -> t.Iterator[list[Object]]:
        """These VMs, made without a controller, and gone afterwards; their facts."""
        try:
            yield [outcome["vm"] for outcome in modules.must("maqet_vms", **several(names, state, **more))["vms"]]
        finally:
            self.clear(names)

    def clear(self, names: t.Sequence[str]) -> None:
        """Take these VMs away, without a controller."""
        modules.must("maqet_vms", **gone(names))

    def say(self, text: str) -> None:
        """For whoever watches."""
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def several(names: t.Sequence[str], state: str, **more: t.Any) -> Object:
    """Options of maqet_vms for VMs that differ in nothing but their names."""
    return {"vms": [{"name": name} for name in names], "defaults": {**VM, "state": state, **more}}


def stopped(names: t.Sequence[str]) -> Object:
    """The same, to end them."""
    return several(names, "stopped", **END)


def gone(names: t.Sequence[str]) -> Object:
    """The same, to take them away with all that they have but their logs."""
    return several(names, "absent", purge=True, **END)
