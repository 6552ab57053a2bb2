# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import errno
import fcntl
import json
import os
import pathlib
import stat
import subprocess
import sys
import threading
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard import log as log_module
from ansible_collections.maqet.qemu.plugins.module_utils.guard.canonical import canonical
from ansible_collections.maqet.qemu.plugins.module_utils.guard.chain import read, verify
from ansible_collections.maqet.qemu.plugins.module_utils.guard.log import NO_PREV, AuditLog, chain_hash


def fill(path: str, count: int) -> None:
    log = AuditLog(path)
    for number in range(count):
        log.append({"op": "quit", "number": number})


def refused(log: AuditLog) -> str:
    with pytest.raises(MaqetError) as caught:
        log.append({"op": "quit"})
    error = caught.value
    assert error.error_code == "audit_failed"
    assert log.path in str(error) and error.details["remedy"] in str(error)
    return str(error)


def test_records_are_chained_one_a_line_in_canonical_form(log: AuditLog) -> None:
    made = [log.append({"op": "quit", "n": number}) for number in range(3)]
    assert [each["seq"] for each in made] == [1, 2, 3]
    assert [each["prev"] for each in made] == [NO_PREV, made[0]["hash"], made[1]["hash"]]
    for each in made:
        body = {key: value for key, value in each.items() if key != "hash"}
        assert each["hash"] == chain_hash(each["prev"], body)
    with open(log.path, "rb") as file:
        assert file.read() == b"".join(canonical(each) + b"\n" for each in made)
    assert read(log.path) == made
    assert verify(log.path).ok


def test_the_caller_cannot_set_what_belongs_to_the_log(log: AuditLog) -> None:
    given = {"op": "quit", "seq": 99, "prev": "x", "hash": "y", "torn": True}
    made = log.append(given)
    assert (made["seq"], made["prev"], "torn" in made) == (1, NO_PREV, False)
    assert given["seq"] == 99, "the caller's record is not touched"
    assert verify(log.path).ok


def test_a_new_log_is_private_and_its_name_is_durable(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bool] = []
    fsync = os.fsync

    def note(fd: int) -> None:
        synced.append(stat.S_ISDIR(os.fstat(fd).st_mode))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", note)
    log.append({"op": "quit"})
    assert synced == [True]
    assert stat.S_IMODE(os.stat(log.path).st_mode) == 0o600
    log.append({"op": "quit"})
    assert synced == [True], "only when it is made"


def test_each_record_is_on_disk_before_append_returns(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(os, "fdatasync", lambda fd: sizes.append(os.fstat(fd).st_size))
    log.append({"op": "quit"})
    log.append({"op": "quit"})
    assert len(sizes) == 2 and sizes[1] == os.path.getsize(log.path)
    log.append({"op": "quit"}, durable=False)
    assert len(sizes) == 2


def test_the_end_is_read_again_only_when_another_wrote(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    read_tail = AuditLog._read_tail

    def note(self: AuditLog, fd: int) -> t.Any:
        reads.append(fd)
        return read_tail(self, fd)

    monkeypatch.setattr(AuditLog, "_read_tail", note)
    for _number in range(5):
        log.append({"op": "quit"})
    assert len(reads) == 1
    AuditLog(log.path).append({"op": "stop"})
    log.append({"op": "quit"})
    assert len(reads) == 3
    assert verify(log.path).records == 7


def test_a_record_longer_than_one_read(log: AuditLog) -> None:
    log.append({"op": "quit", "args": "x" * 300_000})
    assert AuditLog(log.path).append({"op": "quit"})["seq"] == 2
    assert AuditLog(log.path).append({"op": "quit", "args": "y" * 300_000})["seq"] == 3
    assert AuditLog(log.path).append({"op": "quit"})["seq"] == 4
    assert verify(log.path).records == 4


@pytest.mark.parametrize("cut", [1, 2, 40, -1], ids=["first byte", "two bytes", "middle", "all but the newline"])
@pytest.mark.parametrize("whole", [0, 1, 3])
def test_a_line_cut_by_a_crash_is_left_and_spoken_of(tmp_path: pathlib.Path, whole: int, cut: int) -> None:
    path = tmp_path / "log"
    fill(str(path), whole + 1)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:whole]) + lines[whole][:cut])
    report = verify(str(path))
    assert (report.ok, report.records, report.first_bad) == (False, whole, whole + 1)
    assert "cut short" in str(report.problem)
    made = AuditLog(str(path)).append({"op": "stop"})
    assert (made["seq"], made["torn"]) == (whole + 1, True)
    log = AuditLog(str(path))
    assert "torn" not in log.append({"op": "cont"})
    report = verify(str(path))
    assert (report.ok, report.records, report.torn) == (True, whole + 2, 1)
    assert [each["op"] for each in read(str(path))][-2:] == ["stop", "cont"]


def test_binary_rubbish_without_a_newline_is_a_torn_line(log: AuditLog) -> None:
    log.append({"op": "quit"})
    with open(log.path, "ab") as file:
        file.write(b"\x00\xff" * 100)
    assert log.append({"op": "quit"})["torn"] is True
    assert verify(log.path).ok


@pytest.mark.parametrize(
    "last", [b"rubbish\n", b"\n", b"[]\n", b"{}\n", b'{"seq":"x","hash":1}\n', b"\x00\n", b"[" * 9999 + b"\n"]
)
def test_a_whole_line_that_is_no_record_stops_the_log(log: AuditLog, last: bytes) -> None:
    log.append({"op": "quit"})
    with open(log.path, "ab") as file:
        file.write(last)
    before = os.path.getsize(log.path)
    assert "not a record" in refused(log)
    assert os.path.getsize(log.path) == before


def test_refused_files(log: AuditLog, tmp_path: pathlib.Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"")
    os.symlink(target, log.path)
    assert "symbolic link" in refused(log)
    os.unlink(log.path)
    os.mkfifo(log.path, 0o600)
    assert "not a regular file" in refused(log)
    os.unlink(log.path)
    os.mkdir(log.path)
    assert "cannot be written" in refused(log)
    os.rmdir(log.path)
    assert target.read_bytes() == b""


@pytest.mark.parametrize(
    ("mode", "good"), [(0o600, True), (0o644, True), (0o620, False), (0o602, False), (0o666, False)]
)
def test_modes(log: AuditLog, mode: int, good: bool) -> None:
    log.append({"op": "quit"})
    os.chmod(log.path, mode)
    if good:
        assert log.append({"op": "quit"})["seq"] == 2
    else:
        assert f"{mode:04o}" in refused(log)


def test_a_log_of_another_user(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    log.append({"op": "quit"})
    owner = os.stat(log.path).st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    if owner == 0:
        assert log.append({"op": "quit"})["seq"] == 2, "a log of root's is trusted by all"
        fstat = os.fstat

        def other(fd: int) -> os.stat_result:
            found = fstat(fd)
            return os.stat_result([*found[:4], 4242, *found[5:]])

        monkeypatch.setattr(os, "fstat", other)
        owner = 4242
    assert f"id {owner}" in refused(log)


def test_no_folder(tmp_path: pathlib.Path) -> None:
    assert "folder does not exist" in refused(AuditLog(str(tmp_path / "no" / "log")))


def test_a_full_disk_leaves_no_half_line(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    log.append({"op": "quit"})
    before = os.path.getsize(log.path)
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:10]))
    assert "only in part" in refused(log)
    monkeypatch.undo()
    assert os.path.getsize(log.path) == before
    assert log.append({"op": "quit"})["seq"] == 2
    assert verify(log.path).ok


def test_a_half_line_that_cannot_be_taken_back_is_a_torn_one(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_fd: int, _size: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    log.append({"op": "quit"})
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:10]))
    monkeypatch.setattr(os, "ftruncate", fails)
    assert "only in part" in refused(log)
    monkeypatch.undo()
    made = log.append({"op": "quit"})
    assert (made["seq"], made["torn"]) == (2, True)
    assert verify(log.path).ok


@pytest.mark.parametrize("call", ["write", "fdatasync"])
def test_an_error_of_the_disk(log: AuditLog, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def fails(*_arguments: t.Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    log.append({"op": "quit"})
    monkeypatch.setattr(os, call, fails)
    assert "Input/output error" in refused(log)
    monkeypatch.undo()
    log.append({"op": "quit"})
    assert verify(log.path).ok


def test_a_record_without_json_form(log: AuditLog) -> None:
    with pytest.raises(MaqetError, match="as JSON") as caught:
        log.append({"op": float("nan")})
    assert caught.value.error_code == "audit_failed"
    assert log.append({"op": "quit"})["seq"] == 1


def test_descriptors_are_closed(log: AuditLog) -> None:
    log.append({"op": "quit"})
    before = len(os.listdir("/proc/self/fd"))
    for _number in range(20):
        log.append({"op": "quit"})
        refused(AuditLog("/nonexistent/log"))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_log_that_was_moved_aside_is_begun_anew(log: AuditLog, tmp_path: pathlib.Path) -> None:
    log.append({"op": "quit"})
    os.rename(log.path, tmp_path / "old")
    assert log.append({"op": "quit"})["seq"] == 1
    assert verify(log.path).records == verify(str(tmp_path / "old")).records == 1


def test_a_log_that_is_replaced_while_we_wait_for_the_lock(
    log: AuditLog, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append({"op": "quit"})
    flock = fcntl.flock
    moved: list[int] = []

    def late(fd: int, how: int) -> None:
        flock(fd, how)
        if not moved:
            moved.append(fd)
            os.rename(log.path, tmp_path / "old")

    monkeypatch.setattr(fcntl, "flock", late)
    assert log.append({"op": "stop"})["seq"] == 1
    assert [each["op"] for each in read(log.path)] == ["stop"]
    assert [each["op"] for each in read(str(tmp_path / "old"))] == ["quit"]


def test_a_log_that_is_replaced_without_end(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AuditLog, "_is_current", lambda _self, _fd: False)
    assert "again and again" in refused(log)


def test_many_threads_make_one_chain(log: AuditLog) -> None:
    def work() -> None:
        for _number in range(20):
            log.append({"op": "quit"}, durable=False)

    threads = [threading.Thread(target=work) for _number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verify(log.path).records == 160


def test_several_processes_make_one_chain(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "log")
    # log.py stands 6 folders below the one that holds ansible_collections.
    root = str(pathlib.Path(log_module.__file__).parents[6])
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        f"from {log_module.__name__} import AuditLog\n"
        "log = AuditLog(sys.argv[2])\n"
        "for number in range(25):\n    log.append({'op': 'quit', 'number': number})\n"
    )
    workers = [subprocess.Popen([sys.executable, "-I", "-c", program, root, path]) for _number in range(4)]
    assert [worker.wait(timeout=60) for worker in workers] == [0] * 4
    report = verify(path)
    assert (report.ok, report.records) == (True, 100)
    assert json.loads(pathlib.Path(path).read_bytes().splitlines()[-1])["hash"] == (report.head or {})["hash"]
