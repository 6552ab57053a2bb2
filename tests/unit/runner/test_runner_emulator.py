# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a QEMU that has not come up."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.runner import emulator
from ansible_collections.maqet.qemu.plugins.module_utils.runner.helpers import Crew


@pytest.mark.parametrize(
    ("words", "hinted"),
    [("qemu-system-x86_64: -drive file=/x: Could not open '/x': Permission denied", True), ("no such device", False)],
)
def test_its_last_words(tmp_path: pathlib.Path, words: str, hinted: bool) -> None:
    paths = Layout(str(tmp_path / "s"), str(tmp_path / "r"), str(tmp_path / "l"), "user").vm("web")
    pathlib.Path(paths.qemu_log).parent.mkdir(parents=True)
    pathlib.Path(paths.qemu_log).write_text(f"{words}\n", "utf-8")
    found = emulator.failure(1, paths, Crew(paths))
    assert str(found).startswith(
        f"QEMU ended with status 1 before it was ready. Its last words: {words}. Check the options"
    )
    assert ("SELinux or AppArmor may forbid it" in str(found)) is hinted
    assert (found.error_code, found.details) == ("qemu_failed", {"qemu_status": 1, "qemu_log": words})
