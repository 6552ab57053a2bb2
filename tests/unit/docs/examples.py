# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every YAML example of the guides, of the README and of the modules, checked as far as that goes without a host.

A task's keywords must be Ansible's, its module must be there, and its options must be what the module's own checks
take; those of ``maqet_vm`` are taken as far as they get without a look at a host. Templates count as a value of the
right type.
"""

from __future__ import annotations

import functools
import importlib
import re
import textwrap
import typing as t
from pathlib import Path

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.playbook.block import Block
from ansible.playbook.play import Play
from ansible.playbook.task import Task
from ansible_collections.maqet.qemu.docs.tools.generate import PAGES
from ansible_collections.maqet.qemu.plugins.module_utils import task as door
from ansible_collections.maqet.qemu.plugins.module_utils.definition.options import SPEC as OF_A_VM
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import parse
from ansible_collections.maqet.qemu.plugins.module_utils.vm import wish

ROOT: t.Final = Path(PAGES).parents[2]
Options = t.Dict[str, t.Any]

_RST: t.Final = re.compile(
    r"^(?P<indent> *)\.\. code-block:: yaml\n\n(?P<text>(?:(?P=indent) {4}.*\n|\n)+)", re.MULTILINE
)
_MARKDOWN: t.Final = re.compile(r"^```yaml\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
#: A value of a type, where the example has a template.
_ANY: t.Final[Options] = {
    "str": "x", "path": "/x", "int": 1, "float": 1.0, "bool": True, "list": [], "dict": {}, "raw": "x",
}  # fmt: skip
#: What is no option but stands where options of a role do: connection, and variables of these pages' own.
_VARIABLES: t.Final = re.compile(r"ansible_\w+|molecule_images|vms_images_folder")
_RAW: t.Final = re.compile(r"{% (end)?raw %}\n?")
_MOLECULE: t.Final = {"platforms", "provisioner"}


class Example(t.NamedTuple):
    """A block, and where it stands."""

    where: str
    data: t.Any
    text: str


def of_guides() -> list[Example]:
    """All YAML blocks of the guides, indented ones too."""
    found = []
    for page in sorted(Path(PAGES).glob("*.rst")):
        for match in _RST.finditer(page.read_text("utf-8")):
            found.append(_example(page.name, textwrap.dedent(match["text"])))
    return found


def of_readme() -> list[Example]:
    """Those of the README."""
    text = (ROOT / "README.md").read_text("utf-8")
    return [_example("README.md", match["text"]) for match in _MARKDOWN.finditer(text)]


def of_modules() -> list[Example]:
    """EXAMPLES of the modules."""
    found = []
    for path in sorted((ROOT / "plugins/modules").glob("*.py")):
        found.append(_example(path.name, _module(path.stem).EXAMPLES))
    return found


def _example(where: str, text: str) -> Example:
    return Example(where, yaml.safe_load(text), text)


# --- what is right ---------------------------------------------------------------------------------------------------


def check(example: Example) -> int:
    """Number of tasks and roles in it. AssertionError or MaqetError, with the place, for what is wrong."""
    if isinstance(example.data, list):
        return sum(map(_item, example.data))
    _mapping(example)
    return 1


def _item(item: Options) -> int:
    """A play, a task, or a block."""
    if "ansible.builtin.import_playbook" in item:
        _playbook(item["ansible.builtin.import_playbook"])
        return 1
    if "hosts" not in item:
        return _task(item)
    unknown = item.keys() - Play.fattributes.keys()
    assert not unknown, f"no keywords of a play: {unknown}"
    for role in item.get("roles", []):
        _role(role)
    tasks = [task for section in ("pre_tasks", "tasks", "handlers") for task in item.get(section, [])]
    return len(item.get("roles", [])) + sum(map(_task, tasks))


def _task(task: Options) -> int:
    """One task, or all of a block."""
    assert task.get("name"), f"a task without a name: {task}"
    if "block" in task:
        assert not task.keys() - Block.fattributes.keys()
        return sum(map(_task, (one for part in ("block", "rescue", "always") for one in task.get(part, []))))
    modules = task.keys() - Task.fattributes.keys()
    assert len(modules) == 1, f"{task['name']}: no keywords, and not one module: {modules}"
    module = modules.pop()
    options = task[module] or {}
    if module.startswith("maqet.qemu."):
        _ours(module[len("maqet.qemu.") :], options)
    else:
        assert module.startswith("ansible.builtin."), f"{task['name']}: not by its full name: {module}"
        unknown = set(options) - _builtin(module.rpartition(".")[2])
        assert not unknown, f"{task['name']}: {module} has no {unknown}"
    return 1


def _role(role: t.Any) -> None:
    name, given = (role, {}) if isinstance(role, str) else (role["role"], {**role, **role.get("vars", {})})
    assert name.startswith("maqet.qemu."), name
    spec = _of_role(name.rpartition(".")[2])
    given = {key: value for key, value in given.items() if key not in ("role", "vars", "when", "tags", "become")}
    _variables(spec, given)


def _variables(spec: Options, given: Options) -> None:
    """Variables of roles, and what some of them hold."""
    _valid(spec, {key: value for key, value in given.items() if not _VARIABLES.fullmatch(key)}, whole=False)
    if {"vms_list", "vms_defaults"} & given.keys():
        _vms(given.get("vms_list", []), given.get("vms_defaults", {}))
    if isinstance(given.get("hypervisor_policy"), dict):
        parse(given["hypervisor_policy"], "policy")


def _mapping(example: Example) -> None:
    """A dictionary: an inventory, variables, a policy, or a part of a molecule.yml."""
    data, where = example.data, example.where
    if data.get("plugin") == "maqet.qemu.maqet" or where == "inventory.rst":
        unknown = data.keys() - _inventory() - {"plugin"}
    elif where == "molecule.rst":
        unknown = data.keys() - _MOLECULE
    elif any("hosts" in group for group in data.values() if isinstance(group, dict)) and "version" not in data:
        unknown = {key for group in data.values() for key in group.keys() - {"hosts", "vars", "children"}}
    elif data.keys() & _role_options().keys():
        _variables(_role_options(), data)
        unknown = set()
    else:
        parse(data, "policy")
        unknown = set()
    assert not unknown, f"unknown in {example.text}: {unknown}"


def _playbook(name: str) -> None:
    assert name.startswith("maqet.qemu.") and (ROOT / "playbooks" / f"{name.rpartition('.')[2]}.yml").exists(), name


# --- what is known ---------------------------------------------------------------------------------------------------


def _module(name: str) -> t.Any:
    return importlib.import_module(f"ansible_collections.maqet.qemu.plugins.modules.{name}")


def _ours(name: str, options: Options) -> None:
    """Options of a module of ours, by the very spec and rules that it runs with."""
    assert (ROOT / "plugins/modules" / f"{name}.py").exists(), name
    spec, rules = _declared(name)
    params = _valid(spec, options, **rules)
    if name == "maqet_vm":
        wish.desired(params)
    if name == "maqet_vms":
        _vms(params["vms"], params["defaults"] or {})


def _vms(vms: t.Sequence[Options], defaults: Options) -> None:
    """A list of VMs, each with what all have. Without any, the defaults alone."""
    for vm in vms or [{"name": "any"}]:
        if isinstance(vm, dict):
            wish.desired(_valid(OF_A_VM, {**defaults, **vm}))


@functools.cache
def _declared(name: str) -> tuple[Options, Options]:
    """What a module's main() hands to the door."""
    heard: list[tuple[Options, Options]] = []
    module, run = _module(name), door.run
    door.run = lambda spec, _body, **rules: heard.append((dict(spec), rules))
    try:
        module.main()
    finally:
        door.run = run
    return heard[0]


def _valid(spec: Options, options: Options, whole: bool = True, **rules: t.Any) -> Options:
    """Options as Ansible makes them of the spec; ``whole``: what is required must be there."""
    if not whole:
        spec = {key: {**value, "required": False} for key, value in spec.items()}
    done = ArgumentSpecValidator(spec, **rules).validate(_filled(spec, options))
    assert not done.error_messages, f"{', '.join(done.error_messages)} in {options}"
    return dict(done.validated_parameters)


def _filled(spec: Options, options: Options) -> Options:
    """The options with values of the right type for templates."""
    return {key: _value(spec.get(key, {}), value) for key, value in options.items()}


def _value(entry: Options, value: t.Any) -> t.Any:
    if isinstance(value, dict) and not entry.get("options"):
        return {key: _value({}, one) for key, one in value.items()}
    if isinstance(value, str) and value.startswith("{{"):
        return (entry.get("choices") or [_ANY[entry.get("type", "str")]])[0]
    if isinstance(value, str):
        return _RAW.sub("", value)
    if entry.get("options") and isinstance(value, dict):
        return _filled(entry["options"], value)
    if entry.get("options") and isinstance(value, list):
        return [_filled(entry["options"], one) if isinstance(one, dict) else one for one in value]
    return value


@functools.cache
def _builtin(name: str) -> frozenset[str]:
    """Options of a module of ansible-core and their aliases, and what it takes besides."""
    module = importlib.import_module(f"ansible.modules.{name}")
    documented = yaml.safe_load(module.DOCUMENTATION)
    options, fragments = documented["options"], documented.get("extends_documentation_fragment", [])
    files = ["attributes", "mode", "owner", "group", "unsafe_writes"] if "files" in fragments else []
    files += ["decrypt"] if "decrypt" in fragments else []
    aliases = [alias for option in options.values() for alias in option.get("aliases", [])]
    return frozenset((*options, *aliases, *files))


@functools.cache
def _of_role(name: str) -> Options:
    spec = yaml.safe_load((ROOT / "roles" / name / "meta/argument_specs.yml").read_text("utf-8"))
    return t.cast(Options, spec["argument_specs"]["main"]["options"])


@functools.cache
def _role_options() -> Options:
    """The variables of all roles."""
    return {key: value for path in (ROOT / "roles").iterdir() for key, value in _of_role(path.name).items()}


@functools.cache
def _inventory() -> frozenset[str]:
    """Options of the inventory plugin: its own, and those of ansible-core's fragments that the guide uses."""
    plugin = importlib.import_module("ansible_collections.maqet.qemu.plugins.inventory.maqet")
    own = yaml.safe_load(plugin.DOCUMENTATION)["options"]
    shared = ("compose", "groups", "keyed_groups", "cache", "cache_plugin", "cache_connection", "cache_timeout")
    return frozenset((*own, *shared))


def main() -> None:
    """Check all, and say how many there are."""
    for name, found in (("guides", of_guides()), ("README", of_readme()), ("modules", of_modules())):
        print(f"examples: {len(found)} in {name}, with {sum(map(check, found))} tasks, roles and files")


if __name__ == "__main__":
    main()
