# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with a policy, before it is on any host."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import parse
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy_file import MAX_SIZE
from ansible_collections.maqet.qemu.plugins.module_utils.host.yaml_strict import load

DOCUMENTATION = r"""
name: policy_problem
short_description: What is wrong with the text of a policy file
version_added: 0.1.0
author:
  - The maqet.qemu authors (@maqet)
description:
  - Reads a text as the runners of VMs read C(/etc/maqet/policy.yml), and says what is wrong with it.
  - Whether the users and groups that it names are known is up to each host, so it is not asked.
positional: _input
options:
  _input:
    description:
      - Content of a policy file, in YAML or JSON.
    type: str
    required: true
seealso:
  - plugin: maqet.qemu.hypervisor
    plugin_type: role
"""

EXAMPLES = r"""
- name: Refuse a policy before it reaches a host
  ansible.builtin.assert:
    that: problem == ""
    fail_msg: "{{ problem }}"
  vars:
    problem: "{{ lookup('ansible.builtin.file', 'policy.yml') | maqet.qemu.policy_problem }}"
"""

RETURN = r"""
_value:
  description: A sentence that names key, value and remedy; empty if the policy can be used.
  type: str
"""


def policy_problem(text: t.Any) -> str:
    """The checker's own words on the content of a policy file, or an empty text."""
    if not isinstance(text, str):
        raise AnsibleFilterError(f"policy_problem takes the text of a policy file, not a {type(text).__name__}.")
    data = str(text).encode("utf-8", "surrogateescape")
    if len(data) > MAX_SIZE:
        return f"it has {len(data)} bytes, and more than {MAX_SIZE} are not read. Make it smaller."
    try:
        parse(load(data), "policy")
    except (MaqetError, ValueError, RecursionError) as error:
        return f"{str(error).rstrip('.')}."
    return ""


class FilterModule:
    """Ansible's door to it."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Name and function."""
        return {"policy_problem": policy_problem}
