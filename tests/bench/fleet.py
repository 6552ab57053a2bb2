# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many VMs on one host: one maqet_vms task, the same by a loop of maqet_vm, and community.libvirt's define and start.

    python tests/bench/fleet.py [--vms 50] [--rounds 3] [--peers]

As root, in the environment of ``./dev``. Each is a playbook of its own against localhost, in turns; what a playbook
with one ping takes is taken off, so that Ansible's start does not count. Prints seconds as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".dev" / "collections"))

from ansible_collections.maqet.qemu.tests.bench import peers

ROOT = Path(__file__).resolve().parents[2]
Task = t.Dict[str, t.Any]
MEMORY = 32


def ours(names: list[str], **more: t.Any) -> Task:
    wanted = {"memory": MEMORY, "accel": "tcg", "stop_timeout": 0, "force": True, "purge": True, **more}
    return {"maqet.qemu.maqet_vms": {"vms": [{"name": name} for name in names], "defaults": wanted}}


def one_by_one(names: list[str]) -> Task:
    wanted = {"name": "{{ item }}", "memory": MEMORY, "accel": "tcg", "state": "running"}
    return {"maqet.qemu.maqet_vm": wanted, "loop": names}


def defined_and_started(names: list[str]) -> list[Task]:
    domain = peers.DOMAIN.format(name="{{ item }}", memory=MEMORY)
    return [
        {"community.libvirt.virt": {"command": "define", "xml": domain}, "loop": names},
        {"community.libvirt.virt": {"name": "{{ item }}", "state": "running"}, "loop": names},
    ]


def destroyed(names: list[str]) -> list[Task]:
    return [
        {"community.libvirt.virt": {"name": "{{ item }}", "command": command}, "loop": names}
        for command in ("destroy", "undefine")
    ]


class Ansible:
    """Playbooks against this machine."""

    def __init__(self, folder: Path, collections: str, python: str) -> None:
        self._folder = folder
        self._environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": collections,
            "ANSIBLE_HOME": str(folder / "home"),
            "ANSIBLE_PYTHON_INTERPRETER": python,
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "LC_ALL": "C.UTF-8",
        }

    def seconds(self, tasks: list[Task]) -> float:
        """How long a playbook of these tasks takes."""
        path = self._folder / "play.json"
        path.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]), "utf-8")
        words = [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local", str(path)]
        begun = time.perf_counter()
        done = subprocess.run(words, check=False, env=self._environment, capture_output=True, text=True)
        spent = time.perf_counter() - begun
        if done.returncode != 0:
            raise RuntimeError(done.stdout[-4000:] + done.stderr[-1000:])
        return spent


def measure(options: argparse.Namespace, folder: Path) -> dict[str, t.Any]:
    names = [f"bench-{number}" for number in range(options.vms)]
    with contextlib.ExitStack() as stack:
        mine = Ansible(folder, str(ROOT / ".dev/collections"), sys.executable)
        ways: dict[str, t.Callable[[], float]] = {
            "ping": lambda: mine.seconds([{"ansible.builtin.ping": {}}]),
            "one_task": lambda: mine.seconds([ours(names, state="running")]),
            "loop": lambda: mine.seconds([one_by_one(names)]),
        }
        tidy = {"one_task": lambda: mine.seconds([ours(names, state="absent")])}
        tidy["loop"] = tidy["one_task"]
        if options.peers:
            theirs = Ansible(folder, str(peers.community_libvirt(ROOT / ".dev")), "/usr/bin/python3")
            stack.enter_context(peers.libvirtd())
            ways["libvirt"] = lambda: theirs.seconds(defined_and_started(names))
            tidy["libvirt"] = lambda: theirs.seconds(destroyed(names))
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _round in range(options.rounds):
            for way, run in ways.items():
                try:
                    times[way].append(run())
                finally:
                    if way in tidy:
                        tidy[way]()
    return summary(options.vms, {way: statistics.median(found) for way, found in times.items()})


def summary(vms: int, medians: dict[str, float]) -> dict[str, t.Any]:
    ping = medians.pop("ping")
    spent = {way: round(found - ping, 2) for way, found in medians.items()}
    ratios = {f"{way}_vs_one_task": round(found / spent["one_task"], 1) for way, found in spent.items()}
    return {"vms": vms, "ping_playbook": round(ping, 2), "seconds": spent, "ratios": ratios, "cpus": os.cpu_count()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vms", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", action="store_true", help="community.libvirt too, which is installed for it")
    with tempfile.TemporaryDirectory(prefix="maqet-bench-") as folder:
        print(json.dumps(measure(parser.parse_args(), Path(folder)), indent=2))


if __name__ == "__main__":
    main()
