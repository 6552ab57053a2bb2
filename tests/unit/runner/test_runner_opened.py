# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that QEMU gets open: with the access that it needs, named as it is told, and closed with the start."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render import FdSet
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_disks import Source
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.chain import Link
from ansible_collections.maqet.qemu.plugins.module_utils.host.identity import RANGES
from ansible_collections.maqet.qemu.plugins.module_utils.runner.opened import Opened


def access(fd: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE


@pytest.fixture
def image(tmp_path: pathlib.Path) -> str:
    path = tmp_path / "image"
    path.write_bytes(b"content")
    path.chmod(0o600)
    return str(path)


def test_numbers_and_access(image: str, tmp_path: pathlib.Path) -> None:
    before = os.listdir("/proc/self/fd")
    os.symlink(image, tmp_path / "link")
    with contextlib.ExitStack() as stack:
        opened = Opened(stack)
        assert opened.log(str(tmp_path / "log")) == "/dev/fdset/1"
        assert opened.disk("root", str(tmp_path / "link"), "raw", False) == Source("/dev/fdset/2", "raw")
        assert opened.disk("cd", image, "qcow2", True) == Source("/dev/fdset/3", "qcow2")
        assert opened.base("root", Link(image, "raw")) == Source("/dev/fdset/4", "raw")
        assert opened.seed(image) == Source("/dev/fdset/5", "raw")
        assert [one.number for one in opened.sets] == [1, 2, 2, 3, 4, 5]
        names = ["serial", "disk-root", "disk-root", "disk-cd", "base-root", "seed"]
        assert [one.opaque for one in opened.sets] == names
        modes = [access(one.fd) for one in opened.sets]
        assert modes == [os.O_WRONLY, os.O_RDWR, os.O_RDONLY, os.O_RDONLY, os.O_RDONLY, os.O_RDONLY]
        assert fcntl.fcntl(opened.sets[0].fd, fcntl.F_GETFL) & os.O_APPEND
        assert opened.inherited == [one.fd for one in opened.sets]
        assert isinstance(opened.sets[0], FdSet)
    assert os.listdir("/proc/self/fd") == before


def test_a_kernel_that_everybody_may_read(image: str) -> None:
    os.chmod(image, 0o644)
    with contextlib.ExitStack() as stack:
        opened = Opened(stack)
        name = opened.readable("kernel", image)
        assert name == f"/proc/self/fd/{opened.inherited[0]}"
        assert os.path.samefile(name, image)


def test_a_kernel_that_is_roots_alone(image: str) -> None:
    """A copy that another user can open by its number, and nobody can change."""
    before = os.listdir("/proc/self/fd")
    with contextlib.ExitStack() as stack:
        opened = Opened(stack)
        name = opened.readable("kernel", image)
        assert not os.path.samefile(name, image)
        assert pathlib.Path(name).read_bytes() == b"content"
        assert os.stat(name).st_mode & 0o004
        with pytest.raises(PermissionError):
            os.write(opened.inherited[0], b"x")
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("kind", ["gone", "folder", "pipe"])
def test_what_cannot_be_opened(tmp_path: pathlib.Path, kind: str) -> None:
    before = os.listdir("/proc/self/fd")
    path = tmp_path / "x"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    with contextlib.ExitStack() as stack, pytest.raises(MaqetError) as caught:
        Opened(stack).disk("root", str(path), "raw", True)
    assert (caught.value.error_code, caught.value.details["option"]) == ("invalid_option", "disks: root")
    assert str(path) in str(caught.value)
    assert os.listdir("/proc/self/fd") == before


def test_a_secret_is_in_memory_alone() -> None:
    before = os.listdir("/proc/self/fd")
    with contextlib.ExitStack() as stack:
        opened = Opened(stack)
        name = opened.secret("vnc", "hüsh")
        assert name == f"/proc/self/fd/{opened.inherited[0]}"
        assert pathlib.Path(name).read_text("utf-8") == "hüsh"
        assert os.readlink(name).startswith("/memfd:maqet-vnc"), "on no disk"
        with pytest.raises(PermissionError):
            os.write(opened.inherited[0], b"x")
    assert os.listdir("/proc/self/fd") == before


def test_a_node_of_a_device(image: str) -> None:
    with contextlib.ExitStack() as stack:
        opened = Opened(stack)
        assert opened.node("host_devices[0].usb", image) == "/dev/fdset/1"
        assert access(opened.sets[0].fd) == os.O_RDWR
        with pytest.raises(MaqetError, match=r"^host_devices\[0\]\.usb: .* cannot be opened: No such file"):
            opened.node("host_devices[0].usb", image + "x")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_a_link_that_a_vms_qemu_has_made_is_not_followed(image: str, tmp_path: pathlib.Path) -> None:
    """Two VMs may have an image one after another, or one below the other's: it lies in the folder of one of them."""
    disks = tmp_path / "disks"
    disks.mkdir()
    os.chown(disks, RANGES[0][0], RANGES[0][0])
    (disks / "root.raw").symlink_to(image)
    with contextlib.ExitStack() as stack:
        opened = Opened(stack)
        for readonly in (True, False):
            with pytest.raises(MaqetError, match="can have made that link"):
                opened.disk("root", str(disks / "root.raw"), "raw", readonly)
        with pytest.raises(MaqetError, match="can have made that link"):
            opened.base("root", Link(str(disks / "root.raw"), "raw"))
        assert opened.inherited == []
