# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking hypervisor hosts for their VMs: one task on all of them, by an ``ansible-playbook`` of its own.

Why a process, and not Ansible's classes in this one: those are no interface, they read what the command line of whoever
runs this has said (``ansible-inventory`` knows no become), and a play within the start of a play shares its workers'
queue, signals and output. A playbook is the one way that is promised from release to release, and it brings along every
connection and become plugin. It gets the same configuration, and variables that were decrypted and templated here: so
it needs no vault password, and nothing that a host or a guest has said is ever a template.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import typing as t

import yaml

# Of a host's time, the part that one VM may take of it.
_VM_PART = 0.25
# What ansible-playbook needs to start and to end, and each host of it, in seconds.
_START, _EACH = 20.0, 0.5
# How long it may take to end once it was told to.
_ENDING = 5.0
# How ansible-playbook ends, whatever became of its hosts: well, with failed ones, with unreachable ones, or with both.
_OF_HOSTS = (0, 2, 4, 6)
# Variables that would keep a dead host longer.
_TIMEOUTS = ("ansible_timeout", "ansible_ssh_timeout", "ansible_ssh_retries", "ansible_paramiko_timeout")
_PLUGINS = "ansible_collections/maqet/qemu/plugins/plugin_utils"


@dataclasses.dataclass(frozen=True)
class Question:
    """``hosts``: name and connection variables. ``seconds``: for each. ``become``: None leaves it to the variables."""

    hosts: t.Mapping[str, t.Mapping[str, t.Any]]
    seconds: int
    forks: int
    become: t.Optional[bool] = None
    addresses: bool = True

    @property
    def longest(self) -> float:
        """Seconds after which nothing more can come: each round of hosts takes at most their time."""
        rounds = -(-len(self.hosts) // self.forks)
        return _START + len(self.hosts) * _EACH + rounds * self.seconds


class Answers(t.NamedTuple):
    """By host: the module's result; or why there is none."""

    told: dict[str, dict[str, t.Any]]
    failed: dict[str, str]


class _Literal(str):
    """A text that is no template, whatever it looks like."""


class _Dumper(yaml.SafeDumper):
    """Knows :class:`_Literal`."""

    def ignore_aliases(self, _data: t.Any) -> bool:
        """Ansible's reader knows no aliases of tagged values."""
        return True


_Dumper.add_representer(_Literal, lambda dumper, text: dumper.represent_scalar("!unsafe", str(text), style='"'))


def plain(value: t.Any) -> t.Any:
    """The same without Ansible's own types: those of vaulted and of tagged values."""
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, t.Mapping):
        return {plain(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return "".join(str(value))  # a plain str, of whatever class it was


def inventory(question: Question) -> str:
    """The hosts as a YAML inventory, in which nothing is a template."""
    hosts = {
        plain(name): {plain(key): _literal(plain(value)) for key, value in variables.items() if key not in _TIMEOUTS}
        for name, variables in question.hosts.items()
    }
    return yaml.dump({"all": {"hosts": hosts}}, Dumper=_Dumper, allow_unicode=True, sort_keys=False)


def playbook(question: Question) -> list[dict[str, t.Any]]:
    """One task for all VMs of a host."""
    options = {
        "gather": ["addresses"] if question.addresses else [],
        "timeout": max(1.0, question.seconds * _VM_PART),
    }
    task = {"name": "Look at the VMs", "maqet.qemu.maqet_vm_info": options, "timeout": question.seconds}
    play = {"name": "Inventory", "hosts": "all", "gather_facts": False, "no_log": False, "tasks": [task]}
    return [play if question.become is None else {**play, "become": question.become}]


def environment(question: Question, answers: str, own: t.Mapping[str, str]) -> dict[str, str]:
    """``own`` without what is for people, or for other plays, and with our time-outs."""
    return {
        **own,
        "MAQET_INVENTORY_ANSWERS": answers,
        "ANSIBLE_STDOUT_CALLBACK": "maqet.qemu.inventory_answers",
        "ANSIBLE_CALLBACKS_ENABLED": "maqet.qemu.inventory_answers",  # no other: none is no list for Ansible
        "ANSIBLE_INVENTORY_ENABLED": "ansible.builtin.yaml",
        "ANSIBLE_STRATEGY": "ansible.builtin.linear",
        "ANSIBLE_FORKS": str(question.forks),
        "ANSIBLE_TIMEOUT": str(max(1, question.seconds - 1)),  # before the task's own, since it can say why
        "ANSIBLE_SSH_TIMEOUT": str(max(1, question.seconds - 1)),
        "ANSIBLE_SSH_RETRIES": "0",
        "ANSIBLE_ASK_PASS": "0",
        "ANSIBLE_BECOME_ASK_PASS": "0",
        "ANSIBLE_ASK_VAULT_PASS": "0",
        "ANSIBLE_RETRY_FILES_ENABLED": "0",
        "ANSIBLE_VERBOSITY": "0",
        "ANSIBLE_DEBUG": "0",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_LOCALHOST_WARNING": "0",
    }


def read(question: Question, folder: str, collections: t.Sequence[str], config: t.Optional[str]) -> Answers:
    """Ask all hosts, and return when all have answered or their time is over.

    ``folder`` is where a folder that only we may read is made, which is gone again afterwards. ``collections`` and
    ``config`` are Ansible's own: the folders of collections, and the file with the configuration. ValueError if Ansible
    itself could not do its work.
    """
    if not question.hosts:
        return Answers({}, {})
    place = tempfile.mkdtemp(prefix="maqet-inventory-", dir=folder)  # with mode 0700
    try:
        paths = {name: os.path.join(place, name) for name in ("hosts.yml", "play.json", "answers.jsonl")}
        contents = (inventory(question), json.dumps(playbook(question)), "")
        for path, text in zip(paths.values(), contents):
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
        env = environment(question, paths["answers.jsonl"], os.environ)
        env["ANSIBLE_COLLECTIONS_PATH"] = os.pathsep.join(dict.fromkeys([*_own_collections(), *collections]))
        if config:
            env["ANSIBLE_CONFIG"] = config
        status, said = _run(["playbook", "-i", paths["hosts.yml"], paths["play.json"]], env, question.longest)
        with open(paths["answers.jsonl"], encoding="utf-8") as file:
            lines = file.read()
        if not lines and status is not None and status not in _OF_HOSTS:
            raise ValueError(
                f"ansible-playbook, by which hypervisors are read, ended with status {status}. {_end_of(said)}"
            )
        return understood(question.hosts, lines, said)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def understood(hosts: t.Iterable[str], lines: str, said: str) -> Answers:
    """What the callback has written, in the order of ``hosts``; ``said`` is what else there was to read."""
    found = {}
    for line in lines.splitlines():
        with contextlib.suppress(ValueError):  # half a line, of one that was ended while it wrote
            answer = json.loads(line)
            found[answer["host"]] = answer
    answers = Answers({}, {})
    for name in hosts:
        answer = found.get(name)
        if answer is None:
            answers.failed[name] = f"it has not answered. {_end_of(said)}".strip()
        elif answer["status"] == "ok":
            answers.told[name] = answer["result"]
        else:
            result = answer["result"]
            why = str(result.get("msg") or result.get("module_stderr") or result)
            answers.failed[name] = _words(why)
    return answers


def _literal(value: t.Any) -> t.Any:
    if isinstance(value, dict):
        return {key: _literal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_literal(item) for item in value]
    return _Literal(value) if isinstance(value, str) else value


def _own_collections() -> list[str]:
    """The folder from which we were loaded ourselves: it may be beside a playbook, of which no configuration knows."""
    here = os.path.dirname(os.path.abspath(__file__))
    return [here[: -len(_PLUGINS) - 1]] if here.endswith(f"/{_PLUGINS}") else []


def _run(words: t.Sequence[str], env: t.Mapping[str, str], seconds: float) -> tuple[t.Optional[int], str]:
    """Run Ansible in a session of its own, so that nobody in it can ask at the terminal.

    Its status, None if it had to be ended, and what it printed.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "ansible", *words],
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            said = process.communicate(timeout=seconds)[0]
            status: t.Optional[int] = process.returncode
        except subprocess.TimeoutExpired:
            status, said = None, _end(process)
        except BaseException:
            _end(process)
            raise
    return status, said.decode("utf-8", "replace")


def _end(process: subprocess.Popen[bytes]) -> bytes:
    """Have it end, with its workers."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=_ENDING)[0]
    return b""


def _end_of(said: str) -> str:
    words = _words(said)
    return f"Ansible said: {words[-600:]}" if words else ""


def _words(text: str) -> str:
    """One line, without what a terminal would obey: a host may say anything."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
