# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files are whole or not there, whatever interrupts their writing."""

from __future__ import annotations

import contextlib
import os
import pathlib
import resource
import stat
import threading
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import files


@contextlib.contextmanager
def small_disk() -> t.Iterator[None]:
    """No file may grow beyond 4096 bytes (setrlimit(2)): a longer write really fails half-way.

    That holds for pytest's own output, too, where it is a file, so that this is no fixture.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_fails_half_way_leaves_the_old_content(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with small_disk(), pytest.raises(OSError, match="File too large"):
        files.write_atomic(str(path), b"x" * 100_000)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_name_that_cannot_be_replaced_leaves_no_temporary_file(tmp_path: pathlib.Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        files.write_atomic(str(tmp_path / "folder"), b"x")
    assert os.listdir(tmp_path) == ["folder"]


def test_a_reader_sees_the_old_content_or_the_new(tmp_path: pathlib.Path) -> None:
    path, whole = tmp_path / "file", {b"a" * 300_000, b"b" * 300_000}
    files.write_atomic(str(path), b"a" * 300_000)
    seen: set[bytes] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(40):
            files.write_atomic(str(path), (b"a", b"b")[number % 2] * 300_000)
    finally:
        done.set()
        reader.join()
    assert seen and seen <= whole


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_the_mode_does_not_depend_on_the_umask(tmp_path: pathlib.Path, mode: int) -> None:
    before = os.umask(0o077)
    try:
        files.write_atomic(str(tmp_path / "file"), b"x", mode)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_json_there_and_back(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "file.json")
    files.write_json(path, {"b": [1, None, "ä"], "a": {}})
    assert files.read_json(path) == {"a": {}, "b": [1, None, "ä"]}


@pytest.mark.parametrize("name", ["missing", "file/below"])
def test_json_that_is_not_there_is_none(tmp_path: pathlib.Path, name: str) -> None:
    (tmp_path / "file").touch()
    assert files.read_json(str(tmp_path / name)) is None


@pytest.mark.parametrize("garbage", [b"", b'{"a": ', b"\x00\xff\xfe", b"{}{}", b"NAME=web", b"[" * 100_000])
def test_garbage_is_not_guessed_at(tmp_path: pathlib.Path, garbage: bytes) -> None:
    path = tmp_path / "definition.json"
    path.write_bytes(garbage)
    with pytest.raises(MaqetError, match="not valid JSON") as caught:
        files.read_json(str(path))
    assert caught.value.error_code == "state_unsafe"
    assert caught.value.details == {"path": str(path)}
    assert str(path) in str(caught.value)
    assert path.read_bytes() == garbage


@pytest.mark.parametrize(
    ("content", "lines", "size", "expected"),
    [
        (b"", 15, 4096, ""),
        (b"one\n", 15, 4096, "one"),
        (b"one\ntwo\nthree\n", 2, 4096, "two\nthree"),
        (b"one\ntwo\nthree", 2, 4096, "two\nthree"),
        (b"x" * 10_000 + b"\nlast\n", 15, 8, "xx\nlast"),
        (b"a\xffb\n\n\n", 15, 4096, "a�b"),
    ],
)
def test_tail(tmp_path: pathlib.Path, content: bytes, lines: int, size: int, expected: str) -> None:
    path = tmp_path / "log"
    path.write_bytes(content)
    assert files.tail(str(path), lines, size) == expected


def test_tail_of_what_is_not_there(tmp_path: pathlib.Path) -> None:
    assert files.tail(str(tmp_path / "missing")) == ""


def test_rotate_keeps_the_last_one(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "log"
    for content in ("first", "second"):
        path.write_text(content)
        files.rotate(str(path))
    files.rotate(str(path))
    assert {entry.name: entry.read_text() for entry in tmp_path.iterdir()} == {"log.1": "second"}


def test_remove_never_follows_a_link(tmp_path: pathlib.Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    (tmp_path / "link").symlink_to(kept)
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "link").symlink_to(kept)
    for name in ("link", "folder", "missing"):
        files.remove(str(tmp_path / name))
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept"]
    assert (kept / "file").exists()


def test_a_new_folder_is_closed_and_an_existing_one_left_alone(tmp_path: pathlib.Path) -> None:
    tmp_path.chmod(0o755)
    files.make_folder(str(tmp_path / "a" / "b"))
    files.make_folder(str(tmp_path))
    assert [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path, tmp_path / "a" / "b")] == [0o755, 0o700]


def test_a_folder_that_is_removed_while_it_is_made(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """os.makedirs finds the folder, and when it looks what kind of thing it is, its last user has removed it."""
    real, once = os.mkdir, iter([True])

    def mkdir(path: str, mode: int = 0o777) -> None:
        if next(once, False):
            raise FileExistsError(17, "File exists", path)
        real(path, mode)

    monkeypatch.setattr(os, "mkdir", mkdir)
    files.make_folder(str(tmp_path / "run"))
    assert (tmp_path / "run").is_dir()


@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_a_folder_whose_name_is_taken(tmp_path: pathlib.Path, kind: str) -> None:
    taken = tmp_path / "taken"
    taken.touch() if kind == "file" else taken.symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError):
        files.make_folder(str(taken))


def test_a_copy_is_whole_durable_and_as_sparse_as_it_can_be(tmp_path: pathlib.Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    content = b"a" * 100_000 + bytes(8 << 20) + b"b" + bytes(1 << 20)
    source.write_bytes(content)
    copy.write_text("before")
    files.copy_atomic(str(source), str(copy))
    assert copy.read_bytes() == content
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert copy.stat().st_blocks * 512 < 1 << 20 < source.stat().st_blocks * 512
    with pytest.raises(FileNotFoundError):
        files.copy_atomic(str(tmp_path / "nowhere"), str(copy))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["copy", "source"]
