# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images below an overlay, as far as QEMU's own user cannot open them itself.

A header is as trustworthy as whoever can write the image. So what a header names is opened for QEMU
only if the definition says the same, or if the image that names it is root's alone.
"""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import qemu
from ansible_collections.maqet.qemu.plugins.module_utils.host.commands import run

_DEEPEST = 16


@dataclass(frozen=True)
class Link:
    """An image below another, and its format."""

    path: str
    driver: str


def to_pass(disk: str, top: str, driver: str, defined: t.Optional[str], uid: int) -> list[Link]:
    """The images below ``top``, nearest first, if QEMU's user ``uid`` must be given them; else none.

    None as well if the header names another image than ``defined``, the one of the definition, since a job has
    changed the chain: what it names now, QEMU opens with its own rights, as it does what it can open anyway.
    """
    if defined is None or driver == "raw":
        return []
    info = qemu.image_info(top, driver)
    if _absolute(top, info.backing) != defined:
        return []
    links: list[Link] = []
    while info.backing is not None:
        if len(links) == _DEEPEST:
            raise _too_deep(disk, f"it has more than {_DEEPEST} images")
        path, kind = _absolute(info.path, info.backing) or "", info.backing_format
        if kind is None:
            raise _too_deep(disk, f"{info.path} does not say which format {path} has")
        links.append(Link(path, kind))
        info = qemu.ImageInfo(path, kind, 0) if kind == "raw" else qemu.image_info(path, kind)
        if info.backing is not None and not _roots_alone(path):
            if all(_may_read(link.path, uid) for link in links):
                return []
            raise _too_deep(disk, f"{path} names a base of its own, and others than root can write it")
    return [] if all(_may_read(link.path, uid) for link in links) else links


def to_name(path: str, driver: t.Optional[str], everybodys: bool) -> list[str]:
    """``path``, the base that a definition names, and the images below it: what QEMU may be told to open.

    As long as the image that names the next one is root's alone; with ``everybodys``, where QEMU has our own rights,
    anybody's.
    """
    found = [path]
    while driver not in (None, "raw") and (everybodys or _roots_alone(path)) and len(found) < _DEEPEST:
        info = qemu.image_info(path, driver)
        if info.backing is None:
            break
        path, driver = _absolute(path, info.backing) or "", info.backing_format
        found.append(path)
    return found


def _absolute(image: str, backing: t.Optional[str]) -> t.Optional[str]:
    """A backing file is named relative to the image that names it."""
    return None if backing is None else os.path.join(os.path.dirname(image), backing)


def _roots_alone(path: str) -> bool:
    status = os.stat(path)
    return status.st_uid == 0 and not status.st_mode & 0o022


def _may_read(path: str, uid: int) -> bool:
    """Asked of the kernel by a process of that user: access lists, mounts and security modules have their say."""
    try:
        run(["test", "-r", path], user=uid)
    except MaqetError:
        return False
    return True


def _too_deep(disk: str, why: str) -> MaqetError:
    return MaqetError(
        f"disks: {disk}: QEMU's own user cannot read the images below it, and they are not opened for it: {why}. "
        "Give others the right to read them (chmod o+r, and o+x for their folders), or make them root's alone.",
        "state_unsafe",
        disk=disk,
    )
