#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Commands for the QEMU guest agent of a VM, under the guard and with an audit record each."""

from __future__ import annotations

DOCUMENTATION = r"""
module: maqet_guest
short_description: Ask the QEMU guest agent of a virtual machine, guarded and audited
version_added: 0.1.0
author:
  - The maqet.qemu authors (@maqet)
description:
  - Sends one command, or a list of commands, to the QEMU guest agent in a virtual machine, runs a program there and
    waits for its end, or does one of the things for which several commands are needed - a file, frozen file systems,
    addresses, a shutdown, the time.
  - Every command is judged on the host before it is sent, and leaves an audit record, by the same guard and in the same
    log as with M(maqet.qemu.maqet_qmp). The runner of the VM holds the agent's port, so there is no other way to it.
  - What the guest answers is untrusted. It is limited in size and time and must be strict JSON; bytes that are no UTF-8
    are replaced. Ansible itself never treats a module's result as a template. Take the same care where you put it into
    a file, a command line or a template of your own.
  - The VM needs O(maqet.qemu.maqet_vm#module:agent=true), and its guest the agent.
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
    type: str
    required: true
  command:
    description:
      - Name of one command of the agent, such as V(guest-ping).
      - Exactly one of O(command), O(commands), O(exec), O(put), O(get), O(fsfreeze), O(addresses), O(shutdown) and
        O(time_sync) is needed.
    type: str
  arguments:
    description:
      - Arguments of O(command).
    type: dict
  commands:
    description:
      - Several commands, sent in this order. The first that fails ends the list.
    type: list
    elements: dict
    suboptions:
      command:
        description: Name of the command.
        type: str
        required: true
      arguments:
        description: Its arguments.
        type: dict
  exec:
    description:
      - Run a program in the guest, as the agent's user, and wait until it has ended. The task fails if its status is
        not 0.
      - These are C(guest-exec) and C(guest-exec-status), so it needs O(allow_dangerous=true) unless the host's policy
        allows both.
      - There is no shell. When O(timeout) has passed the program goes on in the guest.
    type: dict
    suboptions:
      path:
        description:
          - A program that takes no arguments. Exactly one of O(exec.path) and O(exec.argv) is needed.
        type: str
      argv:
        description: The program and its arguments, each an element of the list.
        type: list
        elements: str
      env:
        description: The program's whole environment. By default it has the agent's.
        type: dict
      input:
        description: What the program reads on its standard input. Nothing by default.
        type: str
      capture:
        description: Whether to return what the program writes. The agent keeps at most 16 MiB of each stream.
        type: bool
        default: true
  put:
    description:
      - Have a file in the guest with a content. It is read first, and nothing is changed if it is the same.
      - These are C(guest-file-open) and its like, so it needs O(allow_dangerous=true) unless the host's policy allows
        them. With O(put.mode) also C(guest-exec).
      - The agent cannot rename, so the file is overwritten in place. If that is cut short the error says
        RV(incomplete).
      - In check mode the file in the guest is read, so that the task tells the truth.
    type: dict
    suboptions:
      content:
        description: What is to be in it, in UTF-8. Exactly one of O(put.content) and O(put.src) is needed.
        type: str
      src:
        description: A file on the managed host whose content it is, of at most 256 MiB.
        type: path
      dest:
        description: Its absolute path in the guest. The folder must be there.
        type: str
        required: true
      mode:
        description:
          - Its permissions as an octal number in quotes, such as V('0600'), set before anything is written to it. They
            are read by the guest's C(stat) and set by its C(chmod).
          - By default a file that is there keeps its own, and a new one has what the agent gives, which is V(0666).
        type: raw
  get:
    description:
      - Fetch a file from the guest. The task is not C(changed) by that.
      - It needs O(allow_dangerous=true), like O(put).
    type: dict
    suboptions:
      path:
        description: Its absolute path in the guest.
        type: str
        required: true
      dest:
        description:
          - A file on the managed host that is to have the content, readable by its owner alone. The task is C(changed)
            if it had not. By default the content is returned.
        type: path
      limit:
        description: The largest file that is accepted, at most V(256M). A larger one is V(guest_reply_too_large).
        type: str
        default: 16M
  fsfreeze:
    description:
      - V(frozen) has the guest write out its file systems and hold back whoever wants to write, until V(thawed). Thaw
        them soon.
      - While they are frozen the agent does little else.
    type: str
    choices: [frozen, thawed]
  addresses:
    description:
      - Return the guest's addresses in one form. See also O(maqet.qemu.maqet_vm#module:wait_for), which waits for one.
    type: bool
  shutdown:
    description:
      - Have the guest power off, reboot or halt, and wait until QEMU says that it has. Of one that halts it is seen
        that its agent has ended.
      - What follows is the VM's own O(maqet.qemu.maqet_vm#module:restart_policy) and
        O(maqet.qemu.maqet_vm#module:reboot_action).
    type: str
    choices: [powerdown, reboot, halt]
  time_sync:
    description:
      - Give the guest the host's time if it is more than half a second off, such as after a pause or a revert.
      - The agent sets the guest's hardware clock too, and needs the guest's C(/sbin/hwclock) for that.
    type: bool
  allow_dangerous:
    description:
      - Consent to commands that are refused without it, those of the classes V(disclosure), V(guest-file),
        V(guest-auth) and V(guest-exec), such as C(guest-exec), C(guest-file-open) and C(guest-set-user-password).
    type: bool
    default: false
  explain:
    description:
      - Return the verdicts only, also those that are denials. The guest is not asked and nothing is recorded.
    type: bool
    default: false
  wait_for_agent:
    description:
      - Wait, at most O(timeout) seconds, until the agent in the guest has opened its port. By default the task fails at
        once if there is none.
    type: bool
    default: false
  max_reply:
    description:
      - Size of the largest answer that is accepted, as the agent sends it (files and the output of programs in base64,
        so a third longer), at most V(32M). With O(exec) this limits both streams together.
      - A command with a larger answer has run, and the task fails with C(guest_reply_too_large).
    type: str
    default: 16M
  timeout:
    description:
      - Seconds for everything together.
    type: float
    default: 30
  reason:
    description:
      - Why you do this, for the audit record, for instance a ticket number.
    type: str
    default: ''
seealso:
  - module: maqet.qemu.maqet_vm
  - module: maqet.qemu.maqet_qmp
  - name: QEMU guest agent reference
    description: All commands and their arguments.
    link: https://www.qemu.org/docs/master/interop/qemu-ga-ref.html
"""

EXAMPLES = r"""
- name: A VM with a port for the agent
  maqet.qemu.maqet_vm:
    name: web1
    agent: true
    state: running

- name: Wait until the guest's agent answers
  maqet.qemu.maqet_guest:
    vm: web1
    command: guest-ping
    wait_for_agent: true
    timeout: 120

- name: Ask for its addresses
  maqet.qemu.maqet_guest:
    vm: web1
    command: guest-network-get-interfaces
  register: interfaces

- name: Run a program in it
  maqet.qemu.maqet_guest:
    vm: web1
    exec:
      argv: [systemctl, is-system-running, --wait]
    allow_dangerous: true
    reason: incident 4711
  register: state
  failed_when: state.rc is not defined

- name: Give it a file that only root may read
  maqet.qemu.maqet_guest:
    vm: web1
    put:
      content: "token=4711\n"
      dest: /etc/app/token
      mode: '0600'
    allow_dangerous: true

- name: Fetch a log from it
  maqet.qemu.maqet_guest:
    vm: web1
    get:
      path: /var/log/cloud-init.log
    allow_dangerous: true
  register: log

- name: What the log says
  ansible.builtin.debug:
    msg: "{{ log.content | b64decode }}"

- name: Have all of its data on its disks
  maqet.qemu.maqet_guest:
    vm: web1
    fsfreeze: frozen

- name: Let it write again
  maqet.qemu.maqet_guest:
    vm: web1
    fsfreeze: thawed

- name: Correct its clock
  maqet.qemu.maqet_guest:
    vm: web1
    time_sync: true

- name: Reboot it, and wait until it has begun to
  maqet.qemu.maqet_guest:
    vm: web1
    shutdown: reboot
    timeout: 120
"""

RETURN = r"""
response:
  description: What the agent answered to O(command). Null for one that answers nothing, such as C(guest-shutdown).
  type: raw
  returned: when O(command) was given and has succeeded
  sample: {"id": "debian", "version-id": "12"}
responses:
  description: What the agent answered to each of O(commands), as far as they were sent and succeeded.
  type: list
  elements: raw
  returned: when O(commands) was given, or a command failed
rc:
  description: Exit status of the program, or the negative number of the signal that ended it.
  type: int
  returned: when O(exec) was given and the program has ended
stdout:
  description: What the program wrote to its standard output.
  type: str
  returned: when O(exec) was given and the program has ended
stderr:
  description: What the program wrote to its standard error.
  type: str
  returned: when O(exec) was given and the program has ended
stdout_truncated:
  description: Whether the agent has cut the standard output off.
  type: bool
  returned: when O(exec) was given and the program has ended
stderr_truncated:
  description: Whether the agent has cut the standard error off.
  type: bool
  returned: when O(exec) was given and the program has ended
pid:
  description: Number of the program's process in the guest.
  type: int
  returned: when O(exec) was given and the program was started
incomplete:
  description: Whether the file in the guest may have only a part of its content.
  type: bool
  returned: when O(put) has failed while it wrote
dest:
  description: Path of the file that has the content now, in the guest or on the managed host.
  type: str
  returned: when O(put) or O(get.dest) was given
path:
  description: Path of the file in the guest.
  type: str
  returned: when O(get) was given
size:
  description: Size of the content in bytes.
  type: int
  returned: when O(put) or O(get) was given
checksum:
  description: SHA-256 of the content.
  type: str
  returned: when O(put) or O(get) was given
content:
  description: The content in base64.
  type: str
  returned: when O(get) was given without O(get.dest)
encoding:
  description: Always V(base64), as with M(ansible.builtin.slurp).
  type: str
  returned: when O(get) was given without O(get.dest)
fsfreeze:
  description: The state of the guest's file systems.
  type: str
  returned: when O(fsfreeze) was given
filesystems:
  description: How many file systems were frozen or thawed.
  type: int
  returned: when O(fsfreeze) has changed something
addresses:
  description:
    - All addresses of the guest, also those of the loopback interface. C(prefix) is the length of the network's.
  type: list
  elements: dict
  returned: when O(addresses) was given
  sample: [{"interface": "eth0", "mac": "52:54:00:12:34:56", "family": "ipv4", "address": "192.0.2.10", "prefix": 24}]
shutdown:
  description: What the guest has done.
  type: str
  returned: when O(shutdown) was given
event:
  description: The QMP event by which QEMU has said so.
  type: dict
  returned: when O(shutdown) was given
  sample: {"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}, "seq": 7}
offset:
  description: How far the guest's clock was ahead of the host's, in seconds; negative if it was behind.
  type: float
  returned: when O(time_sync) was given
decision:
  description: The guard's verdict on O(command), as with M(maqet.qemu.maqet_qmp).
  type: dict
  returned: when O(command) was given, or a command was denied
  sample: {"decision": "allow", "class": "read", "rule": "class-read", "reason": "...", "level": "info"}
decisions:
  description:
    - The guard's verdicts on all commands, with O(exec) those on C(guest-exec) and C(guest-exec-status).
    - With the options that send several commands, one verdict for each command that was used.
  type: list
  elements: dict
  returned: when O(command) was not given
audit:
  description: The audit records that this task left on the host, with their place in the chain. Empty in check mode.
  type: list
  elements: dict
  returned: always
events:
  description: QMP events that came during the commands.
  type: list
  elements: dict
  returned: when a command was sent
sent:
  description: Whether the agent may have got the command that failed.
  type: bool
  returned: when the agent did not answer
error_code:
  description:
    - A stable word for what went wrong, one of V(invalid_command), V(invalid_option), V(policy_denied),
      V(vm_not_found), V(vm_not_running), V(runner_unreachable), V(guest_agent_unavailable),
      V(guest_unreachable), V(guest_timeout), V(guest_reply_too_large), V(guest_error), V(guest_exit), V(audit_failed).
  type: str
  returned: on failure
guest_class:
  description: The agent's error class.
  type: str
  returned: when the agent refused a command
  sample: CommandNotFound
guest_desc:
  description: The agent's error text.
  type: str
  returned: when the agent refused a command
"""

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils import task as door
from ansible_collections.maqet.qemu.plugins.module_utils.vm import guest

# What a program is given may be secret, so none of it gets into syslog; `Task.conceal` says later what is shown of it.
_EXEC = {
    "path": {"type": "str"},
    "argv": {"type": "list", "elements": "str", "no_log": True},
    "env": {"type": "dict", "no_log": True},
    "input": {"type": "str", "no_log": True},
    "capture": {"type": "bool", "default": True},
}
_PUT = {
    "content": {"type": "str", "no_log": True},
    "src": {"type": "path"},
    "dest": {"type": "str", "required": True},
    "mode": {"type": "raw"},
}
_GET = {
    "path": {"type": "str", "required": True},
    "dest": {"type": "path"},
    "limit": {"type": "str", "default": "16M"},
}
_FORMS = ("command", "commands", "exec", "put", "get", "fsfreeze", "addresses", "shutdown", "time_sync")
SPEC: dict[str, t.Any] = {
    "vm": {"type": "str", "required": True},
    "command": {"type": "str"},
    "arguments": {"type": "dict", "no_log": True},
    "commands": {
        "type": "list",
        "elements": "dict",
        "options": {"command": {"type": "str", "required": True}, "arguments": {"type": "dict", "no_log": True}},
    },
    "exec": {
        "type": "dict",
        "options": _EXEC,
        "mutually_exclusive": [("path", "argv")],
        "required_one_of": [("path", "argv")],
    },
    "put": {
        "type": "dict",
        "options": _PUT,
        "mutually_exclusive": [("content", "src")],
        "required_one_of": [("content", "src")],
    },
    "get": {"type": "dict", "options": _GET},
    "fsfreeze": {"type": "str", "choices": ["frozen", "thawed"]},
    "addresses": {"type": "bool"},
    "shutdown": {"type": "str", "choices": ["powerdown", "reboot", "halt"]},
    "time_sync": {"type": "bool"},
    "allow_dangerous": {"type": "bool", "default": False},
    "explain": {"type": "bool", "default": False},
    "wait_for_agent": {"type": "bool", "default": False},
    "max_reply": {"type": "str", "default": "16M"},
    "timeout": {"type": "float", "default": 30},
    "reason": {"type": "str", "default": ""},
}


def ask(task: door.Task) -> dict[str, t.Any]:
    """Have the task's commands judged and sent."""
    task.conceal(*guest.shown(task.params))
    plan = guest.checked(task.params, task.check, task.context)
    result = guest.run(plan)
    for warning in guest.warnings(result, plan):
        task.warn(warning)
    return result


def main() -> None:
    """The module."""
    door.run(
        SPEC,
        ask,
        mutually_exclusive=[_FORMS, *((form, "arguments") for form in _FORMS[1:])],
        required_one_of=[_FORMS],
    )


if __name__ == "__main__":
    main()
