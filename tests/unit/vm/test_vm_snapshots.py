# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots of a VM, read out of its images and put together with what is noted of them."""

from __future__ import annotations

import os
import pathlib
import struct
import subprocess
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition, DiskFile
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import files
from ansible_collections.maqet.qemu.plugins.module_utils.vm import snapshot_notes
from ansible_collections.maqet.qemu.plugins.module_utils.vm.jobs import Jobs
from ansible_collections.maqet.qemu.plugins.module_utils.vm.snapshot_notes import Notes
from ansible_collections.maqet.qemu.plugins.module_utils.vm.snapshot_work import Live
from ansible_collections.maqet.qemu.plugins.module_utils.vm.snapshots import (
    Disk,
    checked,
    collect,
    listed,
    look,
    of_definition,
)
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import UUID
from ansible_collections.maqet.qemu.tests.unit.vm.conftest import Images
from ansible_collections.maqet.qemu.tests.unit.vm.world import FakeVm

Info = dict[str, t.Any]


def info(name: str, second: int, size: int = 0) -> Info:
    """As QEMU 7.2 reports one."""
    clock = {"vm-clock-sec": 3, "vm-clock-nsec": 500_000_000}
    return {"id": "1", "name": name, "date-sec": second, "date-nsec": 5, **clock, "vm-state-size": size}


def test_put_together() -> None:
    found = collect({"a": [info("late", 20), info("one", 10, 700)], "b": [info("one", 11)]}, {})
    assert [one.name for one in found] == ["one", "late"]
    one, late = (snapshot.as_dict(["a", "b"]) for snapshot in found)
    assert (one["disks"], one["memory"], one["memory_size"], one["complete"]) == (["a", "b"], True, 700, True)
    assert (one["date"], one["vm_clock"], one["description"]) == (10.0, 3.5, None)
    assert (late["disks"], late["memory"], late["complete"]) == (["a"], False, False)


def test_notes_count_for_the_snapshot_that_they_were_made_for() -> None:
    note = {"description": "x", "group": "g", "disks": ["a"], "dates": {"a": 10_000_000_005}}
    (kept,) = collect({"a": [info("one", 10)], "b": []}, {"one": note, "gone": note})
    assert (kept.as_dict(["a", "b"])["description"], kept.as_dict(["a", "b"])["complete"]) == ("x", True)
    for other in (info("one", 11), {**info("one", 10), "date-nsec": 6}):
        assert collect({"a": [other]}, {"one": note})[0].note == {}
    assert collect({"a": [info("one", 10)]}, {"one": {"description": "x"}})[0].note == {}
    two = collect({"a": [info("one", 10)], "b": [info("one", 10)]}, {"one": note})
    assert two[0].note == {}, "it is on a disk that the note does not know"


def test_of_real_images(images: Images, vm: FakeVm) -> None:
    a, b = images.make("a.qcow2"), images.make("b.qcow2")
    raw = images.make("c.raw", "raw")
    for path in (a, b):
        subprocess.run(["qemu-img", "snapshot", "-c", "one", path], check=True)
    wanted = [{"name": name, "path": "x"} for name in "abc"] + [{"name": "d", "path": "x", "readonly": True}]
    paths = {"a": a, "b": b, "c": raw, "d": "/nonexistent"}
    drivers = {"c": "raw"}
    stored = {name: DiskFile(path, drivers.get(name, "qcow2")) for name, path in paths.items()}
    (found,) = listed(vm.paths, Definition("web", UUID, {"disks": wanted}, stored), None)
    assert (found["name"], found["disks"], found["complete"], found["memory"]) == ("one", ["a", "b"], True, False)
    assert listed(vm.paths, None, None) == []
    assert listed(vm.paths, Definition("web", UUID, {}, {}), None) == []


def test_of_a_qemu_that_runs() -> None:
    disks = [Disk("a", DiskFile("/a", "qcow2")), Disk("r", DiskFile("/r", "raw"))]
    nodes = [
        {"node-name": "disk-a", "image": {"snapshots": [info("one", 10)], "backing-image": {}}},
        {"node-name": "disk-a-file", "image": {}},
        {"image": {"snapshots": [info("of another", 1)]}},
    ]
    asked = []

    def ask(command: str, arguments: t.Mapping[str, t.Any]) -> t.Any:
        asked.append((command, dict(arguments)))
        return nodes

    assert look(disks, ask) == {"a": [info("one", 10)]}
    assert asked == [("query-named-block-nodes", {"flat": True})]
    del nodes[0]
    with pytest.raises(MaqetError) as caught:
        look(disks, ask)
    assert caught.value.error_code == "restart_required"
    assert look(disks[1:], ask) == {} and len(asked) == 2, "nothing to ask about"


def test_disks_alone_are_taken_through_their_topmost_nodes() -> None:
    """Below the filter of a throttled disk QEMU makes none: "Need a root block node"."""
    wanted = [{"name": "a", "path": "/a"}, {"name": "b", "path": "/b", "throttle": {"iops": 5}}]
    stored = {name: DiskFile(f"/{name}", "qcow2") for name in "ab"}
    told: list[t.Any] = []

    class NoJobs(Jobs):
        def __init__(self) -> None:
            pass

        def change(self, _operation: str, commands: t.Sequence[t.Any]) -> Info:
            told.extend(commands)
            return {}

    Live(NoJobs()).create("one", of_definition(Definition("web", UUID, {"disks": wanted}, stored)), False, False)
    ((command, arguments),) = told
    assert command == "transaction"
    assert [action["data"]["device"] for action in arguments["actions"]] == ["disk-a", "disk-b-rate"]


def test_only_the_image_itself_is_opened(images: Images, tmp_path: pathlib.Path) -> None:
    """A link in the place of our own image, a second name of it, and a header that names a file for the data."""
    good = images.make("good.qcow2")
    disk = Disk("a", DiskFile(good, "qcow2", owned=True))
    assert checked(disk).path == good
    os.link(good, f"{good}.2")
    with pytest.raises(MaqetError, match="other names"):
        checked(disk)
    link = tmp_path / "link.qcow2"
    link.symlink_to(good)
    with pytest.raises(MaqetError, match="is a link"):
        checked(Disk("a", DiskFile(str(link), "qcow2", owned=True)))
    assert checked(Disk("a", DiskFile(str(link), "qcow2"))).path == str(link), "the user's own word is followed"
    far = images.make("far.qcow2", "qcow2", "1M", "-o", f"data_file={tmp_path}/data.raw")
    with pytest.raises(MaqetError, match="keeps its data in"):
        checked(Disk("a", DiskFile(far, "qcow2")))
    with open(good, "r+b") as file:
        file.write(struct.pack(">I", 0))
    with pytest.raises(MaqetError, match="cannot be used") as caught:
        checked(Disk("a", DiskFile(good, "qcow2")))
    assert caught.value.error_code == "state_unsafe"


def test_notes_are_kept(vm: FakeVm) -> None:
    os.makedirs(vm.paths.home)
    assert snapshot_notes.load(vm.paths) == Notes()
    notes = Notes({"one": {"description": "x"}}, {"op": "create", "name": "two"})
    snapshot_notes.store(vm.paths, notes)
    assert snapshot_notes.load(vm.paths) == notes
    snapshot_notes.store(vm.paths, Notes())
    assert not os.path.exists(vm.paths.snapshots)
    snapshot_notes.store(vm.paths, Notes())


@pytest.mark.parametrize(
    "content",
    [
        "{", "[]", "{}", '{"format": 2, "snapshots": {}}', '{"format": 1, "snapshots": {"a": 1}}',
        '{"format": 1, "snapshots": {}, "pending": {}}', '{"format": 1, "snapshots": {}, "pending": 3}',
    ],
)  # fmt: skip
def test_damaged_notes_cost_only_the_notes(vm: FakeVm, content: str) -> None:
    os.makedirs(vm.paths.home)
    files.write_atomic(vm.paths.snapshots, content.encode())
    found = snapshot_notes.load(vm.paths)
    assert (found.notes, found.pending) == ({}, None) and vm.paths.snapshots in str(found.damaged)
