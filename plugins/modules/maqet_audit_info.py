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
  - The options that choose records do not change what is verified, which is always the whole chain, with all its files.
  - Somebody who may write the log can replace all of it. Keep the C(seq) and C(hash) that M(maqet.qemu.maqet_qmp)
    returns elsewhere, and give them back as O(witness), to notice that too.
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
      - Return only so many of the newest records, of those that the other options choose.
    type: int
    aliases: [limit]
  since:
    description:
      - Only records from this time on, in ISO 8601 (V(2025-01-31T10:00:00Z), UTC unless it says otherwise), or how long
        ago, such as V(90s), V(15m), V(2h), V(7d) or V(1w).
    type: str
  until:
    description:
      - Only records up to this time, written as O(since) is.
    type: str
  classes:
    description:
      - Only commands of these classes, such as V(host-exec); V(unknown) for those that have none.
    type: list
    elements: str
  decisions:
    description:
      - Only commands that were allowed, or only those that were denied.
    type: list
    elements: str
    choices: [allow, deny]
  users:
    description:
      - Only commands of these users. A number is the uid or the login uid of who asked, as the kernel knew it. A name
        is one of the host's, or the user on the controller, as the controller said it.
    type: list
    elements: str
  commands:
    description:
      - Only these QMP commands.
    type: list
    elements: str
  phases:
    description:
      - Only records of these kinds. A command leaves V(intent) and V(result), or V(deny), or V(intent) and V(orphan)
        when its writer was killed in between. V(start) is a runner that took over, V(rotate) the end of a full file.
    type: list
    elements: str
    choices: [intent, result, deny, orphan, start, rotate]
  witness:
    description:
      - C(seq) and C(hash) of a record that was returned before. The log must still hold it.
    type: dict
    suboptions:
      seq:
        description: Its number.
        type: int
        required: true
      hash:
        description: Its hash.
        type: str
        required: true
seealso:
  - module: maqet.qemu.maqet_qmp
"""

EXAMPLES = r"""
- name: Read the audit log of a VM
  maqet.qemu.maqet_audit_info:
    vm: demo
  register: log

- name: What was refused to whom since yesterday
  maqet.qemu.maqet_audit_info:
    vm: demo
    since: 1d
    decisions: [deny]

- name: Commands whose outcome nobody knows, for the runner was killed
  maqet.qemu.maqet_audit_info:
    vm: demo
    phases: [orphan]

- name: Send a command, and keep the place of its record
  maqet.qemu.maqet_qmp:
    vm: demo
    command: query-status
  register: sent

- name: That record must still be there
  maqet.qemu.maqet_audit_info:
    vm: demo
    witness:
      seq: "{{ sent.audit[-1].seq }}"
      hash: "{{ sent.audit[-1].hash }}"
  register: log

- name: Insist that nobody has tampered with it
  ansible.builtin.assert:
    that: log.verified
    fail_msg: "{{ log.problem }}"
"""

RETURN = r"""
records:
  description: The records that were chosen, oldest first.
  type: list
  elements: dict
  returned: always
found:
  description: How many records were chosen, also those that O(last) leaves out.
  type: int
  returned: always
total:
  description: How many records of the chain are as they were written, from the first on.
  type: int
  returned: always
verified:
  description: Whether the whole chain is as it was written.
  type: bool
  returned: always
first_bad:
  description: Line at which the chain breaks, counted from 1 in its file.
  type: int
  returned: when it is broken
first_bad_file:
  description: Name of the file with that line.
  type: str
  returned: when it is broken
first_bad_seq:
  description: The C(seq) that the record in that place must have.
  type: int
  returned: when it is broken
problem:
  description: What is wrong there.
  type: str
  returned: when it is broken
start:
  description: C(seq) of the first record. More than 1 when the oldest files were removed.
  type: int
  returned: when there are records
head:
  description: C(seq) and C(hash) of the last good record, to be kept elsewhere and given back as O(witness).
  type: dict
  returned: when there are records
path:
  description: The newest file of the log.
  type: str
  returned: always
"""

import collections
import contextlib
import datetime as dt
import glob
import os
import pwd
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils import task as door
from ansible_collections.maqet.qemu.plugins.module_utils.definition.names import check_vm_name
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.chain import verify
from ansible_collections.maqet.qemu.plugins.module_utils.guard.wanted import Wanted, moment
from ansible_collections.maqet.qemu.plugins.module_utils.guard.witness import checked
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout

_WORDS: dict[str, t.Any] = {"type": "list", "elements": "str"}
SPEC = {
    "vm": {"type": "str", "required": True},
    "last": {"type": "int", "aliases": ["limit"]},
    "since": {"type": "str"},
    "until": {"type": "str"},
    "classes": _WORDS,
    "decisions": {**_WORDS, "choices": ["allow", "deny"]},
    "users": _WORDS,
    "commands": _WORDS,
    "phases": {**_WORDS, "choices": ["intent", "result", "deny", "orphan", "start", "rotate"]},
    "witness": {
        "type": "dict",
        "options": {"seq": {"type": "int", "required": True}, "hash": {"type": "str", "required": True}},
    },
}


def gather(task: door.Task) -> dict[str, t.Any]:
    """Read and verify one log, in one pass; no more records are kept than are returned."""
    params = task.params
    paths = layout().vm(check_vm_name(params["vm"]))
    path = paths.audit_log
    wanted = _wanted(params)
    witness = checked(params["witness"]) if params["witness"] is not None else None
    if not os.path.lexists(path) and not glob.glob(paths.audit_segments):
        raise MaqetError(
            f"There is no audit log of VM {params['vm']!r}: {path} does not exist. "
            "A log is made when a VM starts for the first time; become changes whose VMs you see.",
            "audit_not_found",
            path=path,
        )
    kept: collections.deque[dict[str, t.Any]] = collections.deque(maxlen=_at_least_none(params["last"]))
    found = 0

    def take(record: dict[str, t.Any]) -> None:
        nonlocal found
        if wanted.takes(record):
            found += 1
            kept.append(record)

    report = verify(path, witness, each=take)
    return {
        "changed": False,
        "path": path,
        "records": list(kept),
        "found": found,
        "total": report.records,
        "verified": report.ok,
        "first_bad": report.first_bad,
        "first_bad_file": report.segment,
        "first_bad_seq": report.bad_seq,
        "problem": report.problem,
        "start": report.start,
        "head": report.head,
    }


def _at_least_none(last: t.Optional[int]) -> t.Optional[int]:
    return None if last is None else max(0, last)


def _wanted(params: t.Mapping[str, t.Any]) -> Wanted:
    now = dt.datetime.now(dt.timezone.utc)
    return Wanted(
        moment("since", params["since"], now),
        moment("until", params["until"], now),
        _words(params["classes"]),
        _words(params["decisions"]),
        _users(params["users"]),
        _words(params["commands"]),
        _words(params["phases"]),
    )


def _words(given: t.Optional[list[str]]) -> t.Optional[frozenset[str]]:
    return None if given is None else frozenset(given)


def _users(given: t.Optional[list[str]]) -> t.Optional[frozenset[str]]:
    """The names, and the numbers that this host has for them."""
    if given is None:
        return None
    numbers = set()
    for name in given:
        with contextlib.suppress(KeyError):
            numbers.add(str(pwd.getpwnam(name).pw_uid))
    return frozenset(given) | numbers


def main() -> None:
    """The module."""
    door.run(SPEC, gather)


if __name__ == "__main__":
    main()
