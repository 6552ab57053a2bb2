# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host as a case sees it: our folders, empty, and our modules as real processes without a controller."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

from ansible_collections.maqet.qemu.plugins.module_utils.host.files import remove, tail
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import Process, argument, command_lines, of_pid
from ansible_collections.maqet.qemu.tests.chaos.case import Broken, check

Result = t.Dict[str, t.Any]
MODULES = "ansible_collections.maqet.qemu.plugins.modules"
PROGRAMS = "ansible_collections.maqet.qemu.tests.chaos"
# A module that takes longer hangs, whatever it was told, in seconds.
HANGS = 180.0
# What a file of the schema cache begins with.
_DIGEST = re.compile(rb"[0-9a-f]{64}\n")
#: A VM without an operating system: what most cases need.
NOTHING: t.Final[Result] = {"accel": "tcg", "memory": "32"}
#: No guest of these can notice a power button.
FORCE: t.Final[Result] = {"force": True, "stop_timeout": 0}


class Module:
    """One run of a module: a process of its own, which is what a controller would have started."""

    def __init__(self, name: str, options: t.Mapping[str, t.Any], tree: Path, cwd: Path) -> None:
        self.begun = time.monotonic()
        self.name = name
        self._popen = subprocess.Popen(
            [sys.executable, "-m", f"{MODULES}.{name}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(tree)},
            start_new_session=True,
        )
        context = {"task": "chaos", "user": "chaos", "host": "chaos", "play": "chaos"}
        self._input = json.dumps({"ANSIBLE_MODULE_ARGS": {**options, "_context": context}}).encode()
        assert self._popen.stdin is not None
        self._popen.stdin.write(self._input)
        self._popen.stdin.close()
        self._popen.stdin = None

    @property
    def pid(self) -> int:
        return self._popen.pid

    def kill_after(self, seconds: float) -> bool:
        """SIGKILL when ``seconds`` have passed since its start; False if it had ended before."""
        try:
            self._popen.communicate(timeout=max(0.0, self.begun + seconds - time.monotonic()))
            return False
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.communicate()
            return self._popen.returncode == -signal.SIGKILL

    def result(self, seconds: float = HANGS) -> Result:
        """Its result when it has ended, with ``failed`` and ``seconds`` always there; Broken if it has none."""
        try:
            said, words = self._popen.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.communicate()
            raise Broken(f"{self.name} had not ended after {seconds:g} s: {self._input.decode()}") from None
        took = time.monotonic() - self.begun
        try:
            result = dict(json.loads(said))
        except ValueError:
            status = self._popen.returncode
            raise Broken(f"{self.name} ended with {status} and no result: {said[-2000:]!r} {words[-4000:]!r}") from None
        return {"failed": False, **result, "seconds": took}


class World:
    """What a case may use. ``folder`` is for its own files; all is emptied after each round."""

    def __init__(self, where: Layout, folder: Path, collections: Path, again: int | None = None) -> None:
        self.where = where
        self.folder = folder
        self.collections = collections
        #: Seed of the only round to be played, if there is one.
        self.again = again
        self.root = os.geteuid() == 0

    # --- modules ---

    def begin(self, module: str, /, tree: Path | None = None, **options: t.Any) -> Module:
        """Start a module; ``tree`` is the folder with ansible_collections in it, if not this checkout's."""
        return Module(module, options, tree or self.collections, self.folder)

    def module(self, module: str, /, tree: Path | None = None, **options: t.Any) -> Result:
        """Run a module to its end; its result, also of a failure."""
        return self.begin(module, tree, **options).result()

    def python(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        """One of our own programs, with its stdin and stdout at hand."""
        return subprocess.Popen(
            [sys.executable, "-m", f"{PROGRAMS}.{name}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.collections)},
        )

    def vm(self, name: str, /, **options: t.Any) -> Result:
        """maqet_vm, which must succeed."""
        result = self.module("maqet_vm", name=name, **options)
        check(not result["failed"], f"maqet_vm of {name} with {options} failed:", short(result))
        return result

    def info(self, name: str) -> Result:
        """What maqet_vm_info says of one VM; empty if it does not know it."""
        result = self.module("maqet_vm_info", name=name)
        check(not result["failed"], "maqet_vm_info failed:", short(result))
        return dict(next(iter(result["vms"]), {}))

    def remove(self, name: str) -> None:
        """Take the VM away with all that it has but its logs."""
        self.vm(name, state="absent", purge=True, **FORCE)

    # --- what is there ---

    def paths(self, name: str) -> VmPaths:
        return self.where.vm(name)

    def qemus(self, name: str | None = None) -> list[Process]:
        """The QEMU processes of a VM, or of all."""
        wanted = "guest=" if name is None else f"guest={name},"
        return _processes(lambda words: "qemu-system" in words[0] and any(wanted in word for word in words))

    def runners(self, name: str | None = None) -> list[Process]:
        """The runners of a VM, or of all."""

        def is_one(words: list[str]) -> bool:
            named = name is None or argument(words, "--vm") == name
            return named and argument(words, "--state") == self.where.state

        return _processes(is_one)

    def check_empty(self) -> None:
        """Broken if a round that is over has left a process, anything in the run folder, or half a file."""
        left = [f"QEMU {process.pid}" for process in self.qemus()] + [f"runner {p.pid}" for p in self.runners()]
        left += _below(self.where.run) + halves(self.where)
        check(not left, "left behind:", left)

    # --- the end ---

    def clear(self) -> None:
        """End all processes of this world and empty its folders; RuntimeError outside of namespaces of our own."""
        if PROGRAMS.encode() not in Path("/proc/1/cmdline").read_bytes():
            raise RuntimeError("this is no world of our own: nothing is killed here")
        others = [process for process in _processes(lambda _words: True) if process.pid not in (1, os.getpid())]
        for process in others:  # also one that is stopped
            process.kill()
        for process in others:
            process.wait_gone(10)
        for folder in (self.where.vms, self.where.run, self.where.log, self.where.config, str(self.folder)):
            for entry in os.listdir(folder) if os.path.isdir(folder) else ():
                remove(os.path.join(folder, entry))
        for path in halves(self.where):
            remove(path.partition(" (")[0])

    def evidence(self) -> str:
        """Ends of the logs, and what the folders hold: for whoever has to find out what happened."""
        parts = [f"processes: QEMU {[p.pid for p in self.qemus()]}, runners {[p.pid for p in self.runners()]}"]
        parts += [f"files: {' '.join(_below(folder))}" for folder in (self.where.run, self.where.vms)]
        logs = [*Path(self.where.log).glob("*.runner.log"), *Path(self.where.vms).glob("*/qemu.log")]
        parts += [f"the end of {log}:\n{tail(str(log), 12)}" for log in sorted(logs)[:6]]
        return "\n".join(parts)

    def log(self, text: str) -> None:
        """For whoever watches."""
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def _processes(is_one: t.Callable[[list[str]], bool]) -> list[Process]:
    found = [of_pid(pid) for pid, words in command_lines() if is_one(words)]
    return [process for process in found if process is not None]


def short(result: Result) -> str:
    """A result without what is long and the same each time."""
    return json.dumps({key: value for key, value in result.items() if key not in ("invocation", "vm", "audit")})[:3000]


def _below(folder: str) -> list[str]:
    return sorted(os.path.join(top, name) for top, folders, names in os.walk(folder) for name in (*folders, *names))


def halves(where: Layout) -> list[str]:
    """Files that were begun and never finished, and files that are no JSON though they should be."""
    found = []
    for path in (path for top in (where.state, where.run, where.log, where.config) for path in _below(top)):
        name = os.path.basename(path)
        if name.startswith(".") or name.endswith((".new", ".part", ".tmp")):
            found.append(path)
        elif name.endswith(".json") and os.path.isfile(path):
            try:
                data = Path(path).read_bytes()
                json.loads(data.partition(b"\n")[2] if _DIGEST.match(data) else data)
            except ValueError as error:
                found.append(f"{path} ({error})")
    return found
