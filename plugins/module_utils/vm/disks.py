# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks: which file each one is, decided when the VM is defined; what must be done to files for that."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition, DiskFile
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.host import qemu
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.vm import neighbours, sources, space
from ansible_collections.maqet.qemu.plugins.module_utils.vm.making import Job, plain_file

_FULL = ("falloc", "full")
_ANOTHER = "Use another disk name for a new image"


@dataclasses.dataclass(frozen=True)
class Resolved:
    """The file of each disk by its name, and the jobs that make them so. A drive without a medium has no file."""

    files: dict[str, DiskFile]
    jobs: list[Job]


def resolve(
    disks: t.Sequence[t.Mapping[str, t.Any]], stored: t.Optional[Definition], paths: VmPaths, shrink: bool = False
) -> Resolved:
    """Find or plan the file of each disk; nothing is changed. ``invalid_option`` for what cannot be.

    ``shrink``: consent to make a disk smaller, whose end is lost.
    """
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
            result.files[name] = _existing(option, disk, stored, paths)
        elif disk.get("type") != "cdrom":
            file, job = _owned(option, disk, paths, known, before.get(name, {}), shrink)
            result.files[name] = file
            result.jobs.extend([job] if job else [])
    needed = sum(_needed(job, paths) for job in result.jobs)
    if needed:
        space.check_one("disks", needed, paths.disks)
    return result


def _existing(option: str, disk: t.Mapping[str, t.Any], stored: t.Optional[Definition], paths: VmPaths) -> DiskFile:
    """A file that is somebody else's: used, never deleted.

    One that a VM has already keeps its format, whatever else changes: its guest may have written to it since.
    """
    path, wanted = disk["path"], disk.get("format")
    used = next((file for file in stored.files.values() if file.path == path), None) if stored else None
    if used is not None and wanted in (None, used.driver):
        sources.readable_file(f"{option}.path", path, sources.EXISTING)
        found = DiskFile(path, used.driver, backing=used.backing)
    else:
        info = sources.look(f"{option}.path", path, wanted or neighbours.known_driver(path, paths))
        found = DiskFile(path, info.format, backing=sources.absolute(path, info.backing))
    readonly = disk.get("readonly") or disk.get("type") == "cdrom"
    if not readonly and not os.access(path, os.W_OK):
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
    option: str,
    disk: t.Mapping[str, t.Any],
    paths: VmPaths,
    known: t.Optional[DiskFile],
    before: t.Mapping[str, t.Any],
    shrink: bool,
) -> tuple[DiskFile, t.Optional[Job]]:
    """A file of our own: made if it is not there, kept if it is, grown if it is too small."""
    fmt = disk.get("format", "qcow2")
    base = None
    if "base" in disk:
        base = sources.look(f"{option}.base", disk["base"], neighbours.known_driver(disk["base"], paths))
    if known is not None and known.owned and known.driver != fmt:
        raise invalid_option(f"{option}.format", fmt, f"differs from the disk's, {known.driver}", _ANOTHER)
    path = os.path.join(paths.disks, f"{disk['name']}.{fmt}")
    file = DiskFile(path, fmt, True, base.path if base else None, base.format if base else None)
    if not os.path.lexists(path):
        return file, _new(option, disk, paths, file, base)
    plain_file(option, path)
    info = sources.look(option, path, fmt)
    if info.format != fmt:
        raise invalid_option(option, path, f"is not a {fmt} image but {info.format}", "Move the file away")
    if info.backing != file.backing:
        raise invalid_option(
            f"{option}.base", file.backing, f"is not the base of {path}, which is {info.backing}", _ANOTHER
        )
    if known is not None and disk.get("clone", before.get("clone")) != before.get("clone"):
        raise invalid_option(f"{option}.clone", disk["clone"], f"is not what {path} was made of", _ANOTHER)
    size = disk.get("size")
    if size is None or size == info.virtual_size:
        return file, None
    job = Job("grow_disk", disk["name"], file, size, disk.get("preallocation", "off"))
    if size > info.virtual_size:
        return file, job
    if not shrink:
        raise _too_small(
            option, size, f"the {info.virtual_size} that {path} has; it would lose data", "or consent to it by force"
        )
    return file, dataclasses.replace(job, kind="shrink_disk", preallocation="off")


def _new(
    option: str, disk: t.Mapping[str, t.Any], paths: VmPaths, file: DiskFile, base: t.Optional[qemu.ImageInfo]
) -> Job:
    """The job that makes a file which is not there."""
    size, preallocation = disk.get("size"), disk.get("preallocation", "off")
    if base is not None and size is not None and size < base.virtual_size:
        raise _too_small(option, size, f"the base image's {base.virtual_size}")
    if "clone" not in disk:
        return Job("create_disk", disk["name"], file, size, preallocation)
    neighbours.check_free(f"{option}.clone", disk["clone"], False, paths)  # tells who has it, unlike qemu-img
    source = sources.clone(option, disk, neighbours.known_file(disk["clone"], paths))
    if size is not None and size < source.virtual_size:
        raise _too_small(option, size, f"the {source.virtual_size} of {source.path}")
    return Job("clone_disk", disk["name"], file, size, preallocation, source)


def _too_small(option: str, size: int, than: str, more: str = "") -> MaqetError:
    remedy = "Give a larger size" + (f", {more}" if more else "")
    return invalid_option(f"{option}.size", size, f"bytes are less than {than}", remedy)


def _needed(job: Job, paths: VmPaths) -> int:
    """Bytes that a job will write, as far as that is known before; what is made sparse takes none."""
    size = job.size or 0
    if job.kind == "grow_disk":
        return max(0, size - os.stat(job.file.path).st_blocks * 512) if job.preallocation in _FULL else 0
    if job.source is None:
        full = job.kind == "create_disk" and job.preallocation in _FULL
        return qemu.measure(job.file.driver, ["--size", str(size)], job.preallocation) if full else 0
    status = os.stat(job.source.path)
    if job.verbatim:  # where both are in one file system, they may be able to share blocks; that is tried first
        folder = os.path.dirname(paths.home)
        shared = os.path.isdir(folder) and os.stat(folder).st_dev == status.st_dev
        return 0 if shared else status.st_blocks * 512
    if job.preallocation in _FULL:
        size = max(size, job.source.virtual_size)
        return qemu.measure(job.file.driver, ["--size", str(size)], job.preallocation)
    if sources.refers(job.source.driver) and not job.source.trusted:  # its copy is measured, when there is one
        return status.st_blocks * 512
    return qemu.measure(job.file.driver, [job.source.node(job.source.path)])
