#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Facts of QEMU virtual machines."""

from __future__ import annotations

DOCUMENTATION = r"""
module: maqet_vm_info
short_description: Facts of the QEMU virtual machines of a host
version_added: 0.1.0
author:
  - The maqet.qemu authors (@maqet)
description:
  - Returns facts of one VM, or of all that are defined on the host for the user who asks, running or not.
  - Changes nothing.
extends_documentation_fragment:
  - maqet.qemu.attributes
attributes:
  diff_mode:
    support: N/A
    details: Nothing is changed.
options:
  name:
    description:
      - Name of one VM. All of them if it is left out.
      - A VM that is not there is not an error; the list is empty then.
    type: str
  timeout:
    description:
      - Seconds that one VM may take to answer.
    type: float
    default: 10
seealso:
  - module: maqet.qemu.maqet_vm
"""

EXAMPLES = r"""
- name: Look at all VMs
  maqet.qemu.maqet_vm_info:
  register: host

- name: Say which are running
  ansible.builtin.debug:
    msg: "{{ host.vms | selectattr('status', 'eq', 'running') | map(attribute='name') }}"
"""

RETURN = r"""
vms:
  description: One entry a VM, sorted by name.
  type: list
  elements: dict
  returned: always
  contains:
    name: {description: Its name., type: str, returned: always}
    status: {description: 'V(stopped), or what QEMU says, such as V(running) or V(paused); V(unknown) if it does not
      answer.', type: str, returned: always}
    error: {description: Why it does not answer., type: str, returned: when it does not}
    uuid: {description: Its UUID., type: str, returned: always}
    definition: {description: The options that are managed. Memory in MiB and sizes in bytes., type: dict, returned:
      always}
    disks: {description: The image of each disk., type: dict, returned: always}
    qemu_pid: {description: Process of QEMU., type: int, returned: when it runs}
    runner_pid: {description: Process of the runner., type: int, returned: when it runs}
    qemu_version: {description: Version of the running QEMU., type: str, returned: when it runs}
    qemu_binary: {description: Program of the running QEMU., type: str, returned: when it runs}
    accel: {description: The accelerator in use., type: str, returned: when it runs}
    uptime: {description: Seconds since QEMU started., type: float, returned: when it runs}
    sockets: {description: Sockets of the runner and of the monitor for direct mode., type: dict, returned: always}
    home: {description: The VM's folder., type: str, returned: always}
    output: {description: Folder for files that QEMU writes at a caller's wish., type: str, returned: always}
    serial_log: {description: What the first serial port said since the last start., type: str, returned: always}
    audit_log: {description: The VM's audit log., type: str, returned: always}
    last_exit: {description: How its last QEMU ended., type: dict, returned: when one has}
"""

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils import task as door
from ansible_collections.maqet.qemu.plugins.module_utils.definition.names import check_vm_name
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.plugins.module_utils.vm.facts import look, look_through_runner
from ansible_collections.maqet.qemu.plugins.module_utils.vm.observe import names
from ansible_collections.maqet.qemu.plugins.module_utils.vm.whose import of_system

SPEC = {"name": {"type": "str"}, "timeout": {"type": "float", "default": 10}}


def gather(task: door.Task) -> dict[str, t.Any]:
    """Look at the VMs that the task names."""
    where = layout()
    wanted = task.params["name"]
    others = None if wanted is None else of_system(where, check_vm_name(wanted))
    if others is not None:
        return {"changed": False, "vms": [look_through_runner(others, task.params["timeout"])]}
    chosen = names(where) if wanted is None else [check_vm_name(wanted)]
    found = [look(where, name, task.params["timeout"]) for name in chosen]
    return {"changed": False, "vms": [vm for vm in found if vm["status"] != "absent"]}


def main() -> None:
    """The module."""
    door.run(SPEC, gather)


if __name__ == "__main__":
    main()
