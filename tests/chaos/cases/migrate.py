# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest that counts and writes to its disk moves between two hosts, there and back; half of the time it is disturbed.

The hosts are namespaces with folders of their own. What must hold: exactly one copy runs afterwards, the same task
again has it where it is wanted, and on its disk no number is missing or there twice.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time
import typing as t
from pathlib import Path

from ansible_collections.maqet.qemu.plugins.module_utils.host import migration
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import SYSTEM
from ansible_collections.maqet.qemu.tests.chaos.case import Broken, Dice, Figures, Skip, check, percentiles, play
from ansible_collections.maqet.qemu.tests.chaos.world import FORCE, Result, World, short
from ansible_collections.maqet.qemu.tests.hosts import twins

NAME: t.Final = "migrate"
TITLE: t.Final = "migrate a guest that counts, there and back; every second time kill a process of one of the two ends"
FULL: t.Final = 40
ROUND: t.Final = 2
SHORT: t.Final = 1

VM: t.Final = "mover"
#: What is killed: at which end, and what. The sending QEMU is the guest itself, whose death no migration survives.
_VICTIMS: t.Final = (
    ("there", "runner"),
    ("here", "runner"),
    ("there", "qemu"),
    ("here", "send"),
    ("there", "receive"),
    ("here", "runner"),
)


class Pair:
    """The two hosts; ``at`` is where the VM is."""

    def __init__(self, folder: Path, guest: Result) -> None:
        self.one, self.two = (twins.Twin(name, folder / name) for name in ("one", "two"))
        self.at = self.one
        self.last = 0
        started = self.one.module("maqet_vm", name=VM, state="running", timeout=170, **guest)
        check(not started["failed"], "the guest did not start:", short(started))

    @property
    def there(self) -> twins.Twin:
        return self.two if self.at is self.one else self.one

    def qemus(self, host: twins.Twin) -> list[int]:
        """Processes of QEMU there, as we count."""
        return _inside(host, lambda words: any(f"guest={VM}," in word for word in words))

    def runners(self, host: twins.Twin) -> list[int]:
        return _inside(host, lambda words: "--vm" in words and VM in words)

    def on_its_way(self, host: twins.Twin) -> bool:
        """Whether the QEMU there only receives. Later it has the guest, which no kill of it would leave."""
        mark = json.loads(host.path(f"{SYSTEM.state}/vms/{VM}/migration.json").read_bytes())
        return bool(mark["phase"] == migration.RECEIVING)

    def found(self) -> None:
        """Exactly one QEMU is there, and its guest runs; where that is."""
        running = [host for host in (self.one, self.two) for _pid in self.qemus(host)]
        check(len(running) == 1, "copies run on:", [host.name for host in running])
        self.at = running[0]
        waits = [{"serial": "(maqet count: .*\n){2}"}]
        counted = self.at.module("maqet_vm", name=VM, state="running", wait_for=waits, timeout=60)
        check(not counted["failed"], "the guest does not count:", short(counted))
        check("resume" not in str(counted["actions"]), "the guest stood still:", short(counted))
        data = self.at.path(f"{SYSTEM.state}/vms/{VM}/disks/root.raw").read_bytes()
        numbers = [data[at : at + 512].rstrip(b"\0\n ").decode() for at in range(512, len(data), 512)]
        last = max(index for index, text in enumerate(numbers, 1) if text)
        wrong = [index for index, text in enumerate(numbers[:last], 1) if text != str(index)]
        check(
            not wrong and last > self.last, "numbers lost on the disk:", wrong[:10], "last", last, "before", self.last
        )
        self.last = last

    def clean(self, host: twins.Twin) -> None:
        """Nothing of the VM is left where it is not."""
        trees = (f"{SYSTEM.state}/vms/{VM}", f"{SYSTEM.run}/{VM}")
        left = [str(path) for tree in trees if host.path(tree).exists() for path in host.path(tree).rglob("*")]
        check(not left, f"left on {host.name}:", left)


def _inside(host: twins.Twin, is_one: t.Callable[[list[str]], bool]) -> list[int]:
    space, found = os.readlink(f"/proc/{host.init}/ns/pid"), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
                if os.readlink(entry / "ns/pid") == space and is_one(words):
                    found.append(int(entry.name))
            except OSError:  # it has ended
                continue
    return found


def _guest(world: World) -> Result:
    """The test guest, as ``./dev integration`` builds it."""
    if os.uname().machine != "x86_64" or shutil.which("qemu-system-x86_64") is None:
        raise Skip("the guest is a PC, and this is none")
    why = twins.obstacle()
    if why:
        raise Skip(why)
    root = world.collections / "ansible_collections/maqet/qemu"
    folder = world.folder / "guest"
    built = root / ".dev/guest"
    argv = [shutil.which("python3") or "python3", str(root / "tests/guest/build.py"), "--output", str(built)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Skip(f"no guest can be built here: {done.stderr.strip()}")
    folder.mkdir(mode=0o755)
    for name in ("vmlinuz", "initramfs"):
        shutil.copy(built / name, folder / name)
    return {
        "accel": "tcg",
        "memory": "128",
        "kernel": str(folder / "vmlinuz"),
        "initrd": str(folder / "initramfs"),
        "cmdline": "console=ttyS0 quiet maqet.count",
        "disks": [{"name": "root", "size": "8M", "format": "raw"}],
        "wait_for": [{"serial": "maqet count: 3\r\n"}],
    }


class Killer:
    """Kills one process of one end so many seconds after a migration has begun; ``victim`` is None for none."""

    def __init__(self, pair: Pair, victim: tuple[str, str] | None, after: float) -> None:
        end, self._what = victim or ("", "")
        self._host = pair.at if end == "here" else pair.there
        self._pair = pair
        self._timer = threading.Timer(after, self._kill)
        self._armed = victim is not None
        self._pids: dict[str, int] = {}
        self.began = time.monotonic()
        self.killed = False

    def hear(self, step: str, pid: int) -> None:
        """A step of the migration begins, as process ``pid``; the clock runs from the first that changes something."""
        self._pids[step] = pid
        if step == "receive":
            self.began = time.monotonic()
            if self._armed:
                self._armed = False
                self._timer.start()

    def _kill(self) -> None:
        found = {"runner": self._pair.runners, "qemu": self._pair.qemus}
        try:
            pids = found[self._what](self._host) if self._what in found else [twins.worker(self._pids[self._what])]
            if self._what == "qemu" and not self._pair.on_its_way(self._host):
                return
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
                self.killed = True
        except (KeyError, IndexError, OSError):  # it has not begun yet, or it has ended
            return

    def end(self) -> None:
        """No more."""
        self._timer.cancel()
        if self._timer.ident is not None:
            self._timer.join()


def run(world: World, rounds: int, rng: random.Random) -> Figures:
    """Half of the rounds in peace, half of them with a kill."""
    pair = Pair(world.folder / "hosts", _guest(world))
    figures = Figures()
    downtime: list[float] = []
    stopped: list[float] = []
    kills = {"here": 0, "there": 0}
    ends: dict[str, int] = {}
    number, lasts = 0, 1.0

    def one_round(dice: Dice) -> None:
        nonlocal number, lasts
        number += 1
        source, target = pair.at, pair.there
        victim = _VICTIMS[number // 2 % len(_VICTIMS)] if number % 2 == 0 else None
        killer = Killer(pair, victim, dice.uniform(0, lasts))
        result = twins.migrate(source, target, VM, hear=killer.hear)
        killer.end()
        if victim is not None:
            kills[victim[0]] += killer.killed
            word = str(result.get("error_code")) if result["failed"] else "arrived all the same"
            ends[word] = ends.get(word, 0) + 1
        else:
            check(not result["failed"], "it did not move:", short(result))
            lasts = time.monotonic() - killer.began
            downtime.append(float(result["downtime"]))
            stopped.append(float(result["stopped"]))
        if result["failed"] or pair.qemus(source):
            again = twins.migrate(source, target, VM)
            check(not again["failed"], "the same task again:", short(again), "after:", short(result))
        pair.found()
        check(pair.at is target, "the VM is on", pair.at.name)
        pair.clean(source)

    try:
        figures = play(world, rounds, rng, one_round, figures, keep=True)
        _end(pair)
    except Broken as error:
        figures.evidence.append(str(error))
    finally:
        pair.two.remove()
        pair.one.remove()
    figures.extra = {
        "downtime_ms": percentiles(downtime),
        "stopped_ms": percentiles(stopped),
        "killed_here": kills["here"],
        "killed_there": kills["there"],
        "after_a_kill": ends,
        "counted": pair.last,
    }
    return figures


def _end(pair: Pair) -> None:
    """Remove it: nothing is left on either host."""
    gone = pair.at.module("maqet_vm", name=VM, state="absent", purge=True, **FORCE)
    check(not gone["failed"], "the VM cannot be removed:", short(gone))
    for host in (pair.one, pair.two):
        pair.clean(host)
