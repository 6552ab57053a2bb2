# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A private world: our folders are new and empty, and what the suite starts cannot outlive it.

The suite runs under unshare(1), in mount and process namespaces of its own. VMs of this machine are neither seen nor
harmed. When the suite ends, however it ends, the kernel ends every process that it has started.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import typing as t
from pathlib import Path

from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import SYSTEM
from ansible_collections.maqet.qemu.tests.chaos import mounts

PACKAGE: t.Final = "ansible_collections.maqet.qemu.tests.chaos"
#: Set for the process inside: the folder that holds everything.
INSIDE: t.Final = "MAQET_CHAOS_FOLDER"
# Paths of sockets below it may have 107 bytes, and a tmpfs would be no real disk: hence not TMPDIR.
_PLACE = "/var/tmp"
_PR_SET_PDEATHSIG = 1
# sd_booted(3): without it runners are started in sessions of their own. A manager outside would start them outside.
_SYSTEMD = "/run/systemd"


def unshare(*options: str) -> list[str]:
    """The command that makes the namespaces, up to the program to run in them."""
    whose = [] if os.geteuid() == 0 else ["--user", "--map-current-user", "--keep-caps"]
    spaces = ["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return ["unshare", *whose, *spaces, *options]


def obstacle() -> str | None:
    """Why there can be no private world here; None if there can."""
    if shutil.which("unshare") is None:
        return "there is no unshare(1) here: install util-linux"
    tried = subprocess.run([*unshare(), "true"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"no namespaces of its own: {tried.stderr.strip()}. Try it as root"


def outside(arguments: t.Sequence[str], package: str = PACKAGE) -> int:
    """Run the suite (or what else ``package`` is) in a private world and remove that world; its exit status."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(128 + signal.SIGTERM))
    libc = ctypes.CDLL(None)
    with _folder() as folder, _mount_points():
        argv = [*unshare(), sys.executable, "-m", package, *arguments]
        with subprocess.Popen(
            argv,
            env={**os.environ, INSIDE: str(folder)},
            preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),  # noqa: PLW1509  # there are no threads
        ) as child:
            try:
                while True:
                    # Ctrl-C goes to the whole group: the suite inside says how far it has come, and ends.
                    with contextlib.suppress(KeyboardInterrupt):
                        return child.wait()
            finally:
                child.kill()  # and so the init inside, and so everything


@contextlib.contextmanager
def _folder() -> t.Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="mqc-", dir=_PLACE))
    try:
        folder.chmod(0o711)  # QEMU's own user passes through
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _mount_points() -> t.Iterator[None]:
    """What the new folders are mounted over must be there; what we made for that goes again."""
    made = []
    for path in _ours() if os.geteuid() == 0 else ():
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o755)
            made.append(path)
    try:
        yield
    finally:
        for path in made:
            with contextlib.suppress(OSError):  # somebody else has begun to use it
                os.rmdir(path)


def _ours() -> tuple[str, ...]:
    return (SYSTEM.state, SYSTEM.log, SYSTEM.config, SYSTEM.run)


def init(folder: Path, main: t.Callable[[], int]) -> int:
    """The first process inside: furnish the world, run ``main`` in a child, and bury whatever has lost its parent."""
    _furnish(folder)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = main()
        except KeyboardInterrupt:
            sys.stderr.write("interrupted\n")
            status = 130
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status) & 0xFF


def _furnish(folder: Path) -> None:
    """The folders of :func:`layout`: mounted over the system's for root, named by variables for anybody else."""
    if os.path.isdir(_SYSTEMD):
        mounts.tmpfs(_SYSTEMD)
    (folder / "work").mkdir()
    if os.geteuid() != 0:
        for variable, name in (("XDG_DATA_HOME", "d"), ("XDG_STATE_HOME", "s"), ("XDG_CONFIG_HOME", "c")):
            os.environ[variable] = str(folder / name)
            (folder / name).mkdir()
        os.environ.pop("XDG_RUNTIME_DIR", None)
        os.environ.pop("DBUS_SESSION_BUS_ADDRESS", None)
        return
    for path in (SYSTEM.state, SYSTEM.log, SYSTEM.config):
        inner = folder / os.path.basename(os.path.dirname(path))
        inner.mkdir(mode=0o755)
        mounts.bind(str(inner), path)
    mounts.tmpfs(SYSTEM.run)
