# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules say of themselves: defaults pinned word for word, and documentation that agrees with the code."""

from __future__ import annotations

import importlib
import pathlib
import types
import typing as t

import pytest
import yaml
from ansible_collections.maqet.qemu.plugins.doc_fragments.attributes import ModuleDocFragment
from ansible_collections.maqet.qemu.plugins.module_utils import task

PLUGINS = pathlib.Path(__file__).resolve().parents[3] / "plugins"
MODULES = sorted(path.stem for path in (PLUGINS / "modules").glob("*.py"))
Options = dict[str, t.Any]


def load(name: str) -> types.ModuleType:
    return importlib.import_module(f"ansible_collections.maqet.qemu.plugins.modules.{name}")


def documentation(name: str) -> Options:
    """The options of a module as ansible-doc has them: with those of its fragments."""
    found: Options = yaml.safe_load(load(name).DOCUMENTATION)
    options = dict(found["options"])
    for fragment in found["extends_documentation_fragment"]:
        part = fragment[len("maqet.qemu.attributes") :].lstrip(".").upper() or "DOCUMENTATION"
        options.update(yaml.safe_load(getattr(ModuleDocFragment, part))["options"])
    return options


def specification(name: str) -> Options:
    return {**load(name).SPEC, **task.HIDDEN}


def test_there_are_modules() -> None:
    assert {"maqet_vm", "maqet_qmp", "maqet_guest", "maqet_vm_info", "maqet_audit_info"} <= set(MODULES)
    assert "maqet_snapshot" in MODULES


# These are promises: a changed default is a changed module.
DEFAULTS: dict[str, Options] = {
    "maqet_vm": {
        "name": "required",
        "state": "present",
        "memory": None,
        "hugepages": None,
        "balloon": None,
        "balloon_target": None,
        "cpus": None,
        "cpus_max": None,
        "cpu_topology": None,
        "cpu_model": None,
        "cpu_features": None,
        "machine": None,
        "arch": None,
        "accel": None,
        "uuid": None,
        "smbios": None,
        "clock": None,
        "boot": None,
        "firmware": None,
        "tpm": None,
        "kernel": None,
        "initrd": None,
        "cmdline": None,
        "disks": None,
        "networks": None,
        "cloud_init": None,
        "shares": None,
        "serial": None,
        "display": None,
        "vnc": None,
        "video": None,
        "rng": None,
        "watchdog": None,
        "host_devices": None,
        "devices": None,
        "agent": None,
        "extra_args": None,
        "labels": None,
        "policy": None,
        "restart_policy": None,
        "panic_action": None,
        "reboot_action": None,
        "shutdown_timeout": None,
        "runner": "keep",
        "autostart": None,
        "cpu_quota": None,
        "cpu_weight": None,
        "io_weight": None,
        "memory_max": None,
        "wait_for": None,
        "timeout": 60,
        "stop_timeout": 60,
        "force": False,
        "allow_restart": False,
        "purge": False,
    },
    "maqet_qmp": {
        "vm": None,
        "socket": None,
        "command": None,
        "arguments": None,
        "commands": None,
        "allow_dangerous": False,
        "mode": "ipc",
        "timeout": 30,
        "wait_for_event": None,
        "reason": "",
        "explain": False,
        "policy": None,
        "witness": None,
    },
    "maqet_guest": {
        "vm": "required",
        "command": None,
        "arguments": None,
        "commands": None,
        "exec": None,
        "put": None,
        "get": None,
        "fsfreeze": None,
        "addresses": None,
        "shutdown": None,
        "time_sync": None,
        "allow_dangerous": False,
        "explain": False,
        "wait_for_agent": False,
        "max_reply": "16M",
        "timeout": 30,
        "reason": "",
    },
    "maqet_snapshot": {
        "vm": "required",
        "name": "required",
        "state": "present",
        "description": None,
        "memory": None,
        "disks": None,
        "fsfreeze": False,
        "group": None,
        "keep": None,
        "allow_restart": False,
        "stop_timeout": 60,
        "force": False,
        "timeout": 600,
        "reason": "",
    },
    "maqet_migrate": {
        "name": "required",
        "to": "required",
        "storage": "auto",
        "keep_disks": False,
        "bandwidth": None,
        "downtime_limit": None,
        "auto_converge": False,
        "reclaim": False,
        "timeout": 600,
        "reason": "",
        "_step": None,
        "_data": None,
    },
    "maqet_keys": {
        "vm": "required",
        "keys": None,
        "text": None,
        "layout": "us",
        "hold_ms": 20,
        "timeout": 30,
        "reason": "",
    },
    "maqet_screenshot": {
        "vm": "required",
        "filename": "screenshot.png",
        "dest": None,
        "device": None,
        "head": None,
        "timeout": 30,
        "reason": "",
    },
    "maqet_device": {
        "vm": "required",
        "state": "present",
        "disk": None,
        "network": None,
        "device": None,
        "timeout": 60,
    },
    "maqet_vm_info": {"name": None, "gather": [], "timeout": 10},
    "maqet_audit_info": {
        "vm": "required",
        "last": None,
        "since": None,
        "until": None,
        "classes": None,
        "decisions": None,
        "users": None,
        "commands": None,
        "phases": None,
        "witness": None,
    },
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults_are_pinned(name: str) -> None:
    spec = load(name).SPEC
    found = {option: "required" if entry.get("required") else entry.get("default") for option, entry in spec.items()}
    assert found == DEFAULTS[name]
    documented = yaml.safe_load(load(name).DOCUMENTATION)["options"]
    found = {
        option: "required" if entry.get("required") else entry.get("default") for option, entry in documented.items()
    }
    assert found == DEFAULTS[name]


def differences(spec: Options, docs: Options, where: str) -> list[str]:
    """Where two trees of options do not say the same."""
    found = [f"{where}{name}: in one of the two only" for name in sorted(set(spec) ^ set(docs))]
    for name in sorted(set(spec) & set(docs)):
        one, two = spec[name], docs[name]
        found += [
            f"{where}{name}: {key} is {one.get(key, default)!r} in the code, {two.get(key, default)!r} in the text"
            for key, default in (
                ("type", "str"), ("required", False), ("default", None), ("choices", None), ("elements", None),
                ("aliases", []),
            )
            if one.get(key, default) != two.get(key, default)
        ]  # fmt: skip
        found += differences(one.get("options", {}), two.get("suboptions", {}), f"{where}{name}.")
        if not two.get("description"):
            found.append(f"{where}{name}: has no description")
    return found


@pytest.mark.parametrize("name", MODULES)
def test_documentation_and_code_agree(name: str) -> None:
    assert differences(specification(name), documentation(name), "") == []


@pytest.mark.parametrize(
    ("spec", "docs"),
    [
        ({"a": {"type": "int"}}, {"a": {"description": "x"}}),
        ({"a": {}}, {"a": {"description": "x", "default": 1}}),
        ({"a": {"choices": ["x"]}}, {"a": {"description": "x", "choices": ["y"]}}),
        ({"a": {}}, {}),
        ({"a": {"options": {"b": {}}}}, {"a": {"description": "x"}}),
        ({"a": {}}, {"a": {}}),
    ],
)
def test_disagreement_is_found(spec: Options, docs: Options) -> None:
    assert differences(spec, docs, "") != []


def misuse(given: t.Any, spec: Options, where: str) -> list[str]:
    """What is wrong with the options of an example."""
    found = [f"{where}{name} is unknown" for name in given if name not in spec]
    found += [
        f"{where}{name} is missing" for name, entry in spec.items() if entry.get("required") and name not in given
    ]
    for name, value in given.items():
        entry = spec.get(name, {})
        for one in value if isinstance(value, list) else [value]:
            if "choices" in entry and one not in entry["choices"]:
                found.append(f"{where}{name}: {one!r} is no choice")
        for item in value if isinstance(value, list) and "options" in entry else ():
            found += misuse(item, entry["options"], f"{where}{name}.")
    return found


@pytest.mark.parametrize("name", MODULES)
def test_examples_use_what_there_is(name: str) -> None:
    tasks = yaml.safe_load(load(name).EXAMPLES)
    used = []
    for one in tasks:
        assert one["name"]
        (module,) = [key for key in one if "." in key]
        if module.startswith("maqet.qemu."):
            used.append(module)
            spec = {key: value for key, value in load(module.rpartition(".")[2]).SPEC.items() if key != task.CONTEXT}
            assert misuse(one[module] or {}, spec, "") == []
        else:
            assert module.startswith("ansible.builtin.")
    assert f"maqet.qemu.{name}" in used


@pytest.mark.parametrize(
    "given",
    [{"unknown": 1}, {"name": "x", "state": "up"}, {}, {"name": "x", "disks": [{"sizes": 1}]}],
)
def test_wrong_examples_are_found(given: Options) -> None:
    assert misuse(given, load("maqet_vm").SPEC, "") != []


@pytest.mark.parametrize("name", MODULES)
def test_returns_are_described(name: str) -> None:
    returned = yaml.safe_load(load(name).RETURN)
    for key, entry in returned.items():
        assert {"description", "type", "returned"} <= set(entry), key


@pytest.mark.parametrize("name", MODULES)
def test_secrets_are_kept_out_of_syslog(name: str) -> None:
    """Ansible logs the options of a module before the module can say which of them hold secrets."""
    spec = load(name).SPEC
    if name == "maqet_guest":
        assert [key for key, one in spec["exec"]["options"].items() if one.get("no_log")] == ["argv", "env", "input"]
        assert spec["put"]["options"]["content"]["no_log"] is True
    if name in ("maqet_qmp", "maqet_guest"):
        assert spec["arguments"]["no_log"] is True
        assert spec["commands"]["options"]["arguments"]["no_log"] is True
    assert [option for option in spec if "password" in option and not spec[option].get("no_log")] == []
