# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugins: Ansible's own way, and one more argument."""

from __future__ import annotations

import getpass
import importlib
import pathlib
import platform
import types
import typing as t

import pytest
import yaml
from ansible.plugins.action.normal import ActionModule as NormalAction
from ansible_collections.maqet.qemu.plugins.module_utils.task import CONTEXT
from ansible_collections.maqet.qemu.plugins.plugin_utils.context_action import ContextAction

ROOT = pathlib.Path(__file__).resolve().parents[3]
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
VARIABLES = {"ansible_play_name": "fleet", "inventory_hostname": "hv1", "secret_variable": "tr0ub4dor"}


@pytest.mark.parametrize("name", MODULES)
def test_each_module_has_an_action_plugin_of_its_name(name: str) -> None:
    """Not a redirect: module_defaults of the one it leads to would count for both."""
    plugin = importlib.import_module(f"ansible_collections.maqet.qemu.plugins.action.{name}")
    assert issubclass(plugin.ActionModule, NormalAction)
    routes = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text()).get("plugin_routing", {})
    assert name not in routes.get("action", {})


def test_the_group_names_modules_with_what_it_sets() -> None:
    """module_defaults of the group reach all of it, so an option that one of them lacks would break that one."""
    group = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"]["maqet"]
    assert {"maqet_vm", "maqet_qmp", "maqet_vm_info"} <= set(group) <= set(MODULES)
    for name in group:
        module = importlib.import_module(f"ansible_collections.maqet.qemu.plugins.modules.{name}")
        assert "timeout" in module.SPEC


@pytest.fixture
def given_to_ansible(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., dict[str, t.Any]]:
    """``given_to_ansible(arguments, variables)``: the arguments with which Ansible's own plugin is run in the end."""

    def run(self: t.Any, tmp: t.Any = None, task_vars: t.Any = None) -> dict[str, t.Any]:
        return {"arguments": self._task.args}

    monkeypatch.setattr(NormalAction, "run", run)

    def act(arguments: dict[str, t.Any], variables: t.Optional[dict[str, t.Any]] = None) -> dict[str, t.Any]:
        action = ContextAction.__new__(ContextAction)
        action._task = types.SimpleNamespace(args=arguments, get_name=lambda: "maqet.qemu.maqet_qmp : look")
        return dict(action.run(task_vars=variables)["arguments"])

    return act


def test_the_context(given_to_ansible: t.Callable[..., dict[str, t.Any]]) -> None:
    arguments = {"vm": "web", "command": "stop"}
    assert given_to_ansible(arguments, VARIABLES) == {
        "vm": "web",
        "command": "stop",
        CONTEXT: {
            "host": platform.node(),
            "user": getpass.getuser(),
            "task": "maqet.qemu.maqet_qmp : look",
            "play": "fleet",
            "target": "hv1",
        },
    }
    assert arguments == {"vm": "web", "command": "stop"}


def test_a_context_of_the_users_own_does_not_count(given_to_ansible: t.Callable[..., dict[str, t.Any]]) -> None:
    found = given_to_ansible({CONTEXT: {"user": "somebody else"}})
    assert found[CONTEXT]["user"] == getpass.getuser()
    assert (found[CONTEXT]["play"], found[CONTEXT]["target"]) == ("", "")


@pytest.mark.parametrize("error", [KeyError, OSError])
def test_a_user_without_a_name(
    given_to_ansible: t.Callable[..., dict[str, t.Any]], monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def nobody() -> str:
        raise error("uid not found")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert given_to_ansible({})[CONTEXT]["user"] == ""
