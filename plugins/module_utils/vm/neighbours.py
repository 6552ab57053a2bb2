# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The other VMs of a host, as far as they have to do with our files."""

from __future__ import annotations

import dataclasses
import os
import typing as t
from types import MappingProxyType

from ansible_collections.maqet.qemu.plugins.module_utils.definition.defaults import of_disk_type
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition, DiskFile
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.host import files, locks
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths


@dataclasses.dataclass(frozen=True)
class Use:
    """That a VM has a file: as the image of a disk, or (``below``) as what is below one."""

    vm: str
    file: DiskFile
    writes: bool
    below: bool
    runs: bool


#: Definitions, and whether QEMU runs.
Others = t.Iterable[t.Tuple[Definition, bool]]
#: VMs that are to be stopped or absent before, by their names: what they have is as good as given back.
Leaving = t.Mapping[str, str]


def uses(path: str, paths: VmPaths, others: t.Optional[Others] = None) -> list[Use]:
    """Where the other VMs have ``path`` in their definitions, under whatever name; ``others``: if known already."""
    wanted = _identity(path)
    found: list[Use] = []
    for definition, runs in (_others(paths) if others is None else others) if wanted else ():
        writes = {
            disk["name"]: not {**of_disk_type(disk), **disk}["readonly"] for disk in definition.intent.get("disks", ())
        }
        for name, file in definition.files.items():
            if _identity(file.path) == wanted:
                found.append(Use(definition.name, file, writes.get(name, True), False, runs))
            elif file.backing is not None and _identity(file.backing) == wanted:
                found.append(Use(definition.name, file, False, True, runs))
    return found


def check_free(option: str, path: str, writes: bool, paths: VmPaths, others: t.Optional[Others] = None) -> None:
    """``invalid_option`` if a VM that runs writes ``path``, or reads it and we want to write. QEMU's lock says less.

    So is writing what is below a disk of another VM, which may as well be stopped: its overlay holds what differs
    from the base as it was when it was made, and is worth nothing on another one.
    """
    for use in uses(path, paths, others):
        if writes and use.below:
            problem = f"is the base of a disk of VM {use.vm}, which writing to it would spoil"
            raise invalid_option(option, path, problem, f"Remove {use.vm} first, use a copy (clone), or set readonly")
        if use.runs and (writes or use.writes):
            how = "writes it" if use.writes else "reads it"
            problem = f"is in use: VM {use.vm} runs and {how}"
            raise invalid_option(option, path, problem, f"Stop {use.vm} first, or use a copy (clone)")


def check_start(definition: Definition, paths: VmPaths, leaving: Leaving = MappingProxyType({})) -> None:
    """What a start would be told by QEMU's image locks, with the name of the VM that holds them, and more."""
    others = list(_others(paths, leaving))  # once: of many VMs it is this that takes time
    for index, disk in enumerate(definition.intent.get("disks", ())):
        file = definition.files.get(disk["name"])
        if file is not None:
            check_free(f"disks[{index}]", file.path, not {**of_disk_type(disk), **disk}["readonly"], paths, others)
        if file is not None and file.backing is not None:
            check_free(f"disks[{index}].base", file.backing, False, paths, others)


def check_unneeded(owned: t.Iterable[str], paths: VmPaths) -> None:
    """Before files of ours are deleted: another VM may have one, or an overlay on it."""
    for path in owned:
        for use in uses(path, paths):
            what = f"an overlay on {path}" if use.below else path
            raise invalid_option(
                "purge", True, f"would delete a disk of VM {use.vm}, which has {what}", f"Remove {use.vm} first"
            )


def known_file(path: str, paths: VmPaths) -> t.Optional[DiskFile]:
    """What another VM's definition says of its image, whose guest may have made it look like something else."""
    return next((use.file for use in uses(path, paths) if not use.below), None)


def known_driver(path: str, paths: VmPaths) -> t.Optional[str]:
    """The format of an image of another VM."""
    file = known_file(path, paths)
    return file.driver if file else None


def ending(paths: VmPaths, leaving: Leaving) -> list[t.Mapping[str, t.Any]]:
    """The intents of the QEMUs that end so."""
    return [definition.intent for definition, runs in _others(paths) if runs and definition.name in leaving]


def _others(paths: VmPaths, leaving: Leaving = MappingProxyType({})) -> t.Iterator[t.Tuple[Definition, bool]]:
    folder = os.path.dirname(paths.home)
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        if name == paths.name or leaving.get(name) == "absent":
            continue
        other = paths._replace(name=name, home=os.path.join(folder, name))
        try:
            data = files.read_json(other.definition)
            if data is not None:
                yield Definition.from_json(data), name not in leaving and locks.is_held(other.qemu_log)
        except (MaqetError, OSError):  # a damaged neighbour is not our affair
            continue


def _identity(path: str) -> t.Optional[tuple[int, int, int]]:
    """What tells a file from all others; a block device by its number, since it can have several nodes."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (0, 0, status.st_rdev) if status.st_rdev else (1, status.st_dev, status.st_ino)
