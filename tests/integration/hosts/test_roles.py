# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's policy and its roles at work: real users of a real host, before a VM that root has started."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.maqet.qemu.tests.hosts import nspawn, play

NAME = "shared"
VM: dict[str, t.Any] = {"name": NAME, "state": "running", "machine": "q35", "accel": "tcg", "memory": 64}
#: vera may look, by her own name; otto may operate, by a group; nora may nothing.
USERS = "groupadd ops; useradd -m vera; useradd -m -G ops otto; useradd -m nora"
POLICY: dict[str, t.Any] = {
    "version": 1,
    "roles": {"viewer": {"users": ["vera"]}, "operator": {"groups": ["ops"]}},
}
# One login for all tasks of a play.
PERSIST = {"ansible_ssh_args": "-o ControlMaster=auto -o ControlPersist=20s"}


def obey(host: nspawn.Host, policy: dict[str, t.Any]) -> None:
    """Put the policy in its place at once, as an editor or ansible.builtin.copy does. JSON is YAML."""
    script = 'mkdir -p /etc/maqet && printf %s "$1" >/etc/maqet/new && mv /etc/maqet/new /etc/maqet/policy.yml'
    host.root("sh", "-euc", f"umask 022; {script}", "sh", json.dumps(policy))


def run(host: nspawn.Host, *tasks: tuple[str, dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Tasks of one play, each as its own user, with the options of the module that they fit. Results, failed or not."""
    whole = []
    for number, (user, options) in enumerate(tasks):
        module = (
            "maqet_qmp"
            if options.keys() & {"command", "commands"}
            else "maqet_vm"
            if "state" in options
            else "maqet_vm_info"
        )
        named = {"vm": NAME, **options} if module == "maqet_qmp" else {"name": NAME, **options}
        become = {"become": True, "become_user": user, "ignore_errors": True}
        whole.append({"name": f"task {number}", f"maqet.qemu.{module}": named, **become})
    plays = [{"hosts": "hypervisors", "gather_facts": False, "tasks": whole}]
    outcome = play.run_playbook(host.inventory, plays, extra_vars=PERSIST)
    assert len(outcome.tasks) == len(tasks), outcome.output
    return [task.result for task in outcome.tasks]


def commands(*names: str) -> dict[str, t.Any]:
    """Several commands in one task."""
    return {"commands": [{"command": name} for name in names]}


def records(host: nspawn.Host) -> list[dict[str, t.Any]]:
    return [json.loads(line) for line in host.root("cat", f"/var/log/maqet/{NAME}.audit.jsonl").splitlines()]


def uid(host: nspawn.Host, user: str) -> int:
    return int(host.root("id", "-u", user))


def processes(host: nspawn.Host) -> list[str]:
    """The runner and QEMU: nothing in here may restart one of them."""
    return host.root("pgrep", "-f", f"maqet.*{NAME}").split()


@pytest.fixture(scope="module")
def host(nspawn_host: nspawn.Host) -> nspawn.Host:
    """A host with users, a policy and a running VM of root's."""
    nspawn_host.root("sh", "-euc", USERS)
    obey(nspawn_host, POLICY)
    (started,) = run(nspawn_host, ("root", VM))
    assert started["vm"]["status"] == "running", started
    return nspawn_host  # which goes as a whole


def denied(result: dict[str, t.Any], rule: str) -> str:
    """The message of a refusal by this rule."""
    assert result.get("error_code") == "policy_denied", result
    assert result["decision"]["rule"] == rule, result
    return str(result["msg"])


def statuses(result: dict[str, t.Any]) -> list[t.Any]:
    """What the answers to several commands say of the VM's state, where they do."""
    assert "error_code" not in result, result
    return [answer.get("status") for answer in result["responses"]]


def test_each_does_what_its_role_may(host: nspawn.Host) -> None:
    """By the kernel's word for who asks: all of them come over the same login."""
    before = processes(host)
    hmp = {"command": "human-monitor-command", "arguments": {"command-line": "info version"}, "allow_dangerous": True}
    looked, quitted, direct, facts, operated, monitor, first, second, root = run(
        host,
        ("vera", {"command": "query-status"}),
        ("vera", {"command": "quit", "allow_dangerous": True}),
        ("vera", {"command": "query-status", "mode": "direct"}),
        ("vera", {}),
        ("otto", commands("stop", "query-status", "cont")),
        ("otto", hmp),
        ("nora", {"command": "query-status"}),
        ("nora", {"command": "query-status"}),
        ("root", {"command": "query-status"}),
    )
    assert (looked["response"]["status"], looked["decision"]["role"]) == ("running", "viewer")
    assert "a viewer may not use quit" in denied(quitted, "role")
    assert (direct["error_code"], "a VM of the system" in direct["msg"]) == ("invalid_option", True), direct
    assert [vm["status"] for vm in facts["vms"]] == ["running"], facts
    assert statuses(operated) == [None, "paused", None]
    assert {decision["role"] for decision in operated["decisions"]} == {"operator"}
    denied(monitor, "role")
    nora = uid(host, "nora")
    for refused in (first, second):
        assert f"user {nora} has no role in /etc/maqet/policy.yml" in denied(refused, "no-role")
        assert f"{{viewer: {{users: [{nora}]}}}}" in refused["remedy"]
    assert (root["response"]["status"], root["decision"]["role"]) == ("running", "admin")
    assert processes(host) == before

    (kept,) = quitted["audit"]
    written = records(host)
    assert next(one for one in written if one["hash"] == kept["hash"])["op"] == "quit"
    assert (kept["phase"], kept["uid"], kept["role"]) == ("deny", uid(host, "vera"), "viewer")
    assert [(one["phase"], one["op"]) for one in written if one.get("uid") == nora] == [("deny", "connect")]
    assert {one["policy"]["id"] for one in written if one.get("op") == "quit"} == {"/etc/maqet/policy.yml"}


def test_a_policy_counts_from_the_next_task_on(host: nspawn.Host) -> None:
    before = processes(host)
    roles = {**POLICY["roles"], "viewer": {"users": ["vera"], "groups": ["nora"], "commands": ["stop", "cont"]}}
    obey(host, {**POLICY, "roles": roles})
    operated, quitted, nora = run(
        host,
        ("vera", commands("stop", "query-status", "cont")),
        ("vera", {"command": "quit"}),
        ("nora", {"command": "query-status"}),
    )
    assert statuses(operated) == [None, "paused", None]
    denied(quitted, "role")
    assert nora["response"]["status"] == "running", nora
    obey(host, POLICY)
    stopped, nora = run(host, ("vera", {"command": "stop"}), ("nora", {"command": "query-status"}))
    denied(stopped, "role")
    denied(nora, "no-role")
    assert processes(host) == before


def test_a_file_that_others_may_write_leaves_nothing_but_reading(host: nspawn.Host) -> None:
    host.root("chmod", "0666", "/etc/maqet/policy.yml")
    vera, looked, stopped = run(
        host,
        ("vera", {"command": "query-status"}),
        ("root", {"command": "query-status"}),
        ("root", {"command": "stop", "allow_dangerous": True}),
    )
    host.root("chmod", "0644", "/etc/maqet/policy.yml")
    words = "has the mode 0666: others may write to it. Close it: chmod go-w /etc/maqet/policy.yml"
    assert words in denied(vera, "no-role")
    assert looked["response"]["status"] == "running", looked
    assert words in denied(stopped, "policy-unsafe")
    (again,) = run(host, ("vera", {"command": "query-status"}))
    assert again["response"]["status"] == "running", again


def test_a_vms_own_policy_narrows_it_while_it_runs(host: nspawn.Host) -> None:
    before = processes(host)
    narrowed, refused, wider, taken_back, operated = run(
        host,
        ("root", {**VM, "policy": {"commands": {"stop": "deny"}}}),
        ("root", {"command": "stop"}),
        ("root", {**VM, "policy": {"commands": {"stop": "allow"}}}),
        ("root", {**VM, "policy": {}}),
        ("root", commands("stop", "query-status", "cont")),
    )
    assert narrowed["changed"] and taken_back["changed"], (narrowed, taken_back)
    assert "the policy of the vm says so" in denied(refused, "policy")
    assert refused["decision"]["layer"] == "vm"
    assert (wider["error_code"], "can only tighten" in wider["msg"]) == ("invalid_option", True), wider
    assert statuses(operated) == [None, "paused", None]
    assert processes(host) == before


def test_a_user_passes_to_the_runners_socket_and_to_nothing_else(host: nspawn.Host) -> None:
    folder = f"/run/maqet/{NAME}"
    shown = host.root("stat", "-c", "%n %a %U", "/run/maqet", folder, f"{folder}/runner.sock").splitlines()
    assert shown == ["/run/maqet 711 root", f"{folder} 711 root", f"{folder}/runner.sock 666 root"]
    others = host.root("find", folder, "-mindepth", "1", "-not", "-name", "runner.sock").split()
    assert {f"{folder}/monitor.sock", f"{folder}/direct.sock", f"{folder}/status.json"} <= set(others)
    # Written by the kernel's own judgement: connect(2) and open(2) as that user.
    probe = (
        "import socket, sys\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n"
        "        socket.socket(socket.AF_UNIX).connect(path) if path.endswith('.sock') else open(path)\n"
        "        print('open', path)\n"
        "    except PermissionError: pass\n"
        "    except OSError as error: print(error, path)\n"
    )
    homes = [
        f"/var/lib/maqet/vms/{NAME}/definition.json",
        f"/var/log/maqet/{NAME}.audit.jsonl",
        "/var/lib/maqet/audit.key",
    ]
    tried = [*others, *homes, f"{folder}/runner.sock"]
    said = host.root("runuser", "-u", "nora", "--", "/usr/bin/python3", "-c", probe, *tried)
    assert said.splitlines() == [f"open {folder}/runner.sock"]
    with pytest.raises(nspawn.HostError, match="Permission denied"):
        host.root("runuser", "-u", "nora", "--", "ls", "/run/maqet")
