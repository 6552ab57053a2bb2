# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The QEMU programs of this host: where they are, which version, what they offer."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import stat
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import identity
from ansible_collections.maqet.qemu.plugins.module_utils.host.commands import run, run_long

# A module run over ssh may have a short PATH; RHEL and its kin keep the emulator in libexec.
_SEARCH = os.pathsep.join(("/usr/local/bin", "/usr/bin", "/bin", "/usr/libexec"))
# What is not installed -> its package in Debian and in Fedora.
_PACKAGES = {
    "qemu-system-x86_64": ("qemu-system-x86", "qemu-system-x86-core"),
    "qemu-system-aarch64": ("qemu-system-arm", "qemu-system-aarch64-core"),
    "qemu-img": ("qemu-utils", "qemu-img"),
}
# Formats that have a backing file, so that ``backing`` is an option of theirs.
_WITH_BACKING = ("qcow", "qcow2", "qed", "vmdk", "parallels")
_PERCENT = re.compile(rb"\(([0-9]+\.[0-9]+)/100%\)")


@dataclasses.dataclass(frozen=True)
class ImageInfo:
    """What ``qemu-img info`` says of an image file: sizes in bytes.

    ``parts``: further files in which its data are (a qcow2's data file, a vmdk's extents).
    """

    path: str
    format: str
    virtual_size: int
    backing: t.Optional[str] = None
    backing_format: t.Optional[str] = None
    parts: tuple[str, ...] = ()


def find_program(name: str) -> t.Optional[str]:
    """The path of a program, also where the PATH of a module is too short for it; None if it is not installed."""
    return shutil.which(name, path=os.environ.get("PATH", os.defpath) + os.pathsep + _SEARCH)


def find_binary(arch: str) -> str:
    """The path of the emulator for ``arch``, or ``qemu_not_found`` with the remedy."""
    program = f"qemu-system-{arch}"
    found = find_program(program) or (find_program("qemu-kvm") if arch == os.uname().machine else None)
    if found is None:
        raise MaqetError(
            f"arch: {arch!r} needs {program}, which is not installed on this host. {_remedy(program)}",
            "qemu_not_found",
            option="arch",
            value=arch,
        )
    return found


def find_image_tool() -> str:
    """The path of ``qemu-img``, or ``qemu_not_found`` with the remedy."""
    found = find_program("qemu-img")
    if found is None:
        message = f"qemu-img is not installed on this host. {_remedy('qemu-img')}"
        raise MaqetError(message, "qemu_not_found", option="disks")
    return found


def _remedy(program: str) -> str:
    debian, fedora = _PACKAGES.get(program, (program, program))
    return f"Install it (Debian: {debian}; Fedora: {fedora}), or apply the role maqet.qemu.hypervisor."


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


def image_info(path: str, fmt: t.Optional[str] = None, shared: bool = True) -> ImageInfo:
    """Look at an image file's own header. Without ``fmt`` only when a disk is defined, never when it is used:

    a guest can write a qcow2 header into a raw disk, and whoever probes again would believe it. Unless ``shared``, it
    fails while a QEMU writes the image.
    """
    more = [*(["-U"] if shared else []), *(["-f", fmt] if fmt else [])]
    argv = [find_image_tool(), "info", "--output=json", *more, f"{_protocol(path)}:{path}"]
    text = run(argv, user=_writer(path))
    info = json.loads(text)
    return ImageInfo(
        path,
        info["format"],
        int(info["virtual-size"]),
        info.get("backing-filename"),
        info.get("backing-filename-format"),
        _parts(path, info.get("format-specific", {}).get("data", {})),
    )


def _parts(path: str, details: t.Mapping[str, t.Any]) -> tuple[str, ...]:
    named = [extent.get("filename") for extent in details.get("extents", ())] + [details.get("data-file")]
    return tuple(part for part in named if part and part.partition("file:")[2] != path and part != path)


def _protocol(path: str) -> str:
    """QEMU's driver for what is behind a path; the one for files refuses a block device."""
    return "host_device" if stat.S_ISBLK(os.stat(path).st_mode) else "file"


def image_node(path: str, fmt: str, alone: bool = False, backing: t.Optional[ImageInfo] = None) -> str:
    """A name for qemu-img with nothing left to guess.

    With ``alone``, or a ``backing`` of ours, its header is not asked what is below it.
    """
    node: dict[str, t.Any] = {"driver": fmt, "file": {"driver": _protocol(path), "filename": path}}
    if backing is not None:
        below = {"driver": _protocol(backing.path), "filename": backing.path}
        node["backing"] = {"driver": backing.format, "file": below}
    elif alone and fmt in _WITH_BACKING:
        node["backing"] = None
    return f"json:{json.dumps(node)}"


def create_image(
    path: str, fmt: str, size: t.Optional[int], base: t.Optional[ImageInfo] = None, preallocation: str = "off"
) -> None:
    """Make an image of ``size`` bytes; with ``base``, an overlay on it (its size if ``size`` is None)."""
    argv = [find_image_tool(), "create", "-q", "-f", fmt]
    if base is not None:
        argv += ["-b", base.path, "-F", base.format]
    if preallocation != "off":
        argv += ["-o", f"preallocation={preallocation}"]
    argv.append(f"file:{path}")
    if size is not None:
        argv.append(str(size))
    run_long(argv, _ignore)


def convert_image(source: str, path: str, fmt: str, preallocation: str, at: t.Callable[[float], None]) -> None:
    """Copy ``source``, a node, to a new image; what is zero there takes no room. ``at`` hears percents as they come.

    ``-p`` prints them with a carriage return behind each (qemu-img(1)).
    """
    argv = [find_image_tool(), "convert", "-p", "-O", fmt]
    if preallocation != "off":
        argv += ["-o", f"preallocation={preallocation}"]

    def heard(data: bytes) -> None:
        found = _PERCENT.findall(data)
        if found:
            at(float(found[-1]))

    run_long([*argv, source, f"file:{path}"], heard)


def measure(fmt: str, what: t.Sequence[str], preallocation: str = "off") -> int:
    """Bytes that a new image will take: ``what`` is a node, or ``--size`` and bytes. 0 if qemu-img cannot tell."""
    full = preallocation in ("falloc", "full")
    # Of a raw image qemu-img says its whole size, holes and all; a qcow2 takes what its data do, and a little more.
    argv = [find_image_tool(), "measure", "--output=json", "-O", fmt if full else "qcow2"]
    if full:
        argv += ["-o", f"preallocation={preallocation}"]
    try:
        return int(json.loads(run([*argv, *what], seconds=600))["required"])
    except MaqetError:
        return 0


def resize_image(path: str, fmt: str, size: int, shrink: bool = False, preallocation: str = "off") -> None:
    """Make an image larger, or smaller if ``shrink``: what was beyond is lost."""
    # What is below it has nothing to do with it, and may not be readable to its owner.
    node = image_node(path, fmt, alone=True)
    more = ["--shrink"] if shrink else []
    more += [f"--preallocation={preallocation}"] if preallocation != "off" else []
    run_long([find_image_tool(), "resize", "-q", *more, node, str(size)], _ignore, user=_writer(path))


def _ignore(_data: bytes) -> None:
    """What qemu-img says on stdout where it is asked for nothing."""


def image_snapshots(path: str, fmt: str) -> list[dict[str, t.Any]]:
    """The snapshots in an image, as QEMU's SnapshotInfo has them (QMP reference); also while a QEMU uses it."""
    text = run(
        [find_image_tool(), "info", "--output=json", "-U", image_node(path, fmt, alone=True)], user=_writer(path)
    )
    return list(json.loads(text).get("snapshots", ()))


def snapshot_image(action: str, name: str, path: str, fmt: str, seconds: float) -> None:
    """``create``, ``apply`` or ``delete`` the snapshot ``name`` in an image that no QEMU uses.

    qemu-img makes a second one of the same name without a word, so look first.
    """
    option = {"create": "-c", "apply": "-a", "delete": "-d"}[action]
    run(
        [find_image_tool(), "snapshot", "-q", option, name, image_node(path, fmt, alone=True)],
        seconds,
        user=_writer(path),
    )


def _writer(path: str) -> t.Optional[int]:
    """Whose rights suffice for an image that a QEMU may have written, of a VM that has a user of its own.

    Its header can name any file of the host; whoever looks at it must not be able to open more than its writer.
    """
    if os.geteuid() != 0:
        return None
    owner = os.stat(path).st_uid
    return owner if identity.is_vms(owner) else None
