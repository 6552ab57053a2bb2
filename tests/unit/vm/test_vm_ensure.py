# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans carried out, with a launch that works or fails, and everything else real."""

from __future__ import annotations

import itertools
import json
import os
import pathlib
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import normalise
from ansible_collections.maqet.qemu.plugins.module_utils.definition.live import Change
from ansible_collections.maqet.qemu.plugins.module_utils.definition.waits import wait_for
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import accel, files, qemu
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.vm import belongings
from ansible_collections.maqet.qemu.plugins.module_utils.vm import ensure as room
from ansible_collections.maqet.qemu.plugins.module_utils.vm.control import Control
from ansible_collections.maqet.qemu.plugins.module_utils.vm.ensure import Desired, Ensure
from ansible_collections.maqet.qemu.plugins.module_utils.vm.stop import Patience
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import PATIENCE
from ansible_collections.maqet.qemu.tests.unit.vm.conftest import Images
from ansible_collections.maqet.qemu.tests.unit.vm.world import FakeVm

DISK = {"name": "root", "size": "1M"}


class Task:
    """Runs tasks on the VM, one after another."""

    def __init__(self, vm: FakeVm, monkeypatch: pytest.MonkeyPatch) -> None:
        self.vm = vm
        self.broken = False
        monkeypatch.setattr(qemu, "find_binary", lambda _arch: "/bin/sh")
        monkeypatch.setattr(accel, "prove", lambda _accel, _arch, _binary: accel.Answer(False, "not in this test"))
        monkeypatch.setattr(room, "launch", self._launch)

    def _launch(self, _where: Layout, _name: str, _seconds: float) -> dict[str, t.Any]:
        """As the real one: it makes folders and logs before it knows whether all goes well."""
        for folder in (self.vm.paths.run, self.vm.paths.log, self.vm.paths.output):
            os.makedirs(folder, exist_ok=True)
        for log in (self.vm.paths.runner_log, self.vm.paths.qemu_log):
            pathlib.Path(log).write_text("some words\n")
        if self.broken:
            pathlib.Path(self.vm.paths.status).write_text('{"phase": "failed"}')
            raise MaqetError("QEMU ended with status 1 before it was ready.", "qemu_failed")
        return self.vm.start("prelaunch")

    def work(self, state: str, **options: t.Any) -> Ensure:
        flags = {key: options.pop(key) for key in ("allow_restart", "purge") if key in options}
        waits = wait_for(options.pop("wait_for", None))
        patience = Patience(PATIENCE, False, PATIENCE)
        desired = Desired("web", state, normalise(options), patience, waits=waits, **flags)
        return Ensure(self.vm.where, desired, Control(self.vm.where, self.vm.paths, "a test", {}))

    def run(self, state: str, **options: t.Any) -> str:
        """Decide and perform; the actions."""
        work = self.work(state, **options)
        actions = work.decide()
        work.perform()
        assert work.work.events is not None
        return " ".join(action.kind for action in actions)

    def fails(self, state: str, **options: t.Any) -> MaqetError:
        with pytest.raises(MaqetError) as caught:
            self.run(state, **options)
        return caught.value

    def stored(self) -> t.Any:
        return json.loads(pathlib.Path(self.vm.paths.definition).read_text())


@pytest.fixture
def task(vm: FakeVm, monkeypatch: pytest.MonkeyPatch) -> Task:
    return Task(vm, monkeypatch)


def tree(vm: FakeVm) -> list[str]:
    """All that is in the VM's folders, relative to them."""
    folders = [pathlib.Path(folder) for folder in (vm.where.vms, vm.where.run, vm.where.log)]
    return sorted(str(path.relative_to(folder)) for folder in folders for path in folder.rglob("*") if path.is_file())


def test_a_life(task: Task, vm: FakeVm, images: Images) -> None:
    assert task.run("running", memory="512M", disks=[DISK]) == "create_disk define start resume"
    assert vm.heard == ["cont"]
    assert task.run("running", memory="512M", disks=[DISK]) == ""
    assert task.run("paused") == "pause"
    assert task.run("running") == "resume"
    assert task.fails("running", memory="1G").error_code == "restart_required"
    assert task.stored()["intent"]["memory"] == 512
    assert task.run("running", memory="1G", allow_restart=True) == "stop redefine start resume"
    assert task.stored()["intent"]["memory"] == 1024
    assert task.run("stopped") == "stop"
    assert task.run("stopped") == ""
    assert task.run("absent") == "undefine"
    assert tree(vm) == ["web/disks/root.qcow2"]
    assert task.run("absent") == ""
    assert task.run("absent", purge=True) == "delete_disk undefine"
    assert tree(vm) == []
    assert os.listdir(vm.where.vms) == []


def test_a_uuid_is_decided_once(task: Task) -> None:
    own, other = "0f4c2a9e-5d1b-4c38-9a77-2f1f6f0c1d2e", "1f4c2a9e-5d1b-4c38-9a77-2f1f6f0c1d2e"
    assert task.run("present", uuid=own.upper()) == "define"
    assert (task.stored()["uuid"], task.stored()["intent"]) == (own, {})
    assert task.run("present", uuid=own) == ""
    for state in ("present", "running", "stopped"):
        error = task.fails(state, uuid=other)
        assert error.details["option"] == "uuid" and own in str(error)
    assert task.run("present", memory="1G") == "redefine" and task.stored()["uuid"] == own
    assert task.run("absent", uuid=other) == "undefine", "what is to go may be called as one likes"


def test_deciding_touches_nothing(task: Task, vm: FakeVm, images: Images, tmp_path: pathlib.Path) -> None:
    work = task.work("running", disks=[DISK])
    assert [action.kind for action in work.decide()] == ["create_disk", "define", "start", "resume"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("state", ["running", "paused", "restarted"])
def test_a_start_that_fails_leaves_the_host_as_it_was(task: Task, vm: FakeVm, images: Images, state: str) -> None:
    task.broken = True
    assert task.fails(state, memory="512M", disks=[DISK]).error_code == "qemu_failed"
    assert not os.path.exists(vm.paths.home)
    assert tree(vm) == []


def test_a_start_that_fails_brings_the_old_definition_back(task: Task, vm: FakeVm, images: Images) -> None:
    task.run("present", memory="512M", disks=[DISK])
    before = task.stored()
    task.broken = True
    changes = {"memory": "1G", "disks": [{"name": "root", "size": "2M"}, {"name": "more", "size": "1M"}]}
    assert task.fails("running", **changes).error_code == "qemu_failed"
    assert task.stored() == before
    assert os.listdir(vm.paths.disks) == ["root.qcow2"]
    assert images.info(before["files"]["root"]["path"])["virtual-size"] == 2 << 20
    task.broken = False
    assert task.run("running", **changes) == "create_disk redefine start resume"


def test_a_disk_that_cannot_be_made_takes_the_others_back(task: Task, vm: FakeVm, images: Images) -> None:
    os.makedirs(os.path.join(vm.paths.home, "second.qcow2.new"))
    error = task.fails("present", disks=[DISK, {"name": "second", "size": "1M"}])
    assert error.error_code == "command_failed"
    assert tree(vm) == []


def test_files_that_were_there_before_stay(task: Task, vm: FakeVm, images: Images) -> None:
    """A disk that was kept when the VM was removed is not taken for a part of the failed attempt."""
    task.run("present", disks=[DISK])
    task.run("absent")
    task.broken = True
    task.fails("running", disks=[DISK])
    assert "web/disks/root.qcow2" in tree(vm)
    assert not os.path.exists(vm.paths.definition)


@pytest.mark.parametrize(("purge", "left"), [(False, ["web/disks/root.qcow2", "web/output/dump"]), (True, [])])
def test_what_removing_leaves(task: Task, vm: FakeVm, images: Images, purge: bool, left: list[str]) -> None:
    mine = images.make("mine")
    task.run("running", disks=[DISK, {"name": "mine", "path": mine}])
    (pathlib.Path(vm.paths.output) / "dump").touch()
    work = task.work("absent", purge=purge)
    assert work.decide()[0].kind == "stop"
    assert work.images() == [os.path.join(vm.paths.disks, "root.qcow2")]
    work.perform()
    assert work.work.stop_steps == ["system_powerdown"]
    assert tree(vm) == left
    assert os.path.exists(mine)


@pytest.mark.parametrize(("purge", "left"), [(False, ["web/nvram/vars.raw", "web/tpm/state"]), (True, [])])
def test_what_the_guest_keeps_beside_its_disks(task: Task, vm: FakeVm, purge: bool, left: list[str]) -> None:
    task.run("running")
    for file in ("nvram/vars.raw", "tpm/state", "helper-tpm.log", "helper-tpm.log.1"):
        path = pathlib.Path(vm.paths.home, file)
        path.parent.mkdir(exist_ok=True)
        path.touch()
    work = task.work("absent", purge=purge)
    work.decide()
    assert belongings.state(vm.paths) == [vm.paths.nvram, vm.paths.tpm]
    work.perform()
    assert tree(vm) == left
    assert task.run("absent", purge=purge) == ""


class Killed(BaseException):
    """What nobody handles."""


def kill_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """End the task after it has removed something for the ``step``th time, counted from 0."""
    left = iter(range(step))

    def last(real: t.Callable[..., None]) -> t.Callable[..., None]:
        def removing(path: str, **options: t.Any) -> None:
            there = not options and os.path.lexists(path)  # with options it is a step within removing a whole folder
            real(path, **options)
            if there and next(left, None) is None:
                raise Killed

        return removing

    monkeypatch.setattr(files, "remove", last(files.remove))
    monkeypatch.setattr(os, "rmdir", last(os.rmdir))


@pytest.mark.parametrize(("purge", "kept"), [(False, ["web/disks/root.qcow2", "web/output/dump"]), (True, [])])
def test_a_removal_that_was_killed_is_finished_by_the_next(
    task: Task, vm: FakeVm, images: Images, purge: bool, kept: list[str]
) -> None:
    for step in itertools.count():
        task.run("running", memory="512M", disks=[DISK])
        task.run("stopped")
        (pathlib.Path(vm.paths.output) / "dump").touch()
        with pytest.MonkeyPatch.context() as monkeypatch:
            kill_at(monkeypatch, step)
            try:
                task.run("absent", purge=purge)
                break
            except Killed:
                pass
        task.run("absent", purge=purge)
        assert tree(vm) == kept, f"killed at step {step}"
        assert os.listdir(vm.where.vms) == (["web"] if kept else []), f"killed at step {step}"
        assert task.run("absent", purge=purge) == ""
    assert step > 3


def test_a_file_of_the_users_in_our_folder_is_not_ours(task: Task, vm: FakeVm, images: Images) -> None:
    images.folder = pathlib.Path(vm.paths.disks)
    path = images.make("mine")
    task.run("present", disks=[{"name": "mine", "path": path}])
    task.run("absent", purge=True)
    assert tree(vm) == ["web/disks/mine"]


def test_a_guest_that_does_not_stop(task: Task, vm: FakeVm) -> None:
    task.run("running", memory="512M")
    vm.obeys = set()
    work = Ensure(
        vm.where, Desired("web", "absent", {}, Patience(0.2, False, PATIENCE)), Control(vm.where, vm.paths, "", {})
    )
    work.decide()
    with pytest.raises(MaqetError) as caught:
        work.perform()
    assert caught.value.error_code == "stop_timeout"
    assert os.path.exists(vm.paths.definition)
    assert work.actual.status == "running"


@pytest.mark.parametrize("state", ["stopped", "paused", "restarted"])
def test_nothing_to_bring_into_a_state(task: Task, state: str) -> None:
    assert task.fails(state).error_code == "vm_not_found"


def test_waiting_begins_before_the_guest_goes_on(task: Task, vm: FakeVm) -> None:
    """What the guest does first is seen, since events count from the start of this QEMU."""
    vm.events = [{"seq": 1, "event": "RESUME"}, {"seq": 2, "event": "RESET"}]
    work = task.work("running", memory="512M", wait_for=[{"event": "RESET"}, "running"])
    work.decide()
    work.perform()
    assert [event["event"] for event in work.work.events] == ["RESUME", "RESET"]


def test_waiting_for_one_that_does_not_run(task: Task) -> None:
    error = task.fails("present", memory="512M", wait_for=["exit"])
    assert error.error_code == "invalid_option"
    assert not os.path.exists(task.vm.paths.definition)


def test_a_wait_that_fails_takes_nothing_back(task: Task, vm: FakeVm) -> None:
    work = Ensure(
        vm.where,
        Desired("web", "running", {"memory": 512}, Patience(1, False, 0.5), waits=wait_for(["exit"])),
        Control(vm.where, vm.paths, "", {}),
    )
    work.decide()
    with pytest.raises(MaqetError) as caught:
        work.perform()
    assert caught.value.error_code == "wait_timeout"
    assert vm.actual().status == "running"


def test_one_that_ends_right_after_its_start(task: Task, vm: FakeVm, monkeypatch: pytest.MonkeyPatch) -> None:
    def launch(*arguments: t.Any) -> dict[str, t.Any]:
        status = task._launch(*arguments)
        vm.end()
        return status

    monkeypatch.setattr(room, "launch", launch)
    error = task.fails("running", memory="512M")
    assert error.error_code == "vm_exited"
    assert not os.path.exists(vm.paths.definition), "its guest has never run, so nothing of it is kept"


def test_what_a_running_vm_was_told_is_taken_back(
    task: Task, vm: FakeVm, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the same definitions, though the new one, which has no file of a disk that went, is stored by then."""
    told: list[tuple[str, list[str]]] = []

    class Live:
        def __init__(self, *given: t.Any) -> None:
            self._files = sorted({**given[3].files, **given[4].files})

        def perform(self, change: Change) -> None:
            told.append((change.kind, self._files))

    def refused(_action: t.Any) -> None:
        raise MaqetError("no", "policy_denied")

    more = {"name": "more", "size": "1M"}
    task.run("running", disks=[DISK, more])
    before = task.stored()
    monkeypatch.setattr(room, "Live", Live)
    work = task.work("paused", disks=[DISK])
    assert [action.kind for action in work.decide()] == ["unplug_disk", "redefine", "pause"]
    monkeypatch.setattr(work, "_send", refused)
    with pytest.raises(MaqetError, match="no"):
        work.perform()
    assert told == [("unplug_disk", ["more", "root"]), ("plug_disk", ["more", "root"])]
    assert task.stored() == before
