# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a report: one file, with nothing from elsewhere, that shows all with or without scripts. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
import typing as t

from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_chart import chart
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_markup import Markup, Part, el, joined, raw
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_page import SCRIPT, STYLE
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_report import Command, Log, Report

#: What a decision is called in the list of commands, by outcome.
WORDS: t.Final = {
    "success": "done",
    "failed": "failed",
    "denied": "denied",
    "unknown": "unknown",
    "open": "no result",
    "mark": "mark",
}
# Problems that can have a harmless cause.
_MILD = ("gap", "log")
# The kernel's login uid of who has not logged in.
_UNSET = 4294967295


def page(
    report: Report, figures: t.Mapping[str, t.Any], title: str, limit: int, sources: t.Sequence[str], made: str
) -> str:
    """The whole page. ``limit``: so many of the newest commands are listed; ``made``: when, for people."""
    own = f"style-src '{_digest(STYLE)}'; script-src '{_digest(SCRIPT)}'"
    policy = f"default-src 'none'; {own}; base-uri 'none'; form-action 'none'"
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="referrer", content="no-referrer"),
        el("title", title),
        raw("style", STYLE),
    )
    body = el(
        "body",
        el(
            "header",
            el("h1", title),
            el("p", f"Made {made} of {', '.join(sources)}. Times are UTC.", class_="dim"),
            _tiles(figures),
        ),
        el(
            "main",
            _problems(report),
            chart(report.commands),
            _who(report.commands),
            _logs(report.logs),
            _list(report, limit),
        ),
        raw("script", SCRIPT),
    )
    return "<!DOCTYPE html>\n" + el("html", head, body, lang="en") + "\n"


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _tiles(figures: t.Mapping[str, t.Any]) -> Markup:
    numbers = (
        ("hosts", figures["hosts"], False),
        ("VMs", figures["vms"], False),
        ("commands", figures["commands"], False),
        ("denied", figures["denied"], figures["denied"] > 0),
        ("records not seen here", figures["unseen"], False),
        ("problems of chains", len(figures["problems"]), bool(figures["problems"])),
    )
    return el(
        "ul",
        *(el("li", el("b", number), name, class_="bad" if bad else None) for name, number, bad in numbers),
        class_="tiles",
    )


def table(heads: t.Sequence[str], rows: t.Iterable[Markup], **attributes: Part) -> Markup:
    """A table; a head that begins with # is over numbers."""
    cells = (el("th", head.lstrip("#"), scope="col", class_="n" if head.startswith("#") else None) for head in heads)
    inner = el("table", el("thead", el("tr", *cells)), el("tbody", *rows), **attributes)
    return el("div", inner, class_="wide", tabindex="0")


def _problems(report: Report) -> Markup:
    heading = el("h2", "Problems of the chains")
    if not report.problems:
        return el("section", heading, el("p", "None: whatever was seen of each chain fits together.", class_="good"))
    rows = (
        el(
            "tr",
            el("td", el("span", one.kind, class_="tag " + ("warn" if one.kind in _MILD else "bad"))),
            el("td", one.host, class_="k"),
            el("td", one.vm, class_="k"),
            el("td", one.text, class_="x"),
            el("td", _clock(one.time), class_="t"),
        )
        for one in report.problems
    )
    return el("section", heading, table(("Kind", "Host", "VM", "What", "Time of record"), rows))


def _who(commands: t.Sequence[Command]) -> Markup:
    found: dict[tuple[str, str, str, str], list[Command]] = {}
    for command in commands:
        if command.outcome != "mark":
            found.setdefault((*who(command), command.host, _vm(command)), []).append(command)
    rows = (
        el(
            "tr",
            el("td", name, el("small", kernel), class_="k"),
            el("td", host, class_="k"),
            el("td", vm, class_="k"),
            el("td", len(theirs), class_="n"),
            el("td", sum(one.outcome == "denied" for one in theirs), class_="n"),
            el("td", ", ".join(sorted({str(one.first.get("op")) for one in theirs})), class_="x"),
            el("td", _clock(theirs[-1].first.get("time")), class_="t"),
        )
        for (name, kernel, host, vm), theirs in sorted(found.items())
    )
    heads = ("Who", "Host", "VM", "#Commands", "#Denied", "Which", "Last")
    return el("section", el("h2", "Who did what to which VM"), table(heads, rows))


def _logs(logs: t.Sequence[Log]) -> Markup:
    rows = (
        el(
            "tr",
            el("td", log.key[0], class_="k"),
            el("td", log.key[1], el("small", log.key[2])),
            el("td", _state(log)),
            el("td", f"{log.first} to {log.last}" if log.records else "none", class_="n"),
            el("td", log.records, class_="n"),
            el("td", log.unseen, class_="n"),
            el("td", log.commands, class_="n"),
            el("td", log.denied, class_="n"),
            el("td", _clock(log.until), class_="t"),
        )
        for log in logs
    )
    heads = ("Host", "VM", "Chain", "#Numbers", "#Records", "#Not seen", "#Commands", "#Denied", "Last record")
    return el("section", el("h2", "Chains"), table(heads, rows))


def _state(log: Log) -> Markup:
    if log.problems:
        mild = all(one.kind in _MILD for one in log.problems)
        return el("span", f"{len(log.problems)} problem(s)", class_="tag " + ("warn" if mild else "bad"))
    if log.verified:
        return el("span", "verified on the host", class_="tag verified")
    return el("span", "fits what was seen", class_="tag success")


def _list(report: Report, limit: int) -> Markup:
    shown = report.commands[::-1][:limit]
    left = len(report.commands) - len(shown)
    more = el("p", f"The newest {len(shown)}; {left} older ones are left out.", class_="dim") if left else None
    heads = ("Time", "Host", "VM", "Who", "Command", "Class", "Decision", "#ms", "Task and play")
    return el(
        "section",
        el("h2", "All commands, the newest first"),
        _filter(shown),
        more,
        table(heads, map(_row, shown), id="commands"),
    )


def _filter(shown: t.Sequence[Command]) -> Markup:
    outcomes = {one.outcome for one in shown}
    return el(
        "form",
        el("input", type="search", name="text", placeholder="Text", aria_label="Text"),
        _select("host", "All hosts", {one.host: one.host for one in shown}),
        _select("vm", "All VMs", {_vm(one): _vm(one) for one in shown}),
        _select("outcome", "All decisions", {key: word for key, word in WORDS.items() if key in outcomes}),
        el("button", "Reset", type="reset"),
        el("output", name="count"),
        id="filter",
        hidden="",
    )


def _select(name: str, everything: str, values: t.Mapping[str, str]) -> Markup:
    options = (el("option", word, value=value) for value, word in sorted(values.items()))
    return el("select", el("option", everything, value=""), *options, name=name, aria_label=everything)


def _vm(command: Command) -> str:
    return str(command.first.get("vm") or "")


def who(command: Command) -> tuple[str, str]:
    """Who asked: as the controller says, and by the kernel's word on the host."""
    said = command.first.get("controller")
    said = said if isinstance(said, dict) else {}
    user, host = said.get("user") or command.origin.get("user"), said.get("host") or command.origin.get("controller")
    uid, login = command.first.get("uid"), command.first.get("auid")
    kernel = "" if uid is None else f"uid {uid}"
    if login not in (None, uid, _UNSET):
        kernel += f", login uid {login}"
    return (f"{user}@{host}" if user and host else str(user or "-")), kernel


def _row(command: Command) -> Markup:
    first, last, outcome = command.first, command.last, command.outcome
    name, kernel = who(command)
    op = first.get("op") or {"start": "(a runner takes over)", "rotate": "(a new file)"}.get(
        str(first.get("phase")), "-"
    )
    said = first.get("controller") if isinstance(first.get("controller"), dict) else {}
    play, task = (command.origin.get(key) or (said or {}).get(key) or "" for key in ("play", "task"))
    tag = el("span", WORDS.get(outcome, outcome), class_=f"tag {outcome}")
    trouble = el("span", "chain", class_="tag bad") if command.problem else None
    return el(
        "tr",
        el("td", _clock(first.get("time")), class_="t"),
        el("td", command.host, class_="k"),
        el("td", _vm(command), class_="k"),
        el("td", name, el("small", kernel), class_="k"),
        el("td", el("code", op), class_="x"),
        el("td", first.get("class"), el("small", "warning") if first.get("level") == "warning" else None),
        el("td", tag, trouble),
        el("td", last.get("duration_ms"), class_="n"),
        el("td", task, el("small", play) if play else None, _details(command), class_="x"),
        data_host=command.host,
        data_vm=_vm(command),
        data_outcome=outcome,
    )


def _details(command: Command) -> Markup:
    first, last = command.first, command.last
    policy = first.get("policy") if isinstance(first.get("policy"), dict) else {}
    told = {
        "arguments": first.get("args"),
        "reason": first.get("reason"),
        "error": last.get("error"),
        "rule": (policy or {}).get("rule"),
        "policy": (policy or {}).get("id"),
        "role": first.get("role"),
        "consent": first.get("consent") or None,
        "files": first.get("files"),
        "via": first.get("via"),
        "program": first.get("exe"),
        "records": f"{first['seq']} to {last['seq']}" if first["seq"] != last["seq"] else first["seq"],
        "hash": last.get("hash"),
        "seen": "by a task of this controller" if command.origin else "in the host's log alone",
    }
    lines = joined(
        Markup(el("b", f"{name}: ") + el("span", value if isinstance(value, str) else json.dumps(value)) + "\n")
        for name, value in told.items()
        if value not in (None, "", [], {})
    )
    return el("details", el("summary", "more"), el("pre", lines))


def _clock(time: t.Any) -> str:
    return str(time or "")[:19].replace("T", " ")
