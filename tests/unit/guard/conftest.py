# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM's output folder, and a gate with a log of its own."""

from __future__ import annotations

import os
import pathlib

import hypothesis
import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard import journal
from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import Caller
from ansible_collections.maqet.qemu.plugins.module_utils.guard.gate import Asker, Gate
from ansible_collections.maqet.qemu.plugins.module_utils.guard.log import AuditLog
from ansible_collections.maqet.qemu.plugins.module_utils.guard.record import VmIdentity
from ansible_collections.maqet.qemu.plugins.module_utils.guard.schema import Schema
from ansible_collections.maqet.qemu.plugins.module_utils.guard.scope import Scope
from ansible_collections.maqet.qemu.tests.unit.guard import schemas

# No time limits: on a busy machine they fail for reasons that are not the code's.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def schema() -> Schema:
    return schemas.schema("7.2")


@pytest.fixture(scope="session")
def newest() -> Schema:
    return schemas.schema("11.1")


@pytest.fixture
def home(tmp_path: pathlib.Path) -> pathlib.Path:
    """The folder of a VM."""
    for name in ("output", "disks"):
        (tmp_path / "vm" / name).mkdir(parents=True)
    return tmp_path / "vm"


@pytest.fixture
def output(home: pathlib.Path) -> pathlib.Path:
    return home / "output"


@pytest.fixture
def scope(home: pathlib.Path, schema: Schema) -> Scope:
    return Scope("web1", str(home), schema)


@pytest.fixture
def log(tmp_path: pathlib.Path) -> AuditLog:
    return AuditLog(str(tmp_path / "vm.audit.jsonl"))


@pytest.fixture
def gate(scope: Scope, log: AuditLog) -> Gate:
    identity = VmIdentity("web1", "6c1e7f8a-0000-4000-8000-000000000001", 4711, 99, "7.2.22", "/run/web1/monitor.sock")
    return Gate(identity, scope, log, "ipc")


@pytest.fixture
def asker(caller: Caller) -> Asker:
    return Asker(caller)


@pytest.fixture
def caller() -> Caller:
    claims = {"host": "ops1", "user": "ann", "task": "look", "play": "fleet", "job": "7", "module": "maqet_qmp"}
    return Caller(
        1000, 17, os.getuid(), os.getgid(), 99, "/usr/bin/python3", "python3", {"pid": 99, "uid": 0, "gid": 0}, claims
    )


@pytest.fixture(autouse=True)
def no_journal(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of a test in the journal of the machine that runs it."""
    monkeypatch.setattr(journal, "SOCKET", str(tmp_path / "no-journal"))
