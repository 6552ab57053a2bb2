# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where names lead: every trick with spelling and links ends at the folder where the walk began."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard.paths import Found, Misleading, Place, locate, reopen


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A VM's folder with one file in it, beside a secret that is nobody's business."""
    (tmp_path / "home" / "deep").mkdir(parents=True)
    (tmp_path / "home" / "disk.img").write_text("disk")
    (tmp_path / "victim").write_text("secret")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("secret")
    return tmp_path / "home"


def look(home: Path, name: str, access: str = "write", own: bool = True) -> Found:
    return locate(name, [Place(str(home), access, own)], str(home))


@pytest.mark.parametrize("name", ["new.img", "./new.img", "deep/new.img", "{home}/new.img", "{home}//deep/./new.img"])
def test_new_files_are_found_below_the_folder(home: Path, name: str) -> None:
    found = look(home, name.format(home=home))
    assert found.kind == "missing"
    assert found.path == str(home / "/".join(found.parts))
    assert found.identity is None


def test_a_file_that_is_there(home: Path) -> None:
    found = look(home, "disk.img")
    status = (home / "disk.img").stat()
    assert (found.kind, found.identity) == ("file", (status.st_dev, status.st_ino))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"),
        ("../victim", r"'\.\.'"),
        ("{home}/../victim", r"'\.\."),
        ("deep/../../victim", r"'\.\."),
        ("{top}/victim", "outside"),
        ("/etc/shadow", "outside"),
        ("{top}/homestead/file", "outside"),
        ("/proc/self/fd/0", "no files"),
        ("/proc/self/root/etc/shadow", "no files"),
        ("//proc/self/environ", "no files"),
        ("/dev/fdset/0", "no files"),
        ("/dev/fd/3", "no files"),
        ("/sys/kernel/x", "no files"),
        ("json:{{}}", "protocol"),
        ("file:disk.img", "protocol"),
        ("fat:rw:deep", "protocol"),
        ("nbd://host/x", "protocol"),
        ("a\0b", "control"),
        ("a\nb", "control"),
        ("a,b", "comma"),
        ("a\udc80\ud800", "surrogate"),
        ("deep/", "folder"),
        ("deep/.", "folder"),
        ("x" * 256, "longer"),
        ("y/" * 2048 + "z", "longer"),
        ("nowhere/new.img", "does not exist"),
        ("disk.img/new.img", "cannot be resolved"),
    ],
)
def test_names_that_mislead(home: Path, name: str, why: str) -> None:
    with pytest.raises(Misleading, match=why):
        look(home, name.format(home=home, top=home.parent))


def test_no_link_is_followed(home: Path) -> None:
    (home / "link").symlink_to(home.parent / "victim")
    (home / "door").symlink_to(home.parent / "elsewhere")
    (home / "dangling").symlink_to(home.parent / "new")
    os.link(home.parent / "victim", home / "twin")
    for name, why in (("link", "symbolic"), ("door/file", "symbolic"), ("dangling", "symbolic"), ("twin", "hard link")):
        with pytest.raises(Misleading, match=why):
            look(home, name)


def test_a_second_name_matters_only_where_it_could_be_written_or_is_ours(home: Path) -> None:
    os.link(home.parent / "victim", home / "twin")
    assert look(home, "twin", access="read", own=False).kind == "file"
    with pytest.raises(Misleading, match="hard link"):
        look(home, "twin", access="read", own=True)


def test_what_is_no_file_is_told_apart(home: Path) -> None:
    os.mkfifo(home / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(home / "sock"))
        kinds = {name: look(home, name).kind for name in ("fifo", "sock", "deep")}
    assert kinds == {"fifo": "other", "sock": "socket", "deep": "folder"}


def test_links_in_the_policys_own_words_are_the_administrators(home: Path) -> None:
    alias = home.parent / "alias"
    alias.symlink_to(home)
    found = locate(str(alias / "disk.img"), [Place(str(alias), "read")], None)
    assert found.path == str(home / "disk.img")
    single = locate(str(alias), [Place(str(alias), "read")], None)
    assert (single.kind, single.parts) == ("folder", ())


def test_a_relative_name_needs_a_folder(home: Path) -> None:
    with pytest.raises(Misleading, match="relative"):
        locate("disk.img", [Place(str(home), "write")], None)


def test_the_first_place_that_holds_it_decides(home: Path) -> None:
    places = [Place(f"{home}/deep", "write"), Place(str(home), "read")]
    assert locate(f"{home}/deep/x", places, None).place.access == "write"
    assert locate(f"{home}/x", places, None).place.access == "read"


def test_reopening_meets_no_link_that_was_slipped_in(home: Path) -> None:
    found = look(home, "deep/new.img")
    os.rmdir(home / "deep")
    (home / "deep").symlink_to(home.parent / "elsewhere")
    with pytest.raises((OSError, Misleading)):
        os.close(reopen(found.base, found.parts, os.O_RDWR | os.O_CREAT | os.O_EXCL))
    assert not (home.parent / "elsewhere" / "new.img").exists()


def test_reopening_makes_the_file_that_was_found(home: Path) -> None:
    found = look(home, "deep/new.img")
    before = len(os.listdir("/proc/self/fd"))
    os.close(reopen(found.base, found.parts, os.O_RDWR | os.O_CREAT | os.O_EXCL))
    assert (home / "deep" / "new.img").exists()
    with pytest.raises(FileExistsError):
        reopen(found.base, found.parts, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    assert len(os.listdir("/proc/self/fd")) == before
