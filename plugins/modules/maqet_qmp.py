#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""QMP commands to a VM, under the guard and with an audit record each."""

from __future__ import annotations

DOCUMENTATION = r"""
module: maqet_qmp
short_description: Send QMP commands to a QEMU virtual machine, guarded and audited
version_added: 0.1.0
author:
  - The maqet.qemu authors (@maqet)
description:
  - Sends one QMP command, or a list of commands, to a virtual machine and returns what QEMU answers.
  - Every command is judged on the host before QEMU sees a byte of it, and leaves an audit record on the host and in the
    task's result, also when it is refused.
  - A list of commands is judged as a whole before its first command is sent. The first command that fails ends the
    list.
extends_documentation_fragment:
  - maqet.qemu.attributes
attributes:
  diff_mode:
    support: none
    details: A command has no state to compare.
options:
  vm:
    description:
      - Name of a virtual machine that M(maqet.qemu.maqet_vm) made.
      - Exactly one of O(vm) and O(socket) is needed.
    type: str
  socket:
    description:
      - Path of the QMP socket of a QEMU that the collection did not start, such as one of Proxmox VE or
        systemd-vmspawn.
      - It is spoken to directly, as with O(mode=direct).
      - QEMU serves one client at a time on a monitor socket, so it must not be in use by its owner.
    type: path
  command:
    description:
      - Name of one QMP command, such as V(query-status).
      - Exactly one of O(command) and O(commands) is needed.
    type: str
  arguments:
    description:
      - Arguments of O(command).
    type: dict
  commands:
    description:
      - Several commands, sent in this order.
    type: list
    elements: dict
    suboptions:
      command:
        description: Name of the QMP command.
        type: str
        required: true
      arguments:
        description: Its arguments.
        type: dict
  allow_dangerous:
    description:
      - Consent to commands that are refused without it, such as C(human-monitor-command), C(inject-nmi), those that
        give away what the guest holds, and the unstable ones whose names begin with C(x-).
      - It counts only while the policy of the host lets it, and never opens files, addresses or programs of the host.
    type: bool
    default: false
  mode:
    description:
      - V(ipc) sends through the runner of the virtual machine, which enforces the policy for every client.
      - V(direct) connects to a second monitor of QEMU, with the same guard and the same log, and works also when the
        runner is gone.
    type: str
    choices: [ipc, direct]
    default: ipc
  timeout:
    description:
      - Seconds for all commands together, and for O(wait_for_event).
      - When it has passed the outcome of a command is unknown, and the task fails with C(qmp_timeout).
    type: float
    default: 30
  wait_for_event:
    description:
      - After the commands, wait for this QMP event, such as V(STOP), and return it under RV(events).
      - An event that comes while the commands run counts.
    type: str
  reason:
    description:
      - Why you do this, for the audit record, for instance a ticket number.
    type: str
    default: ''
  explain:
    description:
      - Judge the commands and return the verdicts under RV(decision) or RV(decisions), without sending, recording or
        failing anything, also where the verdict is no.
      - A verdict of V(deny) says under RV(decision.remedy) and RV(decision.allow_with) what would have to change.
    type: bool
    default: false
  policy:
    description:
      - A policy for this task, which narrows what the policy of the host allows and can never widen it.
      - It takes the keys C(consent), C(roots), C(net), C(devices), C(classes) and C(commands) of the host's policy.
        What could only widen, such as V(allow), is refused with C(invalid_option).
      - An empty dictionary takes nothing away.
    type: dict
  witness:
    description:
      - The C(seq) and C(hash) of a record that an earlier task returned under RV(audit), for the same virtual machine.
      - Before anything is sent, the audit log must still hold that very record; otherwise the task fails with
        C(audit_tampered). This is how the controller notices that a log was cut off or rewritten.
    type: dict
    suboptions:
      seq:
        description: The record's number.
        type: int
        required: true
      hash:
        description: The record's hash.
        type: str
        required: true
seealso:
  - module: maqet.qemu.maqet_vm
  - module: maqet.qemu.maqet_vm_info
  - name: QEMU QMP reference
    description: All commands, their arguments and events.
    link: https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html
"""

EXAMPLES = r"""
- name: Ask how the VM is doing
  maqet.qemu.maqet_qmp:
    vm: demo
    command: query-status
  register: status

- name: Pause, look, go on
  maqet.qemu.maqet_qmp:
    vm: demo
    commands:
      - command: stop
      - command: query-cpus-fast
      - command: cont

- name: Dump a page of guest memory into the VM's output folder
  maqet.qemu.maqet_qmp:
    vm: demo
    command: pmemsave
    arguments:
      val: 0
      size: 4096
      filename: page0.bin
    reason: incident 4711

- name: Use the human monitor, knowingly
  maqet.qemu.maqet_qmp:
    vm: demo
    command: human-monitor-command
    arguments:
      command-line: info registers
    allow_dangerous: true

- name: Ask what the guard would say, and what would have to change
  maqet.qemu.maqet_qmp:
    vm: demo
    command: nbd-server-start
    arguments:
      addr:
        type: inet
        data:
          host: 127.0.0.1
          port: "10809"
    explain: true
  register: verdict

- name: Look at a VM, with a promise to do no more than that
  maqet.qemu.maqet_qmp:
    vm: demo
    command: query-block
    policy:
      classes:
        guest: deny
        availability: deny
  register: looked

- name: Go on only if nobody has touched the audit log since
  maqet.qemu.maqet_qmp:
    vm: demo
    command: query-status
    witness:
      seq: "{{ looked.audit[-1].seq }}"
      hash: "{{ looked.audit[-1].hash }}"

- name: Press the power button of a VM whose runner is gone
  maqet.qemu.maqet_qmp:
    vm: demo
    command: system_powerdown
    mode: direct
    wait_for_event: POWERDOWN
"""

RETURN = r"""
response:
  description: What QEMU answered to O(command).
  type: raw
  returned: when O(command) was given and has succeeded
  sample: {"running": true, "status": "running"}
responses:
  description: What QEMU answered to each of O(commands), as far as they were sent and succeeded.
  type: list
  elements: raw
  returned: when O(commands) was given, or a command failed
decision:
  description: The guard's verdict on O(command).
  type: dict
  returned: when O(command) was given
  contains:
    decision: {description: V(allow) or V(deny)., type: str, returned: always}
    class: {description: 'The power of the command, from V(read) to V(host-exec).', type: str, returned: always}
    rule: {description: The rule that decided., type: str, returned: always}
    reason: {description: The rule in words., type: str, returned: always}
    level:
      description: V(warning) for commands that can hurt the guest's availability, reach the host, or needed consent.
      type: str
      returned: always
    also: {description: Further classes whose powers the arguments use., type: list, elements: str, returned: when any}
    role: {description: The role that the host's policy gives to who asked., type: str, returned: when there is one}
    layer: {description: 'Whose policy decided: V(host), V(vm) or V(task).', type: str, returned: when one did}
    mode: {description: V(permissive) if the host's policy only says what it would deny., type: str, returned: then}
    remedy: {description: What the caller can do., type: str, returned: when denied}
    allow_with:
      description: What would allow it. Either C(allow_dangerous) or, under C(policy), what to add to the host's policy.
      type: dict
      returned: when denied, and something would
    opens: {description: The files that are opened for QEMU., type: list, elements: dict, returned: when any}
  sample: {"decision": "allow", "class": "read", "rule": "class-read", "reason": "the class read is allowed",
    "level": "info", "role": "admin"}
decisions:
  description: The guard's verdicts on all of O(commands).
  type: list
  elements: dict
  returned: when O(commands) was given
audit:
  description: The audit records that this task left on the host, with their place in the chain. Empty in check mode.
  type: list
  elements: dict
  returned: always
events:
  description: QMP events that came during the commands, and the one that was waited for.
  type: list
  elements: dict
  returned: when a command was sent
error_code:
  description:
    - A stable word for what went wrong, one of V(invalid_command), V(invalid_option), V(policy_denied),
      V(vm_not_found), V(vm_not_running), V(runner_unreachable), V(socket_not_found), V(vm_busy), V(qmp_error),
      V(qmp_timeout), V(wait_timeout), V(audit_failed), V(audit_tampered), V(file_refused).
  type: str
  returned: on failure
qmp_class:
  description: QEMU's error class.
  type: str
  returned: when QEMU refused a command
  sample: DeviceNotFound
qmp_desc:
  description: QEMU's error text.
  type: str
  returned: when QEMU refused a command
"""

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils import task as door
from ansible_collections.maqet.qemu.plugins.module_utils.vm import commands

SPEC = {
    "vm": {"type": "str"},
    "socket": {"type": "path"},
    "command": {"type": "str"},
    "arguments": {"type": "dict", "no_log": True},
    "commands": {
        "type": "list",
        "elements": "dict",
        "no_log": True,  # as a whole: syslog shows what else is in it, and in quotes, where no secret is recognised
        "options": {"command": {"type": "str", "required": True}, "arguments": {"type": "dict", "no_log": True}},
    },
    "allow_dangerous": {"type": "bool", "default": False},
    "mode": {"type": "str", "choices": ["ipc", "direct"], "default": "ipc"},
    "timeout": {"type": "float", "default": 30},
    "wait_for_event": {"type": "str"},
    "reason": {"type": "str", "default": "", "no_log": True},  # it may quote one of the above
    "explain": {"type": "bool", "default": False},
    "policy": {"type": "dict"},
    "witness": {
        "type": "dict",
        "options": {"seq": {"type": "int", "required": True}, "hash": {"type": "str", "required": True}},
    },
}


def send(task: door.Task) -> dict[str, t.Any]:
    """Judge and send the task's commands."""
    task.conceal(*commands.shown(task.params))
    plan = commands.checked(task.params, task.check, task.context, task.who)
    result = commands.run(plan)
    for warning in commands.warnings(result, plan):
        task.warn(warning)
    return result


def main() -> None:
    """The module."""
    door.run(
        SPEC,
        send,
        mutually_exclusive=[("command", "commands"), ("vm", "socket"), ("commands", "arguments")],
        required_one_of=[("command", "commands"), ("vm", "socket")],
    )


if __name__ == "__main__":
    main()
