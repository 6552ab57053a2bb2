# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cables between two VMs: each QEMU has a socket for datagrams, and sends to the other's by its path.

So it does not matter which of the two is started first, or again: while the other one is not there, frames are lost,
as on any cable. Two VMs have two users. The folder of a socket belongs to its own QEMU, and to the other's group, whom
nobody else is let in beside; the numbers are known once both have been started. Who starts second lets itself in.
"""

from __future__ import annotations

import contextlib
import os
import stat
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_networks import End
from ansible_collections.maqet.qemu.plugins.module_utils.host import files, identity
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.runner.premises import give

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SOCKET = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def prepare(where: Layout, name: str, peer: str, uid: t.Optional[int]) -> End:
    """Make the folder in which the QEMU of ``name`` will bind its socket, and let it into that of ``peer``."""
    own, far = where.vm(name), where.vm(peer)
    folder = os.path.dirname(own.cable(peer))
    files.remove(folder)
    files.make_folder(folder)
    if uid is not None:
        for above in (where.run, own.run, own.cables):
            files.make_passable(above)
        group = _user_of(far)
        os.chown(folder, uid, uid if group is None else group)
        os.chmod(folder, 0o710)  # noqa: S103  # the other QEMU goes through it to a name that it knows
        with contextlib.suppress(FileNotFoundError):  # the other VM does not run, or has no such cable
            _admit(os.path.dirname(far.cable(name)), uid)
    return End(socket=own.cable(peer), far=far.cable(name))


def share(paths: VmPaths) -> None:
    """Let the other ends write to the sockets that our QEMU has bound."""
    if os.geteuid() != 0:
        return  # all VMs of a plain user are the same user
    with contextlib.suppress(FileNotFoundError):
        for entry in os.listdir(paths.cables):
            _admit(os.path.join(paths.cables, entry))


def _admit(path: str, group: t.Optional[int] = None) -> None:
    """Give a folder to ``group``, and the socket in it to the group that the folder has by then.

    The folder is QEMU's, which may have put anything into it: only a socket of its own is touched. Two runners may be
    here at once, so the group is looked at again.
    """
    folder = os.open(path, _FOLDER)
    try:
        owner = os.fstat(folder).st_uid
        if group is not None:
            give(folder, owner, group, 0o710)
        with contextlib.suppress(FileNotFoundError):
            socket = os.open("s", _SOCKET, dir_fd=folder)
            try:
                found = os.fstat(socket)
                if not stat.S_ISSOCK(found.st_mode) or found.st_uid != owner or found.st_nlink != 1:
                    return
                while os.fstat(socket).st_gid != os.fstat(folder).st_gid or os.fstat(socket).st_mode & 0o777 != 0o660:
                    give(socket, owner, os.fstat(folder).st_gid, 0o660)
            finally:
                os.close(socket)
    finally:
        os.close(folder)


def _user_of(paths: VmPaths) -> t.Optional[int]:
    """The user of a VM's QEMU, if it has one by now."""
    try:
        owner = os.lstat(paths.output).st_uid
    except OSError:
        return None
    return owner if identity.is_vms(owner) else None
