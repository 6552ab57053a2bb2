# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A nursery and the module's end of it: forks that are like runners which were started one by one."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import sys
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host import nursery, processes
from ansible_collections.maqet.qemu.tests.unit.test_architecture import UTILS

# A nursery of children that say what they are, and then wait for a signal.
SCRIPT = f"""
import json, os, signal, sys
sys.path[:0] = {[path for path in sys.path if path]!r}
from {UTILS}.runner import nursery

def live(options):
    if options["vm"] == "broken":
        raise RuntimeError("a child that fails")
    said = {{"session": os.getsid(0) == os.getpid(), "sigchld": signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL,
            "fds": sorted(os.readlink(f"/proc/self/fd/{{fd}}").split(":")[0] for fd in os.listdir("/proc/self/fd")
                          if os.path.exists(f"/proc/self/fd/{{fd}}")), "cwd": os.getcwd(), "options": dict(options)}}
    sys.stderr.write(json.dumps(said) + "\\n")
    sys.stderr.flush()
    os.close(int(options["ready-fd"]))
    signal.sigwait([signal.SIGTERM])
    return 0

sys.exit(nursery.serve(int(sys.argv[sys.argv.index("--nursery") + 1]), live))
"""
OPTIONS = {"vm": "web", "state": "/some/state"}


class Child(t.NamedTuple):
    process: processes.Process
    said: dict[str, t.Any]


@pytest.fixture
def begun(tmp_path: pathlib.Path) -> t.Iterator[nursery.Nursery]:
    script = tmp_path / "nursery.py"
    script.write_text(SCRIPT)
    found = nursery.Nursery(sys.executable, str(script))
    yield found
    found.close()


@contextlib.contextmanager
def born(begun: nursery.Nursery, log: pathlib.Path, options: dict[str, str] | None = None) -> t.Iterator[Child]:
    reader, writer = os.pipe()
    with log.open("ab") as file:
        assert begun.order(options or OPTIONS, writer, file.fileno())
    os.close(writer)
    process = processes.of_pid(nursery.pid_of(reader))
    assert processes.wait_readable([reader], 30) and os.read(reader, 1) == b"", "it closes the pipe when it is ready"
    os.close(reader)
    assert process is not None
    try:
        yield Child(process, json.loads(log.read_text().splitlines()[-1]))
    finally:
        process.kill(signal.SIGTERM)
        assert process.wait_gone(30)


def test_a_child_is_like_an_ordinary_runner(begun: nursery.Nursery, tmp_path: pathlib.Path) -> None:
    with born(begun, tmp_path / "log") as child:
        assert child.said["session"] and child.said["sigchld"] and child.said["cwd"] == "/"
        ready = child.said["options"].pop("ready-fd")
        assert child.said["options"] == OPTIONS and ready.isdigit()
        assert child.said["fds"] == sorted(["/dev/null", str(tmp_path / "log"), str(tmp_path / "log"), "pipe"])
        words = pathlib.Path(f"/proc/{child.process.pid}/cmdline").read_bytes().rstrip(b"\0").decode().split("\0")
        assert words == [sys.executable, begun.archive, "--vm", "web", "--state", "/some/state"]
        assert processes.with_arguments(("--vm", "web"), ("--state", "/some/state")) == child.process


def test_children_outlive_it(begun: nursery.Nursery, tmp_path: pathlib.Path) -> None:
    with born(begun, tmp_path / "one") as one, born(begun, tmp_path / "two", {**OPTIONS, "vm": "db"}) as two:
        begun.close()
        assert one.process.alive() and two.process.alive()
        assert two.said["options"]["vm"] == "db"


def test_a_child_that_fails_is_nobodys_zombie(begun: nursery.Nursery, tmp_path: pathlib.Path) -> None:
    reader, writer = os.pipe()
    with (tmp_path / "log").open("wb") as log:
        assert begun.order({"vm": "broken"}, writer, log.fileno())
    os.close(writer)
    pid = nursery.pid_of(reader)
    assert processes.wait_readable([reader], 30) and os.read(reader, 1) == b""
    os.close(reader)
    process = processes.of_pid(pid)
    assert process is None or process.wait_gone(30)
    assert "a child that fails" in (tmp_path / "log").read_text()
    with born(begun, tmp_path / "other"):
        pass


def test_an_order_that_nobody_waits_for_starts_nothing(begun: nursery.Nursery) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    said, log = os.pipe()
    assert begun.order(OPTIONS, writer, log)
    os.close(writer)
    os.close(log)
    with open(said, encoding="utf-8") as file:
        words = file.read()  # until the child has ended, which alone can still write
    assert "BrokenPipeError" in words and '"session"' not in words


def test_one_that_hangs_does_not_hang_its_task(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nursery, "_END_SECONDS", 0.3)
    script = tmp_path / "nursery.py"
    script.write_text("import signal\nsignal.pause()\n")
    hanging = nursery.Nursery(sys.executable, str(script))
    hanging.close()
    assert hanging.status == -signal.SIGKILL


def test_one_that_is_gone_takes_no_orders(tmp_path: pathlib.Path) -> None:
    script = tmp_path / "nursery.py"
    script.write_text("raise SystemExit(3)\n")
    gone = nursery.Nursery(sys.executable, str(script))
    gone.wait()
    reader, writer = os.pipe()
    assert not gone.order(OPTIONS, writer, writer)
    os.close(writer)
    assert nursery.pid_of(reader) == 0
    os.close(reader)
    gone.close()
