# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What belongs to QEMU's own user on this host: its folders and images, and nothing beside them.

QEMU may have written into its folders all that its user can, links to other files too. So nothing
in them is followed: a file is opened first, looked at, and changed through what was opened.
"""

from __future__ import annotations

import os
import stat
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition, DiskFile
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import files, identity
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def prepare(where: Layout, definition: Definition) -> t.Optional[int]:
    """Find or choose the user of this VM's QEMU, and make what is its own belong to it, also of a VM from before.

    None for a plain user's VM: its QEMU is that user.
    """
    paths = where.vm(definition.name)
    if where.scope != "system":
        files.make_folder(paths.output)
        return None
    uid = identity.allocate(where, definition.name, definition.uuid)
    for folder in (where.state, where.vms):
        _let_through(folder)
    own = [os.path.basename(file.path) for file in definition.files.values() if is_own(file, paths)]
    home = os.open(paths.home, _FOLDER)
    try:
        give(home, 0, uid, 0o710)
        for name, content in (("output", []), ("disks", own)):
            _folder(home, name, content, uid, paths)
    finally:
        os.close(home)
    return uid


def is_own(file: DiskFile, paths: VmPaths) -> bool:
    """Whether an image is one that we made, in the place where QEMU's user may open it."""
    return file.owned and os.path.dirname(file.path) == paths.disks


def variables(paths: VmPaths, name: str, uid: int) -> None:
    """The file ``name`` of UEFI variables. Its folder stays root's, so that nobody can put another file there."""
    folder = os.open(paths.nvram, _FOLDER)
    try:
        give(folder, 0, uid, 0o710)
        _image(folder, name, uid, os.path.join(paths.nvram, name))
    finally:
        os.close(folder)


def own_folder(paths: VmPaths, path: str, uid: t.Optional[int]) -> None:
    """A folder in the VM's home that is all QEMU's, with the files in it: they may be those of a VM of the same name.

    It was removed without ``purge``, and had another number.
    """
    files.make_folder(path)
    if uid is not None:
        home = os.open(paths.home, _FOLDER)
        try:
            _folder(home, os.path.basename(path), os.listdir(path), uid, paths)
        finally:
            os.close(home)


def display(paths: VmPaths, uid: t.Optional[int]) -> None:
    """The folder for a socket that QEMU makes itself."""
    folder = os.path.dirname(paths.vnc_socket)
    files.make_folder(folder)
    if uid is not None:
        os.chown(folder, uid, uid, follow_symlinks=False)
        for above in (paths.run, os.path.dirname(paths.run)):
            _let_through(above)


def _let_through(folder: str) -> None:
    """QEMU's user must get past it, and need not see what is in it."""
    mode = stat.S_IMODE(os.stat(folder).st_mode)
    if mode & 0o111 != 0o111:
        os.chmod(folder, mode | 0o111)  # noqa: S103  # the files in it are closed


def _folder(home: int, name: str, content: t.Iterable[str], uid: int, paths: VmPaths) -> None:
    """One folder of QEMU's, and the files in it that it needs. ``home`` is root's: its names are what they were."""
    try:
        folder = os.open(name, _FOLDER, dir_fd=home)
    except FileNotFoundError:  # a VM without disks of its own
        return
    except OSError as error:
        raise _unsafe(os.path.join(paths.home, name), f"cannot be opened as a folder: {error.strerror}") from None
    try:
        give(folder, uid, uid, 0o700)
        for entry in content:
            _image(folder, entry, uid, os.path.join(paths.home, name, entry))
    finally:
        os.close(folder)


def _image(folder: int, name: str, uid: int, path: str) -> None:
    try:
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        raise _unsafe(path, f"cannot be opened: {error.strerror}") from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise _unsafe(path, "is a link, or a file that has other names too")
        if status.st_uid not in (0, uid) and not identity.is_vms(status.st_uid):
            raise _unsafe(path, f"belongs to uid {status.st_uid}")
        give(fd, uid, uid, 0o600)
    finally:
        os.close(fd)


def give(fd: int, uid: int, gid: int, mode: int) -> None:
    """Owner and mode of what is open; O_PATH needs the way through /proc (open(2)). The owner first: it clears bits."""
    path = f"/proc/self/fd/{fd}"
    status = os.fstat(fd)
    if (status.st_uid, status.st_gid) != (uid, gid):
        os.chown(path, uid, gid)
    if stat.S_IMODE(status.st_mode) != mode:
        os.chmod(path, mode)


def _unsafe(path: str, problem: str) -> MaqetError:
    return MaqetError(
        f"{path} {problem}; QEMU's own user is not given it. Put a plain file there, or define the disk with 'path'.",
        "state_unsafe",
        path=path,
    )
