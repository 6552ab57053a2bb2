# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The timeline of a report: how many commands when, and how many of them were denied, as a drawing. Pure."""

from __future__ import annotations

import datetime as dt
import typing as t

from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_markup import Markup, el
from ansible_collections.maqet.qemu.plugins.plugin_utils.audit_report import Command

_BARS = 60
_WIDTH, _HEIGHT = 1200, 140


class Bar(t.NamedTuple):
    """A span of time: when it begins, and what happened in it."""

    begin: dt.datetime
    allowed: int
    denied: int


def bars(commands: t.Sequence[Command]) -> list[Bar]:
    """The commands in spans of equal length, from the first one to the last."""
    times = [(when, one.outcome == "denied") for one in commands if one.outcome != "mark" for when in _moment(one)]
    if not times:
        return []
    begin, end = min(times)[0], max(times)[0]
    span = max((end - begin) / _BARS, dt.timedelta(seconds=1))
    counts = [[0, 0] for _bar in range(_BARS)]
    for when, denied in times:
        counts[min(int((when - begin) / span), _BARS - 1)][denied] += 1
    return [Bar(begin + span * index, *count) for index, count in enumerate(counts)]


def chart(commands: t.Sequence[Command]) -> Markup:
    """The section with the timeline."""
    heading = el("h2", "Timeline")
    found = bars(commands)
    if not found:
        return el("section", heading, el("p", "No command has been seen.", class_="dim"))
    most = max(column.allowed + column.denied for column in found)
    span = found[1].begin - found[0].begin
    drawn = [part for index, column in enumerate(found) for part in _bar(index, column, most)]
    base = el("line", x1=0, y1=_HEIGHT, x2=_WIDTH, y2=_HEIGHT)
    label = f"Commands from {found[0].begin:%F %T} to {found[-1].begin + span:%F %T}"
    drawing = el(
        "svg", *drawn, base, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", preserveAspectRatio="none", role="img", aria_label=label
    )
    ends = el(
        "p",
        el("span", f"{found[0].begin:%F %T}"),
        el(
            "span",
            f"at most {most} in {_length(span)}",
            el("span", "allowed", class_="key a"),
            el("span", "denied", class_="key d"),
        ),
        el("span", f"{found[-1].begin + span:%F %T}"),
        class_="ends",
    )
    return el("section", heading, drawing, ends)


def _bar(index: int, column: Bar, most: int) -> t.Iterator[Markup]:
    left, width = index * _WIDTH / _BARS + 1, _WIDTH / _BARS - 2
    bottom = float(_HEIGHT)
    for count, kind, word in ((column.allowed, "a", "allowed"), (column.denied, "d", "denied")):
        if count:
            height = max(count / most * (_HEIGHT - 6), 2)
            bottom -= height
            about = el("title", f"{column.begin:%F %T}: {count} {word}")
            yield el(
                "g", about, el("rect", x=left, y=round(bottom, 2), width=width, height=round(height, 2), class_=kind)
            )


def _moment(command: Command) -> list[dt.datetime]:
    try:
        text = str(command.first.get("time"))
        return [dt.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=dt.timezone.utc)]
    except ValueError:
        return []


def _length(span: dt.timedelta) -> str:
    seconds = span.total_seconds()
    for size, word in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= size:
            return f"{seconds / size:.1f} {word}"
    return f"{seconds:.0f} seconds"
