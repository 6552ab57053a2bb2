# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory cache holds, and for how long."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.plugin_utils.inventory_kept import aged, entry, fresh, sound

ASKED: dict[str, t.Any] = {"become": True, "addresses": True}
VMS = [{"name": "web1"}]


def test_what_was_kept_comes_back() -> None:
    kept = json.loads(json.dumps({"h1": entry(VMS, ASKED, 100.0)}))
    assert sound(kept, ASKED)["h1"]["vms"] == VMS


@pytest.mark.parametrize(
    "kept",
    [
        None,
        [],
        {"h1": None},
        {"h1": {**entry(VMS, ASKED, 1.0), "format": 0}},
        {"h1": entry(VMS, {**ASKED, "become": None}, 1.0)},
        {"h1": {**entry(VMS, ASKED, 1.0), "time": "now"}},
        {"h1": {**entry(VMS, ASKED, 1.0), "vms": None}},
    ],
)
def test_what_is_no_answer_to_what_is_asked(kept: t.Any) -> None:
    assert sound(kept, ASKED) == {}


@pytest.mark.parametrize(
    ("age", "seconds", "good"),
    [(0.0, 10.0, True), (10.0, 10.0, True), (10.5, 10.0, False), (1e9, 0.0, True), (-1.0, 10.0, False)],
)
def test_age(age: float, seconds: float, good: bool) -> None:
    assert list(fresh({"h1": entry(VMS, ASKED, 1000.0)}, seconds, 1000.0 + age)) == (["h1"] if good else [])


def test_who_did_not_answer_is_asked_again() -> None:
    kept = {name: entry(VMS, ASKED, 100.0) for name in ("h1", "h2")}
    after = aged(kept, {"h2", "h3"})
    assert list(fresh(after, 0.0, 100.0)) == ["h1"]
    assert sound(after, ASKED)["h2"]["vms"] == VMS
