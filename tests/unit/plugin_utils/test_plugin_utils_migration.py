# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of a migration's steps on its two hosts, with hosts that answer what a test says."""

from __future__ import annotations

import contextlib
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.plugin_utils.migration import Failed, Migration, Unreachable, Wanted

Result = t.Dict[str, t.Any]
SEEN: Result = {"defined": False, "runs": False, "run_state": None, "mark": None, "vm": {"status": "absent"}}
RUNS: Result = {**SEEN, "defined": True, "runs": True, "run_state": "running", "vm": {"status": "running"}}
OFFER: Result = {"disks": {"root": {"way": "copy"}, "iso": {"way": "same"}}}
FIGURES: Result = {"downtime": 5, "stopped": 9, "total_time": 100, "memory_transferred": 7}


def marked(phase: str, peer: str, **more: t.Any) -> Result:
    return {**RUNS, "mark": {"id": "7", "phase": phase, "peer": peer}, **more}


class Host:
    """A side. ``answers``: by step what it answers, or raises; a list is used up from the front, but its last."""

    def __init__(self, name: str, steps: list[tuple[str, str]], **answers: t.Any) -> None:
        self.name = name
        self._steps = steps
        self._answers = {step: answer if isinstance(answer, list) else [answer] for step, answer in answers.items()}
        self.data: dict[str, t.Mapping[str, t.Any]] = {}

    def call(self, step: str, data: t.Mapping[str, t.Any]) -> Result:
        self._steps.append((self.name, step))
        self.data[step] = data
        waiting = self._answers.get(step, [{}])
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(answer, Exception):
            raise answer
        return {"audit": [{"op": f"{step} on {self.name}"}], **answer}


class Stage:
    """Two hosts and what they were asked."""

    def __init__(self, here: Result, there: Result) -> None:
        self.steps: list[tuple[str, str]] = []
        self.tunnels = 0
        self.here = Host("a", self.steps, **here)
        self.there = Host("b", self.steps, **there)

    def run(self, **wanted: t.Any) -> Result:
        work = Migration(self.here, self.there, Wanted("web", **wanted), self._tunnel, lambda _words: None)
        return work.run()

    @contextlib.contextmanager
    def _tunnel(self) -> t.Iterator[t.Mapping[str, t.Any]]:
        self.tunnels += 1
        yield {"here": "/tmp/h", "there": "/tmp/t", "watch": None}
        self.tunnels -= 1

    @property
    def done(self) -> list[str]:
        """The steps that are not looks."""
        return [f"{host}: {step}" for host, step in self.steps if step not in ("inspect", "examine")]


HERE: Result = {"inspect": {"seen": RUNS, "offer": OFFER, "limits": {"bandwidth": 5}}, "send": {"figures": FIGURES}}
THERE: Result = {
    "examine": {"seen": SEEN},
    "receive": {"disks": ["root"], "proofs": []},
    "settle": {"seen": marked("arrived", "a")},
}


def test_all_goes_well() -> None:
    stage = Stage(HERE, THERE)
    result = stage.run()
    assert stage.done == ["b: receive", "a: send", "a: retire", "b: settle"]
    assert result["changed"] and {key: result[key] for key in FIGURES} == FIGURES
    assert result["actions"] == [{"action": "migrate", "impact": "live", "from": "a", "to": "b", "copied": ["root"]}]
    assert result["vm"] == {"status": "running"} and stage.tunnels == 0
    assert len(result["audit"]) == len(stage.steps)
    assert stage.there.data["receive"]["folder"] == "/tmp/t" and stage.here.data["send"]["folder"] == "/tmp/h"
    assert stage.here.data["send"]["bandwidth"] == 5


def test_check_mode_looks_and_no_more() -> None:
    stage = Stage(HERE, THERE)
    assert stage.run(check=True)["changed"]
    assert stage.steps == [("a", "inspect"), ("b", "examine")]


def test_it_is_there_already() -> None:
    stage = Stage({"inspect": {"seen": SEEN, "problem": {"message": "none", "error_code": "vm_not_found"}}}, THERE)
    stage.there = Host("b", stage.steps, examine={"seen": marked("arrived", "a")}, settle={"seen": RUNS})
    assert not stage.run()["changed"]


@pytest.mark.parametrize("side", ["here", "there"])
def test_what_is_in_the_way_is_told_before_anything_begins(side: str) -> None:
    problem = {"problem": {"message": "it cannot", "error_code": "migration_refused"}}
    here = {**HERE, "inspect": {**HERE["inspect"], **(problem if side == "here" else {})}}
    stage = Stage(here, {**THERE, "examine": {**THERE["examine"], **(problem if side == "there" else {})}})
    with pytest.raises(MaqetError, match="it cannot"):
        stage.run()
    assert stage.done == []


def test_what_fails_before_the_handover_is_cleared_away() -> None:
    failed = Failed({"msg": "the stream broke", "error_code": "migration_failed"})
    there = {**THERE, "examine": [{"seen": SEEN}, {"seen": marked("receiving", "a")}, {"seen": SEEN}]}
    stage = Stage({**HERE, "send": failed}, there)
    with pytest.raises(Failed, match="the stream broke"):
        stage.run()
    assert stage.done == ["b: receive", "a: send", "b: discard"]


def test_what_was_handed_over_is_taken_there() -> None:
    """The other runner was not heard of any more: the controller tells it."""
    undecided = Failed({"msg": "it has not said so", "error_code": "migration_undecided"})
    loaded = marked("receiving", "a", run_state="paused")
    looks = [{"seen": RUNS, "offer": OFFER}, {"seen": marked("handed_over", "b", run_state="postmigrate")}]
    here = {"inspect": [*looks, looks[-1], {"seen": SEEN}], "send": undecided}
    arrived = {"seen": marked("arrived", "a")}
    stage = Stage(here, {**THERE, "examine": [{"seen": SEEN}, {"seen": loaded}, arrived, arrived]})
    result = stage.run()
    assert stage.done == ["b: receive", "a: send", "b: take", "a: retire", "b: settle"]
    assert result["changed"] and "interrupted" in result["warnings"][0]


def test_half_a_guest_is_not_taken() -> None:
    """It says that it has not come completely: then it is refused there, and goes on here."""
    looks = [{"seen": marked("handed_over", "b", run_state="postmigrate")}] * 2
    here = {**HERE, "inspect": [*looks, HERE["inspect"], HERE["inspect"]]}
    incomplete = Failed({"msg": "not all of it", "error_code": "migration_failed"})
    received = {"seen": marked("receiving", "a", run_state="paused")}
    seen = [received, {"seen": marked("discarded", "a")}, {"seen": marked("discarded", "a")}, {"seen": SEEN}]
    stage = Stage(here, {**THERE, "examine": seen, "take": incomplete})
    assert stage.run()["changed"]
    assert stage.done[:4] == ["b: take", "b: refuse", "a: reclaim", "b: discard"]


def test_a_host_that_is_gone() -> None:
    stage = Stage(HERE, {**THERE, "examine": Unreachable("b: no route")})
    with pytest.raises(Unreachable):
        stage.run()
    assert stage.done == []


def test_reclaiming_ends_the_task() -> None:
    here = {"inspect": {"seen": marked("handed_over", "b", run_state="postmigrate")}, "reclaim": {"seen": RUNS}}
    stage = Stage(here, {"examine": Unreachable("b: no route")})
    result = stage.run(reclaim=True)
    assert stage.done == ["a: reclaim"] and result["changed"] and result["vm"] == {"status": "running"}
    with pytest.raises(MaqetError) as error:
        Stage(here, {"examine": Unreachable("b: no route")}).run()
    assert error.value.error_code == "migration_undecided"
