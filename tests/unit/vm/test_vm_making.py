# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images copied, converted, grown and shrunk by the real qemu-img; what is refused, what a broken attempt leaves."""

from __future__ import annotations

import hashlib
import os
import pathlib
import re
import subprocess
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition, DiskFile
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import copying, qemu
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.vm import making, space
from ansible_collections.maqet.qemu.plugins.module_utils.vm.disks import Resolved, resolve
from ansible_collections.maqet.qemu.plugins.module_utils.vm.making import Job, forget_unfinished, perform, undo
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import UUID
from ansible_collections.maqet.qemu.tests.unit.vm.conftest import Images

MIB = 1 << 20
Disk = dict[str, t.Any]


@pytest.fixture
def paths(tmp_path: pathlib.Path) -> VmPaths:
    return Layout(str(tmp_path / "s"), str(tmp_path / "r"), str(tmp_path / "l"), "user").vm("web")


def write(path: str, fmt: str, at: str = "1M", size: str = "64k", pattern: int = 7) -> None:
    """What a guest would: bytes that are not zero."""
    subprocess.run(
        ["qemu-io", "-f", fmt, "-c", f"write -P {pattern} {at} {size}", path], check=True, capture_output=True
    )


def filled(images: Images, fmt: str = "qcow2", *more: str, name: str = "source", size: str = "4M") -> str:
    path = images.make(name, fmt, size, *more)
    write(path, fmt)
    return path


def clone(path: str, **more: t.Any) -> Disk:
    return {"name": "root", "clone": path, **more}


def carried_out(disk: Disk, paths: VmPaths) -> DiskFile:
    found = resolve([disk], None, paths)
    assert [job.kind for job in found.jobs] == ["clone_disk"]
    perform(found.jobs[0], paths)
    assert os.listdir(paths.disks) == [os.path.basename(found.files["root"].path)]
    assert sorted(os.listdir(paths.home)) == ["disks", "disks.log"]
    return found.files["root"]


def same(one: str, other: str) -> bool:
    return subprocess.run(["qemu-img", "compare", "-q", one, other], check=False).returncode == 0


def digest(path: str) -> str:
    return f"sha256:{hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()}"


@pytest.mark.parametrize("target", ["qcow2", "raw"])
@pytest.mark.parametrize("fmt", ["qcow2", "raw", "vmdk", "vdi", "vhdx", "vpc", "qed", "parallels"])
@pytest.mark.parametrize("mode", [0o600, 0o666], ids=["ours", "anybody's"])
def test_a_clone_of_any_format(images: Images, paths: VmPaths, fmt: str, target: str, mode: int) -> None:
    path = filled(images, fmt)
    os.chmod(path, mode)
    before = digest(path)
    file = carried_out(clone(path, format=target, checksum=before), paths)
    assert file == DiskFile(os.path.join(paths.disks, f"root.{target}"), target, True)
    assert images.info(file.path)["format"] == target
    if fmt != "vpc":  # its sizes are those of cylinders
        assert same(path, file.path)
    assert images.info(file.path)["virtual-size"] == images.info(path)["virtual-size"]
    assert digest(path) == before


def test_a_clone_of_an_overlay_holds_all_of_it(images: Images, paths: VmPaths) -> None:
    base = filled(images, "raw", name="base")
    top = images.make("top", "qcow2", "8M", "-b", base, "-F", "raw")
    write(top, "qcow2", "6M")
    file = carried_out(clone(top), paths)
    assert same(top, file.path) and file.backing is None
    assert "backing-filename" not in images.info(file.path)


@pytest.mark.parametrize(("fmt", "target"), [("qcow2", "qcow2"), ("raw", "raw"), ("vmdk", "qcow2")])
def test_a_clone_can_be_larger_than_its_source_and_not_smaller(
    images: Images, paths: VmPaths, fmt: str, target: str
) -> None:
    path = filled(images, fmt)
    with pytest.raises(MaqetError, match=r"disks\[0\]\.size: 2097152 bytes are less than the 4194304 of "):
        resolve([clone(path, format=target, size=2 * MIB)], None, paths)
    file = carried_out(clone(path, format=target, size=16 * MIB), paths)
    assert images.info(file.path)["virtual-size"] == 16 * MIB


def test_holes_stay_holes(images: Images, paths: VmPaths) -> None:
    path = filled(images, "raw", size="512M")
    for target in ("raw", "qcow2"):
        file = carried_out({**clone(path, format=target)}, paths)
        assert os.stat(file.path).st_blocks * 512 < 2 * MIB
        assert same(path, file.path)
        undo(Job("clone_disk", "root", file, None))


def test_a_second_run_needs_no_source(images: Images, paths: VmPaths) -> None:
    path = filled(images, "vmdk")
    disk = clone(path)
    file = carried_out(disk, paths)
    os.unlink(path)
    stored = Definition("web", UUID, {"disks": [disk]}, {"root": file})
    assert resolve([disk], stored, paths) == Resolved({"root": file}, [])
    assert resolve([{**disk, "cache": "none"}], stored, paths) == Resolved({"root": file}, [])
    assert resolve([disk], None, paths) == Resolved({"root": file}, [])
    with pytest.raises(
        MaqetError, match=r"disks\[0\]\.clone: '/another' is not what .* was made of\. Use another disk"
    ):
        resolve([{**disk, "clone": "/another"}], stored, paths)


@pytest.mark.parametrize("mode", [0o600, 0o666], ids=["ours", "anybody's"])
@pytest.mark.parametrize(("fmt", "target"), [("qcow2", "qcow2"), ("vmdk", "qcow2"), ("raw", "qcow2")])
def test_a_wrong_checksum_leaves_nothing(images: Images, paths: VmPaths, fmt: str, target: str, mode: int) -> None:
    path = filled(images, fmt)
    os.chmod(path, mode)
    wrong = f"sha256:{'0' * 64}"
    found = resolve([clone(path, format=target, checksum=wrong)], None, paths)
    with pytest.raises(MaqetError) as caught:
        perform(found.jobs[0], paths)
    assert caught.value.error_code == "invalid_option"
    assert wrong in str(caught.value) and digest(path) in str(caught.value)
    assert os.listdir(paths.disks) == [] and sorted(os.listdir(paths.home)) == ["disks", "disks.log"]
    assert "failed: disks: root: clone" in pathlib.Path(paths.disks_log).read_text()


def refused(disk: Disk, paths: VmPaths, option: str = "disks[0].clone") -> str:
    with pytest.raises(MaqetError) as caught:
        resolve([disk], None, paths)
    assert caught.value.error_code == "invalid_option" and caught.value.details["option"] == option
    assert not os.path.exists(paths.home)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["backing", "data file", "extent"])
def test_parts_that_others_can_choose(images: Images, paths: VmPaths, kind: str) -> None:
    """The copy of such an image would bring any file of the host into the guest; of ours alone it is believed."""
    part = images.make("part", "raw", "4M")
    write(part, "raw")
    if kind == "backing":
        path = images.make("top", "qcow2", "4M", "-b", part, "-F", "raw")
    elif kind == "data file":
        path = images.make("top", "qcow2", "4M", "-o", f"data_file={images.folder / 'data'},data_file_raw=on")
        write(path, "qcow2")
    else:
        path = filled(images, "vmdk", "-o", "subformat=monolithicFlat", name="top.vmdk")
    os.chmod(path, 0o646)  # noqa: S103  # what is tested
    assert "others can change which file that is. Make it one file first: qemu-img" in refused(clone(path), paths)
    os.chmod(path, 0o644)
    assert same(path, carried_out(clone(path), paths).path)


@pytest.mark.parametrize("kind", ["backing", "extent"])
def test_an_image_that_is_changed_after_the_look(
    images: Images, paths: VmPaths, kind: str, tmp_path: pathlib.Path
) -> None:
    """What is used is a copy that nobody else can write, and it is looked at again."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"the host's".ljust(MIB, b"!"))
    fmt = "qcow2" if kind == "backing" else "vmdk"
    path = filled(images, fmt)
    os.chmod(path, 0o666)  # noqa: S103  # what is tested
    found = resolve([clone(path, format="raw")], None, paths)
    if kind == "backing":
        other = images.make("other", "qcow2", "1M", "-b", str(secret), "-F", "raw")
        pathlib.Path(path).write_bytes(pathlib.Path(other).read_bytes())
    else:
        extent = f'RW 2048 FLAT "{secret}" 0'
        pathlib.Path(path).write_text(
            f'# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\n{extent}\n'
        )
    with pytest.raises(MaqetError) as caught:
        perform(found.jobs[0], paths)
    assert caught.value.error_code == "invalid_option" and "others can change it" in str(caught.value)
    assert os.listdir(paths.disks) == [] and sorted(os.listdir(paths.home)) == ["disks", "disks.log"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "No such file or directory"),
        (os.makedirs, "is a folder"),
        (os.mkfifo, "is neither a file nor a block device"),
    ],
)
def test_what_cannot_be_cloned(images: Images, paths: VmPaths, make: t.Callable[[str], t.Any], words: str) -> None:
    images.folder.mkdir()
    path = str(images.folder / "source")
    make(path)
    assert words in refused(clone(path), paths)


def test_a_source_is_of_the_format_that_was_said(images: Images, paths: VmPaths) -> None:
    path = filled(images, "qcow2")
    assert "is no image that qemu-img can read" in refused(clone(path, clone_format="vdi"), paths)
    file = carried_out(clone(path, clone_format="raw", format="raw"), paths)
    assert pathlib.Path(file.path).read_bytes()[:4] == b"QFI\xfb"


def test_a_source_that_some_qemu_writes(images: Images, paths: VmPaths) -> None:
    """Also one that is not ours. Of a raw image QEMU's locks do not say that it is read while it is written."""
    fmt = "qcow2"
    path = filled(images, fmt)
    pipe = subprocess.PIPE
    with subprocess.Popen(["qemu-io", "-f", fmt, path], stdin=pipe, stdout=pipe) as writer:
        assert writer.stdin is not None and writer.stdout is not None
        assert writer.stdout.read(7) == b"qemu-io"  # its prompt: the image is open
        message = refused(clone(path, format=fmt), paths)
        assert "cannot be copied now: " in message and "lock" in message
        writer.stdin.close()
    carried_out(clone(path, format=fmt), paths)


def test_no_room(images: Images, paths: VmPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is written, in check mode too."""
    path = filled(images, "vmdk")
    huge = {"name": "root", "size": 1 << 50, "format": "raw", "preallocation": "falloc"}
    message = refused(huge, paths, "disks")
    assert re.search(
        r"1125899906842624 bytes \(1024\.0 TiB\) are needed in /\S+, where [0-9.]+ [KMGT]iB are free", message
    )
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result((4096, 4096, 9, 9, 9, 9, 9, 9, 0, 255)))
    assert "(36.0 KiB)" not in refused(clone(path), paths, "disks")
    assert resolve([{"name": "root", "size": 1 << 40}], None, paths).jobs  # sparse: nothing is taken yet


def test_no_room_for_a_copy(images: Images, paths: VmPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    path = filled(images, "raw")
    found = resolve([clone(path, format="raw")], None, paths)
    monkeypatch.setattr(copying, "reflink", lambda _source, _target: False)
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result((4096, 4096, 9, 9, 1, 9, 9, 9, 0, 255)))
    with pytest.raises(MaqetError, match=r"bytes \([0-9]{2}\.0 KiB\) are needed in .*, where 4\.0 KiB are free"):
        perform(found.jobs[0], paths)
    assert os.listdir(paths.disks) == []


@pytest.mark.parametrize("fmt", ["qcow2", "raw"])
@pytest.mark.parametrize("preallocation", ["off", "metadata", "falloc", "full"])
@pytest.mark.parametrize("source", [False, True], ids=["new", "clone"])
def test_preallocation(images: Images, paths: VmPaths, fmt: str, preallocation: str, source: bool) -> None:
    if (fmt, preallocation) == ("raw", "metadata"):
        return
    disk: Disk = {"name": "root", "size": 4 * MIB, "format": fmt, "preallocation": preallocation}
    if source:
        disk["clone"] = filled(images, "qcow2")
    found = resolve([disk], None, paths)
    perform(found.jobs[0], paths)
    taken = os.stat(found.files["root"].path).st_blocks * 512
    assert (taken >= 4 * MIB) == (preallocation in ("falloc", "full"))
    stored = Definition("web", UUID, {"disks": [disk]}, found.files)
    grown = resolve([{**disk, "size": 16 * MIB}], stored, paths)
    perform(grown.jobs[0], paths)
    taken = os.stat(found.files["root"].path).st_blocks * 512
    assert (taken >= 16 * MIB) == (preallocation in ("falloc", "full"))
    assert images.info(found.files["root"].path)["virtual-size"] == 16 * MIB


@pytest.mark.parametrize("fmt", ["qcow2", "raw"])
def test_shrinking_with_consent(images: Images, paths: VmPaths, fmt: str) -> None:
    disk = {"name": "root", "size": 8 * MIB, "format": fmt}
    found = resolve([disk], None, paths)
    perform(found.jobs[0], paths)
    path = found.files["root"].path
    write(path, fmt, "1M")
    write(path, fmt, "6M")
    stored = Definition("web", UUID, {"disks": [disk]}, found.files)
    smaller = {**disk, "size": 4 * MIB}
    with pytest.raises(MaqetError, match=r"it would lose data\. Give a larger size, or consent to it by force"):
        resolve([smaller], stored, paths)
    (job,) = resolve([smaller], stored, paths, shrink=True).jobs
    assert job.kind == "shrink_disk"
    perform(job, paths)
    assert images.info(path)["virtual-size"] == 4 * MIB
    done = subprocess.run(["qemu-io", "-f", fmt, "-c", "read -P 7 1M 64k", path], check=True, capture_output=True)
    assert b"failed" not in done.stdout
    undo(job)
    assert os.path.exists(path)


def test_progress_can_be_watched(images: Images, paths: VmPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    path = filled(images, "vmdk", size="64M")
    carried_out(clone(path, checksum=digest(path)), paths)
    lines = pathlib.Path(paths.disks_log).read_text().splitlines()
    assert os.stat(paths.disks_log).st_mode & 0o777 == 0o600
    assert all(
        re.fullmatch(rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ root: {path} -> \S+root.qcow2: .+", one) for one in lines
    )
    words = [line.partition("root.qcow2: ")[2] for line in lines]
    assert words[0] == "begins" and words[-1] == "done"
    assert "verified: 100 %" in words and "converted: 100 %" in words


def test_what_a_killed_task_left_is_forgotten(paths: VmPaths) -> None:
    os.makedirs(paths.disks)
    kept = [os.path.join(paths.disks, "root.qcow2"), os.path.join(paths.home, "definition.json")]
    gone = [
        os.path.join(folder, name) for folder in (paths.home, paths.disks) for name in ("a.raw.new", "b.source.new")
    ]
    for path in [*kept, *gone]:
        pathlib.Path(path).touch()
    shop = pathlib.Path(paths.disks) / "making.new"
    shop.mkdir()
    (shop / "root.qcow2.new").touch()
    forget_unfinished(paths)
    assert not shop.exists()
    assert [os.path.exists(path) for path in [*kept, *gone]] == [True] * 2 + [False] * 4


def test_an_image_that_is_written_while_it_is_copied(
    images: Images, paths: VmPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its VM was started after we had looked: what we have is of no moment at all."""
    path = filled(images)
    (job,) = resolve([clone(path)], None, paths).jobs
    copied = copying.copy

    def copy(source: int, target: int, heard: copying.Heard) -> None:
        copied(source, target, heard)
        write(path, "qcow2", pattern=8)

    monkeypatch.setattr(copying, "reflink", lambda _source, _target: False)
    monkeypatch.setattr(copying, "copy", copy)
    with pytest.raises(MaqetError, match="written while it was copied"):
        perform(job, paths)
    assert os.listdir(paths.disks) == [] and sorted(os.listdir(paths.home)) == ["disks", "disks.log"]


@pytest.mark.parametrize("disk", [{"name": "root", "size": MIB}, {"name": "root", "clone": "", "size": 8 * MIB}])
def test_disks_on_a_mount_of_their_own(
    images: Images, paths: VmPaths, monkeypatch: pytest.MonkeyPatch, disk: Disk
) -> None:
    """A file cannot be renamed from one file system into another."""
    wanted = {**disk, "clone": filled(images, "raw")} if "clone" in disk else disk
    found = resolve([wanted], None, paths)
    monkeypatch.setattr(making, "_apart", lambda _paths: True)
    perform(found.jobs[0], paths)
    assert os.listdir(paths.disks) == ["root.qcow2"]
    assert images.info(f"{paths.disks}/root.qcow2")["virtual-size"] == disk["size"]
    assert os.stat(paths.home).st_dev == os.stat(paths.disks).st_dev  # else this would be the real thing


def test_a_qemu_that_runs_leads_nobody_out_of_a_mount_of_its_disks(
    images: Images, paths: VmPaths, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is its own: it can rename what is in it, and put links in the place."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "root.qcow2.new").write_bytes(b"root's")
    create = qemu.create_image

    def hostile(path: str, *rest: t.Any) -> None:
        disks = pathlib.Path(paths.disks)
        for entry in disks.iterdir():
            entry.rename(disks / "moved")
            entry.symlink_to(victim)
        (disks / "root.qcow2.new").symlink_to(victim / "root.qcow2.new")
        create(path, *rest)

    found = resolve([{"name": "root", "size": MIB}], None, paths)
    monkeypatch.setattr(making, "_apart", lambda _paths: True)
    monkeypatch.setattr(qemu, "create_image", hostile)
    perform(found.jobs[0], paths)
    assert [path.read_bytes() for path in victim.iterdir()] == [b"root's"]
    assert images.info(f"{paths.disks}/root.qcow2")["virtual-size"] == MIB


def test_sizes_in_words() -> None:
    with pytest.raises(MaqetError, match=r"disks: 9223372036854775808 bytes \(8388608\.0 TiB\) are needed in /"):
        space.check_one("disks", 1 << 63, "/no/such/folder")
    space.check_one("disks", 1, "/no/such/folder")
