# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting the runner that this module carries, and removing those that no VM uses any more."""

from __future__ import annotations

import contextlib
import fcntl
import os
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.host import files, starting
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import ADOPT, START, Layout
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import Process
from ansible_collections.maqet.qemu.plugins.module_utils.host.starting import Start
from ansible_collections.maqet.qemu.plugins.module_utils.runner import bundle


def launch(where: Layout, name: str, seconds: float) -> dict[str, t.Any]:
    """Start QEMU of VM ``name`` under our runner, and return its status; MaqetError with its reason if it fails.

    ``seconds`` is the longest that a start may take; a runner that is not ready by then is ended.
    """
    return _with_ours(where, name, START, seconds, starting.begin)


def adopt(where: Layout, name: str, seconds: float) -> dict[str, t.Any]:
    """The same for a VM whose QEMU lives and whose runner is gone."""
    return _with_ours(where, name, ADOPT, seconds, starting.begin)


def upgrade(where: Layout, name: str, runner: t.Optional[Process], seconds: float) -> dict[str, t.Any]:
    """Replace ``runner`` by ours under a QEMU that lives."""
    return _with_ours(where, name, ADOPT, seconds, lambda start: starting.replace(start, runner))


@contextlib.contextmanager
def several(where: Layout, names: t.Sized) -> t.Iterator[None]:
    """While VMs ``names`` are started: what their runners have in common is done once."""
    if len(names) < 2:
        yield
        return
    with _archives(where, fcntl.LOCK_SH):
        archive, _digest = bundle.install(where.runners)
    with starting.several(where, archive):
        yield


def is_current(digest: t.Any) -> bool:
    """Whether a runner of this digest is the one that this module carries."""
    return bool(digest == bundle.own_digest())


def _with_ours(
    where: Layout, name: str, purpose: str, seconds: float, act: t.Callable[[Start], dict[str, t.Any]]
) -> dict[str, t.Any]:
    paths = where.vm(name)
    with _archives(where, fcntl.LOCK_SH), starting.alone(paths, seconds):
        archive, _digest = bundle.install(where.runners)
        status = act(Start(where, paths, archive, purpose, seconds))
    forget_unused(where, os.path.basename(archive))
    return status


def forget_unused(where: Layout, ours: str) -> list[str]:
    """Remove the archives that no VM of this host was started with, but ``ours``; their names.

    Nothing is removed while a runner is being started: it may be of an archive that no file names yet.
    """
    if starting.runners(where) == [ours]:  # nearly always; with many VMs the rest is long
        return []
    try:
        with _archives(where, fcntl.LOCK_EX | fcntl.LOCK_NB):
            used = {starting.archive_of(where, where.vm(name)) for name in os.listdir(where.vms)}
            others = [name for name in starting.runners(where) if name != ours]
            unused = [name for name in others if os.path.join(where.runners, name) not in used]
            for name in unused:
                files.remove(os.path.join(where.runners, name))
            return unused
    except OSError:  # somebody starts one now, or the folder cannot be read: another time
        return []


@contextlib.contextmanager
def _archives(where: Layout, how: int) -> t.Iterator[None]:
    """The folder of the archives: shared by those who start from it, alone for who removes from it."""
    files.make_folder(where.runners)
    fd = os.open(where.runners, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, how)
        yield
    finally:
        os.close(fd)
