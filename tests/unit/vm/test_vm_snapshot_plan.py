# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which steps lead to what a task wants, and which reasons there are not to begin."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.snapshots import Wanted
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import DiskFile
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.vm.snapshot_plan import Situation, before_after, plan
from ansible_collections.maqet.qemu.plugins.module_utils.vm.snapshots import Disk, Piece, Snapshot

A, B = Disk("a", DiskFile("/a", "qcow2")), Disk("b", DiskFile("/b", "qcow2"))
RAW = Disk("r", DiskFile("/r.raw", "raw"))
CD = Disk("cd", DiskFile("/cd", "qcow2"), readonly=True)


def snapshot(name: str, *disks: str, date: int = 1, size: int = 0, **note: t.Any) -> Snapshot:
    pieces = {disk: Piece(date, 0, size if index == 0 else 0) for index, disk in enumerate(disks)}
    return Snapshot(name, pieces, note)


def vm(*snapshots: Snapshot, disks: t.Sequence[Disk] = (A, B, CD), **more: t.Any) -> Situation:
    """One that does not run."""
    return Situation("web", disks, snapshots, **{"intent": {}, "host_arch": "x86_64", **more})


def live(*snapshots: Snapshot, **more: t.Any) -> Situation:
    return vm(*snapshots, **{"runs": True, "executes": True, **more})


def present(name: str = "one", **more: t.Any) -> Wanted:
    return Wanted("present", name, **more)


def reverted(**more: t.Any) -> Wanted:
    return Wanted("reverted", "one", **more)


def kinds(wanted: Wanted, now: Situation) -> list[str]:
    return [action.kind for action in plan(wanted, now)]


def refusal(wanted: Wanted, now: Situation) -> MaqetError:
    with pytest.raises(MaqetError) as caught:
        plan(wanted, now)
    return caught.value


@pytest.mark.parametrize(
    ("wanted", "now", "memory", "disks", "fsfreeze"),
    [
        (present(), vm(), False, "a b", False),
        (present(), live(), True, "a b", False),
        (present(), live(executes=False), True, "a b", False),
        (present(memory=False), live(), False, "a b", False),
        (present(fsfreeze=True), live(intent={"agent": True}), False, "a b", True),
        (present(fsfreeze=True), vm(), False, "a b", False),
        (present(disks=("b",)), live(), False, "b", False),
        (present(disks=("b", "a"), memory=True), live(), True, "a b", False),
        (present(disks=("a", "b")), live(disks=(A, B, RAW)), False, "a b", False),
    ],
)
def test_a_new_one(wanted: Wanted, now: Situation, memory: bool, disks: str, fsfreeze: bool) -> None:
    (action,) = plan(wanted, now)
    detail = {"name": "one", "memory": memory, "disks": disks.split(), "fsfreeze": fsfreeze}
    assert (action.kind, action.impact, action.detail) == ("create_snapshot", "live", detail)


@pytest.mark.parametrize(
    ("wanted", "now", "code", "words"),
    [
        (present(), live(disks=(A, RAW)), "invalid_option", "disks: 'r' is a raw image (/r.raw)"),
        (present(disks=("r",)), vm(disks=(A, RAW)), "invalid_option", "qemu-img convert -O qcow2"),
        (present(disks=("cd",)), vm(), "invalid_option", "disks: 'cd' is read-only"),
        (present(disks=("x",)), vm(), "invalid_option", "It has: a, b, cd."),
        (present(), vm(disks=(CD,)), "invalid_option", "no disk that can hold a snapshot"),
        (present(), vm(disks=()), "invalid_option", "no disk that can hold a snapshot"),
        (present(memory=True), vm(), "vm_not_running", "has no memory to keep"),
        (present(memory=True, disks=("a",)), live(), "invalid_option", "leaves out b"),
        (present(fsfreeze=True), live(executes=False), "invalid_option", "this one is paused"),
        (present(fsfreeze=True), live(), "invalid_option", "no port"),
    ],
)
def test_what_cannot_be_made(wanted: Wanted, now: Situation, code: str, words: str) -> None:
    error = refusal(wanted, now)
    assert error.error_code == code and words in str(error)


def test_one_that_is_there() -> None:
    there = snapshot("one", "a", "b", size=5)
    for wanted in (present(), present(memory=True), present(disks=("b",))):
        assert plan(wanted, live(there)) == []
    assert plan(present(), vm(there, disks=(A, B, RAW))) == [], "a disk that came later is not its affair"
    assert refusal(present(memory=False), live(there)).error_code == "snapshot_mismatch"
    only_a = snapshot("one", "a")
    assert refusal(present(), vm(only_a)).error_code == "snapshot_incomplete"
    assert plan(present(disks=("a",)), vm(only_a)) == []
    assert plan(present(), vm(snapshot("one", "a", disks=["a"]))) == []
    assert plan(present(), vm(snapshot("one", "a", "b", disks=["a", "b", "gone"]))) == [], "nor is one that has left"
    noted = snapshot("one", "a", "b", description="x", group="g")
    assert plan(present(description="x", group="g"), vm(noted)) == []
    (action,) = plan(present(description="y"), vm(noted))
    assert (action.kind, action.detail) == ("describe_snapshot", {"name": "one", "description": "y"})


def test_retention() -> None:
    """The oldest of the group beyond the number go, counted with the new one; others are left alone."""
    group = [snapshot(f"g{number}", "a", "b", date=number, group="g") for number in range(1, 5)]
    others = [snapshot("manual", "a", "b", date=0), snapshot("h", "a", "b", date=0, group="h")]
    now = vm(*others, *group)

    def gone(wanted: Wanted) -> list[str]:
        return [action.detail["name"] for action in plan(wanted, now) if action.kind == "delete_snapshot"]

    assert gone(present("new", group="g", keep=3)) == ["g1", "g2"]
    assert kinds(present("new", group="g", keep=3), now)[0] == "create_snapshot", "first the new one, then the old"
    assert gone(present("new", group="g", keep=5)) == []
    assert gone(present("g4", group="g", keep=4)) == []
    assert gone(present("g4", group="g", keep=1)) == ["g1", "g2", "g3"]
    assert gone(present("g1", group="g", keep=1)) == ["g2", "g3", "g4"], "never the task's own"
    assert gone(present("new", group="g")) == []


def test_removed() -> None:
    assert plan(Wanted("absent", "one"), vm()) == []
    (action,) = plan(Wanted("absent", "one"), live(snapshot("one", "b")))
    assert (action.kind, action.detail) == ("delete_snapshot", {"name": "one", "disks": ["b"]})


@pytest.mark.parametrize(
    ("wanted", "now", "expected"),
    [
        (reverted(), vm(snapshot("one", "a", "b")), "revert_snapshot"),
        (reverted(), vm(snapshot("one", "a", "b", size=5)), "revert_snapshot"),
        (reverted(), live(snapshot("one", "a", "b", size=5)), "revert_snapshot"),
        (reverted(memory=True), live(snapshot("one", "a", "b", size=5)), "revert_snapshot"),
        (
            reverted(allow_restart=True),
            live(snapshot("one", "a", "b")),
            "stop revert_snapshot start resume",
        ),
        (
            reverted(memory=False, allow_restart=True),
            live(snapshot("one", "a", "b", size=5), executes=False),
            "stop revert_snapshot start",
        ),
    ],
)
def test_back(wanted: Wanted, now: Situation, expected: str) -> None:
    assert kinds(wanted, now) == expected.split()


def test_how_one_goes_back() -> None:
    (alive,) = plan(reverted(), live(snapshot("one", "a", "b", size=5)))
    assert (alive.impact, alive.detail["memory"], alive.detail["disks"]) == ("live", True, ["a", "b"])
    (still,) = plan(reverted(), vm(snapshot("one", "a", "b", size=5)))
    assert still.detail["memory"] is False
    (part,) = plan(reverted(), vm(snapshot("one", "b", disks=["b"])))
    assert part.detail["disks"] == ["b"]


@pytest.mark.parametrize(
    ("wanted", "now", "code"),
    [
        (reverted(), vm(snapshot("two", "a")), "snapshot_not_found"),
        (reverted(), vm(snapshot("one", "a")), "snapshot_incomplete"),
        (reverted(), live(snapshot("one", "a", "b")), "restart_required"),
        (reverted(memory=False), live(snapshot("one", "a", "b", size=5)), "restart_required"),
        (reverted(memory=True), live(snapshot("one", "a", "b")), "snapshot_mismatch"),
        (reverted(memory=True), vm(snapshot("one", "a", "b", size=5)), "vm_not_running"),
    ],
)
def test_what_does_not_go_back(wanted: Wanted, now: Situation, code: str) -> None:
    error = refusal(wanted, now)
    assert error.error_code == code
    if code == "snapshot_not_found":
        assert "It has: two." in str(error)


@pytest.mark.parametrize(
    ("before", "after", "options"),
    [
        ({}, {}, []),
        ({"memory": 512}, {}, []),
        ({"memory": 256}, {}, ["memory"]),
        ({}, {"labels": {"a": "b"}, "policy": {"consent": False}, "autostart": True, "memory_max": 900}, []),
        ({}, {"agent": True, "networks": [{"type": "user", "mac": "x"}]}, ["networks", "agent"]),
        ({"disks": [{"name": "a", "size": 1}]}, {"disks": [{"name": "a", "size": 2, "interface": "virtio"}]}, []),
        ({"disks": [{"name": "a", "size": 1}]}, {"disks": [{"name": "a", "size": 1, "interface": "scsi"}]}, ["disks"]),
    ],
)
def test_memory_fits_its_machine_alone(before: dict[str, t.Any], after: dict[str, t.Any], options: list[str]) -> None:
    now = live(snapshot("one", "a", "b", size=5, intent=before), intent=after)
    if not options:
        assert kinds(reverted(), now) == ["revert_snapshot"]
        return
    error = refusal(reverted(), now)
    assert (error.error_code, sorted(error.details["options"])) == ("snapshot_mismatch", sorted(options))
    assert kinds(reverted(memory=False, allow_restart=True), now)[0] == "stop", "its disks fit any"


def test_diff() -> None:
    old = snapshot("old", "a", "b", description="x", group="g").as_dict(["a", "b"])
    now = vm(snapshot("old", "a", "b", description="x", group="g"))
    wanted = present("new", group="g", keep=1)
    diff = before_after([old], plan(wanted, now), wanted)
    assert list(diff["before"]["snapshots"]) == ["old"]
    new = {"memory": False, "disks": ["a", "b"], "description": None, "group": "g"}
    assert diff["after"] == {"snapshots": {"new": new}}
    wanted = present("old", description="y")
    assert before_after([old], plan(wanted, now), wanted)["after"]["snapshots"]["old"]["description"] == "y"
    back = Wanted("reverted", "old")
    diff = before_after([old], plan(back, now), back)
    assert diff["before"]["state"] != diff["after"]["state"] and diff["after"]["snapshots"].keys() == {"old"}
