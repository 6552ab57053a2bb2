# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``maqet_migrate`` on the controller: the two hosts are sides of a migration, and Ansible's connections join them."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.task import CONTEXT
from ansible_collections.maqet.qemu.plugins.plugin_utils.context_action import ContextAction
from ansible_collections.maqet.qemu.plugins.plugin_utils.migration import Failed, Migration, Result, Unreachable, Wanted
from ansible_collections.maqet.qemu.plugins.plugin_utils.second_host import action_for
from ansible_collections.maqet.qemu.plugins.plugin_utils.tunnel import End, Tunnel

display = Display()

MODULE = "maqet.qemu.maqet_migrate"
#: What one step says and what belongs to it alone.
_OF_STEPS = ("invocation", "seen", "offer", "problem", "figures")


class AnsibleSide:
    """One host, by an action plugin for it."""

    def __init__(self, action: t.Any, name: str, variables: t.Dict[str, t.Any], context: Result) -> None:
        self.name = name
        self._action = action
        self._variables = variables
        self._context = context

    def call(self, step: str, data: t.Mapping[str, t.Any]) -> Result:
        """One step there. What a step says may hold secrets of the definition, so that nothing of it is shown."""
        given = {**self._action._task.args, CONTEXT: self._context, "_step": step, "_data": dict(data)}
        self._action._connection._play_context.no_log = True
        try:
            result = dict(
                self._action._execute_module(module_name=MODULE, module_args=given, task_vars=self._variables)
            )
        except AnsibleConnectionFailure as error:
            raise Unreachable(f"{self.name}: {error}") from error
        if result.get("unreachable"):
            raise Unreachable(f"{self.name}: {result.get('msg')}")
        if result.get("failed"):
            result.setdefault("msg", f"{step} failed on {self.name}")
            raise Failed(result)
        return result

    def close(self) -> None:
        """Leave nothing there."""
        shell = self._action._connection._shell
        if shell.tmpdir:
            self._action._remove_tmp_path(shell.tmpdir)
        self._action._connection.close()


class MigrateAction(ContextAction):
    """Drives a migration; its modules do one step each."""

    _supports_async = False

    def run(self, tmp: t.Any = None, task_vars: t.Optional[t.Dict[str, t.Any]] = None) -> Result:
        """The whole task."""
        variables = task_vars or {}
        result = ActionBase.run(self, tmp, variables)
        args = self._task.args
        here_name = str(variables.get("inventory_hostname", ""))
        to = args.get("to")
        if not args.get("name") or not to:
            return _failed(result, "maqet_migrate needs the options name and to.", "invalid_option")
        if to == here_name:
            return _failed(
                result,
                f"to: {to!r} is the host of this task. Run it on the host where the VM is now.",
                "invalid_option",
            )
        try:
            other, others = action_for(self, str(to), variables)
        except AnsibleError as error:
            return _failed(result, str(error), "invalid_option")
        context = self._context(variables)
        here = AnsibleSide(self, here_name, variables, context)
        there = AnsibleSide(other, str(to), others, {**context, "target": str(to)})
        quiet = self._play_context.no_log
        try:
            return {**result, **self._migrate(here, there, End(self, here_name), End(other, str(to)))}
        except AnsibleError as error:
            return _failed(result, str(error), "migration_failed")
        finally:
            self._play_context.no_log = quiet
            there.close()
            if self._connection._shell.tmpdir:
                self._remove_tmp_path(self._connection._shell.tmpdir)

    def _migrate(self, here: AnsibleSide, there: AnsibleSide, one: End, other: End) -> Result:
        args = self._task.args
        vm = str(args["name"])

        def tell(words: str) -> None:
            display.display(f"<{here.name}> {vm} -> {there.name}: {words}")

        wanted = Wanted(
            vm,
            str(args.get("storage", "auto")),
            _flag(args.get("keep_disks")),
            _flag(args.get("reclaim")),
            bool(self._task.check_mode),
        )
        work = Migration(here, there, wanted, lambda: Tunnel(one, other, tell), tell)
        try:
            return work.run()
        except MaqetError as error:
            found = _failed({}, str(error), error.error_code)
            return {**found, "changed": work.changed, **_with(work, error.details)}
        except Failed as error:
            kept = {key: value for key, value in error.result.items() if key not in _OF_STEPS}
            return {**kept, "failed": True, "changed": work.changed, "audit": work.audit, **_with(work, {})}
        except Unreachable as error:
            found = _failed({}, str(error), "host_unreachable")
            return {**found, "changed": work.changed, **_with(work, {})}


def _flag(value: t.Any) -> bool:
    return str(value).lower() in ("true", "yes", "on", "1", "y", "t")


def _with(work: Migration, details: t.Mapping[str, t.Any]) -> Result:
    found: Result = {**details, "audit": work.audit}
    if work.settled:
        found["settled"] = work.settled
    return found


def _failed(result: Result, text: str, code: str) -> Result:
    return {**result, "failed": True, "changed": False, "msg": text, "error_code": code, "audit": []}
