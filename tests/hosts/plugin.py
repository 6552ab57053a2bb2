# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pytest fixtures for tests on real hosts. A conftest.py imports them by name."""

from __future__ import annotations

import os
import typing as t

import pytest
from ansible_collections.maqet.qemu.tests.hosts import nspawn, rootfs

REQUIRED = bool(os.environ.get("CI") or os.environ.get("MAQET_REQUIRE_HOSTS"))


@pytest.fixture(scope="session")
def host_run() -> t.Iterator[nspawn.Run]:
    """A bridge and a key for the hosts of this session. ``host_run.up("name")`` adds a host.

    Skips where hosts cannot be; under ``CI`` or ``MAQET_REQUIRE_HOSTS`` that is a failure.
    """
    missing = rootfs.missing_parts()
    if missing:
        reason = "hosts in systemd-nspawn need " + ", ".join(missing)
        if REQUIRED:
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    nspawn.Run.sweep()
    with nspawn.Run() as run:
        yield run


@pytest.fixture(scope="module")
def nspawn_host(host_run: nspawn.Run) -> t.Iterator[nspawn.Host]:
    """A freshly booted host, shared by the tests of one module."""
    host = host_run.up("h1")
    yield host
    host.remove()
