# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migration between two hosts with systemd, over ssh and with become, neither of which can be reached but by ssh."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import typing as t

import pytest
from ansible_collections.maqet.qemu.tests.hosts import nspawn, play

VM: t.Final = "moving"
GUEST: dict[str, t.Any] = {
    "name": VM,
    "state": "running",
    "accel": "tcg",
    "memory": 192,
    "kernel": "/srv/guest/vmlinuz",
    "initrd": "/srv/guest/initramfs",
    "cmdline": "console=ttyS0 quiet maqet.count",
    "disks": [{"name": "root", "size": "8M"}],
    "autostart": True,
    "wait_for": [{"serial": "maqet count: 3"}],
    "timeout": 300,
}
Hosts = tuple[nspawn.Host, nspawn.Host]
# One login for all tasks of a play, as users have it; the tunnel must not use it.
PERSIST = {"ansible_ssh_args": "-o ControlMaster=auto -o ControlPersist=20s"}

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def hosts(host_run: nspawn.Run) -> Hosts:
    """Two hosts with the test guest."""
    folder = play.REPOSITORY / ".dev/guest"
    build = [sys.executable, str(play.REPOSITORY / "tests/guest/build.py"), "--output", str(folder)]
    subprocess.run(build, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    made = (host_run.up("one"), host_run.up("two"))
    for host in made:
        there = host.folder / "root/srv/guest"
        there.mkdir(mode=0o755)
        for name in ("vmlinuz", "initramfs"):
            shutil.copy(folder / name, there)
        host.root("chmod", "-R", "a+rX", "/srv/guest")
    return made


def tasks(
    hosts: Hosts,
    where: str,
    *wanted: dict[str, t.Any],
    options: t.Sequence[str] = (),
    interrupt: str | None = None,
) -> play.PlayOutcome:
    """Tasks of our modules on one host, by the inventory of both."""
    whole = [{"become": True, **{f"maqet.qemu.{module}": given for module, given in task.items()}} for task in wanted]
    plays = [{"hosts": where, "gather_facts": False, "tasks": whole}]
    return play.run_playbook(hosts[0].run.inventory(), plays, extra_vars=PERSIST, options=options, interrupt=interrupt)


def migrate(hosts: Hosts, where: str, to: str, **more: t.Any) -> dict[str, t.Any]:
    outcome = tasks(hosts, where, {"maqet_migrate": {"name": VM, "to": to, **more}}).must_succeed()
    return {**outcome.tasks[0].result, "output": outcome.output}


def remove(hosts: Hosts) -> None:
    """The VM, wherever it is."""
    gone = {"name": VM, "state": "absent", "purge": True, "force": True, "stop_timeout": 0}
    tasks(hosts, "hypervisors", {"maqet_vm": gone}).must_succeed()


def known(host: nspawn.Host) -> list[str]:
    """The VMs that are defined there."""
    return host.root("sh", "-c", "ls /var/lib/maqet/vms 2>/dev/null || true").split()


def processes(host: nspawn.Host) -> list[str]:
    return host.root("sh", "-c", "pgrep -f '^/[^ ]*qemu-system.* guest=moving,' || true").split()


def test_there_and_back(hosts: Hosts) -> None:
    one, two = hosts
    remove(hosts)
    tasks(hosts, "one", {"maqet_vm": GUEST}).must_succeed()
    moved = migrate(hosts, "one", "two")
    assert moved["changed"] and moved["vm"]["status"] == "running", moved
    assert moved["downtime"] <= moved["stopped"] <= moved["total_time"], moved
    assert "moving -> two: handed over" in moved["output"]
    assert (known(one), known(two)) == ([], [VM])
    assert (len(processes(one)), len(processes(two))) == (0, 1)
    assert one.root("sh", "-c", "ls -d /tmp/maqet-* 2>/dev/null || true") == ""
    assert two.root("systemctl", "is-enabled", f"maqet@{VM}.service").strip() == "enabled"
    records = [json.loads(line) for line in two.root("cat", f"/var/log/maqet/{VM}.audit.jsonl").splitlines()]
    assert {"migrate-incoming", "cont"} <= {record.get("op") for record in records}
    assert not migrate(hosts, "one", "two")["changed"]
    back = migrate(hosts, "two", "one")
    assert back["changed"] and (known(one), known(two)) == ([VM], [])
    remove(hosts)
    assert (known(one), known(two)) == ([], [])


def test_an_interrupted_task_is_taken_back(hosts: Hosts) -> None:
    """Ctrl-C on the controller: the guest goes on where it was, and the same task again moves it."""
    one, two = hosts
    remove(hosts)
    tasks(hosts, "one", {"maqet_vm": GUEST}).must_succeed()
    slow = {"maqet_migrate": {"name": VM, "to": "two", "bandwidth": "1M", "downtime_limit": 1}}
    interrupted = tasks(hosts, "one", slow, interrupt="-> two: memory: ")
    assert interrupted.rc != 0
    # The runner takes it back by itself; who asks it to waits for that.
    state = tasks(hosts, "two", {"maqet_migrate": {"name": VM, "to": "one"}}, options=["--check"])
    assert (len(processes(one)), known(one)) == (1, [VM]), state.output
    moved = migrate(hosts, "one", "two")
    assert moved["changed"] and (known(one), known(two)) == ([], [VM]), moved
    remove(hosts)
    assert (known(one), known(two)) == ([], [])
