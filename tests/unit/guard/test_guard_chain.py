# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is done to a chain is found, and the first record that is wrong is named."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.canonical import canonical
from ansible_collections.maqet.qemu.plugins.module_utils.guard.chain import read, verify
from ansible_collections.maqet.qemu.plugins.module_utils.guard.log import NO_PREV, AuditLog, chain_hash
from hypothesis import assume, given
from hypothesis import strategies as st


def chain(count: int) -> list[bytes]:
    """The lines of a good log, made without a disk."""
    lines, prev = [], NO_PREV
    for seq in range(1, count + 1):
        record: dict[str, t.Any] = {"op": "quit", "seq": seq, "prev": prev, "decision": "deny"}
        record["hash"] = prev = chain_hash(prev, record)
        lines.append(canonical(record) + b"\n")
    return lines


GOOD = chain(8)


def rehashed(line: bytes, **change: t.Any) -> bytes:
    record = {**json.loads(line), **change}
    record["hash"] = chain_hash(record["prev"], record)
    return canonical(record) + b"\n"


def test_a_good_chain() -> None:
    report = verify(GOOD)
    assert (report.ok, report.records, report.first_bad, report.problem, report.torn) == (True, 8, None, None, 0)
    assert report.head == {"seq": 8, "hash": json.loads(GOOD[-1])["hash"]}


def test_an_empty_log() -> None:
    report = verify([])
    assert (report.ok, report.records, report.head) == (True, 0, None)


def doubled(line: bytes) -> bytes:
    return line.replace(b'"decision":"deny"', b'"decision":"allow","decision":"deny"')


@pytest.mark.parametrize(
    ("lines", "bad", "problem"),
    [
        (GOOD[1:], 1, "record 2 follows record 0"),
        (GOOD[:3] + GOOD[4:], 4, "record 5 follows record 3"),
        (GOOD[:3] + [GOOD[4], GOOD[3]] + GOOD[5:], 4, "record 5 follows record 3"),
        (GOOD[:3] + [GOOD[2]] + GOOD[3:], 4, "record 3 follows record 3"),
        (GOOD[:3] + [GOOD[3].replace(b"deny", b"okay")] + GOOD[4:], 4, "record 4 does not have the content"),
        (GOOD[:3] + [rehashed(GOOD[3], decision="allow")] + GOOD[4:], 5, "record 5 does not continue record 4"),
        (GOOD[:3] + [rehashed(GOOD[3], prev="0" * 64)] + GOOD[4:], 4, "record 4 does not continue record 3"),
        (GOOD[:3] + [rehashed(GOOD[3], torn=True)] + GOOD[4:], 4, "record 4 speaks of a torn line"),
        (GOOD[:3] + [doubled(GOOD[3])] + GOOD[4:], 4, "record 4 is not in canonical form"),
        (GOOD[:3] + [GOOD[3].replace(b",", b", ")] + GOOD[4:], 4, "record 4 is not in canonical form"),
        (GOOD[:3] + [GOOD[3][:30] + b"\n"] + GOOD[4:], 4, "after record 3 stands a line that is not a record"),
        (GOOD[:3] + [GOOD[3][:30]], 4, "after record 3 the last line is cut short"),
        (GOOD[:3] + [GOOD[3][:-1]], 4, "after record 3 the last line is cut short"),
        (GOOD[:3] + [b"\n"] + GOOD[3:], 4, "not a record"),
        (GOOD[:3] + [b"rubbish\n"], 4, "not a record"),
        (GOOD[:3] + [b"[" * 100_000 + b"\n"], 4, "not a record"),
        (GOOD[:3] + [b'{"a":"\\ud800"}\n'], 4, "not a record"),
        (GOOD[:3] + [b"{}\n"], 4, "after record 3 stands a line that is not a record"),
        ([rehashed(GOOD[0], seq=True)], 1, "after record 0 stands a line that is not a record"),
        (chain(3) + GOOD[:1], 4, "record 1 follows record 3"),
        ([rehashed(GOOD[0], torn=True)] + GOOD[1:], 1, "speaks of a torn line"),
    ],
)
def test_tampering_is_named(lines: list[bytes], bad: int, problem: str) -> None:
    report = verify(lines)
    assert not report.ok
    assert report.first_bad == bad
    assert problem in str(report.problem)
    assert report.records == bad - 1


def test_a_cut_end_needs_a_witness() -> None:
    seen = {"seq": 6, "hash": json.loads(GOOD[5])["hash"]}
    assert verify(GOOD, witness=seen).ok
    assert verify(GOOD[:6], witness=seen).ok
    report = verify(GOOD[:5], witness=seen)
    assert (report.ok, report.first_bad) == (False, 6)
    assert "the log ends with record 5" in str(report.problem)
    assert not verify([], witness=seen).ok


def test_a_log_that_was_written_anew_needs_a_witness() -> None:
    anew = [rehashed(GOOD[0], op="stop")]
    prev = json.loads(anew[0])["hash"]
    for line in GOOD[1:]:
        anew.append(rehashed(line, prev=prev))
        prev = json.loads(anew[-1])["hash"]
    assert verify(anew).ok, "which is why the controller is a witness"
    report = verify(anew, witness={"seq": 6, "hash": json.loads(GOOD[5])["hash"]})
    assert (report.ok, report.first_bad) == (False, 6)
    assert "witness" in str(report.problem)


@given(st.data())
def test_any_other_byte_is_found(data: st.DataObject) -> None:
    whole = b"".join(GOOD)
    at = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255))
    assume(whole[at] != byte)
    changed = (whole[:at] + bytes([byte]) + whole[at + 1 :]).splitlines(keepends=True)
    assert not verify(changed).ok


@given(st.lists(st.integers(0, 7), max_size=10))
def test_any_other_selection_or_order_is_found(order: list[int]) -> None:
    """Only a beginning of the chain is whole without a witness."""
    report = verify([GOOD[index] for index in order])
    good = order == list(range(len(order)))
    assert report.ok == good
    if not good:
        in_order = next(place for place, index in enumerate(order) if place != index)
        assert (report.records, report.first_bad) == (in_order, in_order + 1)


@given(st.integers(0, 7), st.integers(1, 100))
def test_truncation_in_the_middle_of_a_line(index: int, keep: int) -> None:
    assume(keep < len(GOOD[index]))
    report = verify([*GOOD[:index], GOOD[index][:keep]])
    assert (report.ok, report.records, report.first_bad) == (False, index, index + 1)


@given(st.integers(1, 7), st.sampled_from(["op", "decision", "new"]), st.text(max_size=5))
def test_any_edited_field_is_found(index: int, field: str, value: str) -> None:
    record = json.loads(GOOD[index])
    assume(record.get(field) != value)
    report = verify([*GOOD[:index], canonical({**record, field: value}) + b"\n", *GOOD[index + 1 :]])
    assert (report.ok, report.first_bad) == (False, index + 1)
    assert f"record {index + 1} " in str(report.problem)


def test_reading(tmp_path: pathlib.Path) -> None:
    log = AuditLog(str(tmp_path / "log"))
    made = [log.append({"op": "quit"}) for _number in range(5)]
    assert read(log.path) == made
    assert read(log.path, limit=2) == made[-2:]
    assert read(log.path, limit=0) == []
    with open(log.path, "ab") as file:
        file.write(b"rubbish\n{")
    assert read(log.path) == made


@pytest.mark.parametrize("kind", ["missing", "symlink", "folder"])
def test_a_log_that_cannot_be_read(tmp_path: pathlib.Path, kind: str) -> None:
    path = tmp_path / "log"
    if kind == "symlink":
        path.symlink_to("/dev/null")
    elif kind == "folder":
        path.mkdir()
    for function in (read, verify):
        with pytest.raises(MaqetError) as caught:
            function(str(path))
        assert caught.value.error_code == "audit_failed"
        assert str(path) in str(caught.value)
