#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The screen of a VM as a picture."""

from __future__ import annotations

DOCUMENTATION = r"""
module: maqet_screenshot
short_description: Take a screenshot of a QEMU virtual machine
version_added: 0.1.0
author:
  - The maqet.qemu authors (@maqet)
description:
  - Writes what is on a screen of a virtual machine as a PNG file into its output folder on the host, and on request
    into a file on the controller too.
  - QEMU writes PNG itself since version 7.1. What an older one writes is converted.
  - A machine that is paused has a screen too. One with O(maqet.qemu.maqet_vm#module:display=none) has none.
  - A screen may show what nobody else should read, so the files are readable by their owner only.
extends_documentation_fragment:
  - maqet.qemu.attributes
attributes:
  diff_mode:
    support: none
    details: A picture is not compared with another.
  async:
    support: partial
    details: Not together with O(dest), since nobody on the controller is there to take the file when it is ready.
options:
  vm:
    description:
      - Name of a virtual machine that M(maqet.qemu.maqet_vm) made.
    type: str
    required: true
  filename:
    description:
      - Name of the file in the output folder of the virtual machine, without a folder, ending in C(.png). A file of
        this name is replaced, as a whole and at once.
    type: str
    default: screenshot.png
  dest:
    description:
      - Where to put the picture on the controller as well.
      - A path that ends in C(/), or is a folder, gets a file there that is named like the virtual machine, such as
        C(web1.png). Folders that are missing are made.
      - A relative path begins at the playbook, of an ad-hoc command at the current folder.
    type: str
  device:
    description:
      - Name of the graphics card whose screen it is to be. By default that of the first screen.
    type: str
  head:
    description:
      - Number of the screen of a card that has several, from 0. It needs O(device).
    type: int
  timeout:
    description:
      - Seconds that QEMU may take.
    type: float
    default: 30
  reason:
    description:
      - Why you do this, for the audit record, for instance a ticket number.
    type: str
    default: ''
seealso:
  - module: maqet.qemu.maqet_keys
  - module: maqet.qemu.maqet_vm
"""

EXAMPLES = r"""
- name: A picture of the screen in the VM's output folder
  maqet.qemu.maqet_screenshot:
    vm: web1
  register: shot

- name: Fetch it to the controller, as screens/HOST/web1.png, for instance in a rescue section
  maqet.qemu.maqet_screenshot:
    vm: web1
    dest: "screens/{{ inventory_hostname }}/"
"""

RETURN = r"""
path:
  description: The file on the host. Beside it is what Ansible says of any file, such as its mode and its owner.
  type: str
  returned: success
  sample: /var/lib/maqet/vms/web1/output/screenshot.png
dest:
  description: The file on the controller.
  type: str
  returned: when O(dest) was given
  sample: /home/me/screens/web1.png
width:
  description: Width in pixels.
  type: int
  returned: success, not in check mode
  sample: 720
height:
  description: Height in pixels.
  type: int
  returned: success, not in check mode
  sample: 400
size:
  description: Size of the file in bytes.
  type: int
  returned: success, not in check mode
  sample: 3142
sha256:
  description: SHA-256 of the file.
  type: str
  returned: success, not in check mode
converted:
  description: Whether QEMU has written PPM, which was converted.
  type: bool
  returned: success, not in check mode
decision:
  description: The guard's verdict, as with M(maqet.qemu.maqet_qmp).
  type: dict
  returned: when the guard was asked
  sample: {"decision": "allow", "class": "host-file", "rule": "argument-rules", "reason": "...", "level": "info"}
audit:
  description: The audit records that this task left on the host, with their place in the chain. Empty in check mode.
  type: list
  elements: dict
  returned: when a virtual machine was asked
events:
  description: QMP events that came meanwhile.
  type: list
  elements: dict
  returned: success
error_code:
  description:
    - A stable word for what went wrong, one of V(invalid_option), V(policy_denied), V(vm_not_found),
      V(vm_not_running), V(no_display), V(runner_unreachable), V(qmp_error), V(qmp_timeout), V(file_refused),
      V(host_error), V(audit_failed).
  type: str
  returned: on failure
"""

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils import task as door
from ansible_collections.maqet.qemu.plugins.module_utils.vm import screenshot

SPEC: dict[str, t.Any] = {
    "vm": {"type": "str", "required": True},
    "filename": {"type": "str", "default": "screenshot.png"},
    "dest": {"type": "str"},
    "device": {"type": "str"},
    "head": {"type": "int"},
    "timeout": {"type": "float", "default": 30},
    "reason": {"type": "str", "default": ""},
}


def take(task: door.Task) -> dict[str, t.Any]:
    """Take the screenshot. With ``dest`` the picture is in the result, from which the action plugin takes it."""
    return screenshot.run(screenshot.checked(task.params, task.check, task.context))


def main() -> None:
    """The module."""
    door.run(SPEC, take, required_by={"head": "device"})


if __name__ == "__main__":
    main()
