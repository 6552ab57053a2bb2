#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All VMs that a host should have."""

from __future__ import annotations

DOCUMENTATION = r"""
module: maqet_vms
short_description: Make many QEMU virtual machines of a host be what the task says, side by side
version_added: 0.1.0
author:
  - The maqet.qemu authors (@maqet)
description:
  - Does for each VM of a list what M(maqet.qemu.maqet_vm) does for one, several at a time, and with O(purge) removes
    the VMs that are not listed.
  - All options are checked before anything is done. A VM that fails does not keep the others from being worked on,
    unless O(max_fail) says so. The task fails if any VM has, and RV(vms) has the result of each all the same.
  - First come the VMs that give something back, those that are to be V(absent) or V(stopped), then the others. A port
    or a disk can so go from one VM to another in one task. Check mode counts with that, but for the source of a
    O(maqet.qemu.maqet_vm#module:disks[].clone), which it reports as in use while the other VM runs.
  - It takes what M(maqet.qemu.maqet_vm) takes on the host.
extends_documentation_fragment:
  - maqet.qemu.attributes
options:
  vms:
    description:
      - The VMs, each with the options of M(maqet.qemu.maqet_vm), of which C(name) is needed. A name alone does, too.
      - An empty list is refused together with O(purge).
    type: list
    elements: raw
    required: true
  defaults:
    description:
      - Options of M(maqet.qemu.maqet_vm) for each of O(vms). What an entry says itself counts instead, each option as a
        whole - lists and dictionaries are not merged.
      - Of C(timeout), C(stop_timeout), C(force) and C(purge), these count for VMs that O(purge) removes as well.
    type: dict
    default: {}
  purge:
    description:
      - Whether VMs of this host, as root or of this user, that are not listed are removed.
      - Their disks stay, unless O(defaults) have C(purge=true).
    type: bool
    default: false
  concurrency:
    description:
      - How many VMs are worked on at the same time. V(0) means two for each processor that the task may use.
    type: int
    default: 0
  max_fail:
    description:
      - How many VMs may fail, as a number or in per cent of all in the task. If more do, those that were not begun are
        left as they are, which their results say. Without it all are tried.
    type: str
  progress:
    description:
      - Show a line on the controller after every so many VMs. V(0) shows none.
      - Each line is bought with a module call of its own on the host. The VMs are worked on in groups of this size.
    type: int
    default: 0
  _part:
    description:
      - What earlier calls of the same task have done. The collection's action plugin fills it in for O(progress), over
        whatever it is given.
    type: dict
notes:
  - Each VM is worked on by a process of its own. When a task is killed, VMs that were begun are finished.
seealso:
  - module: maqet.qemu.maqet_vm
"""

EXAMPLES = r"""
- name: Three web servers and a database
  maqet.qemu.maqet_vms:
    defaults:
      state: running
      memory: 1G
      networks:
        - type: user
      labels:
        role: web
    vms:
      - web1
      - web2
      - name: web3
        memory: 2G
      - name: db1
        memory: 8G
        labels:
          role: db

- name: Exactly these VMs, with their disks; others go, their disks too
  maqet.qemu.maqet_vms:
    purge: true
    max_fail: 10%
    defaults:
      state: running
      stop_timeout: 120
      purge: true
      disks:
        - name: root
          base: /var/lib/maqet/images/debian-12.qcow2
          size: 20G
    vms: [web1, web2]

- name: Fifty at once, with a line for every ten
  maqet.qemu.maqet_vms:
    vms: "{{ lab_vms }}"
    concurrency: 8
    progress: 10
"""

RETURN = r"""
vms:
  description:
    - What has become of each VM, in the order of the list, then those that O(purge) removed.
    - Each has C(name), C(changed) and what M(maqet.qemu.maqet_vm) returns, such as C(vm) and C(actions), without
      C(audit) and C(diff). One that failed has C(failed), C(msg) and C(error_code), one that was left alone because of
      O(max_fail) C(skipped) and C(msg).
  type: list
  elements: dict
  returned: unless an option was refused
  sample: [{"name": "web1", "changed": true, "actions": [{"action": "define", "impact": "live", "options": ["memory"]},
    {"action": "start", "impact": "live"}, {"action": "resume", "impact": "live"}], "vm": {"name": "web1",
    "status": "running"}}, {"name": "web2", "changed": false, "failed": true, "error_code": "qemu_failed",
    "msg": "QEMU of VM web2 ended"}]
wrong:
  description: Everything that was refused of O(vms), each with the VM that it is about.
  type: list
  elements: str
  returned: when an option of a VM was refused
audit:
  description: Audit records of the commands that the task sent, of all VMs.
  type: list
  elements: dict
  returned: unless an option was refused
error_code:
  description:
    - V(vms_failed) if any VM has, V(invalid_option) if nothing was done because of an option. Each VM has an
      C(error_code) of its own, see M(maqet.qemu.maqet_vm).
  type: str
  returned: on failure
"""

import functools
import os
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils import task as door
from ansible_collections.maqet.qemu.plugins.module_utils.definition.options import SPEC as OF_ONE
from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, layout
from ansible_collections.maqet.qemu.plugins.module_utils.vm import many, observe, outcomes
from ansible_collections.maqet.qemu.plugins.module_utils.vm.crew import Crew, Hand
from ansible_collections.maqet.qemu.plugins.module_utils.vm.ensure import Desired

# Filled in by our action plugin where O(progress) has it call us several times: what the calls before have done.
PART = "_part"
SPEC: dict[str, t.Any] = {
    # Not for syslog: passwords may be in it. Task.conceal says later what is shown of it.
    "vms": {"type": "list", "elements": "raw", "required": True, "no_log": True},
    "defaults": {"type": "dict", "default": {}, "no_log": True},
    "purge": {"type": "bool", "default": False},
    "concurrency": {"type": "int", "default": 0},
    "max_fail": {"type": "str"},
    "progress": {"type": "int", "default": 0},
    PART: {"type": "dict"},
}


def provide(task: door.Task) -> dict[str, t.Any]:
    """Make all VMs what the task says."""
    params = task.params
    task.conceal({"vms": many.to_show(params["vms"]), "defaults": many.to_show([params["defaults"]])[0]}, ())
    for option in ("concurrency", "progress"):
        if params[option] < 0:
            raise invalid_option(option, params[option], "is no number of VMs", "Give 0 or more")
    where = layout()
    wanted = _wanted(params, where)
    part = params[PART]
    before = part or {"done": [], "failed": 0, "all": len(wanted)}
    limit = many.limit(params["max_fail"], before["all"] or len(wanted))
    at_once = params["concurrency"] or 2 * len(os.sched_getaffinity(0))
    crew = Crew(where, Hand(task.check, task.context, task.who), at_once, limit, before["failed"])
    if task.check:
        done = {name: {"failed": name in before.get("bad", ())} for name in before["done"] if name in wanted}
        crew.leaving.update(many.leaving(wanted, done))
    left = [name for wave in many.waves(wanted) for name in wave if name not in before["done"]]
    now = left[: params["progress"]] if part and not limit.exceeded(crew.failed) else left
    found = crew.work(wanted, now)
    for text in dict.fromkeys(text for outcome in found for text in outcome.pop("warnings", ())):
        task.warn(text)
    result = outcomes.summary(found)
    if part:
        return {**result, PART: {"order": list(wanted), "left": len(left) - len(now)}}
    failure = outcomes.failure(found, result)
    if failure is not None:
        raise failure
    return result


def _wanted(params: t.Mapping[str, t.Any], where: Layout) -> dict[str, Desired]:
    """What is asked of each VM that the task is about."""
    typed = functools.partial(door.typed, OF_ONE)
    wanted = many.wishes(params["vms"], params["defaults"], typed)
    if not params["purge"]:
        return wanted
    there = observe.names(where)
    many.check_purge(wanted, there)
    return {**wanted, **many.unlisted(there, wanted, params["defaults"], typed)}


def main() -> None:
    """The module."""
    door.run(SPEC, provide)


if __name__ == "__main__":
    main()
