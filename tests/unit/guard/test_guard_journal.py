# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the journal is told of a record, and that it never holds anybody up."""

from __future__ import annotations

import pathlib
import socket
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard import journal, record
from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import Caller
from ansible_collections.maqet.qemu.plugins.module_utils.guard.judge import Request, judge
from ansible_collections.maqet.qemu.plugins.module_utils.guard.log import AuditLog
from ansible_collections.maqet.qemu.plugins.module_utils.guard.record import Context, VmIdentity
from ansible_collections.maqet.qemu.plugins.module_utils.guard.scope import Scope

CONTEXT = Context(VmIdentity("web1", "u-u-i-d"), Caller(1000, 17, 0, 0, 99), "ipc", "ticket\n4711")


@pytest.fixture
def receiver(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[socket.socket]:
    path = str(tmp_path / "journal")
    monkeypatch.setattr(journal, "SOCKET", path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(path)
        made.settimeout(10)
        yield made


def parsed(data: bytes) -> dict[str, str]:
    """The fields of a datagram, by the rules of the native protocol."""
    fields = {}
    while data:
        line, _newline, rest = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if equals:
            data = rest
        else:
            size = int.from_bytes(rest[:8], "little")
            value, data = rest[8 : 8 + size], rest[8 + size + 1 :]
        fields[name.decode()] = value.decode()
    return fields


def test_an_appended_record_is_told(log: AuditLog, receiver: socket.socket) -> None:
    request = Request("quit", {"data": "no argument is told"})
    before = journal.count.sent
    verdict = judge(Request("quit"), Scope())
    made = log.append({**record.intent(request, verdict, CONTEXT), "reason": "ticket\n4711"})
    data = receiver.recv(1 << 16)
    assert b"no argument" not in data
    assert parsed(data) == {
        "MESSAGE": "quit on web1: allowed to uid 0 (class availability, rule class-availability)",
        "MESSAGE_ID": journal.MESSAGE_ID,
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "maqet",
        "QMP_OP": "quit",
        "QMP_OP_ID": made["op_id"],
        "QMP_CLASS": "availability",
        "QMP_REASON": "ticket\n4711",
        "QMP_SEQ": "1",
        "QMP_HASH": made["hash"],
        "QMP_VM": "web1",
        "QMP_UUID": "u-u-i-d",
        "QMP_DECISION": "allow",
        "QMP_ROLE": "admin",
        "QMP_PHASE": "intent",
        "QMP_VIA": "ipc",
        "QMP_MODE": "enforce",
        "QMP_UID": "0",
        "QMP_AUID": "1000",
        "QMP_SES": "17",
        "QMP_PID": "99",
        "QMP_RULE": "class-availability",
    }
    assert journal.count.sent == before + 1


@pytest.mark.parametrize(
    ("command", "phase", "priority"),
    [("query-status", "intent", 6), ("query-status", "result", 6), ("quit", "result", 4), ("migrate", "deny", 4),
     ("query-status", "orphan", 4)],
)  # fmt: skip
def test_priorities(command: str, phase: str, priority: int) -> None:
    request = Request(command)
    made = {**record.intent(request, judge(request, Scope()), CONTEXT), "phase": phase}
    fields = parsed(journal.message(made))
    assert fields["PRIORITY"] == str(priority)
    assert fields["MESSAGE"].isprintable() and command in fields["MESSAGE"]


def test_a_runner_that_takes_over() -> None:
    fields = parsed(journal.message(record.started(VmIdentity("web1"), [])))
    assert fields["MESSAGE"] == "a runner takes over web1" and fields["QMP_PHASE"] == "start"


def test_a_runner_whose_qemu_has_arguments_that_nobody_judges() -> None:
    fields = parsed(journal.message(record.started(VmIdentity("web1"), [], ["-fw_cfg", "name=opt/a,string=hush"])))
    assert fields["MESSAGE"] == "a runner takes over web1, whose QEMU has arguments of its user's own (extra_args)"
    assert (fields["PRIORITY"], fields["QMP_CLASS"]) == ("4", "host-exec")


def test_a_full_journal_holds_nobody_up(log: AuditLog, receiver: socket.socket) -> None:
    lost = journal.count.lost
    for number in range(2000):
        log.append({"op": "quit", "number": number}, durable=False)
    assert journal.count.lost > lost, "a socket that nobody reads takes some messages, and no more"


def test_no_journal_and_a_dead_one(log: AuditLog, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (journal.count.sent, journal.count.lost)
    monkeypatch.setattr(journal, "SOCKET", str(tmp_path / "nothing"))
    log.append({"op": "quit"})
    assert (journal.count.sent, journal.count.lost) == before
    (tmp_path / "file").touch()
    monkeypatch.setattr(journal, "SOCKET", str(tmp_path / "file"))
    log.append({"op": "quit"})
    assert journal.count.lost == before[1] + 1
