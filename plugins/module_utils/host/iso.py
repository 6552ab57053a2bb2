# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small ISO 9660 images, made by whichever program this host has for it."""

from __future__ import annotations

import os
import shutil
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import commands, files

# They all take the options of mkisofs. The first, of the package xorriso, is in every distribution and still cared for.
_TOOLS = ("xorrisofs", "genisoimage", "mkisofs")
# 2000-01-01, in seconds: xorriso makes the same image of the same files with it (reproducible-builds.org).
_DATE = 946684800
# Of the primary volume descriptor, in bytes: ECMA-119, section 8.4.
_DESCRIPTOR, _MAGIC, _LABEL, _LABEL_LENGTH = 16 * 2048, b"\x01CD001", 574, 128


def tool() -> str:
    """The program; ``command_failed`` with what to install if there is none."""
    for name in _TOOLS:
        found = shutil.which(name)
        if found:
            return found
    raise MaqetError(
        f"cloud_init: this host has no program that makes ISO 9660 images ({', '.join(_TOOLS)}). Install the package "
        "xorriso, as it is called on Debian, Ubuntu, Fedora and Enterprise Linux, or apply the role "
        "maqet.qemu.hypervisor.",
        "command_failed",
    )


def label_of(path: str) -> t.Optional[str]:
    """What :func:`make` wrote into the image as its label; None if there is no image in ``path``."""
    try:
        with open(path, "rb") as file:
            file.seek(_DESCRIPTOR)
            descriptor = file.read(2048)
    except FileNotFoundError:
        return None
    if not descriptor.startswith(_MAGIC):
        return None
    return descriptor[_LABEL : _LABEL + _LABEL_LENGTH].decode("ascii", "replace").rstrip()


def make(path: str, volume: str, label: str, contents: t.Mapping[str, bytes], work: str) -> bool:
    """Have ``path`` be an image of these files, for its owner alone; False if it has the ``label`` (capitals) already.

    ``work`` is a folder for the time of the making. It is closed to others, and gone when this returns.
    """
    if label_of(path) == label:
        return False
    program = tool()
    files.remove(work)
    tree, image = os.path.join(work, "files"), os.path.join(work, "image")
    try:
        files.make_folder(tree)
        for name, data in contents.items():
            files.write_atomic(os.path.join(tree, name), data, durable=False)
            os.utime(os.path.join(tree, name), (_DATE, _DATE))
        os.utime(tree, (_DATE, _DATE))
        # Joliet and Rock Ridge, the latter with root as owner: guests find the names as they are.
        argv = [program, "-quiet", "-o", image, "-V", volume, "-A", label, "-J", "-r", "-no-pad", tree]
        commands.run(argv, extra={"SOURCE_DATE_EPOCH": str(_DATE)})
        with open(image, "rb") as file:
            files.write_atomic(path, file.read())
    finally:
        files.remove(work)
    return True
