# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which file a disk is, with images of the real qemu-img: made, found, kept, refused."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition, DiskFile
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.identity import RANGES
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.vm.disks import Resolved, resolve
from ansible_collections.maqet.qemu.plugins.module_utils.vm.making import Job, perform, undo
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import UUID
from ansible_collections.maqet.qemu.tests.unit.vm.conftest import Images

MIB = 1 << 20
Disk = dict[str, t.Any]


@pytest.fixture
def paths(tmp_path: pathlib.Path) -> VmPaths:
    return Layout(str(tmp_path / "s"), str(tmp_path / "r"), str(tmp_path / "l"), "user").vm("web")


def stored(disks: list[Disk], found: Resolved) -> Definition:
    return Definition("web", UUID, {"disks": disks}, found.files)


def made(disks: list[Disk], paths: VmPaths) -> Definition:
    """A VM that has these disks."""
    found = resolve(disks, None, paths)
    for job in found.jobs:
        perform(job, paths)
    return stored(disks, found)


def refused(option: str, disk: Disk, paths: VmPaths, before: t.Optional[Definition] = None) -> str:
    with pytest.raises(MaqetError) as caught:
        resolve([disk], before, paths)
    assert caught.value.error_code == "invalid_option"
    assert caught.value.details["option"] == option
    assert str(caught.value).startswith(f"{option}: {caught.value.details['value']!r} ")
    return str(caught.value)


@pytest.mark.parametrize("fmt", ["qcow2", "raw"])
def test_a_new_disk(images: Images, paths: VmPaths, fmt: str) -> None:
    disks = [{"name": "root", "size": 4 * MIB, "format": fmt}]
    found = resolve(disks, None, paths)
    file = DiskFile(os.path.join(paths.disks, f"root.{fmt}"), fmt, True)
    assert found == Resolved({"root": file}, [Job("create_disk", "root", file, 4 * MIB)])
    assert not os.path.exists(paths.home)
    perform(found.jobs[0], paths)
    info = images.info(file.path)
    assert (info["format"], info["virtual-size"]) == (fmt, 4 * MIB)
    assert os.listdir(paths.disks) == [f"root.{fmt}"]
    assert resolve(disks, stored(disks, found), paths) == Resolved({"root": file}, [])
    undo(found.jobs[0])
    assert os.listdir(paths.disks) == []


@pytest.mark.parametrize("base_format", ["qcow2", "raw"])
@pytest.mark.parametrize("size", [None, 8 * MIB])
def test_an_overlay(images: Images, paths: VmPaths, base_format: str, size: t.Optional[int]) -> None:
    base = images.make("base", base_format, "4M")
    disk = {"name": "root", "base": base, **({"size": size} if size else {})}
    definition = made([disk], paths)
    assert definition.files["root"].backing == base
    assert definition.files["root"].backing_driver == base_format
    info = images.info(definition.files["root"].path)
    assert info["virtual-size"] == (size or 4 * MIB)
    assert (info["backing-filename"], info["backing-filename-format"]) == (base, base_format)


@pytest.mark.parametrize(("fmt", "given"), [("qcow2", None), ("raw", None), ("qcow2", "qcow2"), ("raw", "raw")])
def test_a_file_that_exists(images: Images, paths: VmPaths, fmt: str, given: t.Optional[str]) -> None:
    path = images.make("disk", fmt)
    disk = {"name": "root", "path": path, **({"format": given} if given else {})}
    assert resolve([disk], None, paths) == Resolved({"root": DiskFile(path, fmt)}, [])


def test_a_file_that_has_a_backing_file_beside_it(images: Images, paths: VmPaths) -> None:
    base = images.make("base")
    path = images.make("disk", "qcow2", "1M", "-b", "base", "-F", "qcow2")
    assert resolve([{"name": "root", "path": path}], None, paths).files["root"].backing == base


def test_a_qcow2_file_can_be_shown_byte_by_byte(images: Images, paths: VmPaths) -> None:
    path = images.make("disk", "qcow2")
    disk = {"name": "root", "path": path, "format": "raw"}
    assert resolve([disk], None, paths).files["root"] == DiskFile(path, "raw")


@pytest.mark.parametrize(("key", "size"), [("path", None), ("base", None), ("base", 8 * MIB)])
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda images, path: None, "No such file or directory"),
        (lambda images, path: os.makedirs(path), "is a folder"),
        (lambda images, path: os.mkfifo(path), "is neither a file nor a block device"),
        (lambda images, path: os.symlink("nowhere", path), "No such file or directory"),
    ],
)
def test_what_is_no_image(
    images: Images, paths: VmPaths, key: str, size: t.Optional[int], make: t.Callable[[Images, str], t.Any], words: str
) -> None:
    images.folder.mkdir()
    path = str(images.folder / "thing")
    make(images, path)
    message = refused(f"disks[0].{key}", {"name": "root", key: path, **({"size": size} if size else {})}, paths)
    assert words in message
    assert path in message


@pytest.mark.parametrize("key", ["path", "base"])
@pytest.mark.parametrize("name", ["debian.qcow2", "debian.VMDK"])
def test_a_page_that_was_fetched_in_place_of_an_image(
    tmp_path: pathlib.Path, paths: VmPaths, key: str, name: str
) -> None:
    page = tmp_path / name
    page.write_text("<html><title>404 Not Found</title></html>", "utf-8")
    words = refused(f"disks[0].{key}", {"name": "root", key: str(page)}, paths)
    assert "is no image of the format that its name promises" in words and "Fetch it again" in words
    told = {"name": "root", "path": str(page), "format": "raw"}
    assert resolve([told], None, paths).files["root"].driver == "raw", "whoever says so means it"


def test_a_format_that_it_does_not_have(images: Images, paths: VmPaths) -> None:
    path = images.make("disk", "raw")
    message = refused("disks[0].format", {"name": "root", "path": path, "format": "qcow2"}, paths)
    assert f"is not what {path} holds, which is raw" in message


def test_an_image_that_is_cut_off(images: Images, paths: VmPaths) -> None:
    path = images.make("disk", "qcow2")
    os.truncate(path, 60)
    assert "is no image that qemu-img can read" in refused("disks[0].path", {"name": "root", "path": path}, paths)


@pytest.mark.parametrize("key", ["path", "base"])
def test_a_backing_file_whose_format_nobody_wrote_down(images: Images, paths: VmPaths, key: str) -> None:
    """qemu-img has refused to make such images since 6.1; older ones have been made."""
    images.make("base")
    path = images.make("disk", "qcow2", "1M", "-b", "base", "-F", "qcow2")
    data = bytearray(pathlib.Path(path).read_bytes())
    at = data.index(b"\xe2\x79\x2a\xca")  # the header extension that holds the format: qcow2 specification
    data[at : at + 4] = b"\xde\xad\xbe\xef"  # an extension that nobody knows is skipped
    pathlib.Path(path).write_bytes(data)
    assert "backing-filename-format" not in images.info(path)
    message = refused(f"disks[0].{key}", {"name": "root", key: path}, paths)
    assert "its header does not say in which format" in message
    assert "qemu-img rebase -u -b base" in message


def test_an_overlay_smaller_than_its_base(images: Images, paths: VmPaths) -> None:
    base = images.make("base", "qcow2", "4M")
    message = refused("disks[0].size", {"name": "root", "base": base, "size": MIB}, paths)
    assert "less than the base image's 4194304" in message


@pytest.mark.parametrize("fmt", ["qcow2", "raw"])
def test_growing(images: Images, paths: VmPaths, fmt: str) -> None:
    definition = made([{"name": "root", "size": 2 * MIB, "format": fmt}], paths)
    found = resolve([{"name": "root", "size": 4 * MIB, "format": fmt}], definition, paths)
    assert [(job.kind, job.size) for job in found.jobs] == [("grow_disk", 4 * MIB)]
    assert found.files == definition.files
    perform(found.jobs[0], paths)
    assert images.info(found.files["root"].path)["virtual-size"] == 4 * MIB
    undo(found.jobs[0])
    assert os.path.exists(found.files["root"].path)


@pytest.mark.parametrize("fmt", ["qcow2", "raw"])
def test_shrinking(images: Images, paths: VmPaths, fmt: str) -> None:
    definition = made([{"name": "root", "size": 2 * MIB, "format": fmt}], paths)
    message = refused("disks[0].size", {"name": "root", "size": MIB, "format": fmt}, paths, definition)
    assert "it would lose data" in message


@pytest.mark.parametrize(
    ("option", "disk", "words"),
    [
        ("disks[0].format", {"name": "root", "size": MIB, "format": "raw"}, "differs from the disk's, qcow2"),
        ("disks[0].base", {"name": "root", "base": "BASE", "size": MIB}, "is not the base of"),
    ],
)
def test_what_a_disk_that_exists_cannot_become(
    images: Images, paths: VmPaths, option: str, disk: Disk, words: str
) -> None:
    definition = made([{"name": "root", "size": MIB}], paths)
    disk = {key: images.make("base") if value == "BASE" else value for key, value in disk.items()}
    assert words in refused(option, disk, paths, definition)


def test_a_kept_disk_is_taken_up_again(images: Images, paths: VmPaths) -> None:
    """After state=absent without purge."""
    disk = {"name": "root", "size": MIB}
    definition = made([disk], paths)
    assert resolve([disk], None, paths) == Resolved(definition.files, [])


def test_something_else_under_the_name_of_a_disk(images: Images, paths: VmPaths) -> None:
    images.folder = pathlib.Path(paths.disks)
    images.make("root.qcow2", "raw")
    message = refused("disks[0]", {"name": "root", "size": MIB}, paths)
    assert "is not a qcow2 image but raw" in message


def test_a_file_that_is_gone(images: Images, paths: VmPaths) -> None:
    disk = {"name": "root", "path": images.make("disk")}
    definition = made([disk], paths)
    os.unlink(disk["path"])
    assert "is gone. Restore the file, or remove the disk." in refused("disks[0]", disk, paths, definition)


def poison(images: Images, path: str) -> None:
    """What a guest can do to its raw disk: write a header that has QEMU read a file of the host."""
    secret = images.folder / "secret"
    images.folder.mkdir(exist_ok=True)
    secret.write_text("the host's")
    header = pathlib.Path(images.make("header", "qcow2", "1M", "-b", str(secret), "-F", "raw")).read_bytes()
    with open(path, "r+b") as file:
        file.write(header)
    assert images.info(path)["backing-filename"] == str(secret)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"readonly": True},
        {"interface": "scsi"},
        {"name": "other"},
        {"format": "raw"},
    ],
    ids=lambda change: " ".join(change) or "nothing",
)
def test_what_a_guest_writes_is_not_believed(images: Images, paths: VmPaths, change: Disk) -> None:
    """Detected once, when the disk was defined; no later task looks again, whatever else it changes."""
    disk = {"name": "root", "path": images.make("disk", "raw", "4M")}
    definition = made([disk], paths)
    poison(images, disk["path"])
    found = resolve([{**disk, **change}], definition, paths)
    assert list(found.files.values()) == [DiskFile(disk["path"], "raw")]


@pytest.mark.parametrize("size", [4 * MIB, 8 * MIB])
def test_what_a_guest_writes_to_a_disk_of_ours_is_not_believed(images: Images, paths: VmPaths, size: int) -> None:
    disk = {"name": "root", "size": 4 * MIB, "format": "raw"}
    definition = made([disk], paths)
    poison(images, definition.files["root"].path)
    found = resolve([{**disk, "size": size, "readonly": True}], definition, paths)
    assert found.files == definition.files
    assert [job.size for job in found.jobs] == ([size] if size > 4 * MIB else [])
    for job in found.jobs:
        perform(job, paths)
    assert os.path.getsize(definition.files["root"].path) == size


def test_a_disk_that_cannot_be_made_leaves_nothing(images: Images, paths: VmPaths) -> None:
    found = resolve([{"name": "root", "size": 1 << 62}], None, paths)
    with pytest.raises(MaqetError) as caught:
        perform(found.jobs[0], paths)
    assert caught.value.error_code == "command_failed"
    assert os.listdir(paths.disks) == []


def test_names_with_colons_and_commas_are_files(images: Images, paths: VmPaths) -> None:
    """qemu-img takes a prefix before a colon for a protocol."""
    path = images.make("plain")
    odd = str(images.folder / "nbd:a,b=c")
    os.rename(path, odd)
    assert resolve([{"name": "root", "path": odd}], None, paths).files["root"] == DiskFile(odd, "qcow2")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
@pytest.mark.parametrize("key", ["path", "base", "clone"])
def test_a_link_that_another_vms_qemu_has_made(
    images: Images, paths: VmPaths, tmp_path: pathlib.Path, key: str
) -> None:
    secret, disks = images.make("secret.raw", "raw"), tmp_path / "disks"
    disks.mkdir()
    os.chown(disks, RANGES[0][0], RANGES[0][0])
    (disks / "root.raw").symlink_to(secret)
    words = refused(f"disks[0].{key}", {"name": "root", key: str(disks / "root.raw")}, paths)
    assert "the QEMU of a VM can have made that link" in words
