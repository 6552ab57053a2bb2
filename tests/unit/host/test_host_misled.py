# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the QEMU of a VM can have put in its own folders leads nobody to other files."""

from __future__ import annotations

import errno
import os
import pathlib

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host.identity import RANGES
from ansible_collections.maqet.qemu.plugins.module_utils.host.misled import Misled, look

UID = RANGES[0][7]
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")


@pytest.fixture
def secret(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "secret"
    path.write_text("root's")
    return path


@pytest.fixture
def theirs(tmp_path: pathlib.Path) -> pathlib.Path:
    """The folder of a VM's disks, with one in it."""
    folder = tmp_path / "vms" / "disks"
    folder.mkdir(parents=True)
    (folder / "plain").write_text("an image")
    os.chown(folder, UID, UID)
    return folder


def test_links_of_others_are_followed(tmp_path: pathlib.Path, secret: pathlib.Path) -> None:
    (tmp_path / "folder").mkdir()
    for name, target in (("a", str(secret)), ("b", "a"), ("folder/c", "../b"), ("d", "./folder//c")):
        (tmp_path / name).symlink_to(target)
    os.link(secret, tmp_path / "second")
    for path in ("secret", "a", "b", "folder/c", "folder/../d", "second"):
        assert os.path.samestat(look(f"{tmp_path}/{path}"), secret.stat())
    assert look("/") == os.stat("/")
    with pytest.raises(FileNotFoundError):
        look(str(tmp_path / "gone"))
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(OSError, match="symbolic links") as caught:
        look(str(tmp_path / "round"))
    assert caught.value.errno == errno.ELOOP and not isinstance(caught.value, Misled)


@ROOT
def test_what_a_qemu_has_put_there_is_not(tmp_path: pathlib.Path, secret: pathlib.Path, theirs: pathlib.Path) -> None:
    assert look(f"{theirs}/plain").st_size == 8
    (theirs / "link").symlink_to(secret)
    (theirs / "way").symlink_to(tmp_path)
    os.link(secret, theirs / "second")
    inner = theirs / "inner"
    inner.mkdir()
    os.chown(inner, UID, UID)
    (inner / "link").symlink_to(secret)
    (tmp_path / "admins").symlink_to(theirs / "link")
    for path in ("link", "way/secret", "second", "inner/link", "../../admins"):
        with pytest.raises(Misled):
            look(f"{theirs}/{path}")
