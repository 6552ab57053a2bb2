# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plain user and the system's VMs: who may do what follows the host's policy file, at once."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.maqet.qemu.tests.hosts import nspawn, play

VM: dict[str, t.Any] = {"name": "theirs", "state": "running", "accel": "tcg", "memory": 64}
AUDIT = "/var/log/maqet/theirs.audit.jsonl"


def run(host: nspawn.Host, *tasks: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    """Tasks over ssh as the plain user; their results, failed or not."""
    named = [{"name": f"task {number}", "ignore_errors": True, **task} for number, task in enumerate(tasks)]
    whole = [{"hosts": "hypervisors", "gather_facts": False, "tasks": named}]
    outcome = play.run_playbook(host.inventory, whole)
    results = [task.result for task in outcome.tasks]
    assert len(results) == len(tasks), outcome.output
    return results


def qmp(command: str, **options: t.Any) -> dict[str, t.Any]:
    """A task of the plain user."""
    return {"maqet.qemu.maqet_qmp": {"vm": "theirs", "command": command, **options}}


def policy(text: str, mode: str = "0644") -> dict[str, t.Any]:
    """A task of root that writes the policy file."""
    file = {"dest": "/etc/maqet/policy.yml", "content": text, "mode": mode}
    return {"ansible.builtin.copy": file, "become": True}


@pytest.fixture(scope="module")
def host(nspawn_host: nspawn.Host) -> t.Iterator[nspawn.Host]:
    """A host on which root runs a VM."""
    nspawn_host.root("mkdir", "-p", "/etc/maqet")
    (started,) = run(nspawn_host, {"maqet.qemu.maqet_vm": VM, "become": True})
    assert started["vm"]["status"] == "running", started
    yield nspawn_host
    gone = {"name": "theirs", "state": "absent", "force": True, "stop_timeout": 0}
    run(nspawn_host, {"maqet.qemu.maqet_vm": gone, "become": True})


def records(host: nspawn.Host) -> list[dict[str, t.Any]]:
    return [json.loads(line) for line in host.root("cat", AUDIT).splitlines()]


def test_what_a_stranger_reaches(host: nspawn.Host) -> None:
    """The socket and nothing else; and of that, one refusal, of which one record says who it was."""
    host.root("rm", "-f", "/etc/maqet/policy.yml")
    refused, again, info, direct = run(
        host,
        qmp("query-status"),
        qmp("query-status"),
        {"maqet.qemu.maqet_vm_info": {"name": "theirs"}},
        qmp("query-status", mode="direct"),
    )
    for result in (refused, again, info):
        assert result["error_code"] == "policy_denied", result
        assert "user 1000 has no role in /etc/maqet/policy.yml" in result["msg"]
    assert direct["error_code"] == "invalid_option"
    (record,) = [record for record in records(host) if record.get("op") == "connect"]
    assert (record["phase"], record["policy"]["rule"], record["uid"]) == ("deny", "no-role", 1000)
    modes = host.root("stat", "-c", "%a %n", "/run/maqet", "/run/maqet/theirs", "/run/maqet/theirs/runner.sock")
    assert [line.split()[0] for line in modes.splitlines()] == ["711", "711", "666"]
    look = "ls /run/maqet 2>/dev/null; cat /run/maqet/theirs/status.json /var/log/maqet/* 2>/dev/null; true"
    assert host.ssh("sh", "-c", look) == ""


def test_roles_follow_the_file_without_a_restart(host: nspawn.Host) -> None:
    (before,) = run(host, {"maqet.qemu.maqet_vm_info": {"name": "theirs"}, "become": True})
    results = run(
        host,
        policy("version: 1\nroles: {viewer: {users: [tester]}}\n"),
        qmp("query-status"),
        qmp("stop"),
        qmp("screendump", arguments={"filename": "screen.ppm"}),
        {"maqet.qemu.maqet_vm_info": {"name": "theirs"}},
        policy("version: 1\nroles: {operator: {groups: [tester]}}\n"),
        qmp("stop"),
        qmp("cont"),
        qmp("human-monitor-command", arguments={"command-line": "info version"}, allow_dangerous=True),
        policy("version: 1\nroles: {operator: {groups: [tester]}, oops: 1}\n"),
        qmp("query-status"),
        {**qmp("stop"), "become": True},
        {**qmp("query-status"), "become": True},
    )
    _, seen, stopped, shot, info, _, paused, resumed, hmp, _, stranger, root_stop, root_look = results
    assert seen["response"]["status"] == "running", seen
    assert {record["uid"] for record in seen["audit"]} == {1000}
    for result in (stopped, shot, hmp, stranger, root_stop):
        assert result["error_code"] == "policy_denied", result
    assert info["vms"][0]["status"] == "running", info
    assert paused["response"] == resumed["response"] == {}, (paused, resumed)
    assert "oops" in root_stop["msg"] and root_look["response"]["status"] == "running"
    (after,) = run(host, {"maqet.qemu.maqet_vm_info": {"name": "theirs"}, "become": True})
    assert after["vms"][0]["runner_pid"] == before["vms"][0]["runner_pid"]


def test_a_file_that_others_may_write_is_not_obeyed(host: nspawn.Host) -> None:
    text = "version: 1\nroles: {admin: {users: [tester]}}\n"
    _, refused, root, _, obeyed = run(
        host,
        policy(text, mode="0666"),
        qmp("query-status"),
        {**qmp("stop"), "become": True},
        policy(text),
        qmp("query-status"),
    )
    assert refused["error_code"] == root["error_code"] == "policy_denied"
    assert "chmod go-w /etc/maqet/policy.yml" in root["msg"]
    assert obeyed["response"]["status"] == "running"


def test_the_vms_own_policy_is_live(host: nspawn.Host) -> None:
    """maqet_vm takes from a running VM what the host allows, and gives it back."""

    def tighten(value: dict[str, t.Any]) -> dict[str, t.Any]:
        return {"maqet.qemu.maqet_vm": {"name": "theirs", "policy": value}, "become": True}

    denied = {"commands": {"stop": "deny"}}
    host.root("rm", "-f", "/etc/maqet/policy.yml")
    wide, set_, same, stopped, back, again = run(
        host,
        tighten({"commands": {"stop": "allow"}}),
        tighten(denied),
        tighten(denied),
        {**qmp("stop"), "become": True},
        tighten({}),
        {**qmp("stop"), "become": True},
    )
    assert wide["error_code"] == "invalid_option" and "policy.commands.stop.decision" in wide["msg"]
    assert set_["changed"] and not same["changed"], (set_, same)
    assert set_["vm"]["definition"]["policy"] == denied
    assert stopped["error_code"] == "policy_denied", stopped
    assert back["changed"] and again["response"] == {}, again
