# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding a busybox that runs in an initramfs without any library beside it."""

from __future__ import annotations

import struct
import typing as t
from pathlib import Path

from .errors import GuestError
from .packages import Say, Source

_PLACES = ("bin/busybox", "usr/bin/busybox", "sbin/busybox", "usr/sbin/busybox", "bin/busybox.static")
_MACHINES = {62: "x86_64", 183: "aarch64"}
_PT_INTERP = 3
# Ubuntu's busybox-initramfs lacks some of what init.sh calls; names as they stand in the binary's table of applets.
_APPLETS = ("awk", "dd", "httpd", "insmod", "setsid", "stty", "udhcpc", "usleep")


def static_machine(data: bytes) -> t.Optional[str]:
    """Architecture of a 64-bit ELF program that asks for no dynamic loader, else None (source: elf(5))."""
    if data[:6] != b"\x7fELF\x02\x01" or len(data) < 64:
        return None
    machine = struct.unpack_from("<H", data, 18)[0]
    table = struct.unpack_from("<Q", data, 32)[0]
    size, count = struct.unpack_from("<HH", data, 54)
    for number in range(count):
        offset = table + number * size
        if offset + size > len(data) or struct.unpack_from("<I", data, offset)[0] == _PT_INTERP:
            return None
    return _MACHINES.get(machine)


def _suitable(folder: Path, arch: str) -> t.Optional[bytes]:
    for place in _PLACES:
        try:
            data = (folder / place).read_bytes()
        except OSError:
            continue
        if static_machine(data) == arch and all(b"\0%s\0" % name.encode() in data for name in _APPLETS):
            return data
    return None


def find_busybox(arch: str, source: Source, work: Path, say: Say, root: Path = Path("/")) -> bytes:
    """The program: this system's own if it is static, else from its package, unpacked under ``work``.

    Raises GuestError if the package has none either.
    """
    own = _suitable(root, arch)
    if own is not None:
        return own
    folder = work / "busybox"
    folder.mkdir()
    source.unpack(source.busybox(), folder, say)
    data = _suitable(folder, arch)
    if data is None:
        raise GuestError(f"no static busybox for {arch} in the package {' '.join(source.busybox())}")
    return data
