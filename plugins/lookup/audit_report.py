# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A report of the audit records that the callback gathered."""

from __future__ import annotations

DOCUMENTATION = r"""
name: audit_report
short_description: A report of the audit records of a fleet
version_added: 0.1.0
author:
  - The maqet.qemu authors (@maqet)
description:
  - Reads files that the callback P(maqet.qemu.audit#callback) has written, and what M(maqet.qemu.maqet_audit_info) said
    of logs of hosts, verifies every chain, and returns what it found for people or for tasks.
  - The playbook C(maqet.qemu.audit_report) does it for a whole fleet.
options:
  _terms:
    description:
      - Files of records on the controller. A file that does not exist has none.
      - Without one it is the file that the callback writes.
    type: list
    elements: path
  path:
    description: The file of the callback, for when no term is given.
    type: path
    default: ~/.ansible/maqet/audit.jsonl
    env:
      - name: MAQET_AUDIT_PATH
    ini:
      - section: callback_maqet_audit
        key: path
  format:
    description:
      - V(html) is one page, complete in itself, for a browser.
      - V(summary) is a dictionary with C(hosts), C(vms), C(records), C(commands), C(denied), C(unseen) (records that
        are missing) and C(problems), a list of C(kind), C(host), C(vm), C(text), C(seq) and C(time).
      - V(witness) is a list of C(host), C(vm), C(seq) and C(hash), where each chain was seen to end.
    type: str
    choices: [html, summary, witness]
    default: html
  gathered:
    description:
      - What hosts said, as a list of dictionaries with C(host) and C(logs), the registered result of a loop of
        M(maqet.qemu.maqet_audit_info) over names of VMs; and C(vms), that of M(maqet.qemu.maqet_vm_info), if it is to
        be told when the VMs could not be listed.
    type: list
    elements: dict
    default: []
  title:
    description: The heading of the page.
    type: str
    default: Audit of virtual machines
  limit:
    description: The page lists so many of the newest commands. What it counts is of all of them.
    type: int
    default: 5000
"""

EXAMPLES = r"""
- name: How many commands were denied
  ansible.builtin.debug:
    msg: "{{ lookup('maqet.qemu.audit_report', format='summary').denied }}"

- name: A page of all
  ansible.builtin.copy:
    content: "{{ lookup('maqet.qemu.audit_report', '/var/log/maqet-fleet/audit.jsonl') }}"
    dest: /var/log/maqet-fleet/report.html
    mode: "0600"
"""

RETURN = r"""
_raw:
  description: One report of all the files together, in the form that O(format) names.
  type: list
  elements: raw
"""

import os
import typing as t

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_forms import html, summary, witness
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_report import made_of
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_store import Line, lines_of


class LookupModule(LookupBase):  # type: ignore[misc]  # ansible-core has no type stubs
    """Reads, and leaves the rest to :mod:`audit_report`."""

    def run(self, terms: t.Any, variables: t.Any = None, **kwargs: t.Any) -> list[t.Any]:
        """The report in the form that was asked for."""
        self.set_options(var_options=variables, direct=kwargs)
        paths = [os.path.expanduser(str(term)) for term in terms] or [str(self.get_option("path"))]
        form = self.get_option("format")
        if form == "witness":
            return [witness(_lines(paths))]
        report = made_of(_lines(paths), _gathered(self.get_option("gathered")))
        if form == "summary":
            return [summary(report)]
        return [html(report, str(self.get_option("title")), int(self.get_option("limit")), paths)]


def _lines(paths: t.Sequence[str]) -> t.Iterator[Line]:
    for path in paths:
        try:
            yield from lines_of(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise AnsibleError(
                f"audit_report: {path!r} cannot be read: {error.strerror}. Give files of records."
            ) from error


def _gathered(given: t.Any) -> list[dict[str, t.Any]]:
    for told in given:
        if not isinstance(told, dict) or "host" not in told or not isinstance(told.get("logs"), dict):
            raise AnsibleError(
                "gathered: holds something else than dictionaries with host and logs. See the documentation."
            )
    return list(given)
