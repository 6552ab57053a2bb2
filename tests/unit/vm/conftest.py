# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM for tests, ended when the test ends; images made by the real qemu-img."""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import typing as t

import pytest
from ansible_collections.maqet.qemu.tests.unit.vm.world import FakeVm


@pytest.fixture
def vm(tmp_path: pathlib.Path) -> t.Iterator[FakeVm]:
    world = FakeVm(tmp_path)
    yield world
    world.close()


class Images:
    """qemu-img as it is installed."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder

    def make(self, name: str, fmt: str = "qcow2", size: str = "1M", *more: str) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["qemu-img", "create", "-q", "-f", fmt, *more, str(path), size], check=True)
        return str(path)

    def info(self, path: str) -> dict[str, t.Any]:
        done = subprocess.run(["qemu-img", "info", "--output=json", path], check=True, capture_output=True)
        return dict(json.loads(done.stdout))


@pytest.fixture
def images(tmp_path: pathlib.Path) -> Images:
    if shutil.which("qemu-img") is None:
        pytest.skip("qemu-img is not installed")
    return Images(tmp_path / "images")
