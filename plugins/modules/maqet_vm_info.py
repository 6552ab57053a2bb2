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
  gather:
    description:
      - What to find out beyond the facts that every VM has. Each subject is returned under its own name in
        RV(vms[].details).
      - V(addresses), those by which the guest is known, to its agent or to the host, and who says so.
        V(command_line), the words with which QEMU was started, or would be. V(events), what QEMU has said by itself.
        V(guest), the addresses that the agent in the guest tells. V(jobs), the long operations that QEMU works on.
        V(snapshots), those that M(maqet.qemu.maqet_snapshot) knows. V(statistics), what went through the disks, and
        through the cards that have an interface on the host. V(usage), the CPU time and memory of QEMU and its
        runner.
      - The guests of all VMs are asked side by side, and each has three seconds, so that one that hangs holds up
        nobody.
      - What asks QEMU or a guest leaves audit records, like any command.
    type: list
    elements: str
    choices: [addresses, command_line, events, guest, jobs, snapshots, statistics, usage]
    default: []
  timeout:
    description:
      - Seconds that one VM may take to answer.
    type: float
    default: 10
seealso:
  - module: maqet.qemu.maqet_vm
"""

EXAMPLES = r"""
- name: See what a VM uses, and with which command line it runs
  maqet.qemu.maqet_vm_info:
    name: web1
    gather: [usage, statistics, command_line]

- name: See by which addresses the guests are known
  maqet.qemu.maqet_vm_info:
    gather: [addresses]

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
    status: {description: 'V(stopped), V(restarting) while its runner waits to start it again, or what QEMU says, such
      as V(running) or V(paused); V(unknown) if it does not answer.', type: str, returned: always}
    error: {description: Why it does not answer., type: str, returned: when it does not}
    uuid: {description: Its UUID., type: str, returned: always}
    definition: {description: The options that are managed. Memory in MiB and sizes in bytes., type: dict, returned:
      always}
    disks: {description: The image of each disk., type: dict, returned: always}
    networks:
      description:
        - Its network cards. C(id) is the card's in QMP, where its back end is C(netN); C(interface) is the host's, of a
          bridge's or macvtap's card as long as the VM runs.
      type: list
      elements: dict
      returned: always
      sample: [{"id": "nic0", "type": "bridge", "model": "virtio-net-pci", "mac": "52:54:00:18:ee:ec",
        "interface": "web1-s57uzs-0"}]
    qemu_pid: {description: Process of QEMU., type: int, returned: when it runs}
    qemu_uid: {description: User as which QEMU runs., type: int, returned: when it runs}
    runner_pid: {description: Process of the runner., type: int, returned: when it runs}
    runner:
      description: The runner. C(current) is whether it is the one that this version of the collection would start.
      type: dict
      returned: when there is one
      sample: {"pid": 4711, "digest": "0f3c2a9b1d4e5f60", "protocol": 2, "python": "/usr/bin/python3",
        "python_version": "3.11.2", "current": true}
    restarts: {description: How often in a row the runner has started the VM again., type: int, returned: always}
    qemu_version: {description: Version of the running QEMU., type: str, returned: when it runs}
    qemu_binary: {description: Program of the running QEMU., type: str, returned: when it runs}
    accel: {description: The accelerator in use., type: str, returned: when it runs}
    helpers:
      description: Processes that serve QEMU, such as C(tpm), and their pids. One that has ended too early has none.
      type: dict
      returned: when it runs
      sample: {"tpm": 4710}
    uptime: {description: Seconds since QEMU started., type: float, returned: when it runs}
    sockets: {description: 'Sockets of the runner, of the monitor for direct mode, and where there are such of the
      serial port and of VNC.', type: dict, returned: always}
    home: {description: The VM's folder., type: str, returned: always}
    output: {description: Folder for files that QEMU writes at a caller's wish., type: str, returned: always}
    serial_log: {description: What the first serial port said since the last start., type: str, returned: always}
    audit_log: {description: The VM's audit log., type: str, returned: always}
    last_exit:
      description:
        - How its last QEMU ended, of which C(reason) is a word, and C(detail) a sentence.
        - C(reason) is QEMU's own word where it said one, such as V(guest-shutdown), V(guest-reset), V(guest-panic),
          V(host-qmp-quit) or V(host-signal); else V(host-powerdown) (the guest obeyed its power button), V(signal),
          V(qemu-error), V(host-down) or V(unknown).
        - C(status) is its exit status, negative for a signal; C(words) what it said last; C(gave_up) is there if
          C(restart_policy) has given up.
      type: dict
      returned: when one has
      sample: {"reason": "signal", "detail": "QEMU was ended by signal 9 (SIGKILL)", "status": -9, "signal": 9,
        "time": 1764000000.0, "uptime": 17.2, "restarts": 0, "qemu": {"pid": 4711, "start": 123456}}
    details:
      description:
        - What O(gather) asked for, a key each; V(null) where a VM in this state has none.
        - C(errors) says by subject why it could not be had, if so.
        - In C(addresses) C(source) is V(agent), which is the guest's own word; V(lease), from a DHCP server on this
          host; or V(neighbours), from the host's table of who answered on the VM's bridge. Each is newer than this
          QEMU.
      type: dict
      returned: when O(gather) is not empty
      sample: {"usage": {"qemu": {"cpu_seconds": 12.5, "memory": {"rss": 301989888, "pss": 298844160, "swap": 0}},
        "runner": {"cpu_seconds": 0.6, "memory": {"rss": 25165824, "pss": 11534336, "swap": 0}},
        "vcpu_seconds": {"0": 11.9}}, "statistics": {"disks": {"disk0": {"read_bytes": 4096, "reads": 1}}}}
audit:
  description: Audit records of the commands that O(gather) took.
  type: list
  elements: dict
  returned: when O(gather) is not empty
orphans:
  description:
    - QEMUs of this collection whose VM is not defined any more, such as after somebody has removed its folder. They are
      only reported. M(maqet.qemu.maqet_vm) with C(state=absent) and the name ends one.
  type: list
  elements: dict
  returned: when O(name) is not given
  sample: [{"name": "web1", "uuid": "0b0e6a0e-6c1c-4d0f-8d3a-111111111111", "qemu_pid": 4711}]
"""

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils import task as door
from ansible_collections.maqet.qemu.plugins.module_utils.definition.names import check_vm_name
from ansible_collections.maqet.qemu.plugins.module_utils.host import emulators
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, layout
from ansible_collections.maqet.qemu.plugins.module_utils.vm.facts import look, look_through_runner
from ansible_collections.maqet.qemu.plugins.module_utils.vm.observe import names
from ansible_collections.maqet.qemu.plugins.module_utils.vm.several import Several
from ansible_collections.maqet.qemu.plugins.module_utils.vm.whose import of_system

SPEC: dict[str, t.Any] = {
    "name": {"type": "str"},
    "gather": {
        "type": "list",
        "elements": "str",
        "choices": ["addresses", "command_line", "events", "guest", "jobs", "snapshots", "statistics", "usage"],
        "default": [],
    },
    "timeout": {"type": "float", "default": 10},
}


def gather(task: door.Task) -> dict[str, t.Any]:
    """Look at the VMs that the task names."""
    where = layout()
    wanted = task.params["name"]
    others = None if wanted is None else of_system(where, check_vm_name(wanted))
    if others is not None:
        return {"changed": False, "vms": [look_through_runner(others, task.params["timeout"])]}
    chosen = names(where) if wanted is None else [check_vm_name(wanted)]
    subjects, seconds = task.params["gather"], task.params["timeout"]
    several = Several(where, subjects, seconds, task.context)
    found = look(where, chosen, seconds, several.add)
    several.ask()
    result: dict[str, t.Any] = {"changed": False, "vms": [vm for vm in found if vm["status"] != "absent"]}
    if subjects:
        result["audit"] = several.audit
    return result if wanted is not None else {**result, "orphans": _orphans(task, where)}


def _orphans(task: door.Task, where: Layout) -> list[dict[str, t.Any]]:
    found = [{"name": one.name, "uuid": one.uuid, "qemu_pid": one.process.pid} for one in emulators.orphans(where)]
    for one in found:
        task.warn(
            f"QEMU {one['qemu_pid']} runs as VM {one['name']}, which is not defined. To end it: maqet_vm with "
            f"name: {one['name']} and state: absent."
        )
    return found


def main() -> None:
    """The module."""
    door.run(SPEC, gather)


if __name__ == "__main__":
    main()
