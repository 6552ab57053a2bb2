# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Headers of images, as qemu-img writes them and as an attacker would."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard.images import Header, Unreadable, inspect

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")


def create(path: Path, form: str, *options: str) -> Path:
    argv = ["qemu-img", "create", "-q", "-f", form, *options, str(path), "65536"]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    return path


def header(path: Path, form: str) -> Header:
    fd = os.open(path, os.O_RDONLY)
    try:
        return inspect(fd, form)
    finally:
        os.close(fd)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return create(tmp_path / "base.raw", "raw")


@pytest.mark.parametrize("form", ["qcow2", "qcow", "qed", "raw", "vdi", "vpc", "vhdx"])
def test_an_image_that_refers_to_nothing(tmp_path: Path, form: str) -> None:
    assert header(create(tmp_path / "image", form), form) == Header()


@pytest.mark.parametrize("compat", ["0.10", "1.1"])
def test_backing_file_and_its_format(tmp_path: Path, base: Path, compat: str) -> None:
    image = create(tmp_path / "image", "qcow2", "-b", str(base), "-F", "raw", "-o", f"compat={compat}")
    assert header(image, "qcow2") == Header(str(base), "raw")


@pytest.mark.parametrize("form", ["qcow", "qed"])
def test_backing_files_of_old_formats(tmp_path: Path, base: Path, form: str) -> None:
    found = header(create(tmp_path / "image", form, "-b", str(base), "-F", "raw"), form)
    assert found.backing == str(base)


def test_a_name_without_its_format(tmp_path: Path, base: Path) -> None:
    image = create(tmp_path / "image", "qcow2", "-b", str(base), "-F", "raw")
    subprocess.run(["qemu-img", "rebase", "-u", "-b", "json:{}", "-F", "", str(image)], check=False)
    subprocess.run(["qemu-img", "rebase", "-u", "-b", "/etc/shadow", "-F", "raw", str(image)], check=True)
    assert header(image, "qcow2").backing == "/etc/shadow"


def test_external_data_file(tmp_path: Path) -> None:
    data = tmp_path / "data.raw"
    image = create(tmp_path / "image", "qcow2", "-o", f"data_file={data},data_file_raw=on")
    assert header(image, "qcow2") == Header(data_file=str(data))


def test_the_name_in_a_header_is_read_as_qemu_reads_it(tmp_path: Path, base: Path) -> None:
    image = create(tmp_path / "image", "qcow2", "-b", str(base), "-F", "raw")
    raw = bytearray(image.read_bytes())
    offset, size = struct.unpack_from(">QI", raw, 8)
    evil = b"/etc/shadow".ljust(size, b"/")
    raw[offset : offset + size] = evil
    image.write_bytes(raw)
    assert header(image, "qcow2").backing == evil.decode()


def damaged(change: t.Callable[[bytearray], t.Any]) -> t.Callable[[bytearray], bytes]:
    def apply(raw: bytearray) -> bytes:
        change(raw)
        return bytes(raw)

    return apply


@pytest.mark.parametrize(
    ("form", "change"),
    [
        ("qcow2", lambda raw: b"QFI\xfb"),
        ("qcow2", lambda raw: b"not an image at all" * 100),
        ("qcow2", damaged(lambda raw: struct.pack_into(">I", raw, 4, 4))),
        ("qcow2", damaged(lambda raw: struct.pack_into(">I", raw, 4, 1))),
        ("qcow", damaged(lambda raw: None)),
        ("qcow2", damaged(lambda raw: struct.pack_into(">QI", raw, 8, 1 << 40, 10))),
        ("qcow2", damaged(lambda raw: struct.pack_into(">QI", raw, 8, 512, 5000))),
        ("qcow2", damaged(lambda raw: struct.pack_into(">Q", raw, 72, 4))),  # data elsewhere, and no name
        ("qcow2", damaged(lambda raw: struct.pack_into(">II", raw, 112, 7, 1 << 31))),
        ("vmdk", lambda raw: b"# Disk DescriptorFile\n"),
        ("luksx", lambda raw: b""),
    ],
)
def test_what_is_not_clear_is_refused(tmp_path: Path, form: str, change: t.Callable[[bytearray], bytes]) -> None:
    image = create(tmp_path / "image", "qcow2")
    image.write_bytes(change(bytearray(image.read_bytes())))
    with pytest.raises(Unreadable):
        header(image, form)
