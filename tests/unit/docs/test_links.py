# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A link that leads nowhere is found, and one that leads somewhere is not complained of."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.maqet.qemu.docs.tools import links


@pytest.fixture
def site(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "style.css").write_text("", "utf-8")
    (tmp_path / "index.html").write_text('<p id="here"></p><a name="old"></a>', "utf-8")
    return tmp_path


def problems(site: pathlib.Path, body: str) -> list[str]:
    (site / "sub" / "page.html").write_text(body, "utf-8")
    return links.site_problems(site)[1]


@pytest.mark.parametrize(
    "body",
    [
        '<a href="../index.html#here">x</a>',
        '<a href="../index.html#old">x</a>',
        '<a id="own" href="#own">x</a>',
        '<a href="#">x</a>',
        '<link href="../style.css?v=1"><img src="data:image/png;base64,AA">',
        '<a href="https://docs.ansible.com/ansible/latest/">x</a><a href="mailto:a@example.org">x</a>',
    ],
)
def test_a_link_that_leads_somewhere(site: pathlib.Path, body: str) -> None:
    assert problems(site, body) == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('<a href="other.html">x</a>', "no such file: other.html"),
        ('<a href="../index.html#gone">x</a>', "no such place: ../index.html#gone"),
        ('<a href="#gone">x</a>', "no such place: #gone"),
        ('<img src="images/lost.svg">', "no such file: images/lost.svg"),
        ('<a href="https:///nowhere">x</a>', "no host in https:///nowhere"),
        ('<a href="javascript:x()">x</a>', "unknown scheme"),
        ('<a href="https://example.org/a b">x</a>', "blank or quote"),
    ],
)
def test_a_link_that_leads_nowhere(site: pathlib.Path, body: str, words: str) -> None:
    (found,) = problems(site, body)
    assert found.startswith("sub/page.html: ") and words in found


def test_the_links_of_markdown(tmp_path: pathlib.Path) -> None:
    text = "# One `Two`, three\n[a](#one-two-three) [b](b.md) [c](lost.md) [d](#lost) [e](https://example.org)"
    (tmp_path / "a.md").write_text(text, "utf-8")
    (tmp_path / "b.md").write_text("", "utf-8")
    count, found = links.markdown_problems(tmp_path, ["a.md"])
    assert count == 5
    assert found == ["a.md: no such file: lost.md", "a.md: no such heading: #lost"]
