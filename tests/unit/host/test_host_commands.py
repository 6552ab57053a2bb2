# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of the host: run to their end, or a sentence why not."""

from __future__ import annotations

import os
import time

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.commands import run


def test_stdout_is_returned() -> None:
    assert run(["sh", "-c", "echo out; echo err >&2"]) == "out\n"


def test_there_is_no_shell_and_no_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert run(["echo", "$HOME;ls", "*"]) == "$HOME;ls *\n"
    assert run(["cat"]) == ""
    assert run(["sh", "-c", "echo $LC_ALL"]) == "C.UTF-8\n"
    assert run(["sh", "-c", "echo $LC_ALL $MORE"], extra={"MORE": "more"}) == "C.UTF-8 more\n"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["sh", "-c", "echo no such disk >&2; exit 3"], "sh failed with status 3: no such disk"),
        (["sh", "-c", "exit 4"], "sh failed with status 4: it said nothing"),
        (["sh", "-c", "printf 'a\\377b' >&2; exit 1"], "a�b"),
        (["maqet-no-such-program"], "maqet-no-such-program is not installed on this host."),
    ],
)
def test_failures(command: list[str], words: str) -> None:
    with pytest.raises(MaqetError) as caught:
        run(command)
    assert words in str(caught.value)
    assert caught.value.error_code == "command_failed"
    assert caught.value.details["command"] == command


def test_a_program_that_does_not_end() -> None:
    begun = time.monotonic()
    with pytest.raises(MaqetError, match=r"sleep did not end within 0\.1 s") as caught:
        run(["sleep", "60"], 0.1)
    assert caught.value.error_code == "command_failed"
    assert time.monotonic() - begun < 30


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_with_the_rights_of_another_user() -> None:
    assert run(["sh", "-c", "id -u; id -g; id -G; pwd"], user=54321) == "54321\n54321\n54321\n/\n"
