# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A log in several files is one chain, wherever a crash falls and whatever is done to one of them."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard import log as log_module
from ansible_collections.maqet.qemu.plugins.module_utils.guard import segments
from ansible_collections.maqet.qemu.plugins.module_utils.guard.canonical import canonical
from ansible_collections.maqet.qemu.plugins.module_utils.guard.chain import Report, read, verify
from ansible_collections.maqet.qemu.plugins.module_utils.guard.log import AuditLog, chain_hash
from hypothesis import given
from hypothesis import strategies as st

SMALL = 900  # bytes: some four records


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    return str(tmp_path / "web.audit.jsonl")


def fill(path: str, count: int, size: int = SMALL) -> list[dict[str, t.Any]]:
    log = AuditLog(path, size)
    return [log.append({"op": "quit", "number": number}, durable=False) for number in range(count)]


def names(path: str) -> list[str]:
    return sorted(os.listdir(os.path.dirname(path)))


def ops(path: str) -> list[int]:
    return [record["number"] for record in read(path) if "number" in record]


def existing(path: str) -> list[segments.Segment]:
    return segments.full(path) + ([segments.Segment(None, path)] if os.path.lexists(path) else [])


def whole(path: str) -> Report:
    report = verify(path)
    assert report.ok, report
    return report


def test_a_full_log_goes_on_in_a_new_file(path: str) -> None:
    made = fill(path, 12)
    assert names(path)[:2] == ["web.audit.000001.jsonl", "web.audit.000002.jsonl"]
    assert names(path)[-1] == "web.audit.jsonl"
    assert ops(path) == list(range(12))
    assert whole(path).records > 12, "the rotate records count"
    first = [json.loads(pathlib.Path(part.path).read_bytes().splitlines()[0]) for part in existing(path)]
    last = [json.loads(pathlib.Path(part.path).read_bytes().splitlines()[-1]) for part in existing(path)]
    assert [record.get("segment") for record in first] == [None, *range(2, len(first) + 1)]
    for end, begin in zip(last, first[1:]):
        assert (end["phase"], begin["prev"], begin["seq"]) == ("rotate", end["hash"], end["seq"] + 1)
    assert last[0]["next"] == "web.audit.000002.jsonl"
    assert made[-1] == read(path, limit=1)[0]
    assert read(path, limit=9) == read(path)[-9:]


def test_old_logs_go_on(path: str) -> None:
    fill(path, 20, 1 << 30)
    AuditLog(path, SMALL).append({"op": "stop"})
    assert names(path) == ["web.audit.000001.jsonl", "web.audit.jsonl"]
    assert whole(path).records == 22


def test_a_name_that_only_looks_similar_is_no_part(path: str) -> None:
    for name in (
        "web.audit.1.jsonl",
        "web.audit.000001.jsonl.gz",
        "xweb.audit.000001.jsonl",
        "web2.audit.000001.jsonl",
    ):
        pathlib.Path(path).with_name(name).write_text("rubbish\n")
    fill(path, 3)
    assert [part.number for part in existing(path)] == [None]


class Killed(BaseException):
    """A SIGKILL at one exact place."""


@pytest.mark.parametrize("place", ["before rename", "after rename", "new file made", "half a first record"])
def test_a_crash_at_any_step_is_finished_by_the_next(path: str, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    count = 0
    while os.path.lexists(path) is False or os.path.getsize(path) < SMALL:
        fill(path, 1, 1 << 30)
        count += 1
    rename, fsync_folder, write = os.rename, segments.sync_folder, os.write

    def dying_rename(old: str, new: str) -> None:
        if place == "before rename":
            raise Killed
        rename(old, new)
        if place == "after rename":
            raise Killed

    def dying_sync(name: str) -> None:
        fsync_folder(name)
        if place == "new file made" and os.path.lexists(path):
            raise Killed

    def dying_write(fd: int, data: bytes) -> int:
        if place == "half a first record" and os.fstat(fd).st_size == 0:
            write(fd, data[:20])
            raise Killed
        return write(fd, data)

    monkeypatch.setattr(os, "rename", dying_rename)
    monkeypatch.setattr(segments, "sync_folder", dying_sync)
    monkeypatch.setattr(os, "write", dying_write)
    with pytest.raises(Killed):
        AuditLog(path, SMALL).append({"op": "stop"})
    monkeypatch.undo()
    after = AuditLog(path, SMALL).append({"op": "cont"})
    assert after["segment"] == 2 and after.get("torn", False) == (place == "half a first record")
    report = whole(path)
    assert (report.records, report.torn) == (count + 2, int(place == "half a first record"))
    assert [record["op"] for record in read(path) if "op" in record] == ["quit"] * count + ["cont"]


def test_a_log_that_may_only_grow_is_not_rotated(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_old: str, _new: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "rename", refused)
    fill(path, 20)
    assert names(path) == ["web.audit.jsonl"]
    assert whole(path).records == 21, "one record says that it wanted to"


def test_many_processes_rotate_as_one(path: str) -> None:
    root = str(pathlib.Path(log_module.__file__).parents[6])
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        f"from {log_module.__name__} import AuditLog\n"
        f"log = AuditLog(sys.argv[2], {SMALL})\n"
        "for number in range(60):\n    log.append({'op': 'quit', 'number': number}, durable=False)\n"
    )
    workers = [subprocess.Popen([sys.executable, "-I", "-c", program, root, path]) for _number in range(4)]
    assert [worker.wait(timeout=60) for worker in workers] == [0] * 4
    whole(path)
    assert sorted(ops(path)) == sorted(list(range(60)) * 4)
    assert len(names(path)) > 20


def test_reading_goes_on_while_the_log_rotates(path: str) -> None:
    """What is read while others write is a beginning of the log, without a gap."""
    log = AuditLog(path, SMALL)
    for number in range(40):
        log.append({"op": "quit", "number": number}, durable=False)
        with segments.Files(path) as files:
            log.append({"op": "quit", "number": -1}, durable=False)
            log.append({"op": "quit", "number": -1}, durable=False)
            seen = [json.loads(line) for _part, lines in files.forwards() for line in lines]
            assert [record["seq"] for record in seen] == list(range(1, len(seen) + 1))
            assert seen[-1]["number"] == number
            assert [json.loads(line) for line in files.backwards()] == seen[::-1]


def parts(path: str) -> list[pathlib.Path]:
    return [pathlib.Path(part.path) for part in existing(path)]


def test_the_oldest_parts_may_be_gone(path: str) -> None:
    fill(path, 20)
    oldest = parts(path)[0]
    count = len(oldest.read_bytes().splitlines())
    total = whole(path).records
    oldest.unlink()
    report = whole(path)
    assert (report.start, report.records) == (count + 1, total - count)
    assert not verify(path, complete=True).ok
    assert "are gone" in str(verify(path, witness={"seq": 1, "hash": "0" * 64}).problem)
    for part in parts(path)[:-1]:
        part.unlink()
    assert (whole(path).start or 0) > 1
    AuditLog(path, SMALL).append({"op": "quit"})
    whole(path)


@pytest.mark.parametrize("place", [1, 2, -2])
def test_a_part_in_between_must_be_there(path: str, place: int) -> None:
    fill(path, 30)
    gone = parts(path)[place]
    gone.unlink()
    report = verify(path)
    assert not report.ok and report.first_bad == 1
    assert report.segment == parts(path)[place if place > 0 else -1].name


def test_a_first_line_that_was_removed_is_found(path: str) -> None:
    """Only the first record of a part may have nothing before it."""
    fill(path, 20)
    for part in parts(path)[:-1]:
        part.unlink()
    newest = pathlib.Path(path)
    newest.write_bytes(b"".join(newest.read_bytes().splitlines(keepends=True)[1:]) or b"\n")
    assert not verify(path).ok


@pytest.mark.parametrize("what", ["rubbish", "no rotate record", "empty"])
def test_a_damaged_older_part_stops_the_log(path: str, what: str) -> None:
    fill(path, 6)
    os.unlink(path)
    last = parts(path)[-1]
    lines = last.read_bytes().splitlines(keepends=True)
    last.write_bytes({"rubbish": b"x\n", "no rotate record": b"".join(lines[:-1]), "empty": b""}[what])
    with pytest.raises(MaqetError, match=r"web\.audit\.00000\d\.jsonl") as caught:
        AuditLog(path, SMALL).append({"op": "quit"})
    assert caught.value.error_code == "audit_failed"


def edit(lines: list[bytes], index: int, how: str) -> None:
    record = json.loads(lines[index])
    if how == "delete":
        del lines[index]
    elif how == "swap":
        other = index - 1 if index else 1
        lines[index], lines[other] = lines[other], lines[index]
    elif how == "double":
        lines.insert(index, lines[index])
    elif how == "edit":
        lines[index] = lines[index].replace(b'"time"' if b'"time"' in lines[index] else b'"op"', b'"xp"')
    elif how == "forge":
        record["op"] = "forged"
        record["hash"] = chain_hash(record["prev"], record)
        lines[index] = canonical(record) + b"\n"
    elif how == "cut":
        lines[index] = lines[index][: len(lines[index]) // 2]
        del lines[index + 1 :]


HOWS = ["delete", "swap", "double", "edit", "forge", "cut"]


@given(st.sampled_from(HOWS), st.integers(0, 10_000))
def test_any_edit_of_any_part_is_found_and_named(how: str, place: int) -> None:
    """At most the end of the newest file can be taken away unseen, which is what witnesses are for."""
    # No fixture: it would be shared by all examples.
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/web.audit.jsonl"
        fill(path, 12)
        head = whole(path).head
        every = [(part, line) for part in parts(path) for line in range(len(part.read_bytes().splitlines()))]
        part, index = every[place % len(every)]
        lines = part.read_bytes().splitlines(keepends=True)
        edit(lines, index, how)
        if how == "swap" and len(lines) == 1:
            return
        part.write_bytes(b"".join(lines))
        report = verify(path, witness=head)
        assert not report.ok, (how, part, index)
        # An edit with a new hash is told by the link from the record behind it, or by the witness.
        at = every.index((part, index))
        first = max(0, at - 1) if how == "swap" else at
        named = sum(len(each.read_bytes().splitlines()) for each in parts(path) if each.name < str(report.segment))
        assert first <= named + (report.first_bad or 0) - 1 <= at + 1, (how, part, index, report)
        assert report.bad_seq == report.records + 1
