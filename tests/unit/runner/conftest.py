# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server for the tests of this room."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.maqet.qemu.tests.unit.runner.serving import World


@pytest.fixture
def world(tmp_path: pathlib.Path) -> World:
    return World(tmp_path)
