# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that hang, files that vanish, clients that misbehave: a VM is neither lost nor unstoppable."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import typing as t
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import of_pid
from ansible_collections.maqet.qemu.tests.hosts import modules
from ansible_collections.maqet.qemu.tests.integration.local.conftest import (
    NOTHING,
    Local,
    Result,
    given,
    state_of,
    traces,
)

FORCE = {"force": True, "stop_timeout": 1, "timeout": 5}


@pytest.mark.parametrize("state", ["stopped", pytest.param("absent", marks=pytest.mark.long)])
@pytest.mark.parametrize("victim", ["qemu_pid", "runner_pid"])
def test_a_process_that_hangs_can_be_ended_by_force(local: Local, name: str, victim: str, state: str) -> None:
    """Without force the task says what hangs; with it, the VM is gone, if need be by SIGKILL."""
    started = given(name)
    process = of_pid(started["vm"][victim])
    assert process is not None
    process.kill(signal.SIGSTOP)
    refused, info, ended = local.run(
        {"maqet_vm": {"name": name, "state": "running", "timeout": 1}},
        {"maqet_vm_info": {"name": name, "timeout": 1}},
        {"maqet_vm": {"name": name, "state": state, **FORCE}},
    )
    assert refused["error_code"] in ("qmp_timeout", "runner_unreachable", "monitor_unreachable"), refused
    assert info["vms"][0]["status"] == "unknown" and info["vms"][0]["error"]
    assert info["vms"][0]["qemu_pid"] == started["vm"]["qemu_pid"]
    assert not ended["failed"], ended
    assert not process.alive()
    assert traces(name) == []


@pytest.mark.parametrize("loss", ["run folder", "status"])
def test_a_vm_whose_status_is_lost_is_still_seen(local: Local, name: str, loss: str) -> None:
    """The kernel knows that its QEMU lives: no second one is started, and stopped and absent end it first."""
    started = given(name)
    qemu = of_pid(started["vm"]["qemu_pid"])
    assert qemu is not None
    if loss == "run folder":
        shutil.rmtree(layout().vm(name).run)
    else:
        Path(layout().vm(name).status).write_text("[]", "utf-8")
    info, ended = local.run({"maqet_vm_info": {"name": name}}, {"maqet_vm": {"name": name, "state": "absent", **FORCE}})
    assert info["vms"][0]["qemu_pid"] == qemu.pid
    assert not ended["failed"], ended
    assert ended["actions"][0]["action"] == "stop"
    assert not qemu.alive()
    assert traces(name) == []


def test_a_change_that_qemu_refuses_leaves_the_guest_running(local: Local, name: str) -> None:
    """It was stopped for the change, so it is started again as it was, and the error says so."""
    started, broken, info = local.run(
        {"maqet_vm": {"name": name, "state": "running", **NOTHING}},
        {
            "maqet_vm": {
                "name": name,
                "extra_args": ["-device", "nonesuch"],
                "allow_restart": True,
                **FORCE,
                "timeout": 60,
            }
        },
        {"maqet_vm_info": {"name": name}},
    )
    assert broken["error_code"] == "qemu_failed" and broken["restored"] is True and broken["changed"] is True
    (vm,) = info["vms"]
    assert vm["status"] == "running" and vm["definition"] == started["vm"]["definition"]
    assert vm["qemu_pid"] != started["vm"]["qemu_pid"]


def connect(name: str) -> socket.socket:
    """A raw client of a VM's runner."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(layout().vm(name).runner_socket)
    return client


def ask(number: int, **request: t.Any) -> bytes:
    """One request as a line."""
    return json.dumps({"id": number, **request}).encode() + b"\n"


def test_a_client_that_reads_nothing_holds_nobody_up(local: Local, name: str) -> None:
    """Neither other clients nor the end of the VM; and its unread answers are bounded."""
    started = given(name)
    runner = of_pid(started["vm"]["runner_pid"])
    assert runner is not None
    schemas = ask(1, op="qmp", commands=[{"execute": "query-qmp-schema"}] * 20)
    with connect(name) as deaf:
        deaf.setblocking(False)
        sent = 0
        with pytest.raises(BlockingIOError):  # the runner stops reading from a client that does not read
            while sent < 10_000:
                deaf.sendall(schemas)
                sent += 1
        asked, quit_ = local.run(
            {"maqet_qmp": {"vm": name, "command": "query-status"}}, {"maqet_qmp": {"vm": name, "command": "quit"}}
        )
        assert asked["response"]["status"] == "running"
        # With thousands of answers before it, QEMU may end before it has sent the one to 'quit'.
        assert not quit_["failed"] or quit_["error_code"] == "qemu_gone", quit_
        assert runner.wait_gone(30)
    assert traces(name) == []
    assert modules.must("maqet_vm_info", name=name)["vms"][0]["last_exit"]["status"] == 0


def test_garbage_on_the_runners_socket(running: str) -> None:
    """An answer that says so, and a runner that goes on."""
    for line in (b"garbage\n", b"[]\n", b'{"id": 1}\n', ask(2, op="qmp"), ask(3, op="qmp", commands=[], timeout="x")):
        with connect(running) as client, client.makefile("rb") as answers:
            assert "hello" in json.loads(answers.readline())
            client.sendall(line)
            assert json.loads(answers.readline())["error"]["error_code"] == "invalid_request"
    assert state_of(running) == "running"


def test_a_runner_that_is_asked_to_end_leaves_its_guest(local: Local, name: str) -> None:
    """SIGTERM, as systemd sends it: QEMU goes on, and a restart gives it a runner again."""
    started = given(name)
    runner = of_pid(started["vm"]["runner_pid"])
    assert runner is not None
    os.kill(runner.pid, signal.SIGTERM)
    assert runner.wait_gone(10)
    info, again = local.run(
        {"maqet_vm_info": {"name": name}}, {"maqet_vm": {"name": name, "state": "restarted", **FORCE}}
    )
    assert info["vms"][0]["qemu_pid"] == started["vm"]["qemu_pid"] and info["vms"][0]["status"] == "running"
    assert again["vm"]["runner_pid"] is not None


def test_damaged_files_are_errors_in_words(name: str) -> None:
    """A definition that is none, or another VM's, is not guessed at; the other VMs are still listed."""
    made = given(name, state="present")
    path = Path(layout().vm(name).definition)
    good = path.read_text("utf-8")
    for bad in ("{", "null", "[]", good.replace(name, "another"), good.replace(made["vm"]["uuid"], "x; y")):
        path.write_text(bad, "utf-8")
        refused = modules.run_module("maqet_vm", {"name": name, "state": "running"}).result
        listed = modules.must("maqet_vm_info")
        assert refused["error_code"] == "state_unsafe", (bad, refused)
        assert str(path) in refused["msg"] or "definition" in refused["msg"]
        entry: Result = next(vm for vm in listed["vms"] if vm["name"] == name)
        assert entry["status"] == "unknown" and entry["error"]
    path.write_text(good, "utf-8")
