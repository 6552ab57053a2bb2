# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The QEMU programs of this host: where they are, which version, what they offer."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import identity
from ansible_collections.maqet.qemu.plugins.module_utils.host.commands import run

# A module run over ssh may have a short PATH; RHEL and its kin keep the emulator in libexec.
_SEARCH = os.pathsep.join(("/usr/local/bin", "/usr/bin", "/bin", "/usr/libexec"))
_REMEDY = (
    "Install it (Debian: qemu-system-x86 and qemu-utils; Fedora: qemu-system-x86-core and qemu-img), "
    "or apply the role maqet.qemu.hypervisor."
)


@dataclasses.dataclass(frozen=True)
class ImageInfo:
    """What ``qemu-img info`` says of an image file: sizes in bytes."""

    path: str
    format: str
    virtual_size: int
    backing: t.Optional[str] = None
    backing_format: t.Optional[str] = None


def find_program(name: str) -> t.Optional[str]:
    """The path of a program, also where the PATH of a module is too short for it; None if it is not installed."""
    return shutil.which(name, path=os.environ.get("PATH", os.defpath) + os.pathsep + _SEARCH)


def find_binary(arch: str) -> str:
    """The path of the emulator for ``arch``, or ``qemu_not_found`` with the remedy."""
    found = find_program(f"qemu-system-{arch}") or (find_program("qemu-kvm") if arch == os.uname().machine else None)
    if found is None:
        raise MaqetError(
            f"arch: {arch!r} needs qemu-system-{arch}, which is not installed on this host. {_REMEDY}",
            "qemu_not_found",
            option="arch",
            value=arch,
        )
    return found


def find_image_tool() -> str:
    """The path of ``qemu-img``, or ``qemu_not_found`` with the remedy."""
    found = find_program("qemu-img")
    if found is None:
        raise MaqetError(f"qemu-img is not installed on this host. {_REMEDY}", "qemu_not_found", option="disks")
    return found


def version(binary: str) -> str:
    """The version of an emulator, such as ``7.2.22``."""
    found = re.search(r"version (\d+(?:\.\d+)+)", run([binary, "--version"]))
    return found.group(1) if found else "unknown"


def parse_help_names(text: str) -> list[str]:
    """The first words of the lines of ``-machine help`` or ``-cpu help``, without headings."""
    names = []
    for line in text.splitlines():
        words = line.split()
        if words and words[0] == "Recognized":  # what follows the models of x86 and s390x: features, no names
            break
        if not words or line.rstrip().endswith(":"):
            continue
        # QEMU before 8.1 prints the CPU models of x86 as "x86 NAME  description".
        names.append(words[1] if words[0] == "x86" and len(words) > 1 else words[0])
    return names


def machines(binary: str) -> list[str]:
    """The machine types of an emulator (``-machine help``)."""
    return parse_help_names(run([binary, "-machine", "help"]))


def cpu_models(binary: str, machine: str) -> list[str]:
    """The CPU models of an emulator (``-cpu help``)."""
    return parse_help_names(run([binary, "-machine", machine, "-cpu", "help"]))


def image_info(path: str, fmt: t.Optional[str] = None) -> ImageInfo:
    """Look at an image file's own header. Without ``fmt`` only when a disk is defined, never when it is used:

    a guest can write a qcow2 header into a raw disk, and whoever probes again would believe it.
    """
    argv = [find_image_tool(), "info", "--output=json", "-U", *(["-f", fmt] if fmt else []), f"file:{path}"]
    text = run(argv, user=_writer(path))
    info = json.loads(text)
    return ImageInfo(
        path,
        info["format"],
        int(info["virtual-size"]),
        info.get("backing-filename"),
        info.get("backing-filename-format"),
    )


def create_image(path: str, fmt: str, size: t.Optional[int], base: t.Optional[ImageInfo] = None) -> None:
    """Make an image of ``size`` bytes; with ``base``, an overlay on it (its size if ``size`` is None)."""
    argv = [find_image_tool(), "create", "-q", "-f", fmt]
    if base is not None:
        argv += ["-b", base.path, "-F", base.format]
    argv.append(f"file:{path}")
    if size is not None:
        argv.append(str(size))
    run(argv)


def grow_image(path: str, fmt: str, size: int) -> None:
    """Make an image larger; qemu-img refuses to shrink without ``--shrink``, which we never give."""
    node: dict[str, t.Any] = {"driver": fmt, "file": {"driver": "file", "filename": path}}
    if fmt == "qcow2":  # what is below it has nothing to do with it, and may not be readable to its owner
        node["backing"] = None
    run([find_image_tool(), "resize", "-q", f"json:{json.dumps(node)}", str(size)], user=_writer(path))


def _writer(path: str) -> t.Optional[int]:
    """Whose rights suffice for an image that a QEMU may have written, of a VM that has a user of its own.

    Its header can name any file of the host; whoever looks at it must not be able to open more than its writer.
    """
    if os.geteuid() != 0:
        return None
    owner = os.stat(path).st_uid
    return owner if identity.is_vms(owner) else None
