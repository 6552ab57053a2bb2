# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images made, copied, grown and shrunk. A new one gets its name only when it is complete.

It is made in a folder that is root's: in ``disks/`` a QEMU that runs may write, and would lead us to other files by a
link in the right moment.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition import sizes
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import DiskFile
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.host import copying, files, qemu
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.host.progress import Progress
from ansible_collections.maqet.qemu.plugins.module_utils.vm import space
from ansible_collections.maqet.qemu.plugins.module_utils.vm.sources import Clone, check_whole, refers

# What the name of an image ends with while it is being made. The user's names end with their format.
UNFINISHED = ".new"
# Where they are made in a ``disks/`` that is a mount of its own.
_SHOP = f"making{UNFINISHED}"
#: Jobs that make a file which was not there, and which are taken back by removing it.
MAKING = ("create_disk", "clone_disk")


@dataclasses.dataclass(frozen=True)
class Job:
    """Something to do to a file before the VM can have its disk. ``size`` in bytes; None: the base's or clone's."""

    kind: str  # create_disk, clone_disk, grow_disk or shrink_disk
    disk: str
    file: DiskFile
    size: t.Optional[int]
    preallocation: str = "off"
    source: t.Optional[Clone] = None

    @property
    def verbatim(self) -> bool:
        """Whether the clone is the same file again, byte by byte."""
        source = self.source
        same = source is not None and source.driver == self.file.driver and source.alone
        return same and self.preallocation == "off" and not is_device(t.cast(Clone, source).path)


def perform(job: Job, paths: VmPaths) -> None:
    """Do it, and say in the VM's ``disks.log`` how far it is."""
    if job.size is not None and job.kind in ("grow_disk", "shrink_disk"):
        plain_file(f"disks: {job.disk}", job.file.path)
        shrink = job.kind == "shrink_disk"
        qemu.resize_image(job.file.path, job.file.driver, job.size, shrink, job.preallocation)
        return
    files.make_folder(os.path.dirname(job.file.path))
    with _workshop(paths) as folder:
        _make(job, os.path.join(folder, os.path.basename(job.file.path) + UNFINISHED), paths)


def _make(job: Job, temporary: str, paths: VmPaths) -> None:
    _clear(temporary)
    try:
        if job.source is not None:
            with Progress(paths.disks_log, f"{job.disk}: {job.source.path} -> {job.file.path}") as progress:
                try:
                    _clone(job, job.source, temporary, progress)
                except BaseException as error:
                    with contextlib.suppress(OSError):
                        progress.say(f"failed: {error or type(error).__name__}")
                    raise
                progress.say("done")
        else:
            base = None
            if job.file.backing is not None and job.file.backing_driver is not None:
                base = qemu.ImageInfo(job.file.backing, job.file.backing_driver, 0)
            qemu.create_image(temporary, job.file.driver, job.size, base, job.preallocation)
        _sync(temporary)  # qemu-img leaves that to others
        os.rename(temporary, job.file.path)
        files.sync_folder(os.path.dirname(job.file.path))
    except BaseException:
        files.remove(temporary)
        raise


def undo(job: Job) -> None:
    """Take back what :func:`perform` made, which nobody has used yet. What has another size now holds data."""
    if job.kind in MAKING:
        files.remove(job.file.path)


def forget_unfinished(paths: VmPaths) -> None:
    """Remove images whose making was broken off with its task. Whoever calls this holds the VM's lock."""
    for folder in (paths.home, paths.disks):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for name in os.listdir(folder):
                if name.endswith(UNFINISHED):
                    _clear(os.path.join(folder, name))
    files.remove(os.path.join(paths.disks, _SHOP))


def plain_file(option: str, path: str) -> None:
    """``invalid_option`` for what a QEMU may have left in its folder for an image, so that we change another file."""
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        raise invalid_option(
            option,
            path,
            "is a link, or a file that has other names too",
            "Move it away, or use it as the disk's 'path'",
        )


def is_device(path: str) -> bool:
    """Whether it is a block device."""
    return stat.S_ISBLK(os.stat(path).st_mode)


@contextlib.contextmanager
def _workshop(paths: VmPaths) -> t.Iterator[str]:
    """A folder of ours from which a finished image can be renamed into ``disks/``.

    Where that is a mount of its own it lies in there, and QEMU's user can have another folder take its name. So it is
    reached by what was opened, which programs that we start can do too.
    """
    if not _apart(paths):
        yield paths.home
        return
    shop = os.path.join(paths.disks, _SHOP)
    files.remove(shop)
    os.mkdir(shop, 0o700)
    folder = os.open(shop, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(folder).st_uid != os.geteuid():
            raise MaqetError(f"{shop} was replaced by a folder of another user.", "state_unsafe", path=shop)
        yield f"/proc/{os.getpid()}/fd/{folder}"
    finally:
        os.close(folder)
        files.remove(shop)


def _apart(paths: VmPaths) -> bool:
    return os.stat(paths.home).st_dev != os.stat(paths.disks).st_dev


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _clear(path: str) -> None:
    with contextlib.suppress(FileNotFoundError, IsADirectoryError):  # a folder is none of ours
        os.unlink(path)


def _clone(job: Job, source: Clone, target: str, progress: Progress) -> None:
    """Copy an image. What others can change is copied first, and what is verified is the copy that is used."""
    option = f"disks: {job.disk}: clone"
    frozen = job.verbatim or (not source.trusted and (refers(source.driver) or source.checksum is not None))
    frozen = frozen and not is_device(source.path)
    copy = target if job.verbatim else f"{target.removesuffix(UNFINISHED)}.source{UNFINISHED}"
    with contextlib.ExitStack() as stack:
        fd = _open(stack, source.path, os.O_RDONLY)
        if source.checksum is not None and (source.trusted or not frozen):
            _verify(option, source, fd, progress)
        if frozen:
            if not job.verbatim:
                stack.callback(_clear, copy)
            fd = _freeze(stack, fd, copy, progress, option, source.path)
            if source.checksum is not None and not source.trusted:
                _verify(option, source, fd, progress)
        if refers(source.driver) and not source.trusted:
            check_whole(option, source.path, fd, source.driver, source.backing is not None)
        if not job.verbatim:
            node = source.node(copy if frozen else source.path)
            space.check_one(option, qemu.measure(job.file.driver, [node], job.preallocation), os.path.dirname(target))
            qemu.convert_image(node, target, job.file.driver, job.preallocation, progress.phase("converted"))
    size = job.size if job.size is not None else source.virtual_size
    size = -(-size // sizes.SECTOR) * sizes.SECTOR
    if size > source.virtual_size:
        qemu.resize_image(target, job.file.driver, size, preallocation=job.preallocation)


def _freeze(stack: contextlib.ExitStack, source: int, target: str, progress: Progress, option: str, path: str) -> int:
    """A private copy, and a descriptor of it."""
    _clear(target)
    fd = _open(stack, target, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    status = os.fstat(source)
    if copying.reflink(source, fd):
        progress.say("copied: its blocks are shared (reflink)")
    else:
        space.check_one(option, status.st_blocks * 512, os.path.dirname(target))
        copying.copy(source, fd, progress.phase("copied", status.st_size))
    now = os.fstat(source)  # nobody has locked it, so that a VM may have been started with it
    if (now.st_mtime_ns, now.st_size) != (status.st_mtime_ns, status.st_size):
        raise invalid_option(option, path, "was written while it was copied", "Stop who writes it first")
    return fd


def _verify(option: str, source: Clone, fd: int, progress: Progress) -> None:
    size = os.lseek(fd, 0, os.SEEK_END)
    found = f"sha256:{copying.sha256(fd, progress.phase('verified', size))}"
    if found != source.checksum:
        raise MaqetError(
            f"{option}: {source.path!r} has the checksum {found}, and {source.checksum} is wanted. "
            "Get the file again, or correct the checksum.",
            "invalid_option",
            option=option,
            value=source.path,
            checksum=found,
            expected=source.checksum,
        )


def _open(stack: contextlib.ExitStack, path: str, flags: int) -> int:
    fd = os.open(path, flags | os.O_CLOEXEC | (os.O_NOFOLLOW if flags & os.O_CREAT else 0), 0o600)
    stack.callback(os.close, fd)
    return fd
