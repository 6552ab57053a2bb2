# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which further files the header of a disk image names: QEMU opens those too, and no argument shows them.

Sources: QEMU's docs/interop/qcow2.rst, qcow (version 1) and qed_spec.rst; "Disk image file formats"
in the system emulator's manual. Nothing is opened here but the descriptor that is handed in.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

#: Formats whose headers can name other files.
REFERRING = frozenset({"qcow", "qcow2", "qed", "vmdk"})

#: Formats that hold no names. ``raw`` has no header at all.
SELF_CONTAINED = frozenset({"raw", "vdi", "vhdx", "vpc", "parallels", "luks", "bochs", "cloop", "dmg"})

_QCOW = b"QFI\xfb"
_QED = b"QED\0"
_EXT_BACKING_FORMAT, _EXT_DATA_FILE = 0xE2792ACA, 0x44415441
_INCOMPATIBLE_DATA_FILE = 1 << 2
_QED_BACKING, _QED_BACKING_RAW = 1 << 0, 1 << 2
_CLUSTER_BITS = (9, 21)
#: Bytes of a header that are read: extensions must lie in the first cluster, which has 2 MiB at most.
_HEAD = 2 * 1024 * 1024
#: Bytes of a name in a header: QEMU takes 1023.
_MAX_NAME = 1023


@dataclass(frozen=True)
class Header:
    """The names in a header; None where there is none."""

    backing: str | None = None
    backing_format: str | None = None
    data_file: str | None = None


class Unreadable(Exception):
    """A header that does not say clearly what it refers to."""


def inspect(fd: int, driver: str) -> Header:
    """The header of the image ``fd`` when QEMU opens it with the block driver ``driver``.

    Raises Unreadable for what is damaged, is not of that format, or cannot be judged.
    """
    if driver in SELF_CONTAINED:
        return Header()
    if driver not in REFERRING:
        raise Unreadable(f"nobody has judged what images of the format {driver} refer to")
    if driver == "vmdk":
        raise Unreadable("vmdk images name their parts in a text that this release does not read; convert it to qcow2")
    head = os.pread(fd, _HEAD, 0)
    try:
        return _qed(head) if driver == "qed" else _qcow(head, driver)
    except struct.error:
        raise Unreadable(f"it is too short to be of the format {driver}") from None


def probe(fd: int) -> str:
    """The format of an image by its first bytes, as QEMU would guess it; "raw" for what looks like nothing."""
    head = os.pread(fd, 512, 0)
    if head[:4] == _QCOW:
        return "qcow" if head[4:8] == b"\0\0\0\1" else "qcow2"
    if head[:4] == _QED:
        return "qed"
    return "vmdk" if head[:4] in (b"KDMV", b"COWD") or b"# Disk DescriptorFile" in head else "raw"


def _qcow(head: bytes, driver: str) -> Header:
    if head[:4] != _QCOW:
        raise Unreadable(f"it is not of the format {driver}")
    version, offset, size, cluster_bits = struct.unpack_from(">IQII", head, 4)
    if (version == 1) != (driver == "qcow"):
        raise Unreadable(f"its header has the version {version}, which is not {driver}")
    backing = _name(head, offset, size) if offset else None
    if version == 1:
        return Header(backing)
    if version not in (2, 3):
        raise Unreadable(f"nobody has judged version {version} of qcow2")
    if not _CLUSTER_BITS[0] <= cluster_bits <= _CLUSTER_BITS[1] or offset > 1 << cluster_bits:
        raise Unreadable("its header does not fit into its first cluster")
    features, length = struct.unpack_from(">Q", head, 72)[0] if version == 3 else 0, 72
    if version == 3:
        length = struct.unpack_from(">I", head, 100)[0]
    # Exactly as far as QEMU reads (qcow2_open): a name beyond would be one that only we see.
    end = offset or 1 << cluster_bits
    if length > end:
        raise Unreadable("a name in its header lies within the header itself")
    extensions = _extensions(head[:end], length)
    data_file = extensions.get(_EXT_DATA_FILE)
    if features & _INCOMPATIBLE_DATA_FILE and data_file is None:
        raise Unreadable("it keeps its data in another file and does not say in which")
    if not features & _INCOMPATIBLE_DATA_FILE:
        data_file = None
    return Header(backing, extensions.get(_EXT_BACKING_FORMAT), data_file)


def _extensions(head: bytes, at: int) -> dict[int, str]:
    """The header extensions that hold text: type, length, data padded to 8 bytes, until type 0."""
    found: dict[int, str] = {}
    while at + 8 <= len(head):
        kind, size = struct.unpack_from(">II", head, at)
        if kind == 0:
            return found
        if at + 8 + size > len(head):
            raise Unreadable("a header extension is longer than the room for it")
        if kind in (_EXT_BACKING_FORMAT, _EXT_DATA_FILE):
            if kind in found:
                raise Unreadable("it says the same thing twice")
            found[kind] = _name(head, at + 8, size)
        at += 8 + (size + 7) // 8 * 8
    return found


def _qed(head: bytes) -> Header:
    if head[:4] != _QED:
        raise Unreadable("it is not of the format qed")
    features = struct.unpack_from("<Q", head, 16)[0]
    offset, size = struct.unpack_from("<II", head, 56)
    if not features & _QED_BACKING:
        return Header()
    return Header(_name(head, offset, size), "raw" if features & _QED_BACKING_RAW else None)


def _name(head: bytes, offset: int, size: int) -> str:
    if size > _MAX_NAME or offset + size > len(head):
        raise Unreadable("a name in its header has no place there")
    return os.fsdecode(head[offset : offset + size])
