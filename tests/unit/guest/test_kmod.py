# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which modules are taken, in which order, and out of which compression."""

from __future__ import annotations

import lzma
import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.tests.guest.maqet_guest import kmod
from ansible_collections.maqet.qemu.tests.guest.maqet_guest.errors import GuestError


def module(name: str, *depends: str) -> bytes:
    """As much of a module as the builder looks at."""
    return b"\x7fELF\0description=depends=nothing\0depends=%s\0name=%s\0" % (",".join(depends).encode(), name.encode())


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    files = {
        "kernel/drivers/scsi/sd_mod.ko": module("sd_mod", "scsi_mod", "t10-pi"),
        "kernel/drivers/scsi/scsi_mod.ko.xz": lzma.compress(module("scsi_mod")),
        "kernel/lib/t10-pi.ko": module("t10_pi"),
        "kernel/drivers/char/hw_random/virtio-rng.ko": module("virtio_rng", "virtio"),
        "kernel/drivers/virtio/virtio.ko": module("virtio"),
        "kernel/unrelated.ko": module("unrelated"),
    }
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path


def test_only_what_is_needed_and_dependencies_first(tree: Path) -> None:
    taken = kmod.collect(tree, ["virtio_rng", "sd_mod", "not_in_this_kernel"])
    assert [name for name, _data in taken] == ["virtio.ko", "virtio_rng.ko", "scsi_mod.ko", "t10_pi.ko", "sd_mod.ko"]
    assert all(data.startswith(b"\x7fELF") for _name, data in taken)


def test_depends_is_read_from_the_module_and_names_are_made_canonical() -> None:
    assert kmod.depends(module("x", "crc-t10dif", "scsi_mod")) == ["crc_t10dif", "scsi_mod"]
    assert kmod.depends(module("x")) == []
    assert kmod.depends(b"\x7fELF without modinfo") == []


def test_order_keeps_the_wish_where_dependencies_do_not_matter() -> None:
    needs = {"b": ["z"], "a": ["z"], "z": []}
    assert kmod.load_order(["b", "a"], needs.get) == ["z", "b", "a"]
    assert kmod.load_order(["a", "b", "a"], needs.get) == ["z", "a", "b"]


def test_a_dependency_that_is_built_in_is_left_out() -> None:
    assert kmod.load_order(["a"], {"a": ["builtin"]}.get) == ["a"]


def test_a_circle_is_named() -> None:
    with pytest.raises(GuestError, match="a -> b -> a"):
        kmod.load_order(["a"], {"a": ["b"], "b": ["a"]}.get)


def test_disks_are_waited_for_because_their_drivers_come_before_sd_mod() -> None:
    last = kmod.WANTED.index("sr_mod")
    assert kmod.WANTED[last:] == ("sr_mod", "sd_mod")
    assert all(kmod.WANTED.index(name) < last for name in ("virtio_scsi", "ahci", "ata_piix", "virtio_blk"))


@pytest.mark.skipif(not shutil.which("zstd"), reason="no zstd program to make a test file with")
def test_zstd_is_unpacked_and_broken_zstd_is_an_error(tmp_path: Path) -> None:
    plain = module("m") * 1000
    path = tmp_path / "m.ko.zst"
    (tmp_path / "m.ko").write_bytes(plain)
    subprocess.run(["zstd", "-q", str(tmp_path / "m.ko"), "-o", str(path)], check=True)
    assert kmod.read_module(path) == plain
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(GuestError, match="broken zstd"):
        kmod.read_module(path)


def test_an_unknown_compression_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.ko.lz4").write_bytes(b"\x04\x22\x4d\x18....")
    with pytest.raises(GuestError, match=r"m\.ko\.lz4"):
        kmod.read_module(tmp_path / "m.ko.lz4")
