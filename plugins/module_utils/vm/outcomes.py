# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has become of each of many VMs, and what a task says of them all. Also for the controller's side of the task."""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError

Outcome = t.Dict[str, t.Any]
# How many failures a message quotes.
_QUOTED = 5


def failed(name: str, error: MaqetError) -> Outcome:
    """The outcome of a VM that is not what was asked, with whatever is known of it."""
    told = {key: value for key, value in error.details.items() if key not in ("failed", "msg", "error_code", "name")}
    return {"name": name, "changed": False, **told, "failed": True, "msg": str(error), "error_code": error.error_code}


def not_begun(name: str, most: t.Optional[int]) -> Outcome:
    """The outcome of a VM that was left alone because others had failed."""
    return {"name": name, "changed": False, "skipped": True, "msg": f"Not begun: more than {most} VMs had failed."}


def summary(outcomes: t.Sequence[Outcome]) -> dict[str, t.Any]:
    """The whole task's result: one of each VM, one diff, and the audit records and warnings of all."""
    before, after, audit = {}, {}, []
    for outcome in outcomes:
        difference = outcome.pop("diff", None)
        if difference and (difference["before"] or difference["after"]):
            before[outcome["name"]], after[outcome["name"]] = difference["before"], difference["after"]
        audit += outcome.pop("audit", [])
    return {
        "changed": any(outcome["changed"] for outcome in outcomes),
        "vms": list(outcomes),
        "diff": {"before": before, "after": after},
        "audit": audit,
    }


def failure(outcomes: t.Sequence[Outcome], result: t.Mapping[str, t.Any]) -> t.Optional[MaqetError]:
    """What a task says some of whose VMs have failed; the others' results stand beside it. None if none has."""
    bad = [outcome for outcome in outcomes if outcome.get("failed")]
    if not bad:
        return None
    left = sum(1 for outcome in outcomes if outcome.get("skipped"))
    quoted = [f"{outcome['name']}: {outcome['msg']}" for outcome in bad[:_QUOTED]]
    more = [f"and {len(bad) - _QUOTED} others, see vms"] if len(bad) > _QUOTED else []
    skipped = f", {left} not begun" if left else ""
    return MaqetError(
        f"{len(bad)} of {len(outcomes)} VMs failed{skipped}. {'; '.join(quoted + more)}", "vms_failed", **result
    )
