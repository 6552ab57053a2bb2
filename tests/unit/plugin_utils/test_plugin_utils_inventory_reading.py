# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How hypervisors are asked: what ansible-playbook is given, and what comes back. tests/integration asks real ones."""

from __future__ import annotations

import json
import os
import pathlib
import sys
import time
import typing as t

import pytest
import yaml
from ansible_collections.maqet.qemu.plugins.plugin_utils import inventory_reading
from ansible_collections.maqet.qemu.plugins.plugin_utils.inventory_reading import Question

SECRET = 'a"b{{ c }}\\d: é'
HOSTS: dict[str, dict[str, t.Any]] = {
    "h1": {"ansible_host": "192.0.2.1", "ansible_port": 2200, "ansible_password": SECRET, "ansible_ssh_timeout": 90},
    "h2": {},
}


class Text(str):
    """As Ansible's own: a str that is more than that."""


def question(**changes: t.Any) -> Question:
    return Question(**{"hosts": HOSTS, "seconds": 10, "forks": 5, **changes})


class Reader(yaml.SafeLoader):
    """Notes what is no template, as Ansible's does."""


def _unsafe(loader: yaml.SafeLoader, node: t.Any) -> tuple[str, t.Any]:
    return "unsafe", loader.construct_scalar(node)


Reader.add_constructor("!unsafe", _unsafe)


def test_the_inventory_holds_no_template_and_no_longer_time_out() -> None:
    hosts = Reader(inventory_reading.inventory(question())).get_single_data()["all"]["hosts"]
    assert hosts == {
        "h1": {
            "ansible_host": ("unsafe", "192.0.2.1"),
            "ansible_port": 2200,
            "ansible_password": ("unsafe", SECRET),
        },
        "h2": {},
    }


def test_ansibles_own_types_become_plain() -> None:
    given: dict[str, t.Any] = {Text("k"): [Text("v"), True, 7, 1.5, None, (Text("w"),)]}
    found = inventory_reading.plain(given)
    assert found == {"k": ["v", True, 7, 1.5, None, ["w"]]}
    assert {type(key) for key in found} == {str} and type(found["k"][0]) is str
    shared = {"h1": {"ansible_x": given["k"], "ansible_y": given["k"]}}  # no aliases, which Ansible could not read
    assert "&" not in inventory_reading.inventory(question(hosts=shared))


@pytest.mark.parametrize("become", [None, True, False])
def test_the_playbook(become: t.Optional[bool]) -> None:
    ((play,),) = (inventory_reading.playbook(question(become=become)),)
    assert play.get("become") is become
    (task,) = play["tasks"]
    assert task["timeout"] == 10 and task["maqet.qemu.maqet_vm_info"]["gather"] == ["addresses"]
    assert task["maqet.qemu.maqet_vm_info"]["timeout"] < 5
    (play,) = inventory_reading.playbook(question(addresses=False))
    assert play["tasks"][0]["maqet.qemu.maqet_vm_info"]["gather"] == []


def test_the_environment_is_ours_but_for_what_matters() -> None:
    own = {
        "SSH_AUTH_SOCK": "/s",
        "ANSIBLE_REMOTE_USER": "ada",
        "ANSIBLE_STDOUT_CALLBACK": "yaml",
        "ANSIBLE_TIMEOUT": "99",
    }
    env = inventory_reading.environment(question(), "/answers", own)
    assert (env["SSH_AUTH_SOCK"], env["ANSIBLE_REMOTE_USER"]) == ("/s", "ada")
    assert env["ANSIBLE_STDOUT_CALLBACK"] == "maqet.qemu.inventory_answers" and env["ANSIBLE_TIMEOUT"] == "9"
    assert env["ANSIBLE_SSH_RETRIES"] == "0" and env["ANSIBLE_FORKS"] == "5"


def test_rounds_of_dead_hosts_have_their_time() -> None:
    many: dict[str, dict[str, t.Any]] = {f"h{number}": {} for number in range(11)}
    assert question(hosts=many).longest - question(hosts=many, forks=11).longest == 20


def test_what_was_answered() -> None:
    lines = [
        {"host": "h1", "status": "ok", "result": {"vms": []}},
        {"host": "h2", "status": "unreachable", "result": {"msg": "no\n \x1b[2Jway", "unreachable": True}},
        {"host": "h3", "status": "failed", "result": {"msg": "", "module_stderr": "sudo: no"}},
    ]
    text = "\n".join(json.dumps(line) for line in lines) + '\n{"host": "h4", "sta'
    found = inventory_reading.understood(["h4", "h3", "h2", "h1"], text, "Killed")
    assert found.told == {"h1": {"vms": []}}
    assert found.failed == {"h4": "it has not answered. Ansible said: Killed", "h3": "sudo: no", "h2": "no ?[2Jway"}


def test_nobody_is_asked_where_there_is_none(tmp_path: pathlib.Path) -> None:
    assert inventory_reading.read(question(hosts={}), str(tmp_path / "none"), [], None) == ({}, {})


class Stand:
    """In the place of Python, and so of Ansible: a program of the shell's. ``seen`` is where it writes."""

    def __init__(self, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.seen, self._monkeypatch = folder, folder / "seen", monkeypatch
        (folder / "tmp").mkdir()

    def read(self, script: str, asked: Question, config: t.Optional[str] = None) -> inventory_reading.Answers:
        """With a umask that would open everything to everybody."""
        program = self.folder / "python"
        program.write_text(f"#!/bin/sh\nseen={self.seen}\n{script}\n", "utf-8")
        program.chmod(0o700)
        self._monkeypatch.setattr(sys, "executable", str(program))
        before = os.umask(0)
        try:
            return inventory_reading.read(asked, str(self.folder / "tmp"), ["/c1", "/c2"], config)
        finally:
            os.umask(before)
            assert list((self.folder / "tmp").iterdir()) == []  # nothing of it stays, whatever happens


@pytest.fixture
def stand(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    return Stand(tmp_path, monkeypatch)


_ANSWER = 'echo \'{"host": "h1", "status": "ok", "result": {"vms": []}}\' >>"$MAQET_INVENTORY_ANSWERS"'


def test_what_ansible_is_given(stand: Stand) -> None:
    script = (
        'stat -c %a "$5" "$(dirname "$5")" >"$seen"; echo "$* $ANSIBLE_CONFIG $ANSIBLE_COLLECTIONS_PATH" >>"$seen"; '
    )
    found = stand.read(script + _ANSWER + "; exit 4", question(), "/etc/own.cfg")
    assert list(found.told) == ["h1"] and list(found.failed) == ["h2"]
    file_mode, folder_mode, words = stand.seen.read_text("utf-8").splitlines()
    assert (file_mode, folder_mode) == ("600", "700")
    assert words.startswith("-m ansible playbook -i ") and " /etc/own.cfg " in words and words.endswith(":/c1:/c2")
    assert "ansible_collections" not in words.split()[-1], "the folder above, in which Ansible looks for it"
    assert SECRET not in words


def test_an_ansible_that_cannot_work_is_an_error_and_no_empty_inventory(stand: Stand) -> None:
    with pytest.raises(ValueError, match=r"ended with status 1\. Ansible said: no such plugin"):
        stand.read("echo no such plugin >&2; exit 1", question())


def test_what_does_not_end_is_ended_and_what_was_answered_stays(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Question, "longest", property(lambda _self: 1.0))
    monkeypatch.setattr(inventory_reading, "_ENDING", 0.3)
    begun = time.monotonic()
    found = stand.read(f'trap "" TERM; echo $$ >"$seen"; {_ANSWER}; sleep 600 & wait; sleep 600', question())
    assert time.monotonic() - begun < 10
    assert list(found.told) == ["h1"] and found.failed == {"h2": "it has not answered."}
    assert not os.path.exists(f"/proc/{stand.seen.read_text('utf-8').strip()}")
