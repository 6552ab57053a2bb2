# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of ``maqet_vms`` that runs on the controller: lines that tell how far the work is.

Nothing of a module is seen before it has ended, so a module that is to be heard meanwhile is called several times, for
one group of VMs each. It is told what the calls before have done, and is otherwise the same.
"""

from __future__ import annotations

import typing as t

from ansible.utils.display import Display
from ansible_collections.maqet.qemu.plugins.module_utils.vm import outcomes
from ansible_collections.maqet.qemu.plugins.plugin_utils.context_action import ContextAction

Result = t.Dict[str, t.Any]
_PART = "_part"


class VmsAction(ContextAction):
    """The module, once or once for each group of VMs."""

    def run(self, tmp: t.Any = None, task_vars: t.Optional[dict[str, t.Any]] = None) -> Result:
        """Run the module until nothing is left, and make one result of all that it said."""
        if self._task.async_val or not _is_number(self._task.args.get("progress")):
            return super().run(tmp, task_vars)
        host = (task_vars or {}).get("inventory_hostname", "")
        found: list[outcomes.Outcome] = []
        results: list[Result] = []
        part: Result = {"done": [], "failed": 0, "all": 0}
        while True:
            self._task.args = {**self._task.args, _PART: part}
            results.append(super().run(tmp, task_vars))
            told = results[-1].pop(_PART, None)
            if told is None:  # it has been refused, or was cut off
                return _whole(results[:-1], found, [], results[-1]) if found else results[-1]
            found += results[-1]["vms"]
            bad = [outcome["name"] for outcome in found if outcome.get("failed")]
            done = [outcome["name"] for outcome in found]
            part = {"done": done, "bad": bad, "failed": len(bad), "all": len(done) + told["left"]}
            if told["left"] == 0:
                return _whole(results, found, told["order"], results[-1])
            failed = f", failed: {', '.join(bad)}" if bad else ""
            Display().display(f"{host}: {len(done)} of {part['all']} VMs{failed}")


def _whole(
    results: t.Sequence[Result], found: t.Sequence[outcomes.Outcome], order: t.Sequence[str], last: Result
) -> Result:
    """The result of a module that had done in one call what the calls with ``results`` have, and ended as ``last``."""
    place = {name: number for number, name in enumerate(order)}
    listed = sorted(found, key=lambda outcome: place.get(outcome["name"], len(place)))
    whole = {
        **last,
        "vms": listed,
        "changed": any(result["changed"] for result in results),
        "audit": [record for result in results for record in result["audit"]],
        "warnings": list(dict.fromkeys(text for result in (*results, last) for text in result.get("warnings", ()))),
        "diff": {
            side: {name: value for result in results for name, value in result["diff"][side].items()}
            for side in ("before", "after")
        },
    }
    failure = None if last.get("failed") else outcomes.failure(listed, {})
    return whole if failure is None else {**whole, "failed": True, "msg": str(failure), "error_code": "vms_failed"}


def _is_number(value: t.Any) -> bool:
    """Whether lines are wanted; what is no number at all, the module refuses."""
    try:
        return int(value or 0) > 0
    except (TypeError, ValueError):
        return False
