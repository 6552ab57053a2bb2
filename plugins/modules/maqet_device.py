#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One disk, network card or other device of a VM."""

from __future__ import annotations

DOCUMENTATION = r"""
module: maqet_device
short_description: Plug one device into a QEMU virtual machine, or unplug it
version_added: 0.1.0
author:
  - The maqet.qemu authors (@maqet)
description:
  - Adds one disk, network card or other device to a VM, or takes it away, and leaves all others as they are. It is the
    same as M(maqet.qemu.maqet_vm) with the whole list and this one more or less.
  - The device becomes part of the VM's definition, so it is there after the next start too.
  - While the VM runs, the device is plugged and unplugged without a restart. The task returns when the guest has let
    go of what is unplugged. What needs a restart is refused with C(restart_required), and nothing is changed then.
extends_documentation_fragment:
  - maqet.qemu.attributes
options:
  vm:
    description:
      - Name of a virtual machine that M(maqet.qemu.maqet_vm) made.
    type: str
    required: true
  state:
    description:
      - V(present) - the VM has the device, as it is described here. V(absent) - it has none of that name.
    type: str
    choices: [present, absent]
    default: present
  disk:
    description:
      - A disk, as an entry of O(maqet.qemu.maqet_vm#module:disks). Its C(name) is needed, and for O(state=absent) it is
        all that counts. The image of a disk that is taken away stays.
      - Exactly one of O(disk), O(network) and O(device) is needed.
    type: dict
  network:
    description:
      - A network card, as an entry of O(maqet.qemu.maqet_vm#module:networks). Cards have no names, and come and go at
        the end of the list. So with O(state=present) a card is added unless the VM has just this one, or one with this
        C(mac), which is changed then.
      - With O(state=absent) the last card goes that has everything that is given here, such as its C(mac) as
        RV(maqet.qemu.maqet_vm#module:vm.networks) has it.
    type: dict
  device:
    description:
      - Any other device, as an entry of O(maqet.qemu.maqet_vm#module:devices). Its C(id) is needed, and for
        O(state=absent) it is all that counts.
    type: dict
  timeout:
    description:
      - Seconds that another task on the same VM is waited for, and that the guest may take to let go of a device.
    type: float
    default: 60
seealso:
  - module: maqet.qemu.maqet_vm
"""

EXAMPLES = r"""
- name: Give a VM that runs another disk
  maqet.qemu.maqet_device:
    vm: web1
    disk:
      name: data1
      size: 20G

- name: Take it away; its image stays
  maqet.qemu.maqet_device:
    vm: web1
    state: absent
    disk:
      name: data1

- name: A second card
  maqet.qemu.maqet_device:
    vm: web1
    network:
      type: user
      mac: 52:54:00:12:34:56

- name: A source of random numbers
  maqet.qemu.maqet_device:
    vm: web1
    device:
      driver: virtio-rng-pci
      id: rng1
"""

RETURN = r"""
vm:
  description: Facts of the VM after the task, as M(maqet.qemu.maqet_vm) returns them; in check mode, as it is now.
  type: dict
  returned: when the VM could be looked at
  sample: {"name": "web1", "status": "running", "disks": {"data1": "/var/lib/maqet/vms/web1/disks/data1.qcow2"}}
actions:
  description: What the task did, or in check mode would do, each with its C(impact).
  type: list
  elements: dict
  returned: always
  sample: [{"action": "create_disk", "impact": "live", "disk": "data1", "size": 21474836480}, {"action": "plug_disk",
    "impact": "live", "disk": "data1"}, {"action": "redefine", "impact": "live", "options": ["disks"]}]
audit:
  description: Audit records of the commands that the task sent.
  type: list
  elements: dict
  returned: always
error_code:
  description:
    - A stable word for what went wrong, one of V(invalid_option), V(vm_not_found), V(vm_busy), V(restart_required),
      V(unplug_failed), V(qemu_not_found), V(runner_unreachable), V(qmp_timeout), V(qmp_error), V(policy_denied),
      V(audit_failed), V(qemu_gone), V(state_unsafe), V(command_failed), V(host_error), and those of
      M(maqet.qemu.maqet_vm) when the VM is given a runner again.
  type: str
  returned: on failure
"""

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils import task as door
from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import normalise
from ansible_collections.maqet.qemu.plugins.module_utils.definition.items import FORMS, with_item, without_item
from ansible_collections.maqet.qemu.plugins.module_utils.definition.names import check_vm_name
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition
from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.plugins.module_utils.vm.carry_out import carry_out
from ansible_collections.maqet.qemu.plugins.module_utils.vm.ensure import Desired
from ansible_collections.maqet.qemu.plugins.module_utils.vm.observe import not_found
from ansible_collections.maqet.qemu.plugins.module_utils.vm.stop import Patience

SPEC: dict[str, t.Any] = {
    "vm": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "disk": {"type": "dict"},
    "network": {"type": "dict"},
    "device": {"type": "dict"},
    "timeout": {"type": "float", "default": 60},
}


def change(task: door.Task) -> dict[str, t.Any]:
    """Add the device to the VM's definition, or take it out, and have the VM follow."""
    params = task.params
    if params["timeout"] < 0:
        raise invalid_option("timeout", params["timeout"], "is no time to wait", "Give seconds, 0 or more")
    where, name = layout(), check_vm_name(params["vm"])
    form = next(option for option in FORMS if params[option] is not None)
    edit = with_item if params["state"] == "present" else without_item

    def wish(stored: t.Optional[Definition]) -> Desired:
        if stored is None:
            raise not_found(where, name)
        items = edit(form, params[form], stored.intent.get(FORMS[form], []), stored.uuid)
        patience = Patience(0, False, params["timeout"])
        return Desired(name, "present", normalise({FORMS[form]: items}), patience)

    return carry_out(task, where, name, f"maqet_device: {form}", params["timeout"], wish)


def main() -> None:
    """The module."""
    forms = list(FORMS)
    door.run(SPEC, change, mutually_exclusive=[forms], required_one_of=[forms])


if __name__ == "__main__":
    main()
