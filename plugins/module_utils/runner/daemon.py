# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runner of one VM as a process: starts or takes over QEMU, owns its main monitor, and ends when QEMU has ended.

If the runner is ended instead, QEMU goes on: it was never its prisoner.

===================  ===============================================================================
SIGTERM, SIGINT      leave: answer what has been asked, and go; the next runner takes QEMU over
SIGPWR               have the guest power off in its time, then end QEMU (``systemctl stop``, host shutdown)
===================  ===============================================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import logging
import os
import resource
import signal
import sys
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, as_maqet
from ansible_collections.maqet.qemu.plugins.module_utils.host import files
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.runner import libraries, nursery
from ansible_collections.maqet.qemu.plugins.module_utils.runner.keeper import Keeper, Wishes
from ansible_collections.maqet.qemu.plugins.module_utils.runner.report import Report

log = logging.getLogger("maqet.runner")

# The customary limit is 1024, from the times of select(2).
_DESCRIPTORS = 16384
# What a runner must be told: its VM, and where its trees are.
_OPTIONS = ("vm", "state", "run", "log", "scope", "config")


def main(argv: t.Optional[t.Sequence[str]] = None) -> int:
    """A runner, or a nursery of them. Returns its exit status."""
    options = _parse(sys.argv[1:] if argv is None else argv)
    if "nursery" in options:
        libraries.complete()
        return nursery.serve(int(options["nursery"]), live)
    return live(options)


def live(options: t.Mapping[str, str]) -> int:
    """Run one VM to its end. Exit status 0: it ended, or we were asked to leave; 1: no, and the report says why."""
    where = Layout(*(options[name] for name in _OPTIONS[1:]))
    paths = where.vm(options["vm"])
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(name)s %(message)s", level=logging.INFO)
    os.umask(0o077)
    _keep_memory_to_ourselves()
    _pass_on_nothing()
    _have_descriptors()
    wishes = Wishes()
    signal.signal(signal.SIGTERM, wishes.leave_early)
    signal.signal(signal.SIGPWR, wishes.leave_early)
    try:
        _become_the_only_runner(where, paths)
        ready = options.get("ready-fd")
        return _run(where, paths, wishes, None if ready is None else int(ready))
    except (MaqetError, OSError) as error:
        log.error("%s", error)  # there is a runner, and the status is its own; or there can be no status
        return 1


def _run(where: Layout, paths: VmPaths, wishes: Wishes, ready_fd: t.Optional[int]) -> int:
    report = Report(paths, ready_fd)
    keeper = Keeper(where, paths, report, wishes)
    try:
        libraries.demand()
        asyncio.run(keeper.live())
    except (MaqetError, OSError) as failure:
        error = as_maqet(failure)
        log.error("%s", error)
        report.failed(error, keeper.lives)
        return 1
    except Exception as error:  # pylint: disable=broad-except  # whoever waits for us must hear of it
        log.exception("the runner failed")
        report.failed(MaqetError(f"The runner of VM {paths.name} failed: {error!r}.", "runner_failed"), keeper.lives)
        return 1
    return 0


def _keep_memory_to_ourselves() -> None:
    """Neither our memory nor the guest's may end up in a core file, or be read by another process: both hold secrets.

    The limit is QEMU's too. Not being dumpable (PR_SET_DUMPABLE, prctl(2)) ends with exec, so it is ours alone.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)


def _pass_on_nothing() -> None:
    """Empty our set of inheritable capabilities (capabilities(7)), which is full in some containers.

    QEMU's own user could make nothing of them; this is so that nobody need wonder.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, and this process
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable: of the lower 32, then of the upper
    with contextlib.suppress(AttributeError):
        if libc.capget(header, sets) == 0:
            sets[2] = sets[5] = 0
            libc.capset(header, sets)


def _have_descriptors() -> None:
    """Raise our limit of open files, which is QEMU's too, as far as this host lets us.

    Each disk, card and forwarded connection takes some. One that has none left to take a call with turns in a circle.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _parse(words: t.Sequence[str]) -> dict[str, str]:
    """``--option value`` and so on. Only our own launcher says them; argparse would take a tenth of a start."""
    options = {option[2:]: value for option, value in zip(words[::2], words[1::2])}
    missing = [name for name in _OPTIONS if name not in options] if "nursery" not in options else []
    if missing or len(words) % 2:
        raise SystemExit(f"This runs one QEMU and owns its monitor. It needs the options {', '.join(_OPTIONS)}.")
    return options


def _become_the_only_runner(where: Layout, paths: VmPaths) -> None:
    """A lock on the VM's own folder, which is never replaced while the VM exists; and the folders that a run needs.

    The lock is closed by the kernel, with this process: whoever sees it free does not have to look for us.
    """
    try:
        fd = os.open(paths.home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise MaqetError(f"There is no VM {paths.name}.", "vm_not_found") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise MaqetError(f"VM {paths.name} already has a runner.", "runner_failed") from None
    for folder in (paths.run, paths.log, paths.output):
        files.make_folder(folder)
    if where.scope == "system":  # others may come as far as our socket, and are asked there who they are
        for folder in (where.run, paths.run):
            files.make_passable(folder)
