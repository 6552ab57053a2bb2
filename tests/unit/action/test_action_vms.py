# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's part of maqet_vms: a module that is called for one group of VMs after another."""

from __future__ import annotations

import types
import typing as t

import pytest
from ansible.plugins.action.normal import ActionModule as NormalAction
from ansible.utils.display import Display
from ansible_collections.maqet.qemu.plugins.plugin_utils import vms_action

Result = t.Dict[str, t.Any]


class Fake:
    """Stands for the module: works on the VMs that were not done yet, ``progress`` of them at a time."""

    def __init__(self, names: list[str], bad: t.Collection[str] = (), broken_after: int = 99) -> None:
        self.names, self.bad, self.broken_after = names, bad, broken_after
        self.calls: list[Result] = []

    def run(self, arguments: Result) -> Result:
        self.calls.append(arguments)
        if len(self.calls) > self.broken_after:
            return {"failed": True, "msg": "The host is gone."}
        part = arguments.get("_part")
        left = [name for name in self.names if name not in (part["done"] if part else ())]
        now = left[: int(arguments["progress"])] if part else left
        vms = [{"name": name, "changed": name != "a", **self._end(name)} for name in now]
        return {
            "changed": any(vm["changed"] for vm in vms),
            "vms": vms,
            "audit": [{"of": name} for name in now],
            "diff": {"before": dict.fromkeys(now, 1), "after": dict.fromkeys(now, 2)},
            "warnings": ["the same", *now],
            **({"_part": {"order": sorted(self.names), "left": len(left) - len(now)}} if part else {}),
        }

    def _end(self, name: str) -> Result:
        return {"failed": True, "msg": "No."} if name in self.bad else {}


@pytest.fixture
def act(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., tuple[Result, list[str]]]:
    """``act(fake, arguments)``: the task's result, and the lines that the user has seen meanwhile."""

    def acted(fake: Fake, asynchronous: int = 0, **arguments: t.Any) -> tuple[Result, list[str]]:
        lines: list[str] = []
        monkeypatch.setattr(NormalAction, "run", lambda self, _tmp, _vars: fake.run(self._task.args))
        monkeypatch.setattr(Display, "display", lambda _self, text, *_args, **_more: lines.append(text))
        action = vms_action.VmsAction.__new__(vms_action.VmsAction)
        action._task = types.SimpleNamespace(args=arguments, get_name=lambda: "t", async_val=asynchronous)
        return action.run(None, {"inventory_hostname": "hv1"}), lines

    return acted


def test_without_lines_it_is_one_call(act: t.Any) -> None:
    for options in ({}, {"progress": 0}, {"progress": "0"}, {"progress": "some"}, {"progress": 2, "asynchronous": 5}):
        fake = Fake(list("abc"))
        result, lines = act(fake, **options)
        assert len(fake.calls) == 1 and "_part" not in fake.calls[0]
        assert lines == [] and [vm["name"] for vm in result["vms"]] == list("abc")


def test_a_line_for_each_group_and_one_result_of_all(act: t.Any) -> None:
    fake = Fake(list("cdabe"))
    result, lines = act(fake, progress="2")
    assert lines == ["hv1: 2 of 5 VMs", "hv1: 4 of 5 VMs"]
    assert [call["_part"]["done"] for call in fake.calls] == [[], ["c", "d"], ["c", "d", "a", "b"]]
    assert [vm["name"] for vm in result["vms"]] == list("abcde")
    assert [record["of"] for record in result["audit"]] == list("cdabe")
    assert result["diff"] == {side: dict.fromkeys("cdabe", value) for side, value in (("before", 1), ("after", 2))}
    assert result["warnings"] == ["the same", *"cdabe"]
    assert result["changed"] is True and "_part" not in result and not result.get("failed")


def test_failures_are_told_and_counted(act: t.Any) -> None:
    fake = Fake(list("abcd"), bad=("b", "d"))
    result, lines = act(fake, progress=1)
    assert lines == ["hv1: 1 of 4 VMs", "hv1: 2 of 4 VMs, failed: b", "hv1: 3 of 4 VMs, failed: b"]
    assert [call["_part"]["failed"] for call in fake.calls] == [0, 0, 1, 1]
    assert (result["failed"], result["error_code"]) == (True, "vms_failed")
    assert result["msg"] == "2 of 4 VMs failed. b: No.; d: No."
    assert len(result["vms"]) == 4


def test_nothing_is_lost_of_what_was_done_before_the_host_went(act: t.Any) -> None:
    result, _lines = act(Fake(list("abc"), broken_after=2), progress=1)
    assert result["failed"] and result["msg"] == "The host is gone."
    assert [vm["name"] for vm in result["vms"]] == ["a", "b"]
    assert result["changed"] is True
    assert [record["of"] for record in result["audit"]] == ["a", "b"]
    refused, _lines = act(Fake(["a"], broken_after=0), progress=1)
    assert refused == {"failed": True, "msg": "The host is gone."}
