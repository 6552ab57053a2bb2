# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole host loses its power under QMP traffic: its VMs come up with it, and its logs hold what was answered.

The host is a systemd-nspawn container whose processes are all killed at once. The kernel below it lives on, so what a
program has written is kept whether it was synced or not: this is a test of everything but the disk's own cache.
"""

from __future__ import annotations

import json
import random
import subprocess
import threading
import time
import typing as t
from pathlib import Path

from ansible_collections.maqet.qemu.tests.chaos import chains
from ansible_collections.maqet.qemu.tests.chaos.case import Figures, Skip, check, percentiles, play
from ansible_collections.maqet.qemu.tests.chaos.guests import boot_sector, unbroken
from ansible_collections.maqet.qemu.tests.chaos.world import Result, World
from ansible_collections.maqet.qemu.tests.hosts import nspawn, rootfs
from ansible_collections.maqet.qemu.tests.hosts.play import run_playbook

NAME: t.Final = "power_cut"
TITLE: t.Final = "power cut of an nspawn host with 5 autostart VMs under QMP traffic"
FULL: t.Final = 10
SHORT: t.Final = 1

VMS: t.Final = tuple(f"auto{number}" for number in range(1, 6))
# On the host: sends commands to the runner of each VM by turns, and prints the last record that each has answered with.
_TRAFFIC: t.Final = """
import json, socket, sys
talks = {}
for name in sys.argv[1:]:
    talk = socket.socket(socket.AF_UNIX)
    talk.connect(f"/run/maqet/{name}/runner.sock")
    talks[name] = talk, talk.makefile("rb")
    talks[name][1].readline()
number = 0
while True:
    for name, (talk, lines) in talks.items():
        number += 1
        asked = {"id": number, "op": "qmp", "commands": [{"execute": "query-status"}], "timeout": 60}
        talk.sendall(json.dumps(asked).encode() + b"\\n")
        answer = json.loads(lines.readline())
        last = answer["result"]["audit"][-1]
        print(json.dumps([name, {"seq": last["seq"], "hash": last["hash"]}]), flush=True)
"""


class Traffic(threading.Thread):
    """Reads what the traffic on the host says; ``last`` is the newest record that each VM has answered with."""

    def __init__(self, host: nspawn.Host) -> None:
        super().__init__(daemon=True)
        inside = ["nsenter", "-t", str(host.state["leader"]), "-m", "-u", "-i", "-n", "-p", "--"]
        self._process = subprocess.Popen(
            [*inside, "python3", "-c", _TRAFFIC, *VMS],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.last: dict[str, dict[str, t.Any]] = {}
        self.all_served = threading.Event()

    def run(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith("\n"):
                name, record = json.loads(line)
                self.last[name] = record
                if len(self.last) == len(VMS):
                    self.all_served.set()
        self.all_served.set()  # it has ended, and whoever waits must hear of it

    def end(self) -> str:
        """Its process goes with the host; what it said until then is read to the end. Its complaints."""
        self._process.kill()
        self.join(30)
        assert self._process.stderr is not None
        words = self._process.stderr.read()
        self._process.wait()
        return words


def run(world: World, rounds: int, rng: random.Random) -> Figures:
    """One host, which is made once and cut off again and again."""
    missing = rootfs.missing_parts()
    if missing:
        raise Skip("hosts in systemd-nspawn need " + ", ".join(missing))
    nspawn.Run.sweep()
    boots: list[float] = []
    reasons: dict[str, int] = {}
    figures = Figures()
    with nspawn.Run() as hosts:
        host = hosts.up("h1")
        _make_vms(host)

        def each(mine: random.Random) -> None:
            last = _cut(host, mine.uniform(0, 1.0))
            begun = time.monotonic()
            host.start()
            host.root("sh", "-c", "systemctl is-system-running --wait || true")  # when all that boot starts has started
            boots.append(1000 * (time.monotonic() - begun))
            for vm in _all_up(host):
                reason = str((vm.get("last_exit") or {}).get("reason"))
                reasons[reason] = reasons.get(reason, 0) + 1
            _logs_are_whole(host, last)

        for _round in range(rounds if world.again is None else 1):
            # The world stays as it is between two rounds: the host is a part of it.
            played = play(world, 1, rng, each, Figures(), keep=True)
            figures.tried += 1
            figures.done += played.done
            figures.evidence += [f"cut {figures.tried}: {what}\n{_journal(host)}" for what in played.evidence]
            if played.evidence:
                break  # what follows would be judged on a host that is not what it should be
    figures.tried = max(figures.tried, rounds)
    figures.extra = {"boot with all VMs, ms": percentiles(boots), "last_exit": reasons}
    return figures


def _make_vms(host: nspawn.Host) -> None:
    folder = host.folder / "root/srv"
    for name in VMS:
        (folder / f"{name}.img").write_bytes(boot_sector(name).ljust(1024 * 1024, b"\0"))
    wanted = {
        "name": "{{ item }}",
        "state": "running",
        "autostart": True,
        "accel": "tcg",
        "memory": "32",
        "disks": [{"path": "/srv/{{ item }}.img", "format": "raw", "readonly": True}],
    }
    _task(host, {"maqet.qemu.maqet_vm": wanted, "loop": list(VMS)})


def _task(host: nspawn.Host, task: Result) -> Result:
    named = {"name": "the task", "become": True, **task}
    wanted = [{"hosts": "hypervisors", "gather_facts": False, "tasks": [named]}]
    return run_playbook(host.inventory, wanted).must_succeed().result("the task")


def _cut(host: nspawn.Host, seconds: float) -> dict[str, dict[str, t.Any]]:
    """Under traffic; the last record that somebody has seen of each VM."""
    traffic = Traffic(host)
    traffic.start()
    try:
        served = traffic.all_served.wait(60) and len(traffic.last) == len(VMS)
        traffic.join(seconds)  # it does not end by itself
        if served:
            host.kill()
    finally:
        words = traffic.end()
    check(served, "no traffic: only", sorted(traffic.last), "have answered;", words)
    return traffic.last


def _all_up(host: nspawn.Host) -> list[Result]:
    """All run, and so do their guests, from the beginning."""
    found = _task(host, {"maqet.qemu.maqet_vm_info": {}})["vms"]
    states = {vm["name"]: vm["status"] for vm in found}
    check(states == dict.fromkeys(VMS, "running"), "after the boot:", states)
    for vm in found:
        text = (host.folder / "root" / vm["serial_log"].lstrip("/")).read_bytes()
        check(unbroken(text, vm["name"]) > 0, "its guest has said nothing:", vm["name"])
    return list(found)


def _logs_are_whole(host: nspawn.Host, last: dict[str, dict[str, t.Any]]) -> None:
    """Up to the last record that was seen, and on from there; what was open at the cut is said to be unknown."""
    for name in VMS:
        log = host.folder / "root/var/log/maqet" / f"{name}.audit.jsonl"
        chains.check_closed(chains.whole(str(log), last[name]))


def _journal(host: nspawn.Host) -> str:
    try:
        return host.root("journalctl", "--no-pager", "-n", "60")
    except rootfs.HostError as error:
        return f"no journal: {error}; {Path(host.folder, 'console.log').read_text('utf-8', 'replace')[-2000:]}"
