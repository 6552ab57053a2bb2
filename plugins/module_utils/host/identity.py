# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A numeric user for each of the system's VMs, so that its QEMU can touch nothing but what is its own.

There is no entry for it in the user database: the number is the group's too, and the owner of the
VM's folder ``output`` remembers it.
"""

from __future__ import annotations

import contextlib
import fcntl
import grp
import hashlib
import os
import pwd
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import files
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout

#: Numbers that no distribution and no systemd hands out (systemd.io, "Users, Groups, UIDs and GIDs"), and numbers
#: for containers, where mostly only 0 to 65535 exist. The first range of which all numbers exist is used.
RANGES = (range(2_100_000_000, 2_100_065_536), range(50_000, 58_192))


def is_vms(uid: int) -> bool:
    """Whether ``uid`` can be that of a VM: what it owns, QEMU may have written."""
    return any(uid in numbers for numbers in RANGES)


def allocate(where: Layout, name: str, uuid: str) -> int:
    """The number of VM ``name``, which has it from now on: its folder ``output`` is made, and belongs to it.

    ``no_identity`` if this host has no number for it. Two VMs that start at once wait for each other.
    """
    output = where.vm(name).output
    with _alone(where.vms):
        files.make_folder(output)
        taken = _owners(where, name)
        uid = os.lstat(output).st_uid
        numbers = available()
        if uid not in numbers or uid in taken or _known(uid):
            uid = choose(numbers, uuid, lambda number: number in taken or _known(number))
            os.chown(output, uid, uid, follow_symlinks=False)
    return uid


def choose(numbers: range, uuid: str, taken: t.Callable[[int], bool]) -> int:
    """A number that is not taken, beginning at a place that the VM's ``uuid`` decides.

    So the number of a VM that is gone is seldom given to the next one, which could read what was left behind.
    """
    start = int.from_bytes(hashlib.sha256(uuid.encode("ascii")).digest()[:8], "big")
    for step in range(len(numbers)):
        uid = numbers[(start + step) % len(numbers)]
        if not taken(uid):
            return uid
    raise _none(f"all numbers from {numbers[0]} to {numbers[-1]} are in use")


def available(uid_map: t.Optional[str] = None, gid_map: t.Optional[str] = None) -> range:
    """The range to use, by the maps of our user namespace (user_namespaces(7)), which are read if not given."""
    users = _read("/proc/self/uid_map") if uid_map is None else uid_map
    groups = _read("/proc/self/gid_map") if gid_map is None else gid_map
    for numbers in RANGES:
        if _maps(users, numbers) and _maps(groups, numbers):
            return numbers
    raise _none("this user namespace has no numbers for it")


def _maps(text: str, numbers: range) -> bool:
    """Lines of (first number here, first number outside, how many)."""
    for line in text.splitlines():
        first, _outside, count = map(int, line.split())
        if first <= numbers[0] and numbers[-1] < first + count:
            return True
    return False


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()


def _known(uid: int) -> bool:
    """Whether the user database has it as a user or a group."""
    for ask in (pwd.getpwuid, grp.getgrgid):
        with contextlib.suppress(KeyError):
            ask(uid)
            return True
    return False


def _owners(where: Layout, name: str) -> set[int]:
    """The numbers of all other VMs, also of one of which only its disks are left."""
    owners: set[int] = set()
    for other in os.listdir(where.vms):
        if other == name:
            continue
        home = os.path.join(where.vms, other)
        for folder in (home, os.path.join(home, "disks"), os.path.join(home, "output")):
            with contextlib.suppress(OSError):
                status = os.lstat(folder)
                owners |= {status.st_uid, status.st_gid}
    return owners


@contextlib.contextmanager
def _alone(folder: str) -> t.Iterator[None]:
    files.make_folder(folder)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _none(why: str) -> MaqetError:
    return MaqetError(
        f"QEMU cannot have a user of its own: {why}. In a container, map at least 65536 users and groups; "
        "or start the VM as a plain user.",
        "no_identity",
    )
