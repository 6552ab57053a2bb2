# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runner's word to its launcher: on disk first, then signalled."""

from __future__ import annotations

import json
import os
import pathlib
import socket
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import wait_readable
from ansible_collections.maqet.qemu.plugins.module_utils.runner.report import Report


@pytest.fixture
def paths(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> VmPaths:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    found = Layout(str(tmp_path / "s"), str(tmp_path / "r"), str(tmp_path / "l"), "user").vm("web")
    os.makedirs(found.run)
    return found


@pytest.fixture
def pipe() -> t.Iterator[tuple[int, int]]:
    """(the launcher's end, the runner's end); who is given the second one closes it."""
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)


def status(paths: VmPaths) -> t.Any:
    return json.loads(pathlib.Path(paths.status).read_text())


def test_ready(paths: VmPaths, pipe: tuple[int, int]) -> None:
    report = Report(paths, "word", pipe[1])
    assert wait_readable([pipe[0]], 0) == []
    report.ready({"vm": "web", "uuid": "u"})
    assert os.read(pipe[0], 1) == b""
    assert status(paths) == {"vm": "web", "uuid": "u", "launch": "word", "phase": "ready"}
    report.failed(MaqetError("Later.", "qemu_failed"))
    assert status(paths)["phase"] == "failed"


def test_failed(paths: VmPaths, pipe: tuple[int, int]) -> None:
    error = MaqetError("No.\nReally.", "qemu_failed", qemu_status=1)
    Report(paths, "word", pipe[1]).failed(error)
    assert os.read(pipe[0], 1) == b""
    assert status(paths) == {"launch": "word", "phase": "failed", "error": error.as_dict()}
    assert MaqetError.from_dict(status(paths)["error"]).as_dict() == error.as_dict()


def test_a_folder_that_is_gone_does_not_keep_the_launcher_waiting(paths: VmPaths, pipe: tuple[int, int]) -> None:
    os.rmdir(paths.run)
    Report(paths, "word", pipe[1]).failed(MaqetError("No.", "qemu_failed"))
    assert os.read(pipe[0], 1) == b""


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(
    paths: VmPaths, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, abstract: bool
) -> None:
    """sd_notify(3): a datagram to a path, or to a name in the abstract namespace that begins with @."""
    address = f"@maqet-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.settimeout(60)
        systemd.bind("\0" + address[1:] if abstract else address)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        report = Report(paths, "word", None)
        report.ready({"vm": "web"})
        assert status(paths)["phase"] == "ready"
        assert systemd.recv(1000) == b"READY=1"
        report.failed(MaqetError("No.\nREADY=1", "qemu_failed"))
        assert systemd.recv(1000) == b"STATUS=No. READY=1"
