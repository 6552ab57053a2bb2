# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real VMs as units: what becomes of guests when runners are killed, the host goes down, or loses its power.

The host ends a login's processes with the login (``KillUserProcesses=yes``), and every task is a login of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
import typing as t

import pytest
from ansible_collections.maqet.qemu.tests.hosts import nspawn, play, rootfs

FIRMWARE: dict[str, t.Any] = {"state": "running", "accel": "tcg", "memory": 64}
GUEST: dict[str, t.Any] = {
    "state": "running",
    "accel": "tcg",
    "memory": 192,
    "kernel": "/srv/guest/vmlinuz",
    "initrd": "/srv/guest/initramfs",
    "cmdline": "console=ttyS0 quiet",
    "wait_for": [{"serial": "guest ready"}],
    "timeout": 300,
}
DEAF = {**GUEST, "cmdline": "console=ttyS0 quiet maqet.noacpi"}
#: What a host's own network service says of itself (systemd.special(7), network.target).
NETWORK = """\
[Unit]
Wants=network.target
Before=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
"""
Result = dict[str, t.Any]


def tasks(host: nspawn.Host, *wanted: dict[str, t.Any], user: bool = False) -> list[Result]:
    """Tasks with options of ``maqet_vm``, or those of ``maqet_vm_info`` where no state is asked for; their results."""
    whole = [
        {
            "name": f"task {number}",
            f"maqet.qemu.{'maqet_vm' if len(options) > 1 else 'maqet_vm_info'}": options,
            "become": not user,
        }
        for number, options in enumerate(wanted)
    ]
    outcome = play.run_playbook(host.inventory, [{"hosts": "hypervisors", "gather_facts": False, "tasks": whole}])
    return [task.result for task in outcome.must_succeed().tasks]


def info(host: nspawn.Host, *names: str, user: bool = False) -> list[Result]:
    """The facts of VMs."""
    found = tasks(host, *({"name": name} for name in names), user=user)
    return [t.cast("Result", result["vms"][0]) for result in found]


def show(host: nspawn.Host, name: str, *properties: str) -> dict[str, str]:
    shown = host.root("systemctl", "show", f"maqet@{name}.service", f"--property={','.join(properties)}")
    return dict(line.partition("=")[::2] for line in shown.splitlines())


@contextlib.contextmanager
def starts(host: nspawn.Host, name: str) -> t.Iterator[t.Callable[[], float]]:
    """Waits for what systemd says about the unit: the moment (monotonic clock) at which it is started next."""
    # From here on, however long it takes until somebody follows.
    cursor = host.root("journalctl", "--lines=0", "--show-cursor").partition("cursor: ")[2].strip()
    argv = ["nsenter", "-t", str(host.state["leader"]), "-m", "-p", "--", "journalctl", "--follow", "--no-tail"]
    argv += [f"--after-cursor={cursor}", "--output=json", f"UNIT=maqet@{name}.service"]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as journal:
        try:
            assert cursor and journal.stdout is not None
            lines = iter(journal.stdout)

            def next_start() -> float:
                for line in lines:
                    entry = json.loads(line)
                    if entry.get("JOB_TYPE") == "start" and entry.get("JOB_RESULT") == "done":
                        return int(entry["__MONOTONIC_TIMESTAMP"]) / 1e6
                raise AssertionError("the journal has ended")

            yield next_start
        finally:
            journal.kill()


def power_off(host: nspawn.Host) -> float:
    """Shut the host down as its administrator would; returns when it is off, with the seconds that it took."""
    ended = os.pidfd_open(host.state["pid"])
    begun = time.monotonic()
    try:
        host.root("systemctl", "poweroff")
        assert select.select([ended], [], [], 300)[0], "the host does not go down"
    finally:
        os.close(ended)
    host.kill()  # what is left of it: its cgroups
    return time.monotonic() - begun


@pytest.fixture(scope="module")
def host(nspawn_host: nspawn.Host) -> nspawn.Host:
    """A host with the test guest, and a journal that outlives its boots."""
    folder = play.REPOSITORY / ".dev/guest"
    build = [sys.executable, str(play.REPOSITORY / "tests/guest/build.py"), "--output", str(folder)]
    subprocess.run(build, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    there = nspawn_host.folder / "root/srv/guest"
    there.mkdir(mode=0o755)
    for name in ("vmlinuz", "initramfs"):
        shutil.copy(folder / name, there)
    nspawn_host.root("chmod", "-R", "a+rX", "/srv/guest")
    nspawn_host.root("sh", "-c", "mkdir -p /var/log/journal && journalctl --flush")
    return nspawn_host


def test_a_killed_runner_is_replaced_at_once(host: nspawn.Host) -> None:
    """Ten times; the guest's QEMU is the same one all the time. How long it takes is for tests/chaos."""
    (started,) = tasks(host, {"name": "killed", **FIRMWARE})
    delays = []
    with starts(host, "killed") as next_start:
        for _round in range(10):
            pid = show(host, "killed", "MainPID")["MainPID"]
            killed = time.monotonic()
            host.root("kill", "-KILL", pid)
            delays.append(next_start() - killed)
    assert show(host, "killed", "NRestarts", "ActiveState") == {"NRestarts": "10", "ActiveState": "active"}
    (found,) = info(host, "killed")
    assert found["status"] == "running"
    assert found["qemu_pid"] == started["vm"]["qemu_pid"]
    assert found["runner_pid"] != started["vm"]["runner_pid"]
    tasks(host, {"name": "killed", "state": "absent", "force": True, "stop_timeout": 0})
    assert max(delays) < 5, delays


def test_limits_hold_at_once_and_can_be_taken_back(host: nspawn.Host) -> None:
    """A second run finds nothing to do; the VM's removal leaves no drop-in."""
    vm = {"name": "limited", **FIRMWARE}
    limits = {"cpu_quota": "50%", "cpu_weight": 20, "io_weight": 30, "memory_max": "300M"}
    taken = {"cpu_quota": "", "cpu_weight": 100, "io_weight": 100, "memory_max": ""}
    names = ("CPUQuotaPerSecUSec", "CPUWeight", "IOWeight", "MemoryMax")
    tasks(host, vm)
    default, pid = show(host, "limited", *names), show(host, "limited", "MainPID")
    first, second = tasks(host, {**vm, **limits}, {**vm, **limits})
    assert (first["changed"], second["changed"]) == (True, False), (first, second)
    wanted = {"CPUQuotaPerSecUSec": "500ms", "CPUWeight": "20", "IOWeight": "30", "MemoryMax": str(300 << 20)}
    assert show(host, "limited", *names) == wanted
    cgroup = host.root("sh", "-c", 'cat "/sys/fs/cgroup$1/memory.max" 2>/dev/null || echo', "sh", _cgroup(host))
    assert cgroup.strip() in (str(300 << 20), ""), "where this host has been given the controller"
    first, second = tasks(host, {**vm, **taken}, {**vm, **taken})
    assert (first["changed"], second["changed"]) == (True, False), (first, second)
    assert show(host, "limited", *names) == default
    assert show(host, "limited", "MainPID") == pid, "nothing was restarted"
    tasks(host, {**vm, **limits}, {"name": "limited", "state": "absent", "force": True, "stop_timeout": 0})
    assert host.root("find", "/etc/systemd", "-name", "*limited*") == ""


def _cgroup(host: nspawn.Host) -> str:
    return show(host, "limited", "ControlGroup")["ControlGroup"]


def test_a_login_that_ends_takes_no_vm_of_a_lingering_user(host: nspawn.Host) -> None:
    """Nor does a power cut: what shall start with the host does, without any login."""
    host.root("loginctl", "enable-linger", rootfs.USER)
    host.root("systemctl", "start", "user@1000.service")  # waits until it is ready
    host.ssh("mkdir", "-p", ".local/share/maqet")
    host.ssh("ln", "-sfn", rootfs.VENV, ".local/share/maqet/venv")
    (started,) = tasks(host, {"name": "mine", **FIRMWARE, "autostart": True, "memory_max": "300M"}, user=True)
    cgroup = host.root("cat", f"/proc/{started['vm']['qemu_pid']}/cgroup")
    assert "/user@1000.service/maqet.slice/" in cgroup and "session" not in cgroup
    (found,) = info(host, "mine", user=True)
    assert (found["status"], found["qemu_pid"]) == ("running", started["vm"]["qemu_pid"])

    host.root("sync")
    host.kill()
    host.start()
    host.root("systemctl", "start", "user@1000.service")
    host.ssh("systemctl", "--user", "start", "default.target")  # waits for what it wants
    (found,) = info(host, "mine", user=True)
    assert found["status"] == "running"
    tasks(host, {"name": "mine", "state": "absent", "force": True, "stop_timeout": 0}, user=True)


def test_after_a_power_cut_some_vms_start(host: nspawn.Host) -> None:
    """Those that shall, before the host says that it is up; of the others it is known what became of them."""
    yes, no = {"name": "auto", **FIRMWARE, "autostart": True}, {"name": "manual", **FIRMWARE}
    first, second, _other = tasks(host, yes, yes, no)
    assert (first["changed"], second["changed"]) == (True, False)
    host.root("sync")
    host.kill()
    host.start()
    auto, manual = info(host, "auto", "manual")
    assert (auto["status"], manual["status"]) == ("running", "stopped")
    assert manual["last_exit"]["reason"] == "host-down", manual
    off, again = tasks(host, {"name": "auto", "autostart": False}, {"name": "auto", "autostart": False})
    assert (off["changed"], again["changed"]) == (True, False)
    assert host.root("find", "/etc/systemd", "-name", "*maqet@auto*") == ""
    names = ("auto", "manual")
    tasks(host, *({"name": name, "state": "absent", "force": True, "stop_timeout": 0} for name in names))


def test_guests_are_powered_off_with_the_host(host: nspawn.Host) -> None:
    """While network and disks are there; one that does not obey costs its own time and no more."""
    rootfs.write(host.folder / "root/etc/systemd/system/network-here.service", NETWORK)
    host.root("systemctl", "start", "network-here.service")
    obeys, deaf = {"name": "obeys", **GUEST}, {"name": "deaf", **DEAF, "shutdown_timeout": 4}
    tasks(host, obeys, deaf)
    seconds = power_off(host)
    assert seconds > 4
    host.start()
    said = host.root("cat", "/var/lib/maqet/vms/obeys/serial.log")
    assert "maqet guest powering off" in said
    ends = {
        name: json.loads(host.root("cat", f"/var/lib/maqet/vms/{name}/last-exit.json")) for name in ("obeys", "deaf")
    }
    assert ends["obeys"]["reason"] in ("guest-shutdown", "host-powerdown"), ends
    assert ends["deaf"]["reason"] == "host-qmp-quit", ends
    assert show(host, "obeys", "ActiveState") == {"ActiveState": "inactive"}

    journal = host.root("journalctl", "--boot=-1", "--output=json", "_PID=1")
    order = [json.loads(line) for line in journal.splitlines()]
    stopped = {entry["UNIT"]: number for number, entry in enumerate(order) if entry.get("JOB_TYPE") == "stop"}
    for name in ("obeys", "deaf"):
        assert stopped[f"maqet@{name}.service"] < stopped["network.target"] < stopped["network-here.service"], stopped
        assert stopped[f"maqet@{name}.service"] < stopped["remote-fs.target"], stopped


def test_systemctl_stop_is_a_proper_end(host: nspawn.Host) -> None:
    """What an administrator would type first: the guest powers off, and the next task knows."""
    tasks(host, {"name": "obeys", **GUEST})
    host.root("systemctl", "stop", "maqet@obeys.service")
    (found,) = info(host, "obeys")
    assert found["status"] == "stopped"
    assert found["last_exit"]["reason"] in ("guest-shutdown", "host-powerdown"), found["last_exit"]
    host.root("systemctl", "start", "maqet@obeys.service")
    (found,) = info(host, "obeys")
    assert found["status"] == "running"
    names = ("obeys", "deaf")
    tasks(host, *({"name": name, "state": "absent", "force": True, "stop_timeout": 0} for name in names))
    assert host.root("systemctl", "list-units", "--all", "--no-legend", "maqet@*") == ""
