# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts the option ``hypervisors`` of the inventory plugin means."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.plugin_utils.inventory_hypervisors import chosen

HOSTS = ["h2", "h1", "lab1", "lab2", "db"]
GROUPS = {"all": [], "ungrouped": [], "hypervisors": ["h1", "h2"], "labs": ["lab1", "lab2"], "none": []}


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["hypervisors"], ["h2", "h1"]),
        (["db", "hypervisors"], ["db", "h2", "h1"]),
        (["lab*"], ["lab1", "lab2"]),
        (["l*s"], ["lab1", "lab2"]),
        (["hypervisors", "h1"], ["h2", "h1"]),
        (["all", "!labs", "!db"], ["h2", "h1"]),
        (["all", "!lab?"], ["h2", "h1", "db"]),
        (["none"], []),
        (["localhost"], ["localhost"]),
        ([], []),
    ],
)
def test_patterns(given: list[str], names: list[str]) -> None:
    found = chosen(given, HOSTS, GROUPS)
    assert list(found) == names
    assert not any(found.values())


def test_hosts_that_are_given_whole() -> None:
    given: list[t.Any] = ["h1", {"name": "h1", "ansible_user": "ada"}, {"name": "new", "ansible_host": "192.0.2.7"}]
    assert chosen(given, HOSTS, GROUPS) == {"h1": {"ansible_user": "ada"}, "new": {"ansible_host": "192.0.2.7"}}


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("h9", "h1, h2, hypervisors, lab1, lab2, labs, none"),
        ("x*", "-i hosts.yml"),
        ("!x", "'x' is no host and no group"),
        ("", "neither a pattern nor a dictionary"),
        (7, "7 is neither"),
        ({"ansible_host": "192.0.2.7"}, "has no name"),
        ({"name": 7}, "has no name"),
        ({"name": "h", "host": "192.0.2.7"}, "'host' says nothing of a connection"),
    ],
)
def test_what_is_refused(item: t.Any, words: str) -> None:
    with pytest.raises(ValueError, match=r"^hypervisors\[1\]: ") as caught:
        chosen(["db", item], HOSTS, GROUPS)
    assert words in str(caught.value)
