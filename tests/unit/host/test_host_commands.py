# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of the host: run to their end, or a sentence why not."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.commands import run, run_long


def test_stdout_is_returned() -> None:
    assert run(["sh", "-c", "echo out; echo err >&2"]) == "out\n"


def test_there_is_no_shell_and_no_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert run(["echo", "$HOME;ls", "*"]) == "$HOME;ls *\n"
    assert run(["cat"]) == ""
    assert run(["sh", "-c", "echo $LC_ALL"]) == "C.UTF-8\n"
    assert run(["sh", "-c", "echo $LC_ALL $MORE"], extra={"MORE": "more"}) == "C.UTF-8 more\n"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["sh", "-c", "echo no such disk >&2; exit 3"], "sh failed with status 3: no such disk"),
        (["sh", "-c", "exit 4"], "sh failed with status 4: it said nothing"),
        (["sh", "-c", "printf 'a\\377b' >&2; exit 1"], "a�b"),
        (["maqet-no-such-program"], "maqet-no-such-program is not installed on this host."),
    ],
)
def test_failures(command: list[str], words: str) -> None:
    with pytest.raises(MaqetError) as caught:
        run(command)
    assert words in str(caught.value)
    assert caught.value.error_code == "command_failed"
    assert caught.value.details["command"] == command


def test_a_program_that_does_not_end() -> None:
    begun = time.monotonic()
    with pytest.raises(MaqetError, match=r"sleep did not end within 0\.1 s") as caught:
        run(["sleep", "60"], 0.1)
    assert caught.value.error_code == "command_failed"
    assert time.monotonic() - begun < 30


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_with_the_rights_of_another_user() -> None:
    assert run(["sh", "-c", "id -u; id -g; id -G; pwd"], user=54321) == "54321\n54321\n54321\n/\n"


def test_a_long_one_is_heard_as_it_speaks() -> None:
    heard: list[bytes] = []
    run_long(["sh", "-c", "printf 1; read line; printf 2"], heard.append)
    assert b"".join(heard) == b"12"
    with pytest.raises(MaqetError, match="sh failed with status 3: no room") as caught:
        run_long(["sh", "-c", "echo no room >&2; exit 3"], heard.append)
    assert caught.value.error_code == "command_failed"


def test_a_long_one_ends_when_its_listener_fails() -> None:
    def give_up(_data: bytes) -> None:
        raise KeyboardInterrupt

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_long(["sh", "-c", "echo; exec sleep 60"], give_up)
    assert time.monotonic() - begun < 30


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is what has the kernel end it")
def test_a_long_one_does_not_outlive_us() -> None:
    """Killed with SIGKILL, which nobody can prepare for."""
    reader, writer = os.pipe()
    source = (
        "import os\n"
        "from ansible_collections.maqet.qemu.plugins.module_utils.host.commands import run_long\n"
        f"run_long(['sh', '-c', 'echo $$; exec sleep 60'], lambda data: os.write({writer}, data))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", source], env=environment, pass_fds=(writer,)) as child:
        os.close(writer)
        pid = int(os.read(reader, 20))
        pidfd = os.pidfd_open(pid)
        child.send_signal(signal.SIGKILL)
    assert select.select([pidfd], [], [], 10)[0], "it still runs"
    os.close(pidfd)
    os.close(reader)
