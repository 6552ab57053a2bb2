#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keys and text on the keyboard of a VM."""

from __future__ import annotations

DOCUMENTATION = r"""
module: maqet_keys
short_description: Press keys and type text on the keyboard of a QEMU virtual machine
version_added: 0.1.0
author:
  - The maqet.qemu authors (@maqet)
description:
  - Presses combinations of keys, or types a text, for guests that have nothing else yet, such as boot loaders and
    installers, or nothing else any more.
  - Keys are sent at the pace that O(hold_ms) sets, and no more at a time than QEMU can keep. The task returns when QEMU
    has released the last one.
  - It is refused, before the first key, if the virtual machine is paused or has no keyboard. QEMU would drop the keys
    without a word.
  - Nobody can say what the guest does with a key. M(maqet.qemu.maqet_screenshot) shows it.
  - Every combination is a command C(send-key) of QEMU, judged and audited like any other of
    M(maqet.qemu.maqet_qmp). The audit keeps the number of its keys, not their names. Before them goes one
    C(input-send-event), a release of no key, by which QEMU says whether there is a keyboard that listens.
extends_documentation_fragment:
  - maqet.qemu.attributes
attributes:
  diff_mode:
    support: none
    details: A key has no state to compare.
options:
  vm:
    description:
      - Name of a virtual machine that M(maqet.qemu.maqet_vm) made.
    type: str
    required: true
  keys:
    description:
      - Combinations of keys, one after another. The keys of a combination are pressed together, in this order.
      - Keys have QEMU's names (C(QKeyCode)), which are those of an American keyboard, joined by C(-), such as V(ret),
        V(ctrl-alt-f2) or V(shift-a).
      - Exactly one of O(keys) and O(text) is needed. What is secret belongs into O(text), since O(keys) is shown.
    type: list
    elements: str
  text:
    description:
      - A text of ASCII characters. A line's end is the key V(ret), a tabulator V(tab).
      - Anything else is refused before the first key is sent.
      - It may be a password, so neither results nor logs repeat it. Its length can be told from them.
    type: str
  layout:
    description:
      - The keyboard that the guest believes to have, which decides which keys type O(text).
      - With V(de) the keys for C(^) and C(`) wait for the next key, so a blank is typed after them. With
        V(de-nodeadkeys) they do not.
      - V(fr) is that of Linux. Windows has other keys for C(~) and C(`).
      - V(uk) is another name of V(gb).
      - Caps Lock must be off in the guest.
    type: str
    choices: [us, gb, uk, de, de-nodeadkeys, fr]
    default: us
  hold_ms:
    description:
      - Milliseconds between the press of a key and its release, and between that and the next press.
      - A guest that is too slow for the pace loses keys. A keyboard holds some five of them until the guest takes
        them.
      - A power button that is to be held is V(power) in O(keys), with a long O(hold_ms).
    type: int
    default: 20
  timeout:
    description:
      - Seconds that QEMU may take to accept keys. The time for which they are held comes on top.
    type: float
    default: 30
  reason:
    description:
      - Why you do this, for the audit record, for instance a ticket number.
    type: str
    default: ''
seealso:
  - module: maqet.qemu.maqet_screenshot
  - module: maqet.qemu.maqet_guest
  - name: QEMU QMP reference, QKeyCode
    description: The names of all keys.
    link: https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html#enum-QMP-ui.QKeyCode
"""

EXAMPLES = r"""
- name: Log in at the console of a VM with a German keyboard
  maqet.qemu.maqet_keys:
    vm: web1
    text: "root\n{{ console_password }}\n"
    layout: de

- name: Choose the second entry of a boot menu
  maqet.qemu.maqet_keys:
    vm: web1
    keys: [down, ret]

- name: Switch to the second console
  maqet.qemu.maqet_keys:
    vm: web1
    keys: [ctrl-alt-f2]

- name: Hold the power button for five seconds
  maqet.qemu.maqet_keys:
    vm: web1
    keys: [power]
    hold_ms: 5000
    reason: incident 4711
"""

RETURN = r"""
typed:
  description: How many combinations QEMU has got, a character of a text being one. In check mode, how many it would.
  type: int
  returned: when a virtual machine was asked
  sample: 12
decision:
  description: The guard's verdict on the last command, or on the one that was denied, as with M(maqet.qemu.maqet_qmp).
  type: dict
  returned: when the guard was asked
  sample: {"decision": "allow", "class": "guest", "rule": "class-guest", "reason": "...", "level": "info"}
audit:
  description: The audit records that this task left on the host, two for each combination. Empty in check mode.
  type: list
  elements: dict
  returned: always
events:
  description: The event by which the guest ceased to run while keys were typed, C(STOP) or C(SHUTDOWN).
  type: list
  elements: dict
  returned: when a virtual machine was asked
error_code:
  description:
    - A stable word for what went wrong, one of V(invalid_option), V(policy_denied), V(vm_not_found),
      V(vm_not_running), V(vm_paused), V(no_keyboard), V(runner_unreachable), V(qmp_error), V(qmp_timeout),
      V(audit_failed).
  type: str
  returned: on failure
"""

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils import task as door
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.keyboard_layouts import LAYOUTS
from ansible_collections.maqet.qemu.plugins.module_utils.vm import keys

SPEC: dict[str, t.Any] = {
    "vm": {"type": "str", "required": True},
    "keys": {"type": "list", "elements": "str", "no_log": False},
    "text": {"type": "str", "no_log": True},
    "layout": {"type": "str", "choices": list(LAYOUTS), "default": "us"},
    "hold_ms": {"type": "int", "default": 20},
    "timeout": {"type": "float", "default": 30},
    "reason": {"type": "str", "default": "", "no_log": True},  # it may quote the text
}


def press(task: door.Task) -> dict[str, t.Any]:
    """Have the task's keys judged and typed."""
    task.conceal(keys.shown(task.params), ())
    result = keys.run(keys.checked(task.params, task.check, task.context))
    for warning in keys.warnings(result):
        task.warn(warning)
    return result


def main() -> None:
    """The module."""
    door.run(SPEC, press, mutually_exclusive=[("keys", "text")], required_one_of=[("keys", "text")])


if __name__ == "__main__":
    main()
