#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A QEMU virtual machine moves to another host while it runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: maqet_migrate
short_description: Move a QEMU virtual machine to another host while it runs
version_added: 0.2.0
author:
  - The maqet.qemu authors (@maqet)
description:
  - Moves a VM of M(maqet.qemu.maqet_vm) from the host of the task to another host of the inventory, while its guest
    runs. The guest stands still for a moment only, and runs on exactly one of the two hosts at every moment.
  - The controller joins the two hosts by its own connections to them, which are C(ssh) or C(local). No port is opened,
    and the hosts need not reach each other.
  - What fails before the VM was handed over is taken back, and the guest goes on where it was. Interrupting the task
    does the same.
  - The same task again puts in order what one that was killed has left, whichever of the hosts it was killed on, and
    then does what it says.
  - In check mode all that can be checked is checked on both hosts, and nothing is changed.
extends_documentation_fragment:
  - maqet.qemu.attributes
options:
  name:
    description:
      - Name of the VM.
    type: str
    required: true
  to:
    description:
      - Name, in the inventory, of the host where the VM is to run. Its connection and C(become) are those that its
        variables and the task say.
    type: str
    required: true
  storage:
    description:
      - V(auto) - the VM's own images, those without a O(maqet.qemu.maqet_vm#module:disks) C(path), are copied; the
        others must be on storage that both hosts share, under the same path.
      - V(shared) - nothing is copied. A VM with an image of its own is refused.
      - V(copy) - all disks that the guest can write are copied. The file of a C(path) must not be there yet.
      - Disks that the guest cannot write, bases of overlays, kernel and initrd must be on both hosts, with the same
        content.
    type: str
    choices: [auto, shared, copy]
    default: auto
  keep_disks:
    description:
      - Leave the images that were copied on the host where the VM was. They are removed by default, once it runs on the
        other one.
    type: bool
    default: false
  bandwidth:
    description:
      - The most that is sent in a second, such as V(100M). It holds for the memory, and for each disk. By default
        V(128M), QEMU's own limit, for the memory, and for the disks none.
    type: str
  downtime_limit:
    description:
      - How long the guest may stand still, in milliseconds. QEMU goes on sending what the guest writes meanwhile until
        the rest is expected to take no longer. QEMU's own default is 300.
    type: int
  auto_converge:
    description:
      - Slow down the processors of a guest that writes its memory faster than it can be sent.
    type: bool
    default: false
  reclaim:
    description:
      - Consent to have the VM run here again after it was handed over to a host that cannot say any more whether it
        runs there. Only for a host that is lost for good, or on which the VM is known not to run - it would run twice.
    type: bool
    default: false
  timeout:
    description:
      - Seconds that the migration may take, and that other tasks on the same VM are waited for.
    type: float
    default: 600
  reason:
    description:
      - Why you do this, for the audit record, for instance a ticket number.
    type: str
    default: ''
  _step:
    description:
      - Which step of a migration this call is. The collection's action plugin fills it in, over whatever it is given.
    type: str
  _data:
    description:
      - What the step needs to know of the other host. The collection's action plugin fills it in, over whatever it is
        given.
    type: dict
seealso:
  - module: maqet.qemu.maqet_vm
"""

EXAMPLES = r"""
- name: Move a VM to another host
  maqet.qemu.maqet_migrate:
    name: web1
    to: hv2

- name: See whether it could be moved, and why not
  maqet.qemu.maqet_migrate:
    name: web1
    to: hv2
  check_mode: true

- name: Images on storage that both hosts have, and no more than 50 MiB/s
  maqet.qemu.maqet_migrate:
    name: web1
    to: hv2
    storage: shared
    bandwidth: 50M
    downtime_limit: 100
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be done.
  returned: always
  type: list
  elements: dict
  sample: [{"action": "migrate", "impact": "live", "from": "hv1", "to": "hv2", "copied": ["root"]}]
vm:
  description: The VM as it is on the host where it runs, see M(maqet.qemu.maqet_vm).
  returned: when it is known
  type: dict
downtime:
  description: How long QEMU had the guest stand still, in milliseconds.
  returned: after a migration
  type: int
stopped:
  description: How long the guest stood still until it went on on the other host, in milliseconds.
  returned: after a migration of a guest that ran
  type: int
total_time:
  description: How long all of it took between the two hosts, in milliseconds.
  returned: after a migration
  type: int
memory_transferred:
  description: Bytes of the guest's memory that were sent.
  returned: after a migration
  type: int
kept:
  description: Images that were left on the host where the VM was.
  returned: after a migration with O(keep_disks)
  type: list
  elements: str
settled:
  description: What was put in order that an earlier migration had left.
  returned: when there was something
  type: list
  elements: str
audit:
  description: The audit records of the commands, of both hosts.
  returned: always
  type: list
  elements: dict
"""

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils import task as door
from ansible_collections.maqet.qemu.plugins.module_utils.definition.names import check_vm_name
from ansible_collections.maqet.qemu.plugins.module_utils.definition.sizes import rate_bytes
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.plugins.module_utils.vm.migrate import Order, perform

# What our action plugin says beside the user's options: which step, and what it needs.
STEP = "_step"
DATA = "_data"
# QEMU's own limit (MAX_MIGRATE_DOWNTIME).
MOST_DOWNTIME = 2_000_000
SPEC: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "to": {"type": "str", "required": True},
    "storage": {"type": "str", "choices": ["auto", "shared", "copy"], "default": "auto"},
    "keep_disks": {"type": "bool", "default": False},
    "bandwidth": {"type": "str"},
    "downtime_limit": {"type": "int"},
    "auto_converge": {"type": "bool", "default": False},
    "reclaim": {"type": "bool", "default": False},
    "timeout": {"type": "float", "default": 600},
    "reason": {"type": "str", "default": ""},
    STEP: {"type": "str"},
    # The action plugin runs each step with no_log: it may hold passwords of the definition.
    DATA: {"type": "dict"},
}


def step(task: door.Task) -> dict[str, t.Any]:
    """One step of a migration on this host."""
    given = task.params
    name = check_vm_name(given["name"])
    if given[STEP] is None:
        raise MaqetError(
            "maqet_migrate takes two hosts, and is done by its action plugin on the controller. Run it as a task.",
            "invalid_request",
        )
    where, data = layout(), given[DATA] or {}
    limits = checked_limits(given)
    order = Order(where, name, task.who, given["reason"], task.context, given["timeout"], task.check, data, limits)
    return {"changed": False, **perform(given[STEP], order)}


def checked_limits(given: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The limits of a migration as its runner takes them."""
    limits: dict[str, t.Any] = {"auto_converge": given["auto_converge"]}
    if given["bandwidth"] is not None:
        limits["bandwidth"] = rate_bytes("bandwidth", given["bandwidth"])
    longest = given["downtime_limit"]
    if longest is not None:
        if not 1 <= longest <= MOST_DOWNTIME:
            remedy = f"Give milliseconds, from 1 to {MOST_DOWNTIME}."
            raise invalid_option("downtime_limit", longest, "is out of range", remedy)
        limits["downtime_limit"] = longest
    return limits


def main() -> None:
    """The module."""
    door.run(SPEC, step)


if __name__ == "__main__":
    main()
