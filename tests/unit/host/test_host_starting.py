# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting runners in sessions of their own, with archives that do what a test wants them to do."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import stat
import subprocess
import sys
import threading
import time
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import files, paths, processes, starting
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.host.starting import Start

# What each stand-in begins with: its options, the order, a way to write a status, and one to end the launcher's wait.
HEAD = """
import argparse, json, os, signal, sys
parser = argparse.ArgumentParser()
for name in ("vm", "state", "run", "log", "scope", "config"):
    parser.add_argument(f"--{name}", required=True)
parser.add_argument("--ready-fd", type=int)
options = parser.parse_args()
run = os.path.join(options.run, options.vm)
order = json.load(open(os.path.join(run, "order.json")))
print("words of the runner", file=sys.stderr, flush=True)
def tell(**status):
    with open(os.path.join(run, "new"), "w") as file:
        json.dump({"launch": order["word"], "pid": os.getpid(), **status}, file)
    os.replace(os.path.join(run, "new"), os.path.join(run, "status.json"))
def ready(**status):
    tell(phase="ready", **status)
    os.close(options.ready_fd)
def stay():
    open(os.path.join(run, "stays"), "w").close()
    signal.pause()
"""
READY = "ready(argv=sys.argv[1:], order=order, cwd=os.getcwd(), sid=os.getsid(0)); stay()"


class Launcher:
    """Starts stand-ins; ends at the end of the test what they have left."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.where = Layout(str(folder / "s"), str(folder / "r"), str(folder / "l"), "user", str(folder / "c"))
        self.paths: VmPaths = self.where.vm("web")
        os.makedirs(self.paths.home)
        os.makedirs(self.where.runners)
        self.children: list[subprocess.Popen[bytes]] = []

    def archive(self, script: str, name: str = "runner-0123456789abcdef.pyz") -> str:
        path = os.path.join(self.where.runners, name)
        pathlib.Path(path).write_text(HEAD + script)
        return path

    def start(self, script: str, purpose: str = "start", seconds: float = 60) -> Start:
        return Start(self.where, self.paths, self.archive(script), purpose, seconds)

    def begin(self, script: str, purpose: str = "start", seconds: float = 60) -> dict[str, t.Any]:
        return starting.begin(self.start(script, purpose, seconds))

    def fails(self, script: str, seconds: float = 60) -> MaqetError:
        with pytest.raises(MaqetError) as caught:
            self.begin(script, seconds=seconds)
        return caught.value

    def close(self) -> None:
        for child in self.children:  # Popen may not know: a launcher that lets go of its child says that it has ended
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # is it ours still?
                os.kill(child.pid, signal.SIGKILL)
                os.waitpid(child.pid, 0)
            child.returncode = 0


@pytest.fixture
def launcher(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Launcher]:
    monkeypatch.setattr(starting, "manager_of", lambda _where: None)
    found = Launcher(tmp_path)

    class Popen(subprocess.Popen):  # type: ignore[type-arg]  # a launcher forgets its child; we end it
        def __init__(self, *arguments: t.Any, **more: t.Any) -> None:
            super().__init__(*arguments, **more)
            found.children.append(self)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    yield found
    found.close()


def test_ready(launcher: Launcher, tmp_path: pathlib.Path) -> None:
    status = launcher.begin(READY)
    assert status["phase"] == "ready"
    assert status["cwd"] == "/" and status["sid"] == status["pid"], "of no folder and no session of ours"
    assert status["argv"][:-2] == [
        *("--vm", "web", "--state", f"{tmp_path}/s", "--run", f"{tmp_path}/r", "--log", f"{tmp_path}/l"),
        *("--scope", "user", "--config", f"{tmp_path}/c"),
    ]
    process = processes.of_pid(status["pid"])
    assert process is not None and process.alive()
    assert pathlib.Path(launcher.paths.runner_log).read_text() == "words of the runner\n"
    assert stat.S_IMODE(os.stat(launcher.paths.runner_log).st_mode) == 0o600


@pytest.mark.parametrize("purpose", ["start", "adopt"])
def test_the_order(launcher: Launcher, purpose: str) -> None:
    """A status of another attempt is no answer; of a VM that lives it is all that is known, so it stays."""
    os.makedirs(launcher.paths.run)
    files.write_json(launcher.paths.status, {"phase": "ready", "launch": "old"})
    ready = READY.replace("ready(", "ready(there=there, ")
    script = f"there = os.path.exists(os.path.join(run, 'status.json')); {ready}"
    start = launcher.start(script, purpose)
    status = starting.begin(start)
    assert status["order"] == {"word": start.word, "purpose": purpose}
    assert status["there"] == (purpose == "adopt")
    assert Start(launcher.where, launcher.paths, "", purpose, 1).word != start.word


def test_what_a_unit_would_start_it_with(launcher: Launcher, tmp_path: pathlib.Path) -> None:
    launcher.begin(READY)
    assert pathlib.Path(launcher.paths.runner_env).read_text().splitlines() == [
        f'MAQET_PYTHON="{sys.executable}"',
        f'MAQET_RUNNER="{launcher.where.runners}/runner-0123456789abcdef.pyz"',
        f'MAQET_STATE="{tmp_path}/s"',
        f'MAQET_RUN="{tmp_path}/r"',
        f'MAQET_LOG="{tmp_path}/l"',
        'MAQET_SCOPE="user"',
        f'MAQET_CONFIG="{tmp_path}/c"',
    ]


def test_the_python_that_the_role_has_made(launcher: Launcher) -> None:
    python = pathlib.Path(launcher.where.venv_python)
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexport OF_THE_ROLE=1\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    status = launcher.begin("ready(role=os.environ.get('OF_THE_ROLE')); stay()")
    assert status["role"] == "1"
    assert f'MAQET_PYTHON="{python}"\n' in pathlib.Path(launcher.paths.runner_env).read_text()


def test_a_user_without_an_environment_has_the_systems(launcher: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    system = launcher.where._replace(state=f"{launcher.where.state}-of-root")
    monkeypatch.setattr(paths, "SYSTEM", system)
    python = pathlib.Path(system.venv_python)
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    start = Start(launcher.where, launcher.paths, "", "start", 1)
    assert start.python == str(python)
    python.unlink()
    assert start.python == sys.executable


def test_only_the_pipe_is_passed_on(launcher: Launcher) -> None:
    """A descriptor of the task's in a runner would hold the task until the VM ends."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    script = "fds = {int(fd): os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd') if "
    script += "os.path.exists(f'/proc/self/fd/{fd}')}; ready(fds=fds, mine=options.ready_fd); stay()"
    try:
        status = launcher.begin(script)
    finally:
        os.close(reader)
        os.close(writer)
    mine = str(status["mine"])
    assert {fd: path for fd, path in status["fds"].items() if fd != mine} == {
        "0": "/dev/null",
        "1": launcher.paths.runner_log,
        "2": launcher.paths.runner_log,
    }


def test_a_failure_with_its_reason(launcher: Launcher) -> None:
    error = MaqetError("QEMU ended.", "qemu_failed", qemu_status=1)
    found = launcher.fails(f"tell(phase='failed', error=json.loads({json.dumps(error.as_dict())!r}))")
    assert found.as_dict() == error.as_dict()


def test_a_failure_of_one_whose_qemu_lives(launcher: Launcher) -> None:
    error = {"error_code": "monitor_unreachable", "message": "No greeting."}
    assert launcher.fails(f"tell(phase='ready', error={error!r})").error_code == "monitor_unreachable"


@pytest.mark.parametrize(
    "script",
    [
        "sys.exit(1)",
        "raise ZeroDivisionError",
        "tell(phase='starting')",
        "order['word'] = 'old'; ready()",
        "order['word'] = 'old'; tell(phase='failed', error={'error_code': 'qemu_failed', 'message': 'of old'})",
        "tell(phase='ready'); open(os.path.join(run, 'status.json'), 'w').write('[]')",
    ],
)
def test_an_end_without_a_word(launcher: Launcher, script: str) -> None:
    error = launcher.fails(script)
    assert error.error_code == "runner_failed"
    assert str(error).startswith("The runner of VM web did not start: it ended without a word. The end of ")
    assert "words of the runner" in str(error)
    assert error.details["log"].startswith("words of the runner")


def test_silence(launcher: Launcher) -> None:
    begun = time.monotonic()
    error = launcher.fails("tell(phase='starting'); stay()", seconds=0.5)
    assert error.error_code == "runner_failed"
    assert "it was not ready within 0.5 s" in str(error)
    assert 0.5 <= time.monotonic() - begun < 30
    known = files.read_json(launcher.paths.status)
    assert known is None or processes.of_pid(known["pid"]) is None, "it has been ended"


def test_silence_of_one_that_does_not_hear(launcher: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "_END_SECONDS", 0.3)
    script = "signal.signal(signal.SIGTERM, signal.SIG_IGN); tell(phase='starting')\nwhile True: signal.pause()"
    launcher.fails(script, seconds=3)
    known = files.read_json(launcher.paths.status)
    assert known is not None and processes.of_pid(known["pid"]) is None


def stays(launcher: Launcher, more: str = "") -> processes.Process:
    """A runner that runs, and is a child of ours."""
    status = launcher.begin(f"{more}; {READY}" if more else READY)
    process = processes.of_pid(status["pid"])
    assert process is not None
    return process


def test_replacing(launcher: Launcher) -> None:
    """The old one has gone before the new one comes: two would fight for the monitor."""
    old = stays(launcher)
    script = f"gone = not os.path.exists('/proc/{old.pid}/exe'); ready(gone=gone, order=order); stay()"
    status = starting.replace(launcher.start(script, "adopt"), old)
    assert (status["gone"], status["order"]["purpose"]) == (True, "adopt")
    assert not old.alive()


def test_replacing_one_that_does_not_leave(launcher: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "_LEAVE_SECONDS", 0.3)
    old = stays(launcher, "signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    starting.replace(launcher.start(READY, "adopt"), old)
    assert not old.alive()


def test_replacing_one_that_is_gone(launcher: Launcher) -> None:
    assert starting.replace(launcher.start(READY, "adopt"), None)["phase"] == "ready"


def test_who_else_starts_it_is_named(launcher: Launcher) -> None:
    script = "import sys, fcntl, json, os; f = open(sys.argv[1], 'w+'); fcntl.flock(f, fcntl.LOCK_EX);"
    script += "json.dump({'pid': 7, 'who': 'a task that starts it', 'since': 0}, f); f.flush(); print(flush=True);"
    script += "sys.stdin.read()"
    os.makedirs(os.path.dirname(launcher.paths.launch_lock))
    command = [sys.executable, "-c", script, launcher.paths.launch_lock]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdin is not None
        holder.stdout.readline()
        words = r"The runner of VM web is held by a task that starts it \(pid 7\)"
        with pytest.raises(MaqetError, match=words) as caught, starting.alone(launcher.paths, 0.2):
            pass
        assert caught.value.error_code == "vm_busy"
        threading.Timer(0.1, holder.stdin.close).start()
        with starting.alone(launcher.paths, 60):
            pass
    assert not os.path.exists(os.path.dirname(launcher.paths.launch_lock))


def test_being_alone_does_not_make_a_vms_folder(launcher: Launcher) -> None:
    with starting.alone(launcher.paths, 0):
        assert not os.path.exists(launcher.paths.run)
        with starting.alone(launcher.where.vm("other"), 0):
            pass
    assert os.listdir(launcher.where.run) == []


def test_the_archive_of_a_vm(launcher: Launcher) -> None:
    paths, where = launcher.paths, launcher.where
    assert starting.archive_of(where, paths) is None
    old, new = launcher.archive("", "runner-aaaa.pyz"), launcher.archive("", "runner-bbbb.pyz")
    assert starting.archive_of(where, paths) is None
    pathlib.Path(paths.runner_env).write_text(f'MAQET_RUNNER="{old}"\n')
    assert starting.archive_of(where, paths) == old
    pathlib.Path(paths.runner_env).write_text(f'MAQET_RUNNER="{new}"\n')
    assert starting.archive_of(where, paths) == new
    os.unlink(new)
    assert starting.archive_of(where, paths) is None
    assert starting.runners(where) == ["runner-aaaa.pyz"]
    files.remove(where.runners)
    assert (starting.runners(where), starting.archive_of(where, paths)) == ([], None)


class Unit:
    """A systemd that does what a test wants."""

    def __init__(self, launcher: Launcher, act: t.Callable[[], None]) -> None:
        self.called: list[tuple[str, str, float]] = []
        self._launcher, self._act = launcher, act

    def start(self, paths: VmPaths, seconds: float) -> None:
        self.called.append(("start", paths.name, seconds))
        self._act()

    def restart(self, paths: VmPaths, seconds: float) -> None:
        self.called.append(("restart", paths.name, seconds))
        self._act()


def answer(launcher: Launcher, **status: t.Any) -> t.Callable[[], None]:
    def act() -> None:
        word = files.read_json(launcher.paths.order)["word"]
        files.write_json(launcher.paths.status, {"launch": word, **status})

    return act


def test_as_a_unit(launcher: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = Unit(launcher, answer(launcher, phase="ready", n=1))
    monkeypatch.setattr(starting, "manager_of", lambda _where: unit)
    assert starting.begin(launcher.start("", seconds=7))["n"] == 1
    runner = processes.of_pid(os.getpid())
    assert starting.replace(launcher.start("", "adopt", 7), runner)["n"] == 1, "systemd ends it, not we"
    assert unit.called == [("start", "web", 7), ("restart", "web", 7)]


def test_a_unit_that_fails(launcher: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    error = MaqetError("QEMU ended.", "qemu_failed", qemu_status=1)

    def fail() -> None:
        raise MaqetError("Job for maqet@web.service failed.", "command_failed")

    def tell_and_fail() -> None:
        answer(launcher, phase="failed", error=error.as_dict())()
        fail()

    for act, expected in ((tell_and_fail, error.as_dict()), (fail, None)):
        monkeypatch.setattr(starting, "manager_of", lambda _where, act=act: Unit(launcher, act))
        with pytest.raises(MaqetError) as caught:
            starting.begin(launcher.start(""))
        if expected:
            assert caught.value.as_dict() == expected
        else:
            assert caught.value.error_code == "runner_failed"
            assert "did not start: Job for maqet@web.service failed." in str(caught.value)
