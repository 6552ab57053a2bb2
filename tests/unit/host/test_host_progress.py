# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The log of a long operation: each percent once, however often it is told."""

from __future__ import annotations

import os
import pathlib

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host.progress import Progress


def words(path: pathlib.Path) -> list[str]:
    return [line.partition("Z root: ")[2] for line in path.read_text().splitlines()]


def test_each_percent_is_written_once(tmp_path: pathlib.Path) -> None:
    log = tmp_path / "disks.log"
    with Progress(str(log), "root") as progress:
        at = progress.phase("copied", 1000)
        for done in (0, 5, 9, 10, 19, 500, 400, 1000, 1000):
            at(done)
        progress.phase("verified", 0)(0)
    assert words(log) == [
        "begins",
        *(f"copied: {percent} %" for percent in (0, 1, 50, 100)),
        "verified: 100 %",
    ]
    with Progress(str(log), "root"):
        assert words(log)[-2:] == ["verified: 100 %", "begins"], "an older one is kept"


def test_a_link_in_its_place_is_not_followed(tmp_path: pathlib.Path) -> None:
    os.symlink(tmp_path / "victim", tmp_path / "log")
    with pytest.raises(OSError, match="symbolic link"):
        Progress(str(tmp_path / "log"), "root")
    assert not (tmp_path / "victim").exists()
