# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An intent whose writer is gone gets an ``orphan`` record, once, and no other intent does."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import time
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard import moment, orphans, record
from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import Caller
from ansible_collections.maqet.qemu.plugins.module_utils.guard.chain import read, verify
from ansible_collections.maqet.qemu.plugins.module_utils.guard.judge import Request, judge
from ansible_collections.maqet.qemu.plugins.module_utils.guard.log import AuditLog
from ansible_collections.maqet.qemu.plugins.module_utils.guard.record import Context, VmIdentity
from ansible_collections.maqet.qemu.plugins.module_utils.guard.scope import Scope

VM = VmIdentity("web1", "6c1e7f8a-0000-4000-8000-000000000001", 4711, 99)


@pytest.fixture(scope="module")
def dead() -> dict[str, t.Any]:
    """A process that has been."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        start = moment.start_ticks(process.pid)
        process.communicate(b"\n")
    return {"pid": process.pid, "start": start}


def intent(log: AuditLog, **change: t.Any) -> dict[str, t.Any]:
    request = Request("quit")
    made = record.intent(request, judge(request, Scope()), Context(VM, Caller(uid=0), "ipc"))
    return log.append({**made, **change}, durable=False)


def test_only_the_dead_leave_orphans(log: AuditLog, dead: dict[str, t.Any]) -> None:
    finished = intent(log, writer=dead)
    log.append(record.result(finished, "success"))
    lost = intent(log, writer=dead)
    reused = intent(log, writer={"pid": os.getpid(), "start": 1})
    rebooted = intent(log, boot_id="another")
    old = intent(log, writer=None)
    intent(log)  # ours: its result is to come
    made = orphans.adopt(log)
    assert [each["op_id"] for each in made] == [each["op_id"] for each in (lost, reused, rebooted, old)]
    one = made[0]
    assert (one["phase"], one["res"], one["op"], one["vm"]) == ("orphan", "unknown", "quit", "web1")
    assert one["intent"] == {"seq": lost["seq"], "writer": dead, "boot_id": lost["boot_id"]}
    assert one["writer"] == moment.writer() and "not known" in one["error"]
    assert verify(log.path).ok
    assert orphans.adopt(log) == [], "once"
    assert read(log.path)[-4:] == made


def test_a_runner_leaves_a_mark_and_looks_no_further(log: AuditLog, dead: dict[str, t.Any]) -> None:
    lost = intent(log, writer=dead)
    alive = intent(log)
    *made, mark = orphans.start(log, VM)
    assert [each["op_id"] for each in made] == [lost["op_id"]]
    assert (mark["phase"], mark["open"], mark["vm"]) == ("start", [alive["op_id"]], "web1")
    seen: list[int] = []
    with log.held() as held:
        lines = (seen.append(len(line)) or line for line in held.backwards())  # type: ignore[func-returns-value]
        assert [each["op_id"] for each in orphans._unfinished(lines, orphans.FAR)] == [alive["op_id"]]
        assert len(seen) == 3, "behind the mark only as far as the intent that was open"
    log.append(record.result(alive, "success"))
    intent(log, writer=dead)
    made = orphans.start(log, VM)
    assert [each["phase"] for each in made] == ["orphan", "start"] and made[-1]["open"] == []
    seen.clear()
    with log.held() as held:
        assert orphans._unfinished(held.backwards(), orphans.FAR) == []


def test_the_mark_names_arguments_of_the_users_own(log: AuditLog) -> None:
    (mark,) = orphans.start(log, VM, ["-device", "virtio-rng-pci", "-object", "secret,id=a,data=hush"])
    assert mark["args"] == {
        "extra_args": ["-device", "virtio-rng-pci", "-object", "secret,id=a,data=<redacted:4>"],
    }
    assert (mark["phase"], mark["class"], mark["level"]) == ("start", "host-exec", "warning")
    assert verify(log.path).ok and "hush" not in pathlib.Path(log.path).read_text("utf-8")
    (plain,) = orphans.start(log, VM)
    assert "args" not in plain and "level" not in plain


def test_an_intent_that_was_open_at_the_mark_is_not_lost(log: AuditLog, dead: dict[str, t.Any]) -> None:
    """A task in direct mode that is killed after a runner has started."""
    child = intent(log)
    orphans.start(log, VM)
    # What the next one sees when this process is gone.
    orphaned = [each for each in orphans._unfinished(log_lines(log), orphans.FAR) if each["op_id"] == child["op_id"]]
    assert len(orphaned) == 1 and not orphans.writer_lives({**orphaned[0], "writer": dead})


def log_lines(log: AuditLog) -> list[bytes]:
    with log.held() as held:
        return list(held.backwards())


def test_a_big_log_is_quick(log: AuditLog, dead: dict[str, t.Any]) -> None:
    """Bounded by bytes, whatever the size of the log."""
    log.append({"op": "quit", "args": "x" * (1 << 20)}, durable=False)
    early = intent(log, writer=dead)
    log.append({"op": "quit", "args": "x" * (1 << 20)}, durable=False)
    for _number in range(300):
        log.append(record.result(intent(log), "success"), durable=False)
    begun = time.perf_counter()
    assert orphans.adopt(log) == []
    assert time.perf_counter() - begun < 1
    assert [each["op_id"] for each in orphans.start(log, VM)[:-1]] == [early["op_id"]]


def test_through_older_files(log: AuditLog, dead: dict[str, t.Any]) -> None:
    lost = intent(log, writer=dead)
    small = AuditLog(log.path, 100)
    small.append({"op": "stop"})
    assert [each["op_id"] for each in orphans.adopt(small)] == [lost["op_id"]]


def test_damaged_lines_are_passed_over(log: AuditLog, dead: dict[str, t.Any]) -> None:
    lost = intent(log, writer=dead)
    with open(log.path, "ab") as file:
        file.write(b"rubbish\n[]\n{}\n")
    intent_line = log_lines(AuditLog(log.path))[-1]
    assert orphans._record(intent_line)["op_id"] == lost["op_id"]
    assert [each["op_id"] for each in orphans._unfinished(log_lines(log), orphans.NEAR)] == [lost["op_id"]]


def test_who_lives() -> None:
    me = {"writer": moment.writer(), "boot_id": moment.boot_id()}
    assert orphans.writer_lives(me)
    for wrong in ({"writer": "x"}, {"writer": {"pid": "1", "start": 1}}, {"writer": {"pid": os.getpid()}}):
        assert not orphans.writer_lives({**me, **wrong})
