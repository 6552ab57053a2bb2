# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that somebody else has made, looked at before anything is done with them."""

from __future__ import annotations

import dataclasses
import os
import stat
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import DiskFile
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, access_remedy, invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.guard import images
from ansible_collections.maqet.qemu.plugins.module_utils.host import misled, qemu

#: What to do about an image that is not there. A play is written on another machine than the one that it is for.
EXISTING = "Give the path of an image on the managed host"
_DEEPEST = 16
#: Endings that promise a format, which raw bytes are not.
_PROMISES = (".qcow", ".qcow2", ".vdi", ".vhd", ".vhdx", ".vmdk")
_FLATTEN = "Make it one file first: qemu-img convert -O qcow2 IMAGE COPY"


@dataclasses.dataclass(frozen=True)
class Clone:
    """An image to copy. ``alone``: it has no backing file. ``trusted``: nobody but us and root can change it.

    ``checksum`` is ``sha256:`` and hexadecimal digits in lower case. ``backing``: what is below it by the definition of
    the VM that has it, whatever its header says by now.
    """

    path: str
    driver: str
    virtual_size: int
    alone: bool
    trusted: bool
    checksum: t.Optional[str] = None
    backing: t.Optional[qemu.ImageInfo] = None

    def node(self, path: str) -> str:
        """The image for qemu-img, under its own path or that of a copy of it."""
        return qemu.image_node(path, self.driver, self.alone, self.backing)


def readable_file(option: str, path: str, remedy: str) -> None:
    """``invalid_option`` unless ``path`` is a file (or block device) that this user may read."""
    try:
        mode = misled.look(path).st_mode
    except misled.Misled as error:
        problem = f"leads over {error.filename}, and {error.strerror}"
        raise invalid_option(option, path, problem, "Give the path of the file itself, if you trust it") from None
    except OSError as error:
        raise invalid_option(option, path, f"cannot be used: {error.strerror}", remedy) from None
    if stat.S_ISDIR(mode):
        raise invalid_option(option, path, "is a folder", remedy)
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise invalid_option(option, path, "is neither a file nor a block device", remedy)
    if not os.access(path, os.R_OK):
        raise invalid_option(option, path, f"may not be read by uid {os.geteuid()}", access_remedy())


def look(option: str, path: str, expected: t.Optional[str] = None, force: bool = False) -> qemu.ImageInfo:
    """What an image is. Its format is detected; ``force`` takes ``expected`` for it without a look."""
    readable_file(option, path, EXISTING)
    if expected == "raw":  # any file may be shown to the guest byte by byte, so its content says nothing
        return qemu.ImageInfo(path, "raw", _size(path))
    try:
        info = qemu.image_info(path, expected if force else None)
    except MaqetError as error:
        raise invalid_option(option, path, f"is no image that qemu-img can read: {error}", "Check the file") from None
    if expected is None and info.format == "raw" and path.lower().endswith(_PROMISES):
        problem = "is no image of the format that its name promises; what it holds could only be taken as raw"
        raise invalid_option(option, path, problem, "Fetch it again, or if it is a raw disk, call it .img")
    if info.backing is not None and info.backing_format is None:  # QEMU would guess it, each time anew
        raise invalid_option(
            option,
            path,
            f"has the backing file {info.backing}, and its header does not say in which format",
            f"Write it down: qemu-img rebase -u -b {info.backing} -F FORMAT {path}",
        )
    return info


def absolute(path: str, backing: t.Optional[str]) -> t.Optional[str]:
    """A backing file is named relative to the image that names it."""
    return None if backing is None else os.path.join(os.path.dirname(path), backing)


def clone(option: str, disk: t.Mapping[str, t.Any], defined: t.Optional[DiskFile] = None) -> Clone:
    """The image that ``disk`` is to be a copy of; ``defined`` is what the VM that has it says of it.

    A header is as trustworthy as whoever can write the image: others' images have to be whole in themselves, or a
    copy of one would bring any file of the host into the guest.
    """
    path, option = disk["clone"], f"{option}.clone"
    info = look(option, path, disk.get("clone_format") or (defined.driver if defined else None), force=True)
    try:
        qemu.image_info(path, info.format, shared=False)
    except MaqetError as error:
        raise invalid_option(option, path, f"cannot be copied now: {error}", "Stop who writes it first") from None
    trusted, backing = ours_alone(path), None
    below, depth = info, 0
    while below.backing is not None or below.parts:
        next_one = absolute(below.path, below.backing)
        if not ours_alone(below.path):
            if below is not info or below.parts or not _as_defined(next_one, below.backing_format, defined):
                problem = (
                    f"has part of its data in {next_one or below.parts[0]}, and others can change which file that is"
                )
                raise invalid_option(option, below.path, problem, _FLATTEN)
            backing = qemu.ImageInfo(t.cast(str, next_one), t.cast(str, below.backing_format), 0)
        if next_one is None:
            break
        depth += 1
        if depth == _DEEPEST:
            raise invalid_option(option, path, f"has more than {_DEEPEST} images below it", _FLATTEN)
        below = look(option, next_one, below.backing_format, force=True)
    return Clone(path, info.format, info.virtual_size, info.backing is None, trusted, disk.get("checksum"), backing)


def _as_defined(backing: t.Optional[str], fmt: t.Optional[str], defined: t.Optional[DiskFile]) -> bool:
    """Whether a header says what the definition of its VM says."""
    return defined is not None and backing is not None and (backing, fmt) == (defined.backing, defined.backing_driver)


def ours_alone(path: str) -> bool:
    """Whether only root and this user can write a file. (That they can replace it, its folder decides.)"""
    status = os.stat(path)
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022


def check_whole(option: str, path: str, fd: int, driver: str, overridden: bool = False) -> None:
    """``invalid_option`` if the header of the image ``fd``, which nobody can change any more, names other files.

    ``overridden``: which file is below it is not asked of the header.
    """
    if driver == "vmdk":
        head = os.pread(fd, 20, 0)  # VMware's "Virtual Disk Format 5.0": magic, version, flags, capacity in sectors
        if head[:4] == b"KDMV" and any(head[12:20]):
            return
        raise invalid_option(option, path, "has its data in further files, and others can change it", _FLATTEN)
    try:
        header = images.inspect(fd, driver)
    except images.Unreadable as error:
        raise invalid_option(option, path, f"cannot be judged: {error}", _FLATTEN) from None
    named = header.data_file or (None if overridden else header.backing)
    if named is not None:
        raise invalid_option(option, path, f"names {named}, and others can change it", _FLATTEN)


def refers(driver: str) -> bool:
    """Whether images of this format can name other files."""
    return driver not in images.SELF_CONTAINED


def _size(path: str) -> int:
    """In bytes; stat(2) says 0 of a block device."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.lseek(fd, 0, os.SEEK_END)
    finally:
        os.close(fd)
