# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A log that grows wakes its reader."""

from __future__ import annotations

import os
import pathlib
import threading

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import wait_readable
from ansible_collections.maqet.qemu.plugins.module_utils.host.watch import GrowingFile


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
