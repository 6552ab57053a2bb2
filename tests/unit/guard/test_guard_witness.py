# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was returned before must still be in the log."""

from __future__ import annotations

import os
import pathlib
import time
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.log import AuditLog
from ansible_collections.maqet.qemu.plugins.module_utils.guard.witness import check_witness, checked


@pytest.fixture
def made(log: AuditLog) -> list[dict[str, t.Any]]:
    return [log.append({"op": "quit", "number": number}, durable=False) for number in range(9)]


def tampered(log: AuditLog, witness: dict[str, t.Any]) -> str:
    error = check_witness(log.path, witness)
    assert error is not None and error.error_code == "audit_tampered"
    assert log.path in str(error) and error.details["remedy"] in str(error)
    return str(error)


def test_every_record_is_found(log: AuditLog, made: list[dict[str, t.Any]]) -> None:
    for record in made:
        assert check_witness(log.path, {"seq": record["seq"], "hash": record["hash"]}) is None
    with open(log.path, "ab") as file:
        file.write(b"a line that a crash cut sh")
    assert check_witness(log.path, made[4]) is None
    log.append({"op": "stop"})
    assert check_witness(log.path, made[4]) is None
    AuditLog(log.path, 100).append({"op": "stop"})
    assert check_witness(log.path, made[4]) is None, "through older files too"


def test_what_is_not_as_it_was(log: AuditLog, made: list[dict[str, t.Any]]) -> None:
    path = pathlib.Path(log.path)
    lines = path.read_bytes().splitlines(keepends=True)
    assert "is not the one" in tampered(log, {"seq": 5, "hash": "0" * 64})
    assert "ends with record 9" in tampered(log, {"seq": 10, "hash": "0" * 64})
    path.write_bytes(b"".join(lines[:6]))
    assert "the log ends with record 6" in tampered(log, made[7])
    path.write_bytes(b"".join(lines[:6] + lines[7:]))
    assert "record 8 does not continue record 6" in tampered(log, made[4])
    path.write_bytes(b"".join([*lines[:6], lines[6].replace(b"quit", b"stop"), *lines[7:]]))
    assert "record 7 does not have the content" in tampered(log, made[4])
    path.write_bytes(b"".join([*lines[:6], b"rubbish\n", *lines[6:]]))
    assert "before record 7 is not a record" in tampered(log, made[4])
    path.write_bytes(b"".join(lines[5:]))
    assert "begins with record 6" in tampered(log, made[1])
    path.write_bytes(b"")
    assert "empty" in tampered(log, made[1])
    os.unlink(path)
    assert "gone" in tampered(log, made[1])


def test_a_recent_one_is_quick(log: AuditLog) -> None:
    for number in range(3000):
        log.append({"op": "quit", "number": number}, durable=False)
    last = log.append({"op": "stop"})
    begun = time.perf_counter()
    assert check_witness(log.path, last) is None
    assert time.perf_counter() - begun < 0.1


def test_a_log_that_cannot_be_read(tmp_path: pathlib.Path) -> None:
    error = check_witness(str(tmp_path), {"seq": 1, "hash": "0" * 64})
    assert error is not None and error.error_code == "audit_failed"


def test_the_option() -> None:
    digest = "0123456789abcdef" * 4
    assert checked({"seq": 7, "hash": digest, "op": "quit"}) == {"seq": 7, "hash": digest}
    assert checked({"seq": "7", "hash": digest}) == {"seq": 7, "hash": digest}
    wrongs: tuple[t.Any, ...] = (
        None, {}, [], {"seq": 0, "hash": digest}, {"seq": True, "hash": digest}, {"seq": 1, "hash": "x"},
    )  # fmt: skip
    for wrong in wrongs:
        with pytest.raises(MaqetError, match=r"witness: .*Give 'seq' and 'hash'"):
            checked(wrong)
