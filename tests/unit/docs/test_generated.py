# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is generated in the guides is what the code says now."""

from __future__ import annotations

import collections
import pathlib

import pytest
from ansible_collections.maqet.qemu.docs.tools import command_table, generate, rule_table
from ansible_collections.maqet.qemu.plugins.module_utils.guard import commands

PAGES = {page.name: page.read_text(encoding="utf-8") for page in sorted(pathlib.Path(generate.PAGES).glob("*.rst"))}


@pytest.mark.parametrize("name", [name for name, text in PAGES.items() if generate.parts(text)])
def test_a_page_says_what_the_code_says(name: str) -> None:
    assert generate.rendered(PAGES[name]) == PAGES[name], f"{name} is out of date: ./dev docs"


def test_each_part_is_on_one_page() -> None:
    found = [part for text in PAGES.values() for part in generate.parts(text)]
    assert sorted(found) == sorted(generate.PARTS)
    assert sum(text.count(".. begin generated") for text in PAGES.values()) == len(found)


def test_the_table_has_all_commands_and_rising_roles() -> None:
    found = command_table.verdicts()
    assert len(found) == 216
    order = ("never", "policy", "consent", "arguments", "allow")
    for command, words in found.items():
        ranks = [order.index(words[role]) for role in ("viewer", "operator", "admin")]
        assert ranks == sorted(ranks), command


def test_no_role_can_use_everything_or_nothing() -> None:
    """A guard that denies everything is as wrong as one that denies nothing."""
    usable: collections.Counter[str] = collections.Counter()
    for words in command_table.verdicts().values():
        usable.update(role for role, word in words.items() if word in command_table.USABLE)
    assert 60 < usable["viewer"] < usable["operator"] < usable["admin"] < 216


def test_a_viewer_uses_what_reads_and_nothing_else() -> None:
    for command, words in command_table.verdicts().items():
        usable = words["viewer"] in command_table.USABLE
        reads = commands.CLASS_OF[command] in ("read", "introspect") and command not in commands.ENDING
        assert usable == (reads and words["viewer"] != "never"), command


def test_a_rule_without_a_meaning_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule_table, "used", lambda: {"brand-new"})
    with pytest.raises(ValueError, match=r"without a meaning \['brand-new'\]"):
        rule_table.table()
