# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as data for playbooks, and as the page for people. Pure, but for the time at which it is made."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.guard.moment import stamp
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_chains import Chains
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_html import page
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_report import Line, Report
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_store import fold


def witness(lines: t.Iterable[Line]) -> list[dict[str, t.Any]]:
    """Where each chain was seen to end: ``host, vm, log, seq, hash``."""
    chains = Chains()
    for line in lines:
        fold(chains, dict(line))
    return [
        {"host": host, "vm": vm, "log": log, "seq": chain.seq, "hash": chain.hash}
        for (host, vm, log), chain in sorted(chains.chains.items())
    ]


def summary(report: Report) -> dict[str, t.Any]:
    """The figures of a report, and its problems."""
    return {
        "hosts": len({log.key[0] for log in report.logs}),
        "vms": len(report.logs),
        "records": sum(log.records for log in report.logs),
        "commands": sum(log.commands for log in report.logs),
        "denied": report.denied,
        "unseen": sum(log.unseen for log in report.logs),
        "problems": [dataclasses.asdict(problem) for problem in report.problems],
    }


def html(report: Report, title: str, limit: int, sources: t.Sequence[str]) -> str:
    """The page, made now."""
    return page(report, summary(report), title, max(0, limit), sources, stamp()["time"][:19].replace("T", " ") + " UTC")
