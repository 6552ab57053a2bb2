# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runner's word to its launcher, on disk first, then signalled; and what it was told itself."""

from __future__ import annotations

import json
import os
import pathlib
import socket
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import files, processes
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import ADOPT, START, Layout, VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import wait_readable
from ansible_collections.maqet.qemu.plugins.module_utils.runner.report import Report, watchdog_seconds

FACTS: dict[str, t.Any] = {"vm": "web", "uuid": "u", "qemu": {"version": "7.2.22", "pid": 4711}}


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


def order(paths: VmPaths, purpose: str = START, word: str = "word") -> None:
    files.write_json(paths.order, {"word": word, "purpose": purpose})


def status(paths: VmPaths) -> t.Any:
    return json.loads(pathlib.Path(paths.status).read_text())


def test_ready(paths: VmPaths, pipe: tuple[int, int]) -> None:
    order(paths)
    report = Report(paths, pipe[1])
    report.starting({"vm": "web"})
    assert status(paths) == {"vm": "web", "launch": "word", "phase": "starting"}
    assert wait_readable([pipe[0]], 0) == []
    report.ready(FACTS)
    assert os.read(pipe[0], 1) == b""
    assert status(paths) == {**FACTS, "launch": "word", "phase": "ready"}
    report.failed(MaqetError("Later.", "qemu_failed"))
    assert status(paths)["phase"] == "failed"


def test_waiting_is_ready_too(paths: VmPaths, pipe: tuple[int, int]) -> None:
    order(paths, ADOPT)
    Report(paths, pipe[1]).waiting({**FACTS, "restarts": 3}, 8.0)
    assert os.read(pipe[0], 1) == b""
    assert status(paths) == {**FACTS, "restarts": 3, "launch": "word", "phase": "waiting", "pause": 8.0}


def test_failed(paths: VmPaths, pipe: tuple[int, int]) -> None:
    order(paths)
    error = MaqetError("No.\nReally.", "qemu_failed", qemu_status=1)
    Report(paths, pipe[1]).failed(error)
    assert os.read(pipe[0], 1) == b""
    assert status(paths) == {"launch": "word", "phase": "failed", "error": error.as_dict()}
    assert MaqetError.from_dict(status(paths)["error"]).as_dict() == error.as_dict()


def test_a_failure_forgets_no_qemu_that_lives(paths: VmPaths, pipe: tuple[int, int]) -> None:
    error = MaqetError("No.", "runner_failed")
    report = Report(paths, pipe[1])
    report.ready(FACTS)
    report.failed(error, keep=True)
    assert status(paths) == {**FACTS, "launch": None, "phase": "ready", "error": error.as_dict()}


def test_a_failure_keeps_what_the_runner_before_us_knew(paths: VmPaths) -> None:
    known = {**FACTS, "boot_id": processes.boot_id(), "phase": "ready"}
    files.write_json(paths.status, known)
    order(paths, ADOPT)
    report = Report(paths, None)
    report.failed(MaqetError("No.", "monitor_unreachable"), keep=True)
    error = {"error_code": "monitor_unreachable", "message": "No."}
    assert status(paths) == {**known, "launch": "word", "error": error}
    assert Report(paths, None).known["qemu"] == FACTS["qemu"]


def test_a_folder_that_is_gone_does_not_keep_the_launcher_waiting(paths: VmPaths, pipe: tuple[int, int]) -> None:
    os.rmdir(paths.run)
    Report(paths, pipe[1]).failed(MaqetError("No.", "qemu_failed"))
    assert os.read(pipe[0], 1) == b""


def test_an_order_holds_once(paths: VmPaths) -> None:
    order(paths, ADOPT)
    first, second = Report(paths, None), Report(paths, None)
    assert (first.purpose, first.order) == (ADOPT, {"word": "word", "purpose": ADOPT})
    assert (second.purpose, second.order) == (None, {})
    second.starting({})
    assert status(paths)["launch"] is None, "an old word would be an answer to an old question"


@pytest.mark.parametrize("garbage", ["", "{", "[]", "5", "null", "[" * 100_000])
def test_an_order_that_is_none_is_taken_too(paths: VmPaths, garbage: str) -> None:
    pathlib.Path(paths.order).write_text(garbage)
    assert Report(paths, None).order == {}
    assert not os.path.exists(paths.order)


@pytest.mark.parametrize(
    ("content", "known"),
    [
        (None, False),
        ("{", False),
        ("[]", False),
        ('{"phase": "ready"}', False),
        ('{"phase": "ready", "boot_id": "11111111-2222-3333-4444-555555555555"}', False),
        ('{"phase": "ready", "boot_id": "BOOT"}', True),
    ],
)
def test_only_what_is_of_this_boot_is_known(paths: VmPaths, content: t.Optional[str], known: bool) -> None:
    if content is not None:
        pathlib.Path(paths.status).write_text(content.replace("BOOT", processes.boot_id()))
    assert Report(paths, None).known == ({"phase": "ready", "boot_id": processes.boot_id()} if known else {})


@pytest.fixture(params=[False, True], ids=["path", "abstract"])
def systemd(
    request: t.Any, paths: VmPaths, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> t.Iterator[socket.socket]:
    """sd_notify(3): a datagram to a path, or to a name in the abstract namespace that begins with @."""
    address = f"@maqet-test-{os.getpid()}" if request.param else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.settimeout(60)
        heard.bind("\0" + address[1:] if request.param else address)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        yield heard


def test_systemd_is_told(paths: VmPaths, systemd: socket.socket) -> None:
    report = Report(paths, None)
    report.starting(FACTS)
    report.ready(FACTS)
    assert status(paths)["phase"] == "ready"
    assert systemd.recv(1000) == b"READY=1\nSTATUS=QEMU 7.2.22 runs, pid 4711"
    report.alive()
    assert systemd.recv(1000) == b"WATCHDOG=1"
    report.waiting(FACTS, 8.0)
    assert systemd.recv(1000) == b"READY=1\nSTATUS=QEMU has ended, and is started again in 8 s"
    report.stopping(120.5)
    assert systemd.recv(1000) == b"STOPPING=1\nEXTEND_TIMEOUT_USEC=120500000\nSTATUS=the guest is powering off"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("No.\nREADY=1", b"STATUS=No. READY=1"),
        ("It said:\n\nMAINPID=1\r\nFDSTORE=1", b"STATUS=It said: MAINPID=1 FDSTORE=1"),
        ("gr\u00fc\u00dfe", "STATUS=gr\u00fc\u00dfe".encode()),
    ],
)
def test_what_qemu_said_is_no_word_of_ours(paths: VmPaths, systemd: socket.socket, words: str, told: bytes) -> None:
    Report(paths, None).failed(MaqetError(words, "qemu_failed"))
    assert systemd.recv(1000) == told


def test_nobody_listens(paths: VmPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/notify")
    Report(paths, None).ready(FACTS)
    assert status(paths)["phase"] == "ready"


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("30000000", "own", 15.0),
        ("120000000", None, 60.0),
        ("30000000", "1", None),
        (None, "own", None),
        ("soon", "own", None),
        ("", "own", None),
    ],
)
def test_how_often_systemd_wants_to_hear_of_us(
    monkeypatch: pytest.MonkeyPatch, usec: t.Optional[str], pid: t.Optional[str], seconds: t.Optional[float]
) -> None:
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert watchdog_seconds() == seconds
