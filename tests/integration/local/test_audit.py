# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit of real VMs: what is left of a runner that is killed, and what maqet_audit_info tells of a log."""

from __future__ import annotations

import json
import os
import signal
import stat
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard.chain import read, verify
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import of_pid, wait_readable
from ansible_collections.maqet.qemu.plugins.module_utils.host.watch import GrowingFile
from ansible_collections.maqet.qemu.tests.integration.local.conftest import Local, Result, given
from ansible_collections.maqet.qemu.tests.integration.local.test_hard_ends import FORCE, ask, connect


def kill_between(name: str) -> tuple[Result, Result]:
    """Kill a runner that has recorded an intent and waits for QEMU: the task that started it, and that intent."""
    started = given(name)
    qemu, runner = (of_pid(started["vm"][key]) for key in ("qemu_pid", "runner_pid"))
    assert qemu is not None and runner is not None
    qemu.kill(signal.SIGSTOP)
    with GrowingFile(layout().vm(name).audit_log) as log, connect(name) as client:
        log.read()
        client.sendall(ask(1, op="qmp", commands=[{"execute": "query-block"}]))
        text = b""
        while b"\n" not in text:
            assert wait_readable([log.fd], 30), "no intent was written"
            text += log.read()
        runner.kill()
        assert runner.wait_gone(10)
    qemu.kill(signal.SIGCONT)
    intent: Result = json.loads(text.splitlines()[0])
    assert (intent["phase"], intent["op"], intent["writer"]["pid"]) == ("intent", "query-block", runner.pid)
    return started, intent


@pytest.mark.parametrize("heir", ["runner", "direct"])
def test_a_runner_that_is_killed_leaves_an_orphan(local: Local, name: str, heir: str) -> None:
    """kill -9 between intent and result: whoever writes next says that the outcome is not known."""
    _started, intent = kill_between(name)
    if heir == "runner":
        next_one = local.run({"maqet_vm": {"name": name, "state": "restarted", **FORCE}})[0]
    else:
        next_one = local.qmp(name, command="query-status", mode="direct")
    assert not next_one["failed"], next_one
    path = layout().vm(name).audit_log
    (orphan,) = (record for record in read(path) if record["phase"] == "orphan")
    assert (orphan["op_id"], orphan["op"], orphan["vm"]) == (intent["op_id"], "query-block", name)
    assert orphan["res"] == "unknown" and orphan["intent"]["seq"] == intent["seq"]
    again, told = local.run(
        {"maqet_vm": {"name": name, "state": "restarted", **FORCE}},
        {"maqet_audit_info": {"vm": name, "phases": ["orphan", "start"]}},
    )
    assert not again["failed"], again
    assert told["verified"] is True
    assert [record["phase"] for record in told["records"]].count("orphan") == 1
    assert verify(path).ok


def test_what_is_told_of_a_log(local: Local, running: str) -> None:
    """Filters choose, the whole chain is verified, a witness is heard, and the first bad record is named."""
    sent = local.run(
        {"maqet_qmp": {"vm": running, "command": "query-status"}},
        {"maqet_qmp": {"vm": running, "command": "migrate", "arguments": {"uri": "tcp:h:1"}}},
        {"maqet_qmp": {"vm": running, "command": "query-status", "mode": "direct"}},
    )
    witness = {key: sent[0]["audit"][-1][key] for key in ("seq", "hash")}
    info: Result = {"vm": running}
    whole, denied, last, read_only, future, nobody, me, seen, forged = local.run(
        *(
            {"maqet_audit_info": {**info, **chosen}}
            for chosen in (
                {},
                {"decisions": ["deny"], "since": "1h"},
                {"limit": 1},
                {"classes": ["read"], "commands": ["query-status"], "phases": ["result"]},
                {"since": "2999-01-01"},
                {"users": ["nobody"]},
                {"users": ["root" if os.getuid() == 0 else str(os.getuid())]},
                {"witness": witness},
                {"witness": {**witness, "hash": "0" * 64}},
            )
        )
    )
    assert whole["verified"] is True and whole["total"] == len(whole["records"]) == whole["head"]["seq"]
    assert [record["op"] for record in denied["records"]] == ["migrate"] and denied["total"] >= whole["total"]
    assert last["records"] == whole["records"][-1:] and last["found"] == len(whole["records"])
    assert len(read_only["records"]) == 2
    assert future["records"] == [] and nobody["records"] == []
    assert me["records"] == [record for record in whole["records"] if record.get("uid") == os.getuid()]
    assert seen["verified"] is True
    assert forged["verified"] is False and forged["first_bad_seq"] == witness["seq"]
    assert "witness" in forged["problem"]


def test_the_key_of_the_host_marks_what_is_removed(local: Local, running: str) -> None:
    """The same secret twice has the same mark, whoever wrote the record; the key is its owner's alone."""
    argument: Result = {"protocol": "vnc", "password": "tr0ub4dor-and-3"}
    tasks = [
        {"maqet_qmp": {"vm": running, "command": "set_password", "arguments": argument, "mode": mode}}
        for mode in ("ipc", "direct")
    ]
    local.run(*tasks)
    marks = [
        record["args"]["password"]["mac"]
        for record in read(layout().vm(running).audit_log)
        if record.get("op") == "set_password"
    ]
    assert len(marks) >= 2 and len(set(marks)) == 1 and len(marks[0]) == 16
    key = Path(layout().audit_key)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600 and len(key.read_bytes()) == 32
