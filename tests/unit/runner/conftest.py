# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server, and a VM for a keeper, for the tests of this room."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.runner import emulator, restarts
from ansible_collections.maqet.qemu.tests.unit.runner.household import House
from ansible_collections.maqet.qemu.tests.unit.runner.serving import World


@pytest.fixture
def world(tmp_path: pathlib.Path) -> World:
    return World(tmp_path)


@pytest.fixture
def house(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[House]:
    pytest.importorskip("qemu.qmp")
    found = House(tmp_path)
    monkeypatch.setattr(emulator, "start", found.start)
    monkeypatch.setattr(restarts, "FIRST_PAUSE", 0.01)
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    yield found
    found.close()
