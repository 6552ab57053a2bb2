# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images whose headers name other files, written by hand: qemu-img would refuse, or touch what they name.

Layout: docs/interop/qcow2.txt, qed_spec.txt and VMware's descriptor format, of which QEMU reads only a few lines.
"""

from __future__ import annotations

import struct

from ansible_collections.maqet.qemu.tests.integration.local.attacks.table import Place, Prepare

_CLUSTER = 65536
_SIZE = 65536  # of the virtual disk, in bytes
_BACKING_FORMAT, _DATA_FILE = 0xE2792ACA, 0x44415441
# Incompatible feature bit 2: an external data file. Autoclear bit 1: that file is raw.
_EXTERNAL, _RAW = 1 << 2, 1 << 1


def qcow2_bytes(backing: str = "", backing_format: str = "raw", data_file: str = "") -> bytes:
    """A version 3 image without data of its own: header, refcounts, L1 table, all of one cluster each."""
    extensions = b""
    if backing and backing_format:
        extensions += _extension(_BACKING_FORMAT, backing_format.encode())
    if data_file:
        extensions += _extension(_DATA_FILE, data_file.encode())
    extensions += struct.pack(">II", 0, 0)
    name = backing.encode()
    header = struct.pack(
        ">4sIQIIQIIQQIIQQQQII",
        *(b"QFI\xfb", 3, 104 + len(extensions) if name else 0, len(name), 16, _SIZE, 0),
        *(1, 3 * _CLUSTER, _CLUSTER, 1, 0, 0),
        *(_EXTERNAL if data_file else 0, 0, _RAW if data_file else 0, 4, 104),
    )
    table = struct.pack(">Q", 2 * _CLUSTER).ljust(_CLUSTER, b"\0")  # one block of refcounts
    # Four clusters are in use: header, table, block, L1.
    block = struct.pack(">HHHH", 1, 1, 1, 1).ljust(_CLUSTER, b"\0")
    return (header + extensions + name).ljust(_CLUSTER, b"\0") + table + block + b"\0" * _CLUSTER


def _extension(kind: int, value: bytes) -> bytes:
    return struct.pack(">II", kind, len(value)) + value.ljust(-(-len(value) // 8) * 8, b"\0")


def qcow2(
    name: str, backing: str = "", backing_format: str = "raw", data_file: str = "", where: str = "<disks>"
) -> Prepare:
    """Prepare such an image among the VM's own, as a guest or a download could have brought it."""

    def prepare(place: Place) -> None:
        image = qcow2_bytes(place.fill(backing), backing_format, place.fill(data_file))
        _put(place, f"{where}/{name}", image)

    return prepare


def qcow2_name_in_header(name: str, backing: str) -> Prepare:
    """A header that is longer than it need be, with the backing file's name in its own unknown fields.

    The extensions behind it, of which one says that the backing file is raw, begin after the name: QEMU reads none.
    """

    def prepare(place: Place) -> None:
        text, length = place.fill(backing).encode(), 512
        image = bytearray(qcow2_bytes())
        struct.pack_into(">QI", image, 8, 112, len(text))
        struct.pack_into(">I", image, 100, length)
        image[112:length] = text.ljust(length - 112, b"\0")
        end = _extension(_BACKING_FORMAT, b"raw") + struct.pack(">II", 0, 0)
        image[length : length + len(end)] = end
        _put(place, f"<disks>/{name}", bytes(image))

    return prepare


def qed(name: str, backing: str) -> Prepare:
    """A QED image with a backing file of which the header says that it is raw."""

    def prepare(place: Place) -> None:
        text = place.fill(backing).encode()
        header = struct.pack(
            "<4sIIIQQQQQII",
            *(b"QED\0", _CLUSTER, 4, 1, 1 | 4, 0, 0, _CLUSTER, _SIZE, 64, len(text)),
        )
        _put(place, f"<disks>/{name}", (header + text).ljust(_CLUSTER, b"\0") + b"\0" * 4 * _CLUSTER)

    return prepare


def vmdk(name: str, extent: str) -> Prepare:
    """A VMDK descriptor whose only extent is another file, taken as it is."""

    def prepare(place: Place) -> None:
        lines = [
            "# Disk DescriptorFile",
            "version=1",
            "CID=12345678",
            "parentCID=ffffffff",
            'createType="monolithicFlat"',
            f'RW {_SIZE // 512} FLAT "{place.fill(extent)}" 0',
            'ddb.adapterType = "ide"',
            "",
        ]
        _put(place, f"<disks>/{name}", "\n".join(lines).encode())

    return prepare


def raw(name: str, text: bytes, where: str = "<disks>") -> Prepare:
    """A file of these bytes."""
    return lambda place: _put(place, f"{where}/{name}", text)


def _put(place: Place, where: str, text: bytes) -> None:
    path = place.path(where)
    path.write_bytes(text)
    path.chmod(0o666)
