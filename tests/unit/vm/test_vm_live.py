# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes of a running VM that fail half-way, and that are taken back, before a QEMU that keeps what it is told."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.changes import diff
from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import merge, normalise
from ansible_collections.maqet.qemu.plugins.module_utils.definition.live import Change
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition, DiskFile
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.vm.control import Control
from ansible_collections.maqet.qemu.plugins.module_utils.vm.live import Live
from ansible_collections.maqet.qemu.plugins.module_utils.vm.observe import Actual
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import UUID


class Qemu(Control):
    """``medium`` is the file in the drive; ``refused`` a file that cannot be opened."""

    def __init__(self, medium: str) -> None:
        self.medium: t.Optional[str] = medium
        self.nodes = {"cd": medium}
        self.open = False
        self.refused = ""

    def send(
        self,
        actual: Actual,
        command: str,
        seconds: float,
        arguments: t.Optional[t.Mapping[str, t.Any]] = None,
        grants: t.Optional[t.Mapping[str, t.Any]] = None,
        consent: bool = False,
    ) -> t.Any:
        given: t.Mapping[str, t.Any] = arguments or {}
        if command == "query-named-block-nodes":
            return [{"node-name": name} for name in self.nodes]
        if command == "blockdev-add":
            path = _file_of(given)
            if path == self.refused:
                raise MaqetError("it cannot be opened", "file_refused")
            self.nodes[given["node-name"]] = path
        elif command == "blockdev-del":
            del self.nodes[given["node-name"]]
        elif command == "blockdev-remove-medium":
            self.medium = None
        elif command == "blockdev-insert-medium":
            self.medium = self.nodes[given["node-name"]]
        elif command in ("blockdev-open-tray", "blockdev-close-tray"):
            self.open = command == "blockdev-open-tray"
        return {}


def _file_of(node: t.Mapping[str, t.Any]) -> str:
    return str(node["filename"]) if "filename" in node else _file_of(node["file"])


class Drive:
    """A VM with a CD drive whose medium is to be another."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.old, self.new = str(folder / "old.iso"), str(folder / "new.iso")
        for path in (self.old, self.new):
            pathlib.Path(path).write_bytes(bytes(2048))
        self.qemu = Qemu(self.old)
        before, after = (self._definition(path) for path in (self.old, self.new))
        where = Layout(str(folder / "s"), str(folder / "r"), str(folder / "l"), "user")
        self.live = Live(where, self.qemu, Actual(before), before, after, 5.0)
        (self.change,) = diff(before.intent, after.intent, os.uname().machine).steps["disks"]

    def _definition(self, path: str) -> Definition:
        intent = merge({}, normalise({"disks": [{"name": "cd", "type": "cdrom", "path": path}]}))
        return Definition("web", UUID, intent, {"cd": DiskFile(path, "raw")})

    def tell(self, change: Change) -> None:
        self.live.perform(change)


@pytest.fixture
def drive(tmp_path: pathlib.Path) -> Drive:
    return Drive(tmp_path)


def test_another_medium(drive: Drive) -> None:
    drive.tell(drive.change)
    assert (drive.qemu.medium, drive.qemu.open) == (drive.new, False)


def test_a_change_of_the_medium_is_taken_back(drive: Drive) -> None:
    """Two files have the drive's name."""
    drive.tell(drive.change)
    drive.tell(drive.change.reversed())
    assert (drive.qemu.medium, drive.qemu.open) == (drive.old, False)


def test_a_medium_that_cannot_be_opened_leaves_the_old_one_in(drive: Drive) -> None:
    """The definition still names it, so no later task would find the drive empty."""
    drive.qemu.refused = drive.new
    with pytest.raises(MaqetError, match="cannot be opened"):
        drive.tell(drive.change)
    assert (drive.qemu.medium, drive.qemu.open) == (drive.old, False)
