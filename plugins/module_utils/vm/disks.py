# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks: which file each one is, decided when the VM is defined; what must be made or grown for that."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition, DiskFile
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.host import files, qemu
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths

# What the name of an image ends with while it is being made. The user's names end with their format.
_UNFINISHED = ".new"


@dataclasses.dataclass(frozen=True)
class Job:
    """Something to do to a file before the VM can have its disk. ``size`` in bytes; None: the base's size."""

    kind: str  # create_disk or grow_disk
    disk: str
    file: DiskFile
    size: t.Optional[int]


@dataclasses.dataclass(frozen=True)
class Resolved:
    """The file of each disk by its name, and the jobs that make them so."""

    files: dict[str, DiskFile]
    jobs: list[Job]


def resolve(disks: t.Sequence[t.Mapping[str, t.Any]], stored: t.Optional[Definition], paths: VmPaths) -> Resolved:
    """Find or plan the file of each disk; nothing is changed. ``invalid_option`` for what cannot be."""
    result = Resolved({}, [])
    before = {disk["name"]: disk for disk in stored.intent.get("disks", ())} if stored else {}
    for index, disk in enumerate(disks):
        name, option = disk["name"], f"disks[{index}]"
        known = stored.files.get(name) if stored else None
        if known is not None and before.get(name) == disk:
            if not os.path.exists(known.path):
                raise invalid_option(option, known.path, "is gone", "Restore the file, or remove the disk.")
            result.files[name] = known
        elif "path" in disk:
            result.files[name] = _existing(option, disk, stored)
        else:
            file, job = _owned(option, disk, paths, known)
            result.files[name] = file
            result.jobs.extend([job] if job else [])
    return result


def perform(job: Job) -> None:
    """Make or grow one image. A new one gets its name only when it is complete."""
    if job.kind == "grow_disk" and job.size is not None:
        plain_file(f"disks: {job.disk}", job.file.path)
        qemu.grow_image(job.file.path, job.file.driver, job.size)
        return
    base = None
    if job.file.backing is not None and job.file.backing_driver is not None:
        base = qemu.ImageInfo(job.file.backing, job.file.backing_driver, 0)
    files.make_folder(os.path.dirname(job.file.path))
    temporary = f"{job.file.path}{_UNFINISHED}"
    with contextlib.suppress(FileNotFoundError, IsADirectoryError):
        os.unlink(temporary)  # the folder is QEMU's: a link that was left there would be followed
    try:
        qemu.create_image(temporary, job.file.driver, job.size, base)
        os.rename(temporary, job.file.path)
    except BaseException:
        files.remove(temporary)
        raise


def forget_unfinished(folder: str) -> None:
    """Remove images whose making was broken off with its task. Whoever calls this holds the VM's lock."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for name in os.listdir(folder):
            if name.endswith(_UNFINISHED):
                with contextlib.suppress(FileNotFoundError, IsADirectoryError):  # a folder is none of ours
                    os.unlink(os.path.join(folder, name))


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


def undo(job: Job) -> None:
    """Take back what :func:`perform` made, which nobody has used yet. A grown image stays grown: it holds data."""
    if job.kind == "create_disk":
        files.remove(job.file.path)


def readable_file(option: str, path: str, remedy: str) -> None:
    """``invalid_option`` unless ``path`` is a file (or block device) that this user may read."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise invalid_option(option, path, f"cannot be used: {error.strerror}", remedy) from None
    if stat.S_ISDIR(mode):
        raise invalid_option(option, path, "is a folder", remedy)
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise invalid_option(option, path, "is neither a file nor a block device", remedy)
    if not os.access(path, os.R_OK):
        raise invalid_option(option, path, f"may not be read by uid {os.geteuid()}", "Change its mode or owner")


def _existing(option: str, disk: t.Mapping[str, t.Any], stored: t.Optional[Definition]) -> DiskFile:
    """A file that is somebody else's: used, never deleted.

    One that this VM has already keeps its format, whatever else changes: its guest may have written to it since.
    """
    path, wanted = disk["path"], disk.get("format")
    used = next((file for file in stored.files.values() if file.path == path), None) if stored else None
    if used is not None and wanted in (None, used.driver):
        readable_file(f"{option}.path", path, "Give the path of an existing image")
        found = DiskFile(path, used.driver, backing=used.backing)
    else:
        info = _look(f"{option}.path", path, wanted)
        found = DiskFile(path, info.format, backing=_absolute(path, info.backing))
    if not disk.get("readonly") and not os.access(path, os.W_OK):
        raise invalid_option(
            f"{option}.path",
            path,
            f"may not be written by uid {os.geteuid()}",
            "Set readonly: true, or change its mode",
        )
    if wanted is not None and wanted != found.driver:
        raise invalid_option(
            f"{option}.format", wanted, f"is not what {path} holds, which is {found.driver}", "Correct one of the two"
        )
    return found


def _owned(
    option: str, disk: t.Mapping[str, t.Any], paths: VmPaths, known: t.Optional[DiskFile]
) -> tuple[DiskFile, t.Optional[Job]]:
    """A file of our own: made if it is not there, kept if it is, grown if it is too small."""
    fmt = disk.get("format", "qcow2")
    base = _look(f"{option}.base", disk["base"]) if "base" in disk else None
    if known is not None and known.owned and known.driver != fmt:
        raise invalid_option(
            f"{option}.format", fmt, f"differs from the disk's, {known.driver}", "Use another disk name for a new image"
        )
    path = os.path.join(paths.disks, f"{disk['name']}.{fmt}")
    file = DiskFile(path, fmt, True, base.path if base else None, base.format if base else None)
    size = disk.get("size")
    if not os.path.lexists(path):
        if base is not None and size is not None and size < base.virtual_size:
            raise _too_small(option, size, f"the base image's {base.virtual_size}")
        return file, Job("create_disk", disk["name"], file, size)
    plain_file(option, path)
    info = _look(option, path, fmt)
    if info.format != fmt:
        raise invalid_option(option, path, f"is not a {fmt} image but {info.format}", "Move the file away")
    if info.backing != file.backing:
        raise invalid_option(
            f"{option}.base",
            file.backing,
            f"is not the base of {path}, which is {info.backing}",
            "Use another disk name",
        )
    if size is None or size == info.virtual_size:
        return file, None
    if size < info.virtual_size:
        raise _too_small(option, size, f"the {info.virtual_size} that {path} has; it would lose data")
    return file, Job("grow_disk", disk["name"], file, size)


def _too_small(option: str, size: int, than: str) -> MaqetError:
    return invalid_option(f"{option}.size", size, f"bytes are less than {than}", "Give a larger size")


def _look(option: str, path: str, expected: t.Optional[str] = None) -> qemu.ImageInfo:
    readable_file(option, path, "Give the path of an existing image")
    if expected == "raw":  # any file may be shown to the guest byte by byte, so its content says nothing
        return qemu.ImageInfo(path, "raw", os.stat(path).st_size)
    try:
        info = qemu.image_info(path)
    except MaqetError as error:
        raise invalid_option(option, path, f"is no image that qemu-img can read: {error}", "Check the file") from None
    if info.backing is not None and info.backing_format is None:  # QEMU would guess it, each time anew
        raise invalid_option(
            option,
            path,
            f"has the backing file {info.backing}, and its header does not say in which format",
            f"Write it down: qemu-img rebase -u -b {info.backing} -F FORMAT {path}",
        )
    return info


def _absolute(path: str, backing: t.Optional[str]) -> t.Optional[str]:
    """A backing file is named relative to the image that names it."""
    return None if backing is None else os.path.join(os.path.dirname(path), backing)
