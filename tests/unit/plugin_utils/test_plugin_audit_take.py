# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Audit records are found in whatever Ansible makes of a result, and nothing else is taken for one."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_take import is_hidden, records_in
from ansible_collections.maqet.qemu.tests.unit.plugin_utils.fleet import HostLog

INTENT, RESULT = HostLog().command()
HIDDEN = {"censored": "the output has been hidden due to the fact that 'no_log: true' was specified", "changed": False}


@pytest.mark.parametrize(
    ("result", "found"),
    [
        ({"audit": [INTENT, RESULT]}, [INTENT, RESULT]),
        ({"failed": True, "msg": "denied", "audit": [INTENT]}, [INTENT]),
        ({"results": [{"audit": [INTENT]}, {"skipped": True}, HIDDEN, {"audit": [RESULT]}]}, [INTENT, RESULT]),
        ({"audit": [INTENT, "text", None, {"seq": 1}, {**RESULT, "seq": True}, {**RESULT, "hash": 3}]}, [INTENT]),
        ({"audit": {"file": "/etc/audit"}, "results": "none"}, []),
        ({"audit": [{"rule": "-w /etc/passwd"}]}, []),
        ({"results": ["a package", 3]}, []),
        ({}, []),
        (HIDDEN, []),
        (None, []),
    ],
)
def test_records_of_a_result(result: t.Any, found: list[t.Any]) -> None:
    assert records_in(result) == found


@pytest.mark.parametrize(
    ("result", "hidden"),
    [
        (HIDDEN, True),
        ({**HIDDEN, "results": [HIDDEN]}, True),
        ({"results": [{"audit": []}, HIDDEN]}, True),
        ({"results": [{"audit": []}]}, False),
        ({"audit": [INTENT]}, False),
        (None, False),
    ],
)
def test_what_no_log_hides(result: t.Any, hidden: bool) -> None:
    assert is_hidden(result) is hidden
