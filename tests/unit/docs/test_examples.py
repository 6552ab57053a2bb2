# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The YAML of the documentation is what it says: policies that can be read, tasks that they allow, options that are."""

from __future__ import annotations

import pathlib
import re
import textwrap
import typing as t

import pytest
import yaml
from ansible_collections.maqet.qemu.docs.tools.generate import PAGES
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.judge import judge
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import BUILTIN, Policy, parse
from ansible_collections.maqet.qemu.plugins.module_utils.guard.schema import Schema
from ansible_collections.maqet.qemu.plugins.module_utils.guard.scope import Rights, Scope
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Request, Verdict
from ansible_collections.maqet.qemu.tests.unit.docs import examples
from ansible_collections.maqet.qemu.tests.unit.guard import schemas

_BLOCK = re.compile(r"^\.\. code-block:: yaml\n\n((?:    .*\n|\n)+)", re.MULTILINE)
_RECIPE = re.compile(r"^(?P<title>[^\n]+)\n\^+\n(?P<text>.*?)(?=^[^\n]+\n[\^-]{3,}\n|\Z)", re.MULTILINE | re.DOTALL)

ROOT = (0, ())
ON_TRIAL = "A policy on trial"
#: Recipe -> uid and groups of who runs its task.
RECIPES: dict[str, tuple[int, tuple[int, ...]]] = {
    "A team that may look": (1001, (2001,)),
    "A team that may operate": (1002, (2002,)),
    "One NBD port": ROOT,
    "One migration target": ROOT,
    "One tap": ROOT,
    "A folder of images, read-only": ROOT,
    ON_TRIAL: ROOT,
}
USERS = {"monitoring": 1003}
GROUPS = {"vm-viewers": 2001, "vm-operators": 2002}


class Recipe(t.NamedTuple):
    """A policy file, and the commands of the tasks that it is for."""

    policy: dict[str, t.Any]
    commands: list[dict[str, t.Any]]


def blocks(text: str) -> list[t.Any]:
    return [yaml.safe_load(textwrap.dedent(found)) for found in _BLOCK.findall(text)]


def page(name: str) -> str:
    return (pathlib.Path(PAGES) / name).read_text(encoding="utf-8")


def recipe(title: str, images: pathlib.Path) -> Recipe:
    """The recipe of this title; its folder of images is one of the test's."""
    found = {match["title"]: match["text"] for match in _RECIPE.finditer(page("policy.rst"))}
    policy, *tasks = blocks(found[title].replace("/srv/images", str(images)))
    commands: list[dict[str, t.Any]] = []
    for task in (one for listed in tasks for one in listed):
        options = task["maqet.qemu.maqet_qmp"]
        commands += options.get("commands", [options])
    return Recipe(policy, commands)


def read(data: dict[str, t.Any]) -> Policy:
    policy = parse(data, "/etc/maqet/policy.yml", None, USERS.get, GROUPS.get)
    assert not policy.warnings
    return policy


def verdicts(policy: Policy, caller: tuple[int, tuple[int, ...]], scope: Scope, asked: Recipe) -> list[Verdict]:
    rights = Rights(policy, policy.layer(scope.vm), (), policy.role_of(*caller))
    return [judge(Request(one["command"], one.get("arguments", {})), scope, rights) for one in asked.commands]


@pytest.fixture
def scope(tmp_path: pathlib.Path) -> Scope:
    for name in ("output", "disks"):
        (tmp_path / "vm" / name).mkdir(parents=True)
    return Scope("web1", str(tmp_path / "vm"), _schema())


@pytest.fixture
def images(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "tools.iso").write_bytes(bytes(2048))
    return folder


def _schema() -> Schema:
    return schemas.schema("7.2")


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_makes_its_task_work(title: str, scope: Scope, images: pathlib.Path) -> None:
    asked = recipe(title, images)
    caller = RECIPES[title]
    before = verdicts(BUILTIN, caller, scope, asked)
    assert not all(verdict.allowed for verdict in before), "it works without the recipe"
    after = verdicts(read(asked.policy), caller, scope, asked)
    assert [verdict.reason for verdict in after if not verdict.allowed] == []


@pytest.mark.parametrize("title", [title for title in RECIPES if title != ON_TRIAL])
def test_a_recipe_opens_nothing_else(title: str, scope: Scope, images: pathlib.Path) -> None:
    policy = read(recipe(title, images).policy)
    closed = [
        {"command": "migrate", "arguments": {"uri": "exec:id"}},
        {"command": "migrate", "arguments": {"uri": "tcp:192.0.2.20:4445"}},
        {"command": "screendump", "arguments": {"filename": "/etc/shadow"}},
        {"command": "netdev_add", "arguments": {"type": "tap", "id": "n", "ifname": "tap1"}},
        {
            "command": "nbd-server-start",
            "arguments": {"addr": {"type": "inet", "data": {"host": "0.0.0.0", "port": "10809"}}},
        },
        {"command": "block-export-add", "arguments": {"type": "nbd", "id": "e", "node-name": "d", "writable": True}},
        {
            "command": "blockdev-add",
            "arguments": {"driver": "raw", "file": {"driver": "file", "filename": f"{images}/tools.iso"}},
        },
    ]
    found = verdicts(policy, RECIPES[title], scope, Recipe({}, closed))
    assert [verdict.reason for verdict in found if verdict.allowed] == []


def test_what_the_teams_may_not(scope: Scope, images: pathlib.Path) -> None:
    def may(title: str, uid: int, groups: tuple[int, ...], command: str, vm: str = "web1") -> bool:
        policy = read(recipe(title, images).policy)
        rights = Rights(policy, policy.layer(vm), (), policy.role_of(uid, groups))
        return judge(Request(command), scope, rights).allowed

    assert may("A team that may look", 1001, (2001,), "query-status")
    assert not may("A team that may look", 1001, (2001,), "stop")
    assert not may("A team that may look", 1001, (2002,), "query-status")
    operate = "A team that may operate"
    assert may(operate, 1002, (2002,), "system_reset") and not may(operate, 1002, (2002,), "system_reset", "db1")
    assert not may(operate, 0, (), "system_reset", "db1"), "a deny is for admins, too"
    assert may(operate, 1003, (), "query-status") and not may(operate, 1003, (), "cont")


def test_a_policy_on_trial_says_what_it_would_deny(scope: Scope, images: pathlib.Path) -> None:
    asked = recipe(ON_TRIAL, images)
    policy = read(asked.policy)
    (verdict,) = verdicts(policy, ROOT, scope, asked)
    assert (verdict.mode, verdict.level) == ("permissive", "warning") and verdict.reason.startswith("would be denied")
    enforced = Rights(policy, policy.layer("db1"), (), policy.role_of(*ROOT))
    assert not judge(Request("migrate", asked.commands[0]["arguments"]), scope, enforced).allowed


def test_no_recipe_is_forgotten() -> None:
    titles = [found["title"] for found in _RECIPE.finditer(page("policy.rst"))]
    assert titles == list(RECIPES)


ALL = [*examples.of_guides(), *examples.of_readme(), *examples.of_modules()]


@pytest.mark.parametrize("example", ALL, ids=[f"{index}-{one.where}" for index, one in enumerate(ALL)])
def test_an_example_is_what_it_says(example: examples.Example) -> None:
    assert examples.check(example) > 0


def test_no_block_is_passed_over() -> None:
    """Those that the expression does not find would not be checked."""
    written = sum(file.read_text("utf-8").count(".. code-block:: yaml") for file in pathlib.Path(PAGES).glob("*.rst"))
    assert len(examples.of_guides()) == written > 70


@pytest.mark.parametrize(
    "text",
    [
        "- name: No such option\n  maqet.qemu.maqet_vm: {name: web1, memry: 1G}",
        "- name: No such value\n  maqet.qemu.maqet_vm: {name: web1, state: started}",
        "- name: No such size\n  maqet.qemu.maqet_vm: {name: web1, memory: 1 gig}",
        "- name: No such wait\n  maqet.qemu.maqet_vm: {name: web1, wait_for: [sunrise]}",
        "- name: Two forms\n  maqet.qemu.maqet_qmp: {vm: web1, socket: /x, command: stop}",
        "- name: No such module\n  maqet.qemu.maqet_vmm: {name: web1}",
        "- name: A short name\n  maqet_vm: {name: web1}",
        "- name: No keyword\n  maqet.qemu.maqet_vm: {name: web1}\n  regster: x",
        "- name: No option of another's\n  ansible.builtin.get_url: {urll: x}",
        "- hosts: all\n  roles: [{role: maqet.qemu.vms, vms_liste: []}]",
        "- hosts: all\n  roles: [{role: maqet.qemu.vms, vms_list: [{name: a, memory: much}]}]",
        "- ansible.builtin.import_playbook: maqet.qemu.provisoin",
        "vms_list: [{name: a, disks: [{siez: 1G}]}]",
        "version: 1\nclases: {}",
        "plugin: maqet.qemu.maqet\nhypervisor: [a]",
    ],
)
def test_a_wrong_example_is_found(text: str) -> None:
    with pytest.raises((AssertionError, MaqetError, ModuleNotFoundError)):
        examples.check(examples.Example("x.rst", yaml.safe_load(text), text))
