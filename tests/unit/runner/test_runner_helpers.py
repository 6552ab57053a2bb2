# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Helpers start with a log that they lock, are missed when they end, and go when their QEMU has gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import sys
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import files, helpers, locks, processes
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.runner.helpers import Crew, Helper
from ansible_collections.maqet.qemu.plugins.module_utils.runner.opened import Opened
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import PATIENCE

SLEEP = ("sleep", "infinity")


@pytest.fixture
def paths(tmp_path: pathlib.Path) -> VmPaths:
    found = Layout(str(tmp_path / "s"), str(tmp_path / "r"), str(tmp_path / "l"), "user").vm("web")
    os.makedirs(found.output)
    return found


@pytest.fixture
def crew(paths: VmPaths) -> t.Iterator[Crew]:
    found = Crew(paths)
    yield found
    found.end(0.0)


def hears(fd: int, words: str, status: int = 0) -> list[str]:
    """A helper that notices the end of its socket, says something, and goes."""
    return [sys.executable, "-c", f"import os, sys; os.read({fd}, 1); print({words!r}, flush=True); os._exit({status})"]


def process_of(crew: Crew, kind: str) -> processes.Process:
    found = processes.noted(crew.facts[kind])
    assert found is not None
    return found


def test_one_begins_in_the_output_folder_with_a_log_of_its_own(paths: VmPaths, crew: Crew) -> None:
    pathlib.Path(paths.helper_log("tpm")).write_text("before", "utf-8")
    crew.start("tpm", SLEEP, ())
    process = process_of(crew, "tpm")
    assert os.readlink(f"/proc/{process.pid}/cwd") == paths.output
    assert locks.is_held(paths.helper_log("tpm")) and helpers.living(paths) == {"tpm": [process]}
    assert files.tail(f"{paths.helper_log('tpm')}.1") == "before"
    assert os.getsid(process.pid) == process.pid, "the end of our session is not its own"


def test_what_cannot_be_started_is_an_error(crew: Crew) -> None:
    with pytest.raises(MaqetError, match="/nowhere/swtpm could not be started") as caught:
        crew.start("tpm", ["/nowhere/swtpm"], ())
    assert caught.value.error_code == "qemu_failed" and crew.facts == {}


def test_a_start_that_fails_ends_them(paths: VmPaths) -> None:
    found = []
    with contextlib.suppress(OSError), Crew(paths) as crew:
        crew.start("tpm", SLEEP, ())
        found.append(process_of(crew, "tpm"))
        raise OSError()
    assert not found[0].alive()


def test_a_start_that_succeeds_does_not_and_the_next_one_clears_up(paths: VmPaths) -> None:
    with Crew(paths) as old:
        old.start("tpm", SLEEP, ())
    left = process_of(old, "tpm")
    assert left.alive()
    with Crew(paths) as new:
        assert not left.alive()
        new.start("tpm", SLEEP, ())
        assert process_of(new, "tpm") != left
    for each in (old, new):
        each.end(0.0)


def test_it_goes_by_itself_when_qemu_has_and_else_it_is_ended(paths: VmPaths, crew: Crew) -> None:
    with contextlib.ExitStack() as stack:
        opened = Opened(stack)
        qemus, theirs = opened.pair()
        assert opened.inherited == [qemus]
        crew.start("tpm", hears(theirs, "end of file"), (theirs,))
        crew.start("deaf", SLEEP, ())
        found = [process_of(crew, kind) for kind in ("tpm", "deaf")]
    crew.end(1.0)
    assert not any(process.alive() for process in found)
    assert files.tail(paths.helper_log("tpm")) == "end of file", "it was not killed before it could say so"
    assert crew.facts == {}


def told(crew: Crew, how_many: int, *kill: processes.Process) -> list[Helper]:
    """Those of whose end we are told."""
    found: list[Helper] = []

    async def whole() -> None:
        enough = asyncio.Event()

        def tell(one: Helper) -> None:
            found.append(one)
            if len(found) == how_many:
                enough.set()

        with crew.watched(tell):
            for process in kill:
                process.kill()
            await asyncio.wait_for(enough.wait(), PATIENCE)

    asyncio.run(whole())
    return found


def test_its_end_is_told_with_its_status(crew: Crew) -> None:
    crew.start("tpm", SLEEP, ())
    crew.start("other", SLEEP, ())
    (gone,) = told(crew, 1, process_of(crew, "tpm"))
    assert (gone.kind, gone.status()) == ("tpm", -9)


def test_what_a_failed_one_said(paths: VmPaths, crew: Crew) -> None:
    with contextlib.ExitStack() as stack:
        for kind, words, status in (("well", "all is well", 0), ("ill", "no state", 3)):
            _qemus, theirs = Opened(stack).pair()
            crew.start(kind, hears(theirs, words, status), (theirs,))
    told(crew, 2)
    for kind in ("well", "ill"):
        assert process_of(crew, kind).wait_gone(PATIENCE)
    assert crew.last_words() == "Its helper ill failed, and said: no state"


@pytest.mark.parametrize("note", [True, False])
def test_the_next_runner_watches_them(paths: VmPaths, crew: Crew, note: bool) -> None:
    """By what the one before wrote down, or without: then they are found."""
    crew.start("tpm", SLEEP, ())
    process = process_of(crew, "tpm")
    later = Crew.adopt(paths, crew.facts if note else None)
    assert later.facts == crew.facts
    (gone,) = told(later, 1, process)
    assert (gone.kind, gone.process) == ("tpm", process)
    later.end()


def test_one_that_ended_while_there_was_no_runner_is_missed(paths: VmPaths, crew: Crew) -> None:
    crew.start("tpm", SLEEP, ())
    process_of(crew, "tpm").kill()
    assert process_of(crew, "tpm").wait_gone(PATIENCE)
    (gone,) = told(Crew.adopt(paths, crew.facts), 1)
    assert (gone.kind, gone.status()) == ("tpm", None)


def test_a_vm_without_helpers(paths: VmPaths) -> None:
    assert Crew.adopt(paths, {}).facts == Crew.adopt(paths, None).facts == {}
