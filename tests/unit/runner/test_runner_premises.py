# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is made to belong to QEMU's user: its folders and images, and nothing to which a link in them leads."""

from __future__ import annotations

import os
import pathlib
import stat
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition, DiskFile
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.identity import RANGES
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.runner import premises
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import UUID

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


class Vm:
    """A VM from before: all of it is root's, and closed."""

    def __init__(self, folder: pathlib.Path, scope: str = "system") -> None:
        self.where = Layout(str(folder / "s"), str(folder / "r"), str(folder / "l"), scope)
        self.paths = self.where.vm("web")
        os.makedirs(self.paths.disks, mode=0o700)
        self.image = os.path.join(self.paths.disks, "root.qcow2")
        pathlib.Path(self.image).write_text("image", "utf-8")
        self.foreign = str(folder / "foreign")
        pathlib.Path(self.foreign).write_text("secret", "utf-8")
        os.chmod(self.foreign, 0o644)

    def prepare(self, *files: DiskFile) -> t.Optional[int]:
        named = {f"disk{index}": file for index, file in enumerate(files or [DiskFile(self.image, "qcow2", True)])}
        return premises.prepare(self.where, Definition("web", UUID, {}, named))

    def refuses(self, words: str) -> None:
        """It is an error, and the file outside stays what it was."""
        with pytest.raises(MaqetError, match=words) as caught:
            self.prepare()
        assert (caught.value.error_code, caught.value.details["path"][-10:]) == ("state_unsafe", "root.qcow2")
        assert modes(self.foreign) == (0, 0, 0o644)


def modes(path: str) -> tuple[int, int, int]:
    status = os.lstat(path)
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)


@pytest.fixture
def vm(tmp_path: pathlib.Path) -> Vm:
    return Vm(tmp_path)


def test_a_vm_from_before_is_brought_over(vm: Vm) -> None:
    for _time in range(2):
        uid = vm.prepare()
        assert uid
        assert modes(vm.paths.home) == (0, uid, 0o710)
        assert modes(vm.paths.disks) == modes(vm.paths.output) == (uid, uid, 0o700)
        assert modes(vm.image) == (uid, uid, 0o600)
        assert modes(vm.where.vms)[2] & modes(vm.where.state)[2] & 0o111 == 0o111


def test_a_plain_users_vm_stays_as_it_is(tmp_path: pathlib.Path) -> None:
    vm = Vm(tmp_path, "user")
    before = modes(vm.paths.home), modes(vm.paths.disks), modes(vm.image)
    assert vm.prepare() is None
    assert (modes(vm.paths.home), modes(vm.paths.disks), modes(vm.image)) == before
    assert modes(vm.paths.output) == (0, 0, 0o700)


def test_somebody_elses_image_stays_as_it_is(vm: Vm) -> None:
    vm.prepare(DiskFile(vm.foreign, "raw"), DiskFile(vm.foreign, "raw", owned=True))
    assert modes(vm.foreign) == (0, 0, 0o644)


def test_a_link_in_the_place_of_an_image(vm: Vm) -> None:
    os.unlink(vm.image)
    os.symlink(vm.foreign, vm.image)
    vm.refuses("is a link")


def test_another_name_of_a_file(vm: Vm) -> None:
    os.unlink(vm.image)
    os.link(vm.foreign, vm.image)
    vm.refuses("or a file that has other names too")


@pytest.mark.parametrize("kind", ["folder", "pipe", "gone", "somebody's"])
def test_what_is_no_image(vm: Vm, kind: str) -> None:
    os.unlink(vm.image)
    if kind == "folder":
        os.mkdir(vm.image)
    elif kind == "pipe":
        os.mkfifo(vm.image)
    elif kind == "somebody's":
        pathlib.Path(vm.image).touch()
        os.chown(vm.image, 1000, 1000)
    vm.refuses("belongs to uid 1000|is a link|cannot be opened")


@pytest.mark.parametrize("folder", ["disks", "output"])
def test_a_link_in_the_place_of_a_folder(vm: Vm, tmp_path: pathlib.Path, folder: str) -> None:
    target = tmp_path / "target"
    (target / "root.qcow2").mkdir(parents=True)
    place = os.path.join(vm.paths.home, folder)
    if folder == "disks":
        os.unlink(vm.image)
        os.rmdir(place)
    os.symlink(target, place)
    with pytest.raises(MaqetError, match="cannot be opened as a folder"):
        vm.prepare()
    assert modes(str(target))[:2] == (0, 0)


def test_the_folder_of_the_display(vm: Vm) -> None:
    premises.display(vm.paths, 2_100_000_001)
    assert modes(os.path.dirname(vm.paths.vnc_socket)) == (2_100_000_001, 2_100_000_001, 0o700)


def test_a_folder_that_is_all_qemus_changes_hands_as_a_whole(vm: Vm) -> None:
    """A VM that was removed without purge, and defined anew, has another number."""
    first, second = RANGES[0][:2]
    kept = pathlib.Path(vm.paths.tpm, "tpm2-00.permall")
    for uid in (first, first, second):
        premises.own_folder(vm.paths, vm.paths.tpm, uid)
        kept.touch()
        os.chown(kept, first, first)
    premises.own_folder(vm.paths, vm.paths.tpm, second)
    assert modes(str(kept)) == (second, second, 0o600) and modes(vm.paths.tpm) == (second, second, 0o700)
    pathlib.Path(vm.paths.tpm, "link").symlink_to(vm.foreign)
    with pytest.raises(MaqetError, match="is a link"):
        premises.own_folder(vm.paths, vm.paths.tpm, second)
    assert modes(vm.foreign) == (0, 0, 0o644)
