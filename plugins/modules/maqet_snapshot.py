#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Snapshots of a QEMU virtual machine."""

from __future__ import annotations

DOCUMENTATION = r"""
module: maqet_snapshot
short_description: Snapshots of a QEMU virtual machine
version_added: 0.1.0
author:
  - The maqet.qemu authors (@maqet)
description:
  - Makes, removes and goes back to snapshots of a VM of M(maqet.qemu.maqet_vm), running or not.
  - Snapshots are internal ones, kept in the VM's qcow2 images themselves, so a snapshot needs no further file, goes
    with its image, and is gone with it. It is no backup.
  - Of a VM that runs, a snapshot holds the guest's memory and its disks, or the disks alone. The guest stands still
    while its memory is saved or loaded, and nobody gets an answer from QEMU for so long.
  - A raw disk cannot hold snapshots, and the task fails before anything is touched. A disk that is readonly never
    changes, and is left out.
  - What a task that was killed has left half done, the next one finishes or takes back, and says so.
extends_documentation_fragment:
  - maqet.qemu.attributes
options:
  vm:
    description:
      - Name of the VM.
    type: str
    required: true
  name:
    description:
      - Name of the snapshot, of at most 255 letters, digits, C(_), C(.), C(:), C(+), C(@) and C(-). It must not be a
        number, since QEMU's tools take that for the number of a snapshot.
    type: str
    required: true
  state:
    description:
      - V(present) - the snapshot is there. One that is there already is left as it is, however old it is.
      - V(absent) - it is not there.
      - V(reverted) - the VM goes back to it, which is always a change. What has happened since is lost. The snapshot
        stays.
    type: str
    choices: [present, absent, reverted]
    default: present
  description:
    description:
      - A line of your own about the snapshot. The images cannot hold it; it is kept in the VM's folder.
    type: str
  memory:
    description:
      - With O(state=present), whether a new snapshot holds the guest's memory too, for which the VM must run. By
        default it does if the VM runs and neither O(disks) nor O(fsfreeze) is given.
      - With O(state=reverted), V(false) goes back to the disks alone, from which the guest then boots. By default a VM
        that runs takes up the memory where the snapshot has it, and one that does not run cannot.
      - Memory is only loaded into the same machine - a VM that was redefined since is refused with
        C(snapshot_mismatch).
    type: bool
  disks:
    description:
      - Names of the disks of a new snapshot, all of them at the same moment. By default all that the guest can write.
    type: list
    elements: str
  fsfreeze:
    description:
      - Have the guest's agent freeze its file systems while a snapshot of the disks is made, so that they are whole in
        it. See O(maqet.qemu.maqet_vm#module:agent). The runner thaws them again, whatever happens to the task.
      - Without effect on a VM that does not run.
    type: bool
    default: false
  group:
    description:
      - A word that snapshots have in common of which O(keep) keeps some.
    type: str
  keep:
    description:
      - How many snapshots of O(group) may be there after the task, this one included. The oldest ones beyond are
        removed, after the new one was made. Only snapshots that were made with the same O(group) count.
    type: int
  allow_restart:
    description:
      - Consent to stop a running VM for a revert to a snapshot without memory, and to start it again. Without it such a
        task fails with C(restart_required).
    type: bool
    default: false
  stop_timeout:
    description:
      - Seconds that the guest has to power off in that case. V(0) does not press its power button.
    type: float
    default: 60
  force:
    description:
      - Consent to end QEMU in that case when the guest has not powered off in O(stop_timeout).
    type: bool
    default: false
  timeout:
    description:
      - Seconds for the whole task. A job of QEMU that takes longer goes on, and the next task waits for it.
    type: float
    default: 600
  reason:
    description:
      - Why you do this, for the audit record, for instance a ticket number.
    type: str
    default: ''
seealso:
  - module: maqet.qemu.maqet_vm
  - module: maqet.qemu.maqet_guest
"""

EXAMPLES = r"""
- name: Before the upgrade
  maqet.qemu.maqet_snapshot:
    vm: web1
    name: before-upgrade
    description: Debian 12 as delivered

- name: It went wrong, so back to the running guest of before
  maqet.qemu.maqet_snapshot:
    vm: web1
    name: before-upgrade
    state: reverted

- name: Every night the disks, with whole file systems, for a week
  maqet.qemu.maqet_snapshot:
    vm: web1
    name: "nightly-{{ now(utc=true).strftime('%Y-%m-%d') }}"
    fsfreeze: true
    group: nightly
    keep: 7

- name: Back to one of those, for which the VM has to be stopped
  maqet.qemu.maqet_snapshot:
    vm: web1
    name: nightly-2026-11-24
    state: reverted
    allow_restart: true
    stop_timeout: 0
    force: true

- name: Not needed any more
  maqet.qemu.maqet_snapshot:
    vm: web1
    name: before-upgrade
    state: absent
"""

RETURN = r"""
snapshots:
  description: All snapshots of the VM after the task, the oldest first; in check mode as they are now.
  type: list
  elements: dict
  returned: when the VM could be looked at
  contains:
    name: {description: Its name., type: str, returned: always}
    date: {description: 'When it was made, in seconds since 1970.', type: float, returned: always}
    vm_clock: {description: How long the guest had run then in seconds., type: float, returned: always}
    memory: {description: Whether it holds the guest's memory., type: bool, returned: always}
    memory_size: {description: Bytes of the memory and the devices' state., type: int, returned: always}
    disks: {description: The disks that it is on., type: list, elements: str, returned: always}
    complete: {description: Whether it is on all disks that it was made of., type: bool, returned: always}
    description: {description: What the task said of it., type: str, returned: when it was made by this module}
    group: {description: Its group., type: str, returned: when it was made by this module}
    fsfreeze: {description: Whether the guest's file systems were frozen., type: bool, returned: when it was made by
      this module}
    qemu_version: {description: Version of the QEMU that ran., type: str, returned: when it was made of a running VM}
actions:
  description: What the task did, or in check mode would do, each with its C(impact) - V(live) or V(restart).
  type: list
  elements: dict
  returned: always
  sample: [{"action": "create_snapshot", "impact": "live", "name": "before-upgrade", "memory": true, "disks": ["root"],
    "fsfreeze": false}]
stop_steps:
  description: The commands and signals that it took to stop the VM.
  type: list
  elements: str
  returned: when the VM was stopped
  sample: [system_powerdown]
audit:
  description: Audit records of the commands that the task sent.
  type: list
  elements: dict
  returned: always
reverted_disks:
  description: The disks that have gone back, of a revert that failed on another one.
  type: list
  elements: str
  returned: when a revert failed half-way
restored:
  description: Whether a VM that was stopped for a revert that failed runs again.
  type: bool
  returned: when it was stopped and the revert failed
thawed:
  description: False if the guest's file systems may still be frozen.
  type: bool
  returned: when the guest could not be thawed
error_code:
  description:
    - A stable word for what went wrong, one of V(invalid_option), V(vm_not_found), V(vm_not_running), V(vm_busy),
      V(vm_exited), V(snapshot_not_found), V(snapshot_incomplete), V(snapshot_mismatch), V(snapshot_unfinished),
      V(job_failed), V(restart_required), V(stop_timeout), V(wait_timeout), V(qmp_timeout), V(qmp_error),
      V(guest_error), V(guest_agent_unavailable), V(guest_timeout), V(policy_denied), V(audit_failed),
      V(runner_unreachable), V(command_failed), V(host_error), V(state_unsafe), and those of M(maqet.qemu.maqet_vm)
      when the VM is stopped and started.
  type: str
  returned: on failure
"""

import contextlib
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils import task as door
from ansible_collections.maqet.qemu.plugins.module_utils.definition.names import check_vm_name
from ansible_collections.maqet.qemu.plugins.module_utils.definition.snapshots import wanted
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, as_maqet, invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.host.locks import locked
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.plugins.module_utils.vm.snapshot_ensure import Order, Snapshots
from ansible_collections.maqet.qemu.plugins.module_utils.vm.snapshot_plan import before_after
from ansible_collections.maqet.qemu.plugins.module_utils.vm.stop import Patience

SPEC: dict[str, t.Any] = {
    "vm": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent", "reverted"], "default": "present"},
    "description": {"type": "str"},
    "memory": {"type": "bool"},
    "disks": {"type": "list", "elements": "str"},
    "fsfreeze": {"type": "bool", "default": False},
    "group": {"type": "str"},
    "keep": {"type": "int"},
    "allow_restart": {"type": "bool", "default": False},
    "stop_timeout": {"type": "float", "default": 60},
    "force": {"type": "bool", "default": False},
    "timeout": {"type": "float", "default": 600},
    "reason": {"type": "str", "default": ""},
}


def order(task: door.Task) -> Order:
    """The task's options, checked without a look at the host."""
    params = task.params
    if params["timeout"] <= 0:
        raise invalid_option("timeout", params["timeout"], "is no time to wait", "Give seconds, more than 0")
    if params["stop_timeout"] < 0:
        raise invalid_option("stop_timeout", params["stop_timeout"], "is no time to wait", "Give seconds, 0 or more")
    patience = Patience(params["stop_timeout"], params["force"], params["timeout"])
    vm = check_vm_name(params["vm"])
    reason = params["reason"] or f"maqet_snapshot: {params['name']} {params['state']}"
    return Order(vm, wanted(params), patience, reason, task.context, task.check)


def ensure(task: door.Task) -> dict[str, t.Any]:
    """Make the VM's snapshots what the task says."""
    wish = order(task)
    where = layout()
    lock = locked(where.vm(wish.vm).lock, wish.patience.timeout, task.who, f"VM {wish.vm}")
    with contextlib.nullcontext() if task.check else lock:
        work = Snapshots(where, wish)
        try:
            result = _carry_out(work, wish)
        except (MaqetError, OSError) as failure:
            error = as_maqet(failure)
            error.details = {"changed": bool(work.done), **error.details, "audit": work.audit}
            raise error from None
        finally:
            work.close()
            for text in work.warnings:
                task.warn(text)
    return result


def _carry_out(work: Snapshots, wish: Order) -> dict[str, t.Any]:
    actions = work.decide()
    before = work.listed()
    if not wish.check:
        work.perform(actions)
    result = {
        "changed": bool(actions),
        "actions": [action.as_dict() for action in actions],
        "diff": before_after(before, actions, wish.wanted),
        "snapshots": work.listed(),
        "audit": work.audit,
    }
    return {**result, "stop_steps": work.stop_steps} if work.stop_steps else result


def main() -> None:
    """The module."""
    door.run(SPEC, ensure)


if __name__ == "__main__":
    main()
