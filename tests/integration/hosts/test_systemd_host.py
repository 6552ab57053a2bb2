# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs on a real host with systemd, reached over ssh as a plain user with become.

The host ends a login's processes with the login (``KillUserProcesses=yes``), and every task is a login of its
own, so nothing here passes by luck of a session that is still open.
"""

from __future__ import annotations

import json
import subprocess
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard import journal
from ansible_collections.maqet.qemu.tests.hosts import nspawn, play

# No disk, no kernel: the firmware runs and finds nothing to boot, which is all that these tests need.
VM: dict[str, t.Any] = {"state": "running", "machine": "q35", "accel": "tcg", "memory": 64}
TESTER_SLICE = "user-1000.slice"

# Ansible's own async wrapper lives in the login that started it, so that login has to last until it is asked.
PERSIST = {"ansible_ssh_args": "-o ControlMaster=auto -o ControlPersist=10s"}

# Ends a process and returns when it has ended, without waiting for any length of time.
KILL = """
import os, select, signal, sys
process = os.pidfd_open(int(sys.argv[1]))
signal.pidfd_send_signal(process, signal.SIGKILL)
select.select([process], [], [])
"""


def run_task(
    host: nspawn.Host, module: str, arguments: dict[str, t.Any], env: dict[str, str] | None = None, **keywords: t.Any
) -> dict[str, t.Any]:
    """One task under become; ``keywords`` are the task's own (``async``), ``hosts`` the play's. Returns its result."""
    hosts = keywords.pop("hosts", "hypervisors")
    task = {"name": "the task", f"maqet.qemu.{module}": arguments, "become": True, **keywords}
    outcome = play.run_playbook(
        host.inventory,
        [{"hosts": hosts, "gather_facts": False, "tasks": [task]}],
        env=env,
    )
    return outcome.must_succeed().result("the task")


def qemu_pids(host: nspawn.Host, name: str) -> list[str]:
    """The QEMU processes of this VM; files come to them as descriptors, so that its name is all that tells them."""
    return host.root("sh", "-c", f"pgrep -f '^[^ ]*qemu-system-.* guest={name},' || true").split()


def unit(host: nspawn.Host, name: str, *properties: str) -> dict[str, str]:
    """Properties of the unit of a VM, asked of systemd."""
    shown = host.root("systemctl", "show", f"maqet@{name}.service", f"--property={','.join(properties)}")
    return dict(line.partition("=")[::2] for line in shown.splitlines())


@pytest.fixture(scope="module")
def vm(nspawn_host: nspawn.Host) -> t.Iterator[str]:
    """The name of a VM that runs while this module's tests do."""
    name = "shared"
    assert run_task(nspawn_host, "maqet_vm", {"name": name, **VM})["changed"] is True
    yield name
    run_task(nspawn_host, "maqet_vm", {"name": name, "state": "absent", "force": True, "stop_timeout": 1})


def test_vm_has_a_unit_of_its_own(nspawn_host: nspawn.Host, vm: str) -> None:
    """The runner is a service in our slice; QEMU is in that slice too, and in no login's."""
    facts = unit(nspawn_host, vm, "ActiveState", "Slice", "Type", "MainPID")
    pids = qemu_pids(nspawn_host, vm)

    assert {key: facts[key] for key in ("ActiveState", "Slice", "Type")} == {
        "ActiveState": "active",
        "Slice": "maqet.slice",
        "Type": "notify",
    }
    assert len(pids) == 1
    for pid in (facts["MainPID"], *pids):
        cgroups = nspawn_host.root("cat", f"/proc/{pid}/cgroup")
        assert "/maqet.slice/" in cgroups
        assert "user.slice" not in cgroups


def test_running_again_changes_nothing(nspawn_host: nspawn.Host, vm: str) -> None:
    """The VM that is asked for is there: same process, no change."""
    before = qemu_pids(nspawn_host, vm)
    again = run_task(nspawn_host, "maqet_vm", {"name": vm, **VM})

    assert again["changed"] is False
    assert qemu_pids(nspawn_host, vm) == before


@pytest.mark.parametrize(
    ("env", "keywords"),
    [
        pytest.param({"ANSIBLE_PIPELINING": "1"}, {}, id="pipelining"),
        pytest.param({"ANSIBLE_PIPELINING": "0"}, {}, id="no-pipelining"),
        pytest.param({}, {"async": 60, "poll": 1, "vars": PERSIST}, id="async"),
        pytest.param({}, {"hosts": "localhost", "delegate_to": "h1"}, id="delegate_to"),
    ],
)
@pytest.mark.parametrize("mode", ["ipc", "direct"])
def test_query_under(
    nspawn_host: nspawn.Host, vm: str, mode: str, env: dict[str, str], keywords: dict[str, t.Any]
) -> None:
    """A query gets QEMU's own answer and an audit record, however Ansible carries the module."""
    result = run_task(nspawn_host, "maqet_qmp", {"vm": vm, "command": "query-status", "mode": mode}, env, **keywords)

    assert result["response"]["status"] == "running"
    assert result["changed"] is False
    assert result["audit"]


@pytest.mark.parametrize("mode", ["ipc", "direct"])
def test_the_journal_is_told(nspawn_host: nspawn.Host, vm: str, mode: str) -> None:
    """Each record is in the journal with fields of its own, under a fixed id; arguments are not."""
    secret = f"secret-of-{mode}-4711"
    asked = {"vm": vm, "command": "set_password", "arguments": {"protocol": "vnc", "password": secret}, "mode": mode}
    result = run_task(nspawn_host, "maqet_qmp", {**asked, "reason": f"why\nof {mode}"}, ignore_errors=True)
    (denial,) = result["audit"]

    chosen = [f"MESSAGE_ID={journal.MESSAGE_ID}", f"QMP_VM={vm}", f"QMP_OP_ID={denial['op_id']}"]
    nspawn_host.root("journalctl", "--sync")
    (line,) = nspawn_host.root("journalctl", "--output=json", "--all", *chosen).splitlines()
    entry = json.loads(line)
    assert (entry["QMP_OP"], entry["QMP_DECISION"], entry["PRIORITY"]) == ("set_password", "deny", "4")
    assert (entry["QMP_HASH"], entry["QMP_SEQ"]) == (denial["hash"], str(denial["seq"]))
    assert entry["QMP_REASON"] == denial["reason"] and entry["SYSLOG_IDENTIFIER"] == "maqet"
    assert "denied to uid 0" in entry["MESSAGE"]

    everything = nspawn_host.root("journalctl", "--output=json", "--all")
    assert denial["op_id"] in everything
    assert secret not in everything, "neither ours nor Ansible's own 'Invoked with'"
    assert "Invoked with" in everything


def test_info_sees_the_vm(nspawn_host: nspawn.Host, vm: str) -> None:
    """The read-only module tells the same story as the host."""
    result = run_task(nspawn_host, "maqet_vm_info", {"name": vm})

    assert result["changed"] is False
    assert [found["name"] for found in result["vms"]] == [vm]


def test_vm_outlives_the_login_that_started_it(nspawn_host: nspawn.Host, vm: str) -> None:
    """When all logins of the user are killed with all their processes, the VM does not notice."""
    before = qemu_pids(nspawn_host, vm)
    argv = [*nspawn_host.ssh_args, "echo here; exec tail -f /dev/null"]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as login:
        assert login.stdout is not None
        assert login.stdout.readline() == b"here\n"
        nspawn_host.root("systemctl", "stop", TESTER_SLICE)  # returns when its processes are gone
        assert login.wait(timeout=60) != 0

    assert before
    assert qemu_pids(nspawn_host, vm) == before
    assert unit(nspawn_host, vm, "ActiveState") == {"ActiveState": "active"}


@pytest.mark.parametrize("runner", ["alive", "killed"])
def test_nothing_is_left_behind(nspawn_host: nspawn.Host, runner: str) -> None:
    """QEMU outlives its runner; stopping leaves no trace of running, deleting none at all, runner or not."""
    name = f"end-{runner}"
    run_task(nspawn_host, "maqet_vm", {"name": name, **VM})
    before = qemu_pids(nspawn_host, name)
    if runner == "killed":
        nspawn_host.root("python3", "-c", KILL, unit(nspawn_host, name, "MainPID")["MainPID"])
    assert before
    assert qemu_pids(nspawn_host, name) == before

    stopped = run_task(nspawn_host, "maqet_vm", {"name": name, "state": "stopped", "force": True, "stop_timeout": 1})
    assert stopped["changed"] is True
    assert qemu_pids(nspawn_host, name) == []
    assert nspawn_host.root("systemctl", "list-units", "--all", "--no-legend", f"maqet@{name}*") == ""
    nspawn_host.root("test", "!", "-e", f"/run/maqet/{name}")
    nspawn_host.root("test", "-e", f"/var/lib/maqet/vms/{name}/definition.json")

    deleted = run_task(nspawn_host, "maqet_vm", {"name": name, "state": "absent"})
    assert deleted["changed"] is True
    nspawn_host.root("test", "!", "-e", f"/var/lib/maqet/vms/{name}")
    assert run_task(nspawn_host, "maqet_vm", {"name": name, "state": "absent"})["changed"] is False
