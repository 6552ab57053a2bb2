# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The judges of the chaos suite: what they must find they do find."""

from __future__ import annotations

import json
import random
import types
import typing as t
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.docs.tools import chaos_table
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.tests.chaos import chains, guests, suite
from ansible_collections.maqet.qemu.tests.chaos.case import Broken, Dice, Figures, percentiles, play
from ansible_collections.maqet.qemu.tests.chaos.cases.thirty_two_tasks import codes
from ansible_collections.maqet.qemu.tests.chaos.world import World, halves


def test_percentiles_are_measured_values() -> None:
    assert percentiles([]) == {}
    assert percentiles([3.0, 1.0, 2.0]) == {"n": 3, "p50": 2.0, "p90": 3.0, "p99": 3.0, "max": 3.0}
    assert percentiles([float(number) for number in range(1, 201)]) == {
        "n": 200, "p50": 100.0, "p90": 180.0, "p99": 198.0, "max": 200.0,
    }  # fmt: skip


def test_the_boot_sector_is_one() -> None:
    sector = guests.boot_sector("web-1")
    assert len(sector) == 512 and sector.endswith(b"\x55\xaa") and b"web-1 \0" in sector
    with pytest.raises(ValueError, match="too long"):
        guests.boot_sector("x" * 300)


def lines(*numbers: int, tag: str = "a") -> bytes:
    return b"".join(b"%s %08x\n" % (tag.encode(), number) for number in numbers)


def test_a_counter_that_goes_on_is_whole() -> None:
    assert guests.unbroken(lines(1, 2, 3) + b"a 0000", "a") == 3
    assert guests.unbroken(b"", "a") == 0


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(lines(1, 2, 4), id="gap"),
        pytest.param(lines(1, 2, 1), id="new beginning"),
        pytest.param(lines(2, 3), id="late"),
        pytest.param(lines(1, 2) + lines(3, tag="b"), id="another guest"),
        pytest.param(lines(1) + b"SeaBIOS\n", id="noise"),
    ],
)
def test_a_counter_that_was_interrupted_is_found_out(text: bytes) -> None:
    with pytest.raises(Broken):
        guests.unbroken(text, "a")


def record(op_id: str, phase: str) -> dict[str, t.Any]:
    return {"op_id": op_id, "phase": phase}


def test_commands_must_be_closed_once() -> None:
    chains.check_closed([record("1", "intent"), record("2", "deny"), record("1", "result"), {"phase": "start"}])
    chains.check_closed([record("1", "intent"), record("1", "orphan")])
    for phases in (["intent"], ["intent", "result", "orphan"]):
        with pytest.raises(Broken):
            chains.check_closed([record("1", phase) for phase in phases])


def layout(folder: Path) -> Layout:
    return Layout(str(folder / "state"), str(folder / "run"), str(folder / "log"), "user", str(folder / "config"))


def test_half_a_file_is_found(tmp_path: Path) -> None:
    where = layout(tmp_path)
    home = Path(where.vms, "a")
    home.mkdir(parents=True)
    (home / "definition.json").write_text("{}", "utf-8")
    (home / "schema.json").write_text("0" * 64 + "\n[]", "utf-8")
    assert halves(where) == []
    (home / ".definition.json.x7").touch()
    (home / "status.json").write_text('{"half', "utf-8")
    assert len(halves(where)) == 2


class Calm(World):
    """Nothing happens in it."""

    cleared = 0

    def check_empty(self) -> None:
        pass

    def clear(self) -> None:
        self.cleared += 1

    def evidence(self) -> str:
        return "what the logs say"

    def log(self, text: str) -> None:
        pass


def test_rounds_are_counted_and_each_can_be_repeated(tmp_path: Path) -> None:
    drawn: list[float] = []

    def each(mine: random.Random) -> None:
        drawn.append(mine.random())
        if len(drawn) == 2:
            raise Broken("the second")

    world = Calm(layout(tmp_path), tmp_path, tmp_path)
    figures = play(world, 3, random.Random("1/x"), each)
    assert (figures.done, figures.tried, figures.holds, world.cleared) == (2, 3, False, 3)
    (evidence,) = figures.evidence
    assert "the second" in evidence and "what the logs say" in evidence
    seed = int(evidence.partition("--again ")[2].partition(":")[0])

    again = Calm(layout(tmp_path), tmp_path, tmp_path, seed)
    drawn_before, repeated = drawn[1], []
    assert play(again, 3, random.Random("anything"), lambda mine: repeated.append(mine.random())).tried == 1
    assert repeated == [drawn_before]


def test_what_goes_by_turns_is_repeated_too(tmp_path: Path) -> None:
    seen: list[str] = []
    played: list[Dice] = []

    def each(mine: Dice) -> None:
        played.append(mine)
        seen.append(mine.turn("abcd") + mine.turn("xyz"))

    play(Calm(layout(tmp_path), tmp_path, tmp_path), 4, random.Random(1), each)
    assert seen == ["ax", "by", "cz", "dx"]
    play(Calm(layout(tmp_path), tmp_path, tmp_path, played[2]._number), 1, random.Random(2), each)
    assert seen[4:] == ["cz"]


def test_no_world_no_killing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        World(layout(tmp_path), tmp_path, tmp_path).clear()


@pytest.mark.parametrize(
    ("figures", "holds"),
    [(Figures(), False), (Figures(2, 2), True), (Figures(1, 2), False), (Figures(2, 2, evidence=["too slow"]), False)],
)
def test_what_holds(figures: Figures, holds: bool) -> None:
    assert figures.holds is holds


def test_every_case_is_one() -> None:
    for name, case in suite.all_cases().items():
        assert isinstance(case, types.ModuleType) and name == case.NAME and case.TITLE and case.FULL > 0
        assert suite.count(case, suite.Wanted()) == case.FULL
        assert suite.count(case, suite.Wanted(rounds=3)) == 3 * getattr(case, "ROUND", 1)
        assert 0 < suite.count(case, suite.Wanted(short=True)) <= case.FULL


def test_documented_codes_are_read() -> None:
    assert {"vm_busy", "restart_required"} <= codes("maqet_vm")
    assert "memory" not in codes("maqet_vm")


def report(**entry: t.Any) -> dict[str, t.Any]:
    machine = dict.fromkeys(("system", "kernel", "cpus", "cpu", "memory_mib", "python", "qemu", "user"), "x")
    return {
        "cases": {"a": {"title": "A", "done": 1, "tried": 1, "holds": True, "seconds": 1.0, "figures": {}, **entry}},
        "machine": machine,
        "time": "2026-01-01T00:00:00",
        "commit": "0" * 40,
        "modified": False,
        "seed": 1,
        "form": "full",
        "seconds": 60.0,
    }


def test_the_verdict_of_a_run() -> None:
    good, bad, skipped = report(), report(done=0, holds=False), report(holds=None, skipped="no root")
    assert [suite.failed(each) for each in (good, bad, skipped)] == [False, True, False]
    assert suite.failed({**good, "interrupted": True})
    assert suite.closing(skipped) == "chaos: 0 of 0 cases hold, 1 skipped"
    assert "FAILED" in suite.table(bad) and "no root" in suite.table(skipped)


def test_the_table_of_the_documentation() -> None:
    text = "\n".join(chaos_table.of(json.loads(json.dumps(report(figures={"ms": {"p99": 1.5}})))))
    assert "1 of 1" in text and "ms: p99 1.5" in text
    assert "does not hold" in "\n".join(chaos_table.of(report(done=0, holds=False)))
    assert "not tried" in "\n".join(chaos_table.of(report(skipped="no root")))
