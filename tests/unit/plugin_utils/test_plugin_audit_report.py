# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a report says of the records that it is given, as data and as a page."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_chart import bars
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_forms import html, summary, witness
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_markup import el, visible
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_report import Report, made_of
from ansible_collections.maqet.qemu.tests.unit.plugin_utils.fleet import BEGIN, HostLog, Record, edited, line
from ansible_collections.maqet.qemu.tests.unit.plugin_utils.strict import Node, read


@pytest.fixture
def log() -> HostLog:
    """start, query-status, a denied migrate, device_add that fails, stop without a result."""
    made = HostLog()
    made.start()
    for step in ("command", "denial"):
        getattr(made, step)()
        made.now += dt.timedelta(minutes=1)
    made.command("device_add", res="failed", error="Duplicate ID", args={"id": "net<1>"})
    made.command("stop")
    made.records.pop()
    return made


def lines(log: HostLog) -> list[Record]:
    return [line(record) for record in log.records]


def logs(records: t.Sequence[Record], vm: str = "web1", **more: t.Any) -> Record:
    """What maqet_audit_info says of a log, registered in a loop."""
    head = {key: records[-1][key] for key in ("seq", "hash")} if records else None
    return {"results": [{"item": vm, "records": list(records), "verified": True, "head": head, **more}]}


def page(report: Report, limit: int = 100) -> Node:
    return read(html(report, "A <title>", limit, ["audit.jsonl"]))


def rows(shown: Node) -> list[list[str]]:
    (body,) = shown.one(id="commands").all("tbody")
    return [[cell.text for cell in row.all("td")] for row in body.all("tr")]


def kinds(report: Report) -> list[str]:
    return [problem.kind for problem in report.problems]


def test_commands_are_put_together(log: HostLog) -> None:
    report = made_of(lines(log))
    assert [one.outcome for one in report.commands] == ["mark", "success", "denied", "failed", "open"]
    figures = {"hosts": 1, "vms": 1, "records": 7, "commands": 4, "denied": 1, "unseen": 0, "problems": []}
    assert summary(report) == figures
    log.append("orphan", op="stop", op_id=log.records[-1]["op_id"], res="unknown")
    assert made_of(lines(log)).commands[-1].outcome == "unknown"


def test_what_only_the_host_knows_is_there_and_fills_holes(log: HostLog) -> None:
    seen = [one for one in lines(log) if one["record"]["seq"] not in (1, 4, 5)]
    alone = made_of(seen)
    assert kinds(alone) == ["gap"] and summary(alone)["unseen"] == 3
    whole = made_of(seen, [{"host": "h1", "logs": logs(log.records)}])
    assert (kinds(whole), summary(whole)["unseen"], len(whole.commands)) == ([], 0, 5)
    assert [bool(one.origin) for one in whole.commands] == [False, True, False, True, True]
    assert [one.verified for one in whole.logs] == [True]
    newest = made_of(seen, [{"host": "h1", "logs": logs(log.records[6:])}])
    assert kinds(newest) == [] and summary(newest)["unseen"] == 3, "the host has the rest, and has verified it"


def test_what_hosts_say_of_their_logs(log: HostLog) -> None:
    broken = logs(log.records[:3], verified=False, problem="record 4 was edited", first_bad_seq=4)
    gone = logs([], failed=True, msg="There is no audit log", error_code="audit_not_found")
    assert kinds(made_of(lines(log), [{"host": "h1", "logs": broken}])) == ["host"]
    assert kinds(made_of(lines(log), [{"host": "h1", "logs": gone}])) == ["host"], "it was seen, and is gone"
    assert kinds(made_of([], [{"host": "h1", "logs": gone}])) == [], "of a VM that never ran"
    dead = {"unreachable": True, "msg": "No route to host"}
    (problem,) = made_of(lines(log), [{"host": "h2", "vms": dead, "logs": dead}]).problems
    assert (problem.kind, problem.host) == ("host", "h2") and "No route" in problem.text
    assert kinds(made_of([], [{"host": "h2", "logs": dead}])) == ["host"]


def test_a_rewritten_log_is_seen(log: HostLog) -> None:
    other = HostLog()
    other.start()
    other.command("stop")
    (problem, *_more) = made_of(lines(log), [{"host": "h1", "logs": logs(other.records)}]).problems
    assert problem.kind == "rewind" and problem.seq == 2, "the start is the same"
    assert kinds(made_of([line(edited(log.records[2], args={"x": 1}))])) == ["changed"]


def test_the_witness_is_where_chains_end(log: HostLog) -> None:
    end = log.records[-1]
    where = {"host": "h1", "vm": "web1", "log": "/run/maqet/web1", "seq": end["seq"], "hash": end["hash"]}
    assert witness(lines(log)) == [where]


def test_the_page_says_it_all(log: HostLog) -> None:
    shown = page(made_of([*lines(log), line(edited(log.denial("quit")[0], reason="none"))]))
    assert shown.all("title")[0].text == shown.all("h1")[0].text == "A <title>"
    assert [row[4] for row in rows(shown)] == [
        "quit",
        "stop",
        "device_add",
        "migrate",
        "query-status",
        "(a runner takes over)",
    ]
    assert [row[6] for row in rows(shown)] == ["deniedchain", "no result", "failed", "denied", "done", "mark"]
    assert rows(shown)[2][:4] == ["2026-03-01 08:02:00", "h1", "web1", "alice@ctluid 0"]
    assert rows(shown)[2][8].startswith("a taska play") and 'arguments: {"id": "net<1>"}' in rows(shown)[2][8]
    assert [item.text for item in shown.all("li")][2:] == [
        "5commands",
        "2denied",
        "0records not seen here",
        "1problems of chains",
    ]
    options = [option.attributes["value"] for option in shown.one(name="outcome").all("option")]
    assert set(options) == {"", "denied", "failed", "mark", "open", "success"}
    assert [row.attributes["data-outcome"] for row in shown.one(id="commands").all("tr")[1:]][1:3] == ["open", "failed"]
    assert "hidden" in shown.one(id="filter").attributes, "it does nothing without scripts"


def test_the_page_allows_its_own_style_and_script_alone(log: HostLog) -> None:
    shown = page(made_of(lines(log)))
    policy = shown.one(**{"http-equiv": "Content-Security-Policy"}).attributes["content"]
    for kind in ("style", "script"):
        (element,) = shown.all(kind)
        digest = base64.b64encode(hashlib.sha256(element.text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy


NASTY = "</script><img src=x onerror=alert(1)>\"'&lt;{{ 7 * 7 }}\u202e\x00\x1b[31m\ud800"


def test_whatever_comes_from_outside_is_text(log: HostLog) -> None:
    """strict.read() fails on any element or attribute that the report does not make."""
    nasty = HostLog()
    nasty.records = []
    record = nasty.command()[1]
    record = {**record, **dict.fromkeys(("op", "class", "level", "error", "reason", "time", "via", "exe"), NASTY)}
    record = {
        **record,
        "vm": NASTY,
        "args": {NASTY: [NASTY]},
        "controller": {"user": NASTY, "host": NASTY},
        "policy": {"id": NASTY},
    }
    record = {
        **record,
        "uid": NASTY,
        "auid": NASTY,
        "duration_ms": NASTY,
        "files": [NASTY],
        "role": NASTY,
        "res": NASTY,
    }
    told = line(record, host=NASTY, play=NASTY, task=NASTY, log=NASTY, user=NASTY)
    failed = {"results": [{"item": NASTY, "failed": True, "msg": NASTY}]}
    shown = page(made_of([told], [{"host": NASTY, "logs": failed}]))
    (row,) = rows(shown)
    assert row[1] == row[2] == visible(NASTY) and "</script>" in row[4]
    assert "\\u202e\\u0000\\u001b[31m\\ud800" in row[1]
    assert not {"\u202e", "\x00", "\x1b", "\ud800"} & set(shown.text)


@pytest.mark.parametrize("wrong", ["controller", "policy", "args", "op_id", "time", "vm", "op", "uid", "writer"])
@pytest.mark.parametrize("value", [None, 3, "text", ["list"], {"a": {}}])
def test_records_that_no_host_of_ours_writes_do_no_harm(wrong: str, value: t.Any) -> None:
    records = [{**record, wrong: value} for record in HostLog().command()]
    assert len(rows(page(made_of([line(record) for record in records], [{"host": "h1", "logs": logs(records)}])))) in (
        1,
        2,
    )


def test_an_empty_page_and_a_long_one(log: HostLog) -> None:
    empty = page(made_of([]))
    assert rows(empty) == [] and "No command has been seen" in empty.text
    shown = page(made_of(lines(log)), limit=2)
    assert len(rows(shown)) == 2 and "3 older ones are left out" in shown.text and shown.all("b")[2].text == "4"


def test_the_timeline_counts_every_command(log: HostLog) -> None:
    report = made_of(lines(log))
    found = bars(report.commands)
    assert (sum(bar.allowed for bar in found), sum(bar.denied for bar in found)) == (3, 1)
    assert found[0].begin == BEGIN and (found[0].allowed, found[-1].allowed) == (1, 2)
    (drawing,) = page(report).all("svg")
    assert [title.text for title in drawing.all("title")][:1] == ["2026-03-01 08:00:00: 1 allowed"]


def test_elements_escape_what_they_hold() -> None:
    assert (
        el("p", "<b>", el("b", "&"), 3, None, title='"<', data_x=None)
        == '<p title="&quot;&lt;">&lt;b&gt;<b>&amp;</b>3</p>'
    )
