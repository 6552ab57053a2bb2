# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks against this machine, and what each of their tasks took.

Tasks are timed inside one run of Ansible, by a callback (``callback/bench_stamps.py``), so that its start does not
count. What is compared stands in one playbook, in turns. The configuration is Ansible's own default, but for folders.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
import typing as t
from pathlib import Path

Object = t.Dict[str, t.Any]
_HERE: t.Final = Path(__file__).resolve().parent
#: Tasks of this name are there to have something warm, and are no figure.
WARM: t.Final = "warm"


class Timed(t.NamedTuple):
    """What one task took; ``begun`` and ``ended`` are seconds of the monotonic clock."""

    name: str
    begun: float
    ended: float
    result: Object
    items: t.Sequence[float] = ()

    @property
    def seconds(self) -> float:
        return self.ended - self.begun

    @property
    def each(self) -> list[float]:
        """What each item of a loop took, but the first, which has the task's own beginning in it."""
        return [after - before for before, after in itertools.pairwise(self.items)]


class PlayError(RuntimeError):
    """A playbook of the bench has failed: then there is no figure. The text holds what Ansible said."""


def task(name: str, module: str, options: Object | None = None, **keywords: t.Any) -> Object:
    """A task of a playbook; our modules are named without their collection."""
    full = f"maqet.qemu.{module}" if module.startswith("maqet_") else module
    return {"name": name, full: options or {}, **keywords}


def ping(name: str = "ping", **keywords: t.Any) -> Object:
    """The task that all are compared with."""
    return task(name, "ansible.builtin.ping", **keywords)


def seconds_of(found: t.Iterable[Timed], name: str) -> list[float]:
    """What the tasks of that name took, in their order."""
    return [one.seconds for one in found if one.name == name]


def items_of(found: t.Iterable[Timed], name: str) -> list[float]:
    """What one item took in each of the loops of that name: the median of the loop's."""
    return [statistics.median(one.each) for one in found if one.name == name]


class Playbooks:
    """Runs playbooks with the Ansible of this interpreter. ``trees``: where it finds collections."""

    def __init__(self, folder: Path, trees: t.Sequence[Path]) -> None:
        self._folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        self._environment = {
            **kept,
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
            "ANSIBLE_HOME": str(folder / "home"),
            "ANSIBLE_REMOTE_TMP": str(folder / "remote"),
            "ANSIBLE_COLLECTIONS_PATH": os.pathsep.join(map(str, trees)),
            "ANSIBLE_CALLBACK_PLUGINS": str(_HERE / "callback"),
            "ANSIBLE_CALLBACKS_ENABLED": "bench_stamps",
            "ANSIBLE_LIBRARY": str(_HERE / "library"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_RETRY_FILES_ENABLED": "0",
        }
        (folder / "ansible.cfg").touch()
        self._inventory = folder / "inventory.json"
        variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        self._inventory.write_text(json.dumps({"all": {"hosts": {"localhost": variables}}}), "utf-8")

    @property
    def remote(self) -> Path:
        """Where Ansible puts its modules on the host; they stay with ``keep``."""
        return self._folder / "remote"

    def run(
        self, tasks: t.Sequence[Object], told: t.Callable[[Timed], None] | None = None, keep: bool = False
    ) -> list[Timed]:
        """Run the tasks one after another; each must succeed. ``told`` hears of each as soon as it has ended."""
        playbook = self._folder / "play.json"
        playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": list(tasks)}]), "utf-8")
        reading, writing = os.pipe()
        environment = {**self._environment, "MAQET_BENCH_FD": str(writing), "ANSIBLE_KEEP_REMOTE_FILES": str(int(keep))}
        found: list[Timed] = []
        said = self._folder / "said"
        with (
            said.open("wb") as output,
            open(reading, "rb") as lines,
            subprocess.Popen(
                [sys.executable, "-m", "ansible", "playbook", "-i", str(self._inventory), str(playbook)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(writing,),
                cwd=self._folder,
            ) as child,
        ):
            os.close(writing)
            for line in lines:
                entry = json.loads(line)
                if entry.pop("status") == "ok":
                    found.append(Timed(**entry))
                    if told is not None:
                        told(found[-1])
        if child.returncode != 0 or len(found) != len(tasks):
            words = said.read_text("utf-8", "replace")
            raise PlayError(f"a playbook ended with status {child.returncode}:\n{words[-4000:]}")
        return found
