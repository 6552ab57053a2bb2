# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reverts of a VM that does not run, by a qemu-img that fails, or that takes too long."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import DiskFile
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import qemu
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.lines import Deadline
from ansible_collections.maqet.qemu.plugins.module_utils.vm import snapshot_work
from ansible_collections.maqet.qemu.plugins.module_utils.vm.snapshot_work import Offline
from ansible_collections.maqet.qemu.plugins.module_utils.vm.snapshots import Disk


@pytest.mark.parametrize(
    ("last", "script", "reverted"),
    [
        ("a", "exit 1", None),
        ("a", "exec sleep 60", ["a"]),
        ("b", "exit 1", ["a"]),
        ("b", "exec sleep 60", ["a", "b"]),
    ],
)
def test_which_disks_may_have_gone_back(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, last: str, script: str, reverted: object
) -> None:
    """One whose revert was broken off may have: the VM must not be started with the others as they were."""
    program = tmp_path / "qemu-img"
    program.write_text(f'#!/bin/sh\ncase "$*" in *{last}.qcow2*) {script};; esac\n')
    program.chmod(0o755)
    monkeypatch.setattr(qemu, "find_image_tool", lambda: str(program))
    monkeypatch.setattr(snapshot_work, "_LEAST", 0.3)
    monkeypatch.setattr(snapshot_work, "checked", lambda disk: disk.file)
    disks = [Disk(name, DiskFile(str(tmp_path / f"{name}.qcow2"), "qcow2")) for name in "ab"]
    for disk in disks:
        pathlib.Path(disk.file.path).touch()
    with pytest.raises(MaqetError) as caught:
        Offline(Deadline(0)).apply("one", disks)
    assert caught.value.details.get("reverted_disks") == reverted
