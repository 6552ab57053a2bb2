# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running plays from tests with the ansible-core of this interpreter and the collection of this checkout."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

_HERE = Path(__file__).resolve().parent
REPOSITORY = _HERE.parent.parent


class PlayFailed(AssertionError):
    """A play ended otherwise than the test expects; the text holds Ansible's own output."""


@dataclasses.dataclass(frozen=True)
class TaskOutcome:
    """What one task did on one host; ``status`` is ok, failed, ignored, skipped or unreachable."""

    host: str
    task: str
    status: str
    result: dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class PlayOutcome:
    """What a whole run did. ``output`` is what Ansible printed, for messages only."""

    rc: int
    tasks: list[TaskOutcome]
    output: str

    def result(self, task: str) -> dict[str, t.Any]:
        """The result of the last task of this name (a role's tasks are called ``role : name``)."""
        for outcome in reversed(self.tasks):
            if outcome.task in (task, outcome.task.partition(" : ")[0] + f" : {task}"):
                return outcome.result
        raise PlayFailed(f"no task {task!r} has run; Ansible said:\n{self.output}")

    @property
    def changed(self) -> list[str]:
        """The names of the tasks that changed something."""
        return [outcome.task for outcome in self.tasks if outcome.result.get("changed")]

    def must_succeed(self) -> PlayOutcome:
        """Itself, or :class:`PlayFailed` with all that Ansible said."""
        if self.rc != 0:
            raise PlayFailed(f"ansible-playbook ended with status {self.rc}:\n{self.output}")
        return self


def run_playbook(
    inventory: str | Path,
    play: str | list[dict[str, t.Any]],
    extra_vars: dict[str, t.Any] | None = None,
    env: dict[str, str] | None = None,
    options: t.Sequence[str] = (),
    seconds: float = 600.0,
    interrupt: str | None = None,
) -> PlayOutcome:
    """Run plays, given as data, as YAML text or as a collection's playbook, and return what every task did.

    ``options`` go to ansible-playbook as they are (``--check``). With ``interrupt`` it gets a Ctrl-C as soon as it has
    printed that. Nothing of the user's Ansible configuration is used. Raises :class:`subprocess.TimeoutExpired` after
    ``seconds``.
    """
    with tempfile.TemporaryDirectory(prefix="maqet-play-") as name:
        folder = Path(name)
        playbook, results, variables = folder / "play.yml", folder / "results.jsonl", folder / "vars.json"
        named = isinstance(play, str) and "\n" not in play
        if not named:
            playbook.write_text(play if isinstance(play, str) else json.dumps(play), "utf-8")
        variables.write_text(json.dumps(extra_vars or {}), "utf-8")
        results.touch()
        (folder / "ansible.cfg").touch()
        argv = [sys.executable, "-m", "ansible", "playbook", "-i", str(inventory), "-e", f"@{variables}"]
        with subprocess.Popen(
            [*argv, *options, str(play) if named else str(playbook)],
            env={**_environment(folder), "MAQET_TEST_RESULTS": str(results), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
        ) as child:
            said = b"" if interrupt is None else _interrupted(child, interrupt.encode())
            try:
                said += child.communicate(timeout=seconds)[0]
            except BaseException:
                child.kill()
                raise
        tasks = [TaskOutcome(**json.loads(line)) for line in results.read_text("utf-8").splitlines()]
        return PlayOutcome(child.returncode, tasks, said.decode("utf-8", "replace"))


def _interrupted(child: subprocess.Popen[bytes], words: bytes) -> bytes:
    """Read until it has said ``words``, and have it hear Ctrl-C; what was read."""
    assert child.stdout is not None
    said = b""
    while words not in said:
        more = os.read(child.stdout.fileno(), 65536)
        if not more:
            return said
        said += more
    child.send_signal(signal.SIGINT)
    return said


@dataclasses.dataclass(frozen=True)
class Listing:
    """What ``ansible-inventory --list`` says: variables of the hosts, and hosts of the groups. ``words``: warnings."""

    rc: int
    hosts: dict[str, dict[str, t.Any]]
    groups: dict[str, list[str]]
    words: str
    seconds: float

    def must_succeed(self) -> Listing:
        """Itself, or :class:`PlayFailed`."""
        if self.rc != 0:
            raise PlayFailed(f"ansible-inventory ended with status {self.rc}:\n{self.words}")
        return self


def list_inventory(
    *sources: str | Path, options: t.Sequence[str] = (), env: dict[str, str] | None = None, seconds: float = 300.0
) -> Listing:
    """Read sources as Ansible does; those that cannot be parsed are an error. Configuration as :func:`run_playbook`."""
    with tempfile.TemporaryDirectory(prefix="maqet-inventory-") as name:
        folder = Path(name)
        (folder / "ansible.cfg").touch()
        words = [sys.executable, "-m", "ansible", "inventory", "--list", *options]
        given = _environment(folder)
        del given["ANSIBLE_CALLBACK_PLUGINS"], given["ANSIBLE_CALLBACKS_ENABLED"]
        begun = time.monotonic()
        done = subprocess.run(
            [*words, *(word for source in sources for word in ("-i", str(source)))],
            env={**given, "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "1", **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=folder,
            timeout=seconds,
            check=False,
            text=True,
        )
        took = time.monotonic() - begun
    said = " ".join(done.stderr.split())
    if done.returncode:
        return Listing(done.returncode, {}, {}, said + done.stdout, took)
    found = json.loads(done.stdout, object_hook=lambda item: item.get("__ansible_unsafe", item))
    groups = {group: sorted(part.get("hosts", [])) for group, part in found.items() if group != "_meta"}
    return Listing(0, found["_meta"]["hostvars"], groups, said, took)


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return {
        **kept,
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_COLLECTIONS_PATH": str(_collection_tree(folder)),
        "ANSIBLE_CALLBACK_PLUGINS": str(_HERE / "callback"),
        "ANSIBLE_CALLBACKS_ENABLED": "maqet_results",
        "MAQET_TEST_PAYLOADS": _payloads().name,
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_PIPELINING": "1",  # a fifth of the logins; tests that must do without say so
        "ANSIBLE_RETRY_FILES_ENABLED": "0",
    }


@functools.cache
def _payloads() -> tempfile.TemporaryDirectory[str]:
    """A folder for the archives that Ansible makes of modules, for all runs of this process, which removes it."""
    return tempfile.TemporaryDirectory(prefix="maqet-payloads-")


def _collection_tree(folder: Path) -> Path:
    """A folder in which Ansible finds this checkout as ``maqet.qemu``, whatever the checkout is called."""
    tree = folder / "collections"
    link = tree / "ansible_collections/maqet/qemu"
    link.parent.mkdir(parents=True)
    link.symlink_to(REPOSITORY)
    return tree
