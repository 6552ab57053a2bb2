# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several hosts on this machine that cost nothing: each is a mount and a process namespace with folders of ours alone.

Root's folders on such a host are its own; everything else, such as /tmp and the programs, is this machine's. The host
ends with its first process: that is its power cut. Needs root.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import typing as t
from pathlib import Path

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import SYSTEM
from ansible_collections.maqet.qemu.plugins.plugin_utils.migration import Failed, Migration, Unreachable, Wanted
from ansible_collections.maqet.qemu.plugins.plugin_utils.tunnel import Watch
from ansible_collections.maqet.qemu.tests.hosts import modules

_TREES = (SYSTEM.state, SYSTEM.log, SYSTEM.config, SYSTEM.run)

# The first process of a host: it says when the folders are in place, and buries whoever has lost its parent.
_INIT = """
import os, signal, subprocess, sys
for path in sys.argv[2:]:
    mine = sys.argv[1] + "/" + path.strip("/").replace("/", "-")
    os.makedirs(mine, 0o755, exist_ok=True)
    subprocess.run(["mount", "--bind", mine, path], check=True)
if os.path.isdir("/run/systemd"):
    subprocess.run(["mount", "-t", "tmpfs", "none", "/run/systemd"], check=True)
print("ready", flush=True)
signal.signal(signal.SIGCHLD, lambda *_: None)
signal.signal(signal.SIGINT, signal.SIG_IGN)
while True:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
    signal.pause()
"""


def obstacle() -> str | None:
    """Why there can be no such hosts here; None if there can."""
    if os.geteuid() != 0:
        return "hosts of their own folders need root"
    tried = subprocess.run([*_unshare(), "true"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"no namespaces of their own: {tried.stderr.strip()}"


def _unshare() -> list[str]:
    return ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]


class Twin:
    """One host. Its files are in ``folder``, and stay when it ends; :meth:`start` boots it again."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self._popen: subprocess.Popen[bytes] | None = None
        self._made: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        self.start()

    def start(self) -> None:
        """Boot it."""
        for path in _TREES:
            if not os.path.isdir(path):
                os.makedirs(path, 0o755)
                self._made.append(path)
        argv = [*_unshare(), sys.executable, "-c", _INIT, str(self.folder), *_TREES]
        self._popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self._popen.stdout is not None
        assert self._popen.stdout.readline() == b"ready\n", f"host {self.name} did not come up"

    @property
    def init(self) -> int:
        """Its first process, as this machine counts."""
        assert self._popen is not None
        return worker(self._popen.pid)

    def inside(self, *argv: str) -> list[str]:
        """A command line that runs ``argv`` there."""
        return ["nsenter", "-t", str(self.init), "-m", "-p", "--", *argv]

    def run(self, *argv: str) -> str:
        """Run a command there; its output."""
        return subprocess.run(
            self.inside(*argv), check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True
        ).stdout

    def python(self, folder: Path) -> Path:
        """A program for ``ansible_python_interpreter``, which is our Python on that host."""
        path = folder / f"python-{self.name}"
        words = " ".join(self.inside(sys.executable))
        path.write_text(f'#!/bin/sh\nexec {words} "$@"\n', "ascii")
        path.chmod(0o755)
        return path

    def path(self, path: str) -> Path:
        """One of our files on that host, as this machine sees it."""
        tree = next(tree for tree in _TREES if path == tree or path.startswith(f"{tree}/"))
        return self.folder / tree.strip("/").replace("/", "-") / path[len(tree) :].lstrip("/")

    @property
    def runs(self) -> bool:
        """Whether it is up."""
        return self._popen is not None

    def kill(self) -> None:
        """The power goes: everything on it ends at once."""
        if self._popen is not None:
            self._popen.kill()
            self._popen.communicate()
            self._popen = None

    def remove(self) -> None:
        """The same, and what was made on this machine for it goes too; its folder is the test's."""
        self.kill()
        for path in reversed(self._made):
            try:
                os.rmdir(path)
            except OSError:  # somebody uses it by now
                continue
        self._made = []

    def module(self, module: str, /, **options: t.Any) -> dict[str, t.Any]:
        """One of our modules there; its result, with ``failed`` always in it."""
        return finished(self.begin(module, **options))

    def begin(self, module: str, /, **options: t.Any) -> subprocess.Popen[str]:
        """The same, which goes on while the caller does."""
        return modules.begin(module, options, self.inside())


def worker(pid: int) -> int:
    """The process that works for a nsenter or an unshare, which fork to be in another PID namespace."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()[0])


def finished(child: subprocess.Popen[str]) -> dict[str, t.Any]:
    """The result of a module when it has ended; of one that was killed, that."""
    with child:
        assert child.stdout is not None and child.stderr is not None
        words, errors = child.stdout.read(), child.stderr.read()
    if not words:
        return {"failed": True, "msg": f"it ended with {child.returncode}: {errors[-2000:]}", "error_code": "killed"}
    return {"failed": child.returncode != 0, **json.loads(words)}


class TwinSide:
    """A twin as a side of a migration; ``hear`` is told of each step's nsenter, see :func:`worker`."""

    def __init__(self, twin: Twin, options: dict[str, t.Any], hear: t.Callable[[str, int], None] | None = None) -> None:
        self.twin = twin
        self.name = twin.name
        self._options = options
        self._hear = hear

    def call(self, step: str, data: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """One step of ``maqet_migrate`` there."""
        if not self.twin.runs:
            raise Unreachable(f"{self.name} is down")
        child = self.twin.begin("maqet_migrate", **self._options, _step=step, _data=dict(data))
        if self._hear is not None:
            self._hear(step, child.pid)
        result = finished(child)
        if result["failed"]:
            raise Failed(result)
        return result


@contextlib.contextmanager
def tunnel(tell: t.Callable[[str], None] | None = None) -> t.Iterator[t.Mapping[str, t.Any]]:
    """The folder that both twins see; ``tell`` hears how far the sender is."""
    with tempfile.TemporaryDirectory(prefix="maqet-", dir="/tmp") as folder:
        watch = Watch(os.path.join(folder, "watch"), tell or (lambda _words: None))
        watch.start()
        try:
            yield {"here": folder, "there": folder, "watch": watch.path}
        finally:
            watch.close()


def migrate(
    here: Twin,
    there: Twin,
    vm: str,
    tell: t.Callable[[str], None] | None = None,
    hear: t.Callable[[str, int], None] | None = None,
    **more: t.Any,
) -> dict[str, t.Any]:
    """What a task with maqet_migrate does, without a controller; its result, also of a failure."""
    options = {"name": vm, "to": there.name, **more}
    sides = (TwinSide(here, options, hear), TwinSide(there, options, hear))
    given = {key: more[key] for key in ("storage", "keep_disks", "reclaim") if key in more}
    work = Migration(*sides, Wanted(vm, **given), lambda: tunnel(tell), lambda _words: None)
    try:
        return {"failed": False, **work.run()}
    except MaqetError as error:
        return {"failed": True, "changed": work.changed, "settled": work.settled, "msg": str(error), **error.as_dict()}
    except Failed as error:
        return {**error.result, "failed": True, "changed": work.changed, "settled": work.settled}
    except Unreachable as error:
        return {"failed": True, "changed": work.changed, "msg": str(error), "error_code": "host_unreachable"}
