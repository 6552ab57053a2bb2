# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test hosts themselves: ready means reachable, and nothing of them is left, also after a crash."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.tests.hosts import nspawn, rootfs

# A session that is killed once its host runs, or while the host's root is mounted and nothing runs yet.
CRASH = """
import os, signal, sys
from ansible_collections.maqet.qemu.tests.hosts import nspawn, rootfs
def die(*_arguments):
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[1] == "half-made":
    rootfs.personalise = die
run = nspawn.Run().__enter__()
print(run.name, run.bridge, flush=True)
run.up("h1")
die()
"""


def test_a_new_host_is_ready_and_reachable(nspawn_host: nspawn.Host) -> None:
    """The first login after `up` works, and systemd has nothing left to start nor anything that failed."""
    assert nspawn_host.ssh("hostname").strip() == "h1"
    assert nspawn_host.ssh("systemctl", "is-system-running").strip() == "running"
    assert nspawn_host.ssh("sudo", "id", "-un").strip() == "root"


def test_a_power_cut_ends_processes_and_keeps_files(nspawn_host: nspawn.Host) -> None:
    """After a cut the host is not running; booted again it has its files and another boot."""
    before = nspawn_host.root("systemctl", "show", "-p", "UserspaceTimestampMonotonic")
    nspawn_host.ssh("sh", "-c", "echo kept >note; sync")
    nspawn_host.kill()
    assert not nspawn_host.running()

    nspawn_host.start()
    assert nspawn_host.ssh("cat", "note").strip() == "kept"
    assert nspawn_host.root("systemctl", "show", "-p", "UserspaceTimestampMonotonic") != before


@pytest.mark.parametrize("moment", ["half-made", "booted"])
def test_a_crashed_session_is_swept(nspawn_host: nspawn.Host, moment: str) -> None:
    """What a killed session leaves goes with the next sweep; the session that sweeps keeps its own hosts."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    crashed = subprocess.run(
        [sys.executable, "-c", CRASH, moment], env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    name, bridge = crashed.stdout.split()
    folder = rootfs.cache_folder() / "runs" / name
    assert os.path.ismount(folder / "hosts/h1/root") or (folder / "hosts/h1/root/etc").is_dir()
    assert Path("/sys/class/net", bridge).exists()

    assert name in nspawn.Run.sweep()
    assert not folder.exists()
    assert not Path("/sys/class/net", bridge).exists()
    assert f"{bridge}-h1" not in "".join(_command_lines())
    assert nspawn_host.ssh("hostname").strip() == "h1"


def _command_lines() -> list[str]:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_text("utf-8", "replace"))
        except OSError:
            continue  # ended meanwhile
    return lines
