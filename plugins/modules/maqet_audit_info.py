#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The audit chain of a VM: its records, and whether it is whole."""

from __future__ import annotations

DOCUMENTATION = r"""
module: maqet_audit_info
short_description: Read and verify the audit log of a QEMU virtual machine
version_added: 0.1.0
author:
  - The maqet.qemu authors (@maqet)
description:
  - Returns the audit records of one VM, and verifies that none has been changed, removed, added or reordered since it
    was written.
  - The log stays when the VM is removed, so it can be read afterwards.
  - Somebody who may write the log can replace all of it. Keep the C(seq) and C(hash) that M(maqet.qemu.maqet_qmp)
    returns elsewhere to notice that too.
extends_documentation_fragment:
  - maqet.qemu.attributes
attributes:
  diff_mode:
    support: N/A
    details: Nothing is changed.
options:
  vm:
    description:
      - Name of the VM.
    type: str
    required: true
  last:
    description:
      - Return only so many of the newest records. The whole chain is verified all the same.
    type: int
seealso:
  - module: maqet.qemu.maqet_qmp
"""

EXAMPLES = r"""
- name: Read the audit log of a VM
  maqet.qemu.maqet_audit_info:
    vm: demo
  register: log

- name: Insist that nobody has tampered with it
  ansible.builtin.assert:
    that: log.verified
    fail_msg: "{{ log.problem }}"
"""

RETURN = r"""
records:
  description: The records, oldest first.
  type: list
  elements: dict
  returned: always
verified:
  description: Whether the whole chain is as it was written.
  type: bool
  returned: always
first_bad:
  description: Line of the log at which the chain breaks.
  type: int
  returned: when it is broken
problem:
  description: What is wrong there.
  type: str
  returned: when it is broken
path:
  description: The log.
  type: str
  returned: always
"""

import os
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils import task as door
from ansible_collections.maqet.qemu.plugins.module_utils.definition.names import check_vm_name
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.chain import read, verify
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout

SPEC = {"vm": {"type": "str", "required": True}, "last": {"type": "int"}}


def gather(task: door.Task) -> dict[str, t.Any]:
    """Read and verify one log."""
    path = layout().vm(check_vm_name(task.params["vm"])).audit_log
    if not os.path.exists(path):
        raise MaqetError(
            f"There is no audit log of VM {task.params['vm']!r}: {path} does not exist. "
            "A log is made when the first command is sent; become changes whose VMs you see.",
            "audit_not_found",
            path=path,
        )
    report = verify(path)
    return {
        "changed": False,
        "path": path,
        "records": read(path, task.params["last"]),
        "verified": report.ok,
        "first_bad": report.first_bad,
        "problem": report.problem,
    }


def main() -> None:
    """The module."""
    door.run(SPEC, gather)


if __name__ == "__main__":
    main()
