# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that write to one file, one after another and side by side, and what they say at their end."""

from __future__ import annotations

import json
import multiprocessing
import os
import pathlib
import stat
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_run import Origin, Run
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_store import Store, lines_of, witness_of
from ansible_collections.maqet.qemu.tests.unit.plugin_utils.fleet import HostLog, Record, edited

ORIGIN = Origin("h1", "a play", "a task", "alice", "ctl")


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    return str(tmp_path / "new" / "audit.jsonl")


def run(path: str, *results: t.Sequence[Record], end: bool = True) -> list[str]:
    """One whole run: the kinds of the problems that it tells."""
    made = Run(path)
    found = [problem for result in results for problem in made.take(ORIGIN, result)]
    return [problem.kind for problem in [*found, *(made.end() if end else [])]]


def written(path: str) -> list[int]:
    return [line["record"]["seq"] for line in lines_of(path)]


def heads(path: str) -> list[tuple[str, str, int, str]]:
    told = json.loads(pathlib.Path(witness_of(path)).read_text("utf-8"))
    return [(one["host"], one["vm"], one["seq"], one["hash"]) for one in told["chains"]]


def test_a_line_says_who_did_it_and_holds_the_record_as_it_is(path: str) -> None:
    log = HostLog(reason="a \u2028 and \x00 and 10.0")
    origin = ORIGIN._replace(task="a name of bytes that are no UTF-8: \udc80")
    assert Run(path).take(origin, log.command()) == []
    first, second = (json.loads(text) for text in pathlib.Path(path).read_bytes().splitlines())
    assert first["record"] == log.records[0] and second["record"] == log.records[1]
    assert {key: first[key] for key in ORIGIN._fields} == origin._asdict()
    assert first["log"] == "/run/maqet/web1" and first["time"].endswith("Z") and first["run"] == second["run"]
    assert heads(path) == [("h1", "web1", 2, log.records[-1]["hash"])]


def test_nobody_else_may_read_it(path: str) -> None:
    before = os.umask(0)
    try:
        run(path, HostLog().command())
    finally:
        os.umask(before)
    assert [stat.S_IMODE(os.stat(name).st_mode) for name in (path, witness_of(path))] == [0o600, 0o600]
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700
    assert sorted(os.listdir(os.path.dirname(path))) == ["audit.jsonl", "audit.witness.json"]


def test_the_next_run_goes_on_where_the_last_one_ended(path: str) -> None:
    log = HostLog()
    assert run(path, log.command()) == run(path, log.command(), log.denial()) == []
    log.command()
    assert run(path, log.command()) == ["gap"]
    assert run(path, log.command()) == [], "a hole is told once"
    assert run(path, [edited(log.denial()[0], args={"x": 1})]) == ["changed"]
    other = HostLog()
    assert run(path, other.command("quit")) == ["rewind"]
    assert written(path) == [1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 1, 2]


def test_a_run_that_was_killed_before_it_could_tell_the_witness(path: str) -> None:
    log = HostLog()
    run(path, log.command())
    before = pathlib.Path(witness_of(path)).read_text("utf-8")
    run(path, log.command())
    pathlib.Path(witness_of(path)).write_text(before, "utf-8")
    assert run(path, log.command()) == []
    assert heads(path)[0][2] == 6


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"size": 1, "chains": [{"host": "h1"}]}'])
def test_a_witness_that_is_lost_is_made_anew(path: str, content: str | None) -> None:
    log = HostLog()
    run(path, log.command(), log.command())
    if content is None:
        os.unlink(witness_of(path))
    else:
        pathlib.Path(witness_of(path)).write_text(content, "utf-8")
    made = Run(path)
    assert made.take(ORIGIN, log.command()) == [] and heads(path)[0][2] == 6
    assert (made.store.notice is not None) == (content is not None)


def test_a_file_that_was_rotated_away(path: str) -> None:
    log = HostLog()
    first = Run(path)
    first.take(ORIGIN, log.command())
    os.rename(path, f"{path}.1")
    assert first.take(ORIGIN, log.command()) == [] and written(path) == [3, 4]
    os.rename(path, f"{path}.2")
    assert run(path, log.command()) == [], "the witness knows"
    assert first.take(ORIGIN, log.command()) == [] and first.end() == []


def test_half_a_line_stays_by_itself(path: str) -> None:
    log = HostLog()
    run(path, log.command())
    with open(path, "ab") as file:
        file.write(b'{"host": "h1", "rec')
    assert run(path, log.command()) == [] and written(path) == [1, 2, 3, 4]


def test_what_two_runs_see_of_one_chain_fits_together(path: str) -> None:
    """The second one gets records 3 and 4 before the first one gets 1 and 2, or 5 and 6."""
    log = HostLog()
    pairs = [log.command() for _number in range(4)]
    one, two = Run(path), Run(path)
    assert one.take(ORIGIN, pairs[0]) == two.take(ORIGIN, pairs[2]) == one.take(ORIGIN, pairs[1]) == []
    assert two.take(ORIGIN, pairs[3]) == one.end() == two.end() == []
    assert run(path, log.command()) == []


def test_a_loop_counts_once(path: str) -> None:
    log = HostLog()
    items = [log.command(), log.denial()]
    made = Run(path)
    for item in items:
        made.take(ORIGIN, item)
    made.take(ORIGIN._replace(host="another by then"), [record for item in items for record in item])
    assert written(path) == [1, 2, 3]
    assert made.summary()[0].split() == "h1 web1 : records=3 denied=1 problems=0".split()


def test_what_is_told_at_the_end(path: str) -> None:
    made = Run(path)
    assert made.summary() == [] == made.end()
    log, other = HostLog(), HostLog("db1")
    made.take(ORIGIN, log.command())
    log.command()
    made.take(ORIGIN, log.denial())
    made.take(ORIGIN._replace(host="hypervisor2"), other.command())
    made.hide("h1")
    (gap,) = made.end()
    assert "records 3 to 4" in gap.text and "no_log" in gap.text
    h1, h2, hidden, where = made.summary()
    assert h1.split() == "h1 web1 : records=3 denied=1 problems=1".split()
    assert h2.split() == "hypervisor2 db1 : records=2 denied=0 problems=0".split() and h1.index(":") == h2.index(":")
    assert "no_log" in hidden and where.endswith(path)


def test_what_cannot_be_written_is_counted(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").touch()
    made = Run(str(tmp_path / "file" / "audit.jsonl"))
    with pytest.raises(OSError, match="file"):
        made.take(ORIGIN, HostLog().command())
    assert made.end() == [] and made.summary()[0].startswith("2 record(s) could not be written")


def test_a_full_disk_leaves_no_half_line(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    log = HostLog()
    run(path, log.command())
    whole, write = pathlib.Path(path).read_bytes(), os.write

    def full(fd: int, data: bytes) -> int:
        if len(data) < 100:
            raise OSError(28, "No space left on device")
        return write(fd, data[:-50])

    made = Run(path)
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="space"):
        made.take(ORIGIN, log.command())
    monkeypatch.undo()
    assert pathlib.Path(path).read_bytes() == whole
    assert run(path, log.records[2:]) == [], "the next run may bring them"


def _many(path: str, host: str, count: int) -> None:
    log, made = HostLog(), Run(path)
    for _number in range(count):
        assert made.take(ORIGIN._replace(host=host), log.command(args={"text": "x" * 9000})) == []
    assert made.end() == []


def test_runs_side_by_side_never_mix_lines(path: str) -> None:
    """Lines longer than a pipe or a page takes at once, from four processes."""
    spawn = multiprocessing.get_context("fork")
    workers = [spawn.Process(target=_many, args=(path, f"h{number}", 40)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    lines = [json.loads(text) for text in pathlib.Path(path).read_bytes().splitlines()]
    assert len(lines) == 320
    for number in range(4):
        own = [line["record"]["seq"] for line in lines if line["host"] == f"h{number}"]
        assert own == list(range(1, 81))
    assert sorted(head[:3] for head in heads(path)) == [(f"h{number}", "web1", 80) for number in range(4)]
    store = Store(path)
    with store.held():
        assert [one["seq"] for one in store.witness()] == [80] * 4
