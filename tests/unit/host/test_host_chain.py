# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is opened for QEMU below an overlay: what the definition says and root vouches for, never a header alone."""

from __future__ import annotations

import os
import pathlib
import subprocess
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.chain import Link, to_pass

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root knows what another user may read")
UID = 2_100_012_345


class Folder:
    """Images in a folder that everybody may enter, or that is closed."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        for folder in (path, *path.parents[:-2]):
            folder.chmod(0o755)

    def image(self, name: str, base: t.Optional[str] = None, fmt: str = "qcow2", mode: int = 0o644) -> str:
        path = str(self.path / name)
        below = ["-b", base, "-F", "raw" if base.endswith("raw") else "qcow2"] if base else ["-o", "preallocation=off"]
        subprocess.run(["qemu-img", "create", "-q", "-f", fmt, *below, path, "1M"], check=True)
        os.chmod(path, mode)
        return path


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> Folder:
    return Folder(tmp_path)


def test_nothing_below(folder: Folder) -> None:
    assert to_pass("d", folder.image("top"), "qcow2", None, UID) == []
    assert to_pass("d", "/nonexistent", "raw", "/base", UID) == []


@pytest.mark.parametrize("fmt", ["qcow2", "raw"])
def test_a_base_that_is_roots_alone_is_passed(folder: Folder, fmt: str) -> None:
    base = folder.image(f"base.{fmt}", fmt=fmt, mode=0o600)
    top = folder.image("top", base)
    assert to_pass("d", top, "qcow2", base, UID) == [Link(base, fmt)]
    os.chown(base, UID, UID)
    assert to_pass("d", top, "qcow2", base, UID) == []


def test_a_base_that_everybody_reads_is_left_to_the_header(folder: Folder) -> None:
    base = folder.image("base")
    top = folder.image("top", base)
    assert to_pass("d", top, "qcow2", base, UID) == []
    folder.path.chmod(0o700)
    assert to_pass("d", top, "qcow2", base, UID) == [Link(base, "qcow2")]


def test_a_header_that_names_another_file(folder: Folder) -> None:
    """A job has changed the chain, or QEMU was taken over: the header is not believed with root's rights."""
    base, secret = folder.image("base", mode=0o600), folder.image("secret.raw", fmt="raw", mode=0o600)
    assert to_pass("d", folder.image("top", secret), "qcow2", base, UID) == []
    assert to_pass("d", folder.image("flat"), "qcow2", base, UID) == []


def test_a_whole_chain(folder: Folder) -> None:
    lowest = folder.image("lowest.raw", fmt="raw")
    middle = folder.image("middle", lowest, mode=0o600)
    base = folder.image("base", os.path.basename(middle))
    top = folder.image("top", base)
    assert to_pass("d", top, "qcow2", base, UID) == [Link(base, "qcow2"), Link(middle, "qcow2"), Link(lowest, "raw")]


@pytest.mark.parametrize("how", ["owner", "group", "others"])
def test_only_root_vouches_for_what_is_deeper(folder: Folder, how: str) -> None:
    lowest = folder.image("lowest", mode=0o600)
    base = folder.image("base", lowest, mode=0o600)
    top = folder.image("top", base)
    os.chmod(base, {"owner": 0o600, "group": 0o620, "others": 0o602}[how])
    if how == "owner":
        os.chown(base, 1000, 1000)
    with pytest.raises(MaqetError, match="names a base of its own, and others than root can write it") as caught:
        to_pass("d", top, "qcow2", base, UID)
    assert caught.value.details == {"disk": "d"}
    os.chmod(base, os.stat(base).st_mode | 0o004)
    assert to_pass("d", top, "qcow2", base, UID) == []  # then QEMU opens what it may


def test_a_header_is_read_with_its_writers_rights(folder: Folder) -> None:
    """An image of QEMU's that has become something else, which only root could read."""
    base = folder.image("base", mode=0o600)
    top = folder.image("top", base, mode=0o600)
    os.chown(top, UID, UID)
    assert to_pass("d", top, "qcow2", base, UID) == [Link(base, "qcow2")]
    folder.path.chmod(0o700)
    with pytest.raises(MaqetError, match="Permission denied"):
        to_pass("d", top, "qcow2", base, UID)
