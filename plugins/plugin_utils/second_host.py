# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A second host for an action plugin, with a connection and ``become`` of its own, as a delegated task would have.

What is done here is what Ansible's own ``TaskExecutor`` does for ``delegate_to``, of which it has no public form.
"""

from __future__ import annotations

import typing as t

from ansible import constants as C
from ansible.errors import AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.loader import become_loader, connection_loader

Variables = t.Dict[str, t.Any]


def action_for(action: t.Any, host: str, task_vars: t.Mapping[str, t.Any]) -> t.Tuple[t.Any, Variables]:
    """An action plugin like ``action`` whose modules run on ``host``, and the variables of that host.

    AnsibleError if the inventory has no such host, or its connection cannot be made.
    """
    hostvars = task_vars["hostvars"]
    if host not in hostvars:
        raise AnsibleError(f"to: {host!r} is not in the inventory. Give the inventory name of a host.")
    variables = {**hostvars.raw_get(host), "inventory_hostname": host, "hostvars": hostvars}
    templar = action._templar.copy_with_new_env(available_variables=variables)
    task = action._task.copy(exclude_parent=False, exclude_tasks=False)
    task.delegate_to = None
    context = action._play_context.copy()
    context.remote_addr = context.port = context.remote_user = None
    context = context.set_task_and_variable_override(task=task, variables=variables, templar=templar)
    context.remote_addr = context.remote_addr or host
    context.no_log = True
    connection = _connection(task, context, variables, templar)
    made = type(action)(
        task=task,
        connection=connection,
        play_context=context,
        loader=action._loader,
        templar=templar,
        shared_loader_obj=action._shared_loader_obj,
    )
    connection.update_vars(variables)
    return made, variables


def _connection(task: t.Any, context: t.Any, variables: Variables, templar: t.Any) -> t.Any:
    kind = templar.template(variables["ansible_connection"]) if "ansible_connection" in variables else task.connection
    kind = "ssh" if kind in (None, "smart") else kind
    context.connection = kind
    connection = connection_loader.get(kind, context, None)
    if connection is None:
        raise AnsibleError(f"The connection plugin {kind!r} was not found.")
    keys = {key: value for key, value in task.dump_attrs().items() if key != "retries"}
    keys["timeout"] = context.timeout
    if context.password:
        keys["password"] = context.password
    connection.set_become_plugin(_become(task, variables, templar))
    context.set_attributes_from_plugin(connection)
    connection.set_options(task_keys=keys, var_options=connection._resolve_option_variables(variables, templar))
    _set_options("shell", connection._shell, variables, templar, keys)
    if connection.become is not None:
        if context.become_pass:
            keys["become_pass"] = context.become_pass
        _set_options("become", connection.become, variables, templar, keys)
        context.set_become_plugin(connection.become.name)
        for option in ("become_user", "become_flags", "become_exe", "become_pass"):
            try:
                setattr(context, option, connection.become.get_option(option))
            except KeyError:
                continue
        context.prompt = connection.become.prompt
    return connection


def _become(task: t.Any, variables: Variables, templar: t.Any) -> t.Any:
    wanted = task.become
    if variables.get("ansible_become") is not None:
        wanted = boolean(templar.template(variables["ansible_become"]))
    if not wanted:
        return None
    method = templar.template(variables["ansible_become_method"]) if variables.get("ansible_become_method") else None
    plugin = become_loader.get(method or task.become_method or "sudo")
    if plugin is None:
        raise AnsibleError(f"There is no become method {method or task.become_method!r}.")
    return plugin


def _set_options(kind: str, plugin: t.Any, variables: Variables, templar: t.Any, keys: Variables) -> None:
    known = C.config.get_plugin_vars(kind, plugin._load_name)
    given = {name: templar.template(variables[name]) for name in known if name in variables}
    plugin.set_options(task_keys=keys, var_options=given)
