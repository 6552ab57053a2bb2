# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""No error code is without a meaning, however it is written in the source; no page of the guides is lost."""

from __future__ import annotations

import importlib
import re

import pytest
import yaml
from ansible_collections.maqet.qemu.docs.tools import error_table, file_table
from ansible_collections.maqet.qemu.docs.tools.generate import PAGES


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('raise MaqetError("a sentence", "vm_lost")', {"vm_lost"}),
        ('raise errors.MaqetError(f"{x}", "this_one" if x else "that_one", vm=x)', {"this_one", "that_one"}),
        ('raise MaqetError("a sentence", error_code="by_name")', {"by_name"}),
        ('raise MaqetError("a sentence", error.error_code)', set()),
        ('return {"failed": True, "error_code": "in_a_result"}', {"in_a_result"}),
        ('code = "one" if x else "other"\nraise MaqetError(text, code)', {"one", "other"}),
        (
            'def fail(text, code="default"): ...\nfail("x", "given")\nfail("x", code="named")',
            {"default", "given", "named"},
        ),
        (
            'class A:\n    def fail(self, text, code): ...\n    def f(self): self.fail("x", "of_a_method")',
            {"of_a_method"},
        ),
        ('raise ValueError("a sentence", "no_word_of_ours")', set()),
    ],
)
def test_a_word_is_found(source: str, words: set[str]) -> None:
    assert error_table.words_of(source) == words


def test_a_word_without_a_meaning_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {**error_table.raised(), "brand_new": ["vm/new.py"]}
    found.pop("vm_busy")
    monkeypatch.setattr(error_table, "raised", lambda: found)
    with pytest.raises(
        ValueError, match=r"without a meaning \['brand_new'\], meanings that nothing raises \['vm_busy'\]"
    ):
        error_table.table()


def test_what_the_modules_document_is_raised() -> None:
    named: set[str] = set()
    for path in (error_table.PLUGINS / "modules").glob("*.py"):
        module = importlib.import_module(f"ansible_collections.maqet.qemu.plugins.modules.{path.stem}")
        text = yaml.safe_load(module.RETURN).get("error_code", {}).get("description", "")
        named.update(re.findall(r"V\((\w+)\)", text if isinstance(text, str) else " ".join(text)))
    assert len(named) > 40
    assert named <= error_table.raised().keys()


def test_the_files_are_understood() -> None:
    found = dict(file_table.rows())
    assert len(found) > 25
    assert found["LOG/NAME.audit.jsonl"] == "the audit chain: its newest part"
    assert found["RUN/NAME/"].endswith("what a task wants of the next runner"), "a row of two lines"


def test_every_page_is_in_one_section() -> None:
    sections = yaml.safe_load((PAGES.parent / "extra-docs.yml").read_text("utf-8"))["sections"]
    listed = [page for section in sections for page in section["toctree"]]
    assert sorted(listed) == sorted(page.stem for page in PAGES.glob("*.rst"))
