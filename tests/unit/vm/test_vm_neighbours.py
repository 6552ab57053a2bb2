# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What other VMs have to do with a file: who uses it, who runs, what that forbids."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition, DiskFile
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import files
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.vm import making, neighbours
from ansible_collections.maqet.qemu.plugins.module_utils.vm.disks import resolve
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import UUID
from ansible_collections.maqet.qemu.tests.unit.vm.conftest import Images

Disk = dict[str, t.Any]


class Host:
    """VMs with one disk each; those that run have their log locked, as their QEMU would."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.where = Layout(str(folder / "s"), str(folder / "r"), str(folder / "l"), "user")
        self.stack = contextlib.ExitStack()

    def vm(self, name: str, file: DiskFile, runs: bool = False, **disk: t.Any) -> VmPaths:
        paths = self.where.vm(name)
        os.makedirs(paths.home, exist_ok=True)
        intent = {"disks": [{"name": "root", "path": file.path, **disk}]}
        files.write_json(paths.definition, Definition(name, UUID, intent, {"root": file}).to_json())
        if runs:
            log = self.stack.enter_context(open(paths.qemu_log, "wb"))
            fcntl.flock(log, fcntl.LOCK_EX)
        return paths


@pytest.fixture
def host(tmp_path: pathlib.Path) -> t.Iterator[Host]:
    found = Host(tmp_path)
    with found.stack:
        yield found


def blamed(function: t.Callable[..., t.Any], *arguments: t.Any) -> str:
    with pytest.raises(MaqetError) as caught:
        function(*arguments)
    assert caught.value.error_code == "invalid_option"
    return str(caught.value)


@pytest.mark.parametrize(
    ("runs", "theirs", "ours", "words"),
    [
        (True, {}, {}, "is in use: VM other runs and writes it. Stop other first, or use a copy (clone)"),
        (True, {}, {"readonly": True}, "VM other runs and writes it"),
        (True, {"readonly": True}, {}, "VM other runs and reads it"),
        (True, {"readonly": True}, {"readonly": True}, None),
        (True, {"type": "cdrom"}, {"type": "cdrom"}, None),
        (False, {}, {}, None),
    ],
)
@pytest.mark.parametrize("link", [False, True], ids=["path", "link"])
def test_a_start(
    host: Host, tmp_path: pathlib.Path, runs: bool, theirs: Disk, ours: Disk, words: t.Optional[str], link: bool
) -> None:
    path = tmp_path / "image"
    path.touch()
    host.vm("other", DiskFile(str(path), "raw"), runs, **theirs)
    other = tmp_path / "link"
    other.symlink_to(path)
    mine = str(other if link else path)
    paths = host.vm("web", DiskFile(mine, "raw"), False, **ours)
    definition = Definition.from_json(files.read_json(paths.definition))
    if words is None:
        neighbours.check_start(definition, paths)
    else:
        assert words in blamed(neighbours.check_start, definition, paths)
        assert f"disks[0]: {mine!r} " in blamed(neighbours.check_start, definition, paths)


def test_a_base_that_somebody_writes(host: Host, tmp_path: pathlib.Path) -> None:
    base, top = tmp_path / "base", tmp_path / "top"
    for path in (base, top):
        path.touch()
    host.vm("other", DiskFile(str(base), "raw"), True)
    paths = host.vm("web", DiskFile(str(top), "qcow2", True, str(base), "raw"))
    definition = Definition.from_json(files.read_json(paths.definition))
    assert "disks[0].base" in blamed(neighbours.check_start, definition, paths)


@pytest.mark.parametrize("runs", [False, True])
def test_the_base_of_another_vm_is_not_written(host: Host, tmp_path: pathlib.Path, runs: bool) -> None:
    """An overlay is spoiled by that whether its VM runs or not; reading it is nobody's harm."""
    base, top = tmp_path / "base", tmp_path / "top"
    for path in (base, top):
        path.touch()
    host.vm("other", DiskFile(str(top), "qcow2", True, str(base), "raw"), runs)
    paths = host.vm("web", DiskFile(str(base), "raw"))
    definition = Definition.from_json(files.read_json(paths.definition))
    message = blamed(neighbours.check_start, definition, paths)
    assert message.startswith(f"disks[0]: {str(base)!r} is the base of a disk of VM other, ")
    paths = host.vm("web", DiskFile(str(base), "raw"), readonly=True)
    neighbours.check_start(Definition.from_json(files.read_json(paths.definition)), paths)


def test_ourselves_and_what_cannot_be_read_do_not_count(host: Host, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "image"
    path.touch()
    paths = host.vm("web", DiskFile(str(path), "raw"), True)
    broken = host.where.vm("broken")
    os.makedirs(broken.home)
    pathlib.Path(broken.definition).write_text("{", "utf-8")
    assert neighbours.uses(str(path), paths) == []
    assert neighbours.uses(str(tmp_path / "gone"), paths) == []
    assert [use.vm for use in neighbours.uses(str(path), broken)] == ["web"]


@pytest.mark.parametrize("below", [False, True])
def test_what_others_need_is_not_purged(host: Host, tmp_path: pathlib.Path, below: bool) -> None:
    path, top = tmp_path / "image", tmp_path / "top"
    for one in (path, top):
        one.touch()
    file = DiskFile(str(top), "qcow2", True, str(path), "raw") if below else DiskFile(str(path), "raw")
    host.vm("other", file)
    message = blamed(neighbours.check_unneeded, [str(path)], host.where.vm("web"))
    assert message.startswith("purge: True would delete a disk of VM other, which has ")
    neighbours.check_unneeded([str(tmp_path / "another")], host.where.vm("web"))


@pytest.mark.parametrize("key", ["clone", "path", "base"])
def test_what_a_guest_of_another_vm_writes_is_not_believed(host: Host, images: Images, key: str) -> None:
    """A qcow2 header in a raw disk, which names a file of the host."""
    secret = images.make("secret", "raw")
    path = images.make("disk", "qcow2", "1M", "-b", secret, "-F", "raw")
    host.vm("other", DiskFile(path, "raw", True))
    disk = {"name": "root", key: path}
    found = resolve([disk], None, host.where.vm("web"))
    if key == "path":
        assert found.files["root"] == DiskFile(path, "raw")
    elif key == "base":
        assert found.files["root"].backing_driver == "raw"
    else:
        source = found.jobs[0].source
        assert source is not None and (source.driver, source.alone) == ("raw", True)


def test_a_disk_in_use_is_not_cloned(host: Host, images: Images) -> None:
    path = images.make("disk")
    host.vm("other", DiskFile(path, "qcow2"), True)
    with pytest.raises(MaqetError, match=r"disks\[0\]\.clone: .* is in use: VM other runs and writes it"):
        resolve([{"name": "root", "clone": path}], None, host.where.vm("web"))


@pytest.mark.parametrize("changed", [None, "before", "after"])
def test_an_overlay_of_another_vm_is_cloned_as_that_vm_is_defined(
    host: Host, images: Images, changed: t.Optional[str]
) -> None:
    """Its header is its QEMU's to write: what is below it is what the definition says, or nothing is copied."""
    secret, base = images.make("secret", "raw"), images.make("base", "raw")
    for path, letter in ((secret, b"s"), (base, b"b")):
        pathlib.Path(path).write_bytes(letter * (1 << 20))
    top = images.make("top", "qcow2", "1M", "-b", base, "-F", "raw")
    os.chmod(top, 0o666)  # noqa: S103  # it is not ours alone
    host.vm("other", DiskFile(top, "qcow2", True, base, "raw"))
    paths, disk = host.where.vm("web"), {"name": "root", "clone": top, "format": "raw"}
    if changed == "before":
        images.make("top", "qcow2", "1M", "-b", secret, "-F", "raw")
        assert "others can change which file that is" in blamed(resolve, [disk], None, paths)
        return
    found = resolve([disk], None, paths)
    if changed == "after":
        images.make("top", "qcow2", "1M", "-b", secret, "-F", "raw")
    os.makedirs(paths.home)
    making.perform(found.jobs[0], paths)
    assert pathlib.Path(found.files["root"].path).read_bytes() == b"b" * (1 << 20)
