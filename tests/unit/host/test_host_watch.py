# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A log that grows wakes its reader, a folder that changes whoever watches it."""

from __future__ import annotations

import os
import pathlib
import threading

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import wait_readable
from ansible_collections.maqet.qemu.plugins.module_utils.host.watch import Folder, GrowingFile


@pytest.fixture
def log(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "serial.log"
    path.write_bytes(b"already there\n")
    return path


def append(path: pathlib.Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_what_was_there_is_read_first(log: pathlib.Path) -> None:
    with GrowingFile(str(log)) as growing:
        assert growing.read() == b"already there\n"
        assert growing.read() == b""


def test_who_waits_is_woken(log: pathlib.Path) -> None:
    with GrowingFile(str(log)) as growing:
        growing.read()
        assert wait_readable([growing.fd], 0) == []
        writer = threading.Thread(target=append, args=(log, b"more"))
        writer.start()
        assert wait_readable([growing.fd], 60) == [growing.fd]
        writer.join()
        assert growing.read() == b"more"
        assert wait_readable([growing.fd], 0) == []


def test_nothing_is_lost_between_reading_and_waiting(log: pathlib.Path) -> None:
    with GrowingFile(str(log)) as growing:
        growing.read()
        for number in range(100):
            append(log, b"%d\n" % number)
            assert wait_readable([growing.fd], 60) == [growing.fd]
            assert growing.read() == b"%d\n" % number


def test_reading_does_not_wake_others(log: pathlib.Path) -> None:
    with GrowingFile(str(log)) as growing:
        growing.read()
        log.read_bytes()
        assert wait_readable([growing.fd], 0) == []


def test_everything_is_closed(log: pathlib.Path) -> None:
    before = os.listdir("/proc/self/fd")
    with GrowingFile(str(log)) as growing:
        growing.close()
    with pytest.raises(FileNotFoundError):
        GrowingFile(str(log.with_name("missing")))
    assert os.listdir("/proc/self/fd") == before


def test_a_folder_tells_of_names_that_come_go_and_change(tmp_path: pathlib.Path) -> None:
    (tmp_path / "old").touch()
    for act in (
        (tmp_path / "new").touch,
        lambda: (tmp_path / "new").replace(tmp_path / "old"),
        (tmp_path / "old").unlink,
        (tmp_path / "folder").mkdir,
        (tmp_path / "folder").rmdir,
    ):
        with Folder(str(tmp_path)) as folder:
            assert wait_readable([folder.fd], 0) == []
            act()
            assert wait_readable([folder.fd], 60) == [folder.fd]


def test_a_folder_wakes_who_waits(tmp_path: pathlib.Path) -> None:
    with Folder(str(tmp_path)) as folder:
        writer = threading.Thread(target=(tmp_path / "status.json").touch)
        writer.start()
        assert wait_readable([folder.fd], 60) == [folder.fd]
        writer.join()


def test_a_folder_does_not_tell_of_what_is_written_into_its_files(log: pathlib.Path) -> None:
    with Folder(str(log.parent)) as folder:
        append(log, b"more")
        log.read_bytes()
        os.listdir(log.parent)
        assert wait_readable([folder.fd], 0.1) == []


def test_a_folder_that_is_removed_tells_so(tmp_path: pathlib.Path) -> None:
    (tmp_path / "run").mkdir()
    with Folder(str(tmp_path / "run")) as folder:
        (tmp_path / "run").rmdir()
        assert wait_readable([folder.fd], 60) == [folder.fd]


def test_a_folder_lets_go(tmp_path: pathlib.Path) -> None:
    before = os.listdir("/proc/self/fd")
    with Folder(str(tmp_path)) as folder:
        folder.close()
    assert folder.fd == -1
    with pytest.raises(FileNotFoundError):
        Folder(str(tmp_path / "missing"))
    assert os.listdir("/proc/self/fd") == before
