# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page for beginners, command by command, as somebody types it who has the collection and nothing else."""

from __future__ import annotations

import re
import shlex
import typing as t
from pathlib import Path

from ansible_collections.maqet.qemu.docs.tools.generate import PAGES
from ansible_collections.maqet.qemu.tests.integration.local.test_ways import adhoc

_COMMAND = re.compile(r"^    \$ ansible localhost (?P<words>.*)\n(?P<says>(?:    (?!\$).*\n)*)", re.MULTILINE)


class Step(t.NamedTuple):
    """A command, and the lines that the page shows of its answer."""

    words: list[str]
    says: list[str]


def steps(name: str) -> list[Step]:
    """Those of the page, with a VM of the test's own."""
    text = (PAGES / "getting-started.rst").read_text("utf-8")
    found = [Step(shlex.split(match["words"]), match["says"].splitlines()) for match in _COMMAND.finditer(text)]
    renamed = [[re.sub(r"\bfirst\b", name, word) for word in step.words] for step in found]
    return [Step(words, step.says) for words, step in zip(renamed, found)]


def test_the_page_as_it_is_read(tmp_path: Path, name: str) -> None:
    found = steps(name)
    assert len(found) == 6
    for index, step in enumerate(found):
        done = adhoc(tmp_path / str(index), *step.words, ANSIBLE_NOCOLOR="1")
        assert (done.returncode != 0) == ("FAILED!" in step.says[0]), done.stdout
        place = 0
        for line in step.says:
            shown = line.strip()
            assert shown in done.stdout[place:], f"the page says {shown!r} of {step.words}: {done.stdout}"
            place = done.stdout.index(shown, place)
