# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pieces of work in processes of their own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import typing as t
from pathlib import Path

from ansible_collections.maqet.qemu.plugins.module_utils.host.side_by_side import side_by_side


def lost(words: str) -> dict[str, t.Any]:
    return {"lost": words}


def go_on(_piece: str, _answer: dict[str, t.Any]) -> bool:
    return True


def test_each_piece_has_its_answer_and_its_process() -> None:
    pieces = [f"p{number}" for number in range(20)]
    answers = side_by_side(pieces, lambda piece: {"was": piece, "pid": os.getpid()}, lost, 3, go_on)
    assert {piece: answer["was"] for piece, answer in answers.items()} == {piece: piece for piece in pieces}
    assert len({answer["pid"] for answer in answers.values()} | {os.getpid()}) == 21
    assert side_by_side([], lambda _piece: {}, lost, 3, go_on) == {}


def test_answers_larger_than_a_pipe() -> None:
    answers = side_by_side(["a", "b"], lambda piece: {"text": piece * 3_000_000}, lost, 2, go_on)
    assert {piece: len(answer["text"]) for piece, answer in answers.items()} == {"a": 3_000_000, "b": 3_000_000}


def test_so_many_at_once_and_no_more(tmp_path: Path) -> None:
    """The first three meet, so three run at once; each notes how many do."""
    meeting = multiprocessing.get_context("fork").Barrier(3)

    def act(piece: str) -> dict[str, t.Any]:
        here = tmp_path / piece
        here.touch()
        if piece in "012":
            meeting.wait(60)
        there = len(list(tmp_path.iterdir()))
        here.unlink()
        return {"there": there}

    answers = side_by_side([str(number) for number in range(9)], act, lost, 3, go_on)
    assert len(answers) == 9 and all("there" in answer for answer in answers.values()), answers
    assert max(answer["there"] for answer in answers.values()) <= 3


def test_who_is_told_can_end_it() -> None:
    answers = side_by_side(list("abcdef"), lambda _piece: {}, lost, 1, lambda piece, _answer: piece != "c")
    assert list(answers) == ["a", "b", "c"]


def test_one_that_crashes_takes_no_other_with_it() -> None:
    def act(piece: str) -> dict[str, t.Any]:
        if piece == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if piece == "raised":
            raise ValueError("a bug")
        return {"well": True}

    answers = side_by_side(["killed", "raised", "well"], act, lost, 3, go_on)
    assert answers["well"] == {"well": True}
    assert answers["killed"] == {"lost": "The process that worked on it ended by signal 9. It said nothing."}
    assert "ended with status 1. Traceback" in answers["raised"]["lost"]
    assert "ValueError: a bug" in answers["raised"]["lost"]


def test_who_outlives_us_finishes_and_holds_nothing(tmp_path: Path) -> None:
    """The parent is killed while both work: its output ends at once, and what was begun is done."""
    for name in ("go-a", "go-b", "done-a", "done-b"):
        os.mkfifo(tmp_path / name)
    script = """
        import sys
        from ansible_collections.maqet.qemu.plugins.module_utils.host.side_by_side import side_by_side
        def act(piece):
            with open(f"{sys.argv[1]}/go-{piece}") as gate:  # until the test opens it
                gate.read()
            return {"text": "x" * 1_000_000}  # more than a pipe holds, for a reader that is gone
        def acted(piece):
            try:
                return act(piece)
            finally:
                open(f"{sys.argv[1]}/done-{piece}", "w").close()
        side_by_side(["a", "b"], acted, dict, 2, lambda *_: True)
        """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert parent.stdout is not None
    gates = [(tmp_path / f"go-{piece}").open("w") for piece in "ab"]  # both have begun
    parent.kill()
    assert parent.stdout.read() == b"", "nobody holds the output of a task that is gone"
    parent.stdout.close()
    parent.wait()
    for gate in gates:
        gate.close()
    for piece in "ab":
        with (tmp_path / f"done-{piece}").open() as done:
            assert done.read() == ""
