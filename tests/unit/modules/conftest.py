# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules run as Ansible runs them, in a process of their own, with all their files in a folder of the test."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.tests.hosts import modules

Run = modules.Run


class Host:
    """A host with nothing on it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self._where = (*(str(folder / name) for name in "srl"), "user")
        self.where = Layout(*self._where)

    def run(self, module: str, check: bool = False, **options: t.Any) -> Run:
        """Run a module; it never prints anything but its result, whatever happens."""
        return modules.run_module(module, options, self._where, check)

    def files(self) -> list[str]:
        """All that is on the host."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*"))


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Host:
    return Host(tmp_path)
