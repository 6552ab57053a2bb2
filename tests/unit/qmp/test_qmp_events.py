# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Events on disk: whole lines or none, few enough, and never a reason to fail."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import stat
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.qmp import events as room
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.events import KEPT, Event, EventFile


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "events.jsonl"


def numbered(number: int, name: str = "RTC_CHANGE") -> Event:
    return {"event": name, "data": {"offset": number}, "seq": number}


def numbers(events: t.Iterable[Event]) -> list[int]:
    return [event["seq"] for event in events]


def written(path: pathlib.Path, *events: int) -> EventFile:
    file = EventFile(str(path))
    for number in events:
        file.append(numbered(number), [numbered(number)])
    return file


def test_what_was_written_is_loaded(path: pathlib.Path) -> None:
    assert EventFile(str(path)).load() == []
    written(path, 1, 2, 3).close()
    assert EventFile(str(path)).load() == [numbered(1), numbered(2), numbered(3)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [json.loads(line) for line in path.read_text().splitlines()] == [numbered(1), numbered(2), numbered(3)]


def test_an_event_is_there_before_the_file_is_closed(path: pathlib.Path) -> None:
    file = written(path, 1)
    assert EventFile(str(path)).load() == [numbered(1)]
    file.close()
    file.close()


def test_going_on_where_another_runner_ended(path: pathlib.Path) -> None:
    written(path, 1, 2).close()
    file = EventFile(str(path))
    assert numbers(file.load()) == [1, 2]
    file.append(numbered(3), [])
    file.close()
    assert numbers(EventFile(str(path)).load()) == [1, 2, 3]


@pytest.mark.parametrize(
    ("line", "left"),
    [
        (b"", [1, 4]),
        (b"nonsense", [1, 4]),
        (b'{"event":"STOP","se', [1, 4]),
        (b"\xff\xfe", [1, 4]),
        (b"5", [1, 4]),
        (b"null", [1, 4]),
        (b"[" * 100_000, [1, 4]),
        (b'{"event":"STOP"}', [1, 4]),
        (b'{"event":"STOP","seq":"3"}', [1, 4]),
        (b'{"event":5,"seq":3}', [1, 4]),
        (b'{"event":"STOP","seq":1}', [1, 4]),  # as one that was there already
        (b'{"event":"STOP","seq":0}', [1, 4]),
        (b'{"event":"STOP","seq":3}', [1, 3, 4]),
    ],
)
def test_a_line_that_is_none_is_left_out(path: pathlib.Path, line: bytes, left: list[int]) -> None:
    whole = [json.dumps(numbered(number)).encode() for number in (1, 4)]
    path.write_bytes(b"\n".join([whole[0], line, whole[1], b""]))
    assert numbers(EventFile(str(path)).load()) == left


def test_a_last_line_that_is_torn_costs_no_event_after_it(path: pathlib.Path) -> None:
    """Its runner was killed, or the host lost power, in the middle of it."""
    path.write_bytes(json.dumps(numbered(1)).encode() + b'\n{"event":"STOP","seq":2,"da')
    file = EventFile(str(path))
    assert numbers(file.load()) == [1]
    file.append(numbered(2), [])
    file.append(numbered(3), [])
    file.close()
    assert numbers(EventFile(str(path)).load()) == [1, 2, 3]


def test_only_the_last_are_loaded(path: pathlib.Path) -> None:
    path.write_text("".join(json.dumps(numbered(number)) + "\n" for number in range(1, KEPT + 8)))
    assert numbers(EventFile(str(path)).load()) == list(range(8, KEPT + 8))


def test_the_file_is_made_small_again_before_it_gets_large(path: pathlib.Path) -> None:
    file, kept = EventFile(str(path)), [numbered(2 * KEPT), numbered(2 * KEPT + 1)]
    for number in range(1, 2 * KEPT + 1):
        file.append(numbered(number), [])
    assert len(path.read_bytes().splitlines()) == 2 * KEPT
    inode = path.stat().st_ino
    file.append(kept[1], kept)
    assert EventFile(str(path)).load() == kept
    assert path.stat().st_ino != inode, "a reader of the old file is not disturbed"
    file.append(numbered(2 * KEPT + 2), [])
    file.close()
    assert numbers(EventFile(str(path)).load()) == [2 * KEPT, 2 * KEPT + 1, 2 * KEPT + 2]
    assert os.listdir(path.parent) == [path.name]


def test_lines_of_the_runner_before_count_too(path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "KEPT", 3)
    written(path, 1, 2, 3, 4, 5, 6).close()
    file = EventFile(str(path))
    assert numbers(file.load()) == [4, 5, 6]
    file.append(numbered(7), [numbered(5), numbered(6), numbered(7)])
    file.close()
    assert [json.loads(line)["seq"] for line in path.read_text().splitlines()] == [5, 6, 7]


def test_another_qemu_begins_anew(path: pathlib.Path) -> None:
    file = written(path, 1, 2)
    file.forget()
    assert not path.exists()
    assert file.load() == []
    file.append(numbered(1), [])
    file.forget()
    file.forget()
    file.append(numbered(1, "STOP"), [])
    file.close()
    assert EventFile(str(path)).load() == [numbered(1, "STOP")]


class Disk:
    """os.write as on a disk with room for so many bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room_left: int) -> None:
        self.left = room_left
        self._write = os.write
        monkeypatch.setattr(os, "write", self._limited)

    def _limited(self, fd: int, data: bytes) -> int:
        if data and self.left <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = self._write(fd, data[: self.left])
        self.left -= done
        return done


@pytest.mark.parametrize("left", [0, 1, 10, 40, 60])
def test_a_full_disk(
    path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, left: int
) -> None:
    """What is lost is lost; it takes nothing with it, and is said once."""
    file = written(path, 1)
    disk = Disk(monkeypatch, left)
    for number in (2, 3, 4):
        file.append(numbered(number), [])
    disk.left = 1_000_000
    for number in (5, 6):
        file.append(numbered(number), [])
    file.close()
    found = numbers(EventFile(str(path)).load())
    assert found[0] == 1 and found[-2:] == [5, 6], "whole lines on both sides of the torn one"
    assert [record.getMessage() for record in caplog.records] == [
        "events are not kept: [Errno 28] No space left on device"
    ]


def test_a_line_that_fits_only_in_part_is_not_joined_with_the_next(
    path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """write(2) says how much fitted, and is content; there is room again when the next event comes."""
    file = written(path, 1)
    disk = Disk(monkeypatch, 10)
    file.append(numbered(2), [])
    disk.left = 1_000_000
    file.append(numbered(3), [])
    file.close()
    assert numbers(EventFile(str(path)).load()) == [1, 3]


def test_a_folder_that_is_gone(path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    file = EventFile(str(path.parent / "gone" / "events.jsonl"))
    file.append(numbered(1), [])
    file.append(numbered(2), [])
    assert len(caplog.records) == 1
    file.close()


def test_a_link_is_not_followed(path: pathlib.Path) -> None:
    other = path.with_name("other")
    other.touch()
    path.symlink_to(other)
    written(path, 1).close()
    assert other.read_bytes() == b""


def test_a_file_that_cannot_be_read(path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    path.mkdir()
    assert EventFile(str(path)).load() == []
    assert len(caplog.records) == 1


def test_no_descriptor_is_left(path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "KEPT", 3)
    before = os.listdir("/proc/self/fd")
    file = written(path, *range(1, 30))
    file.forget()
    file.append(numbered(1), [])
    file.close()
    EventFile(str(path)).load()
    assert os.listdir("/proc/self/fd") == before
