# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which kernel modules the guest needs, and in which order they load.

A kernel package brings no ``modules.dep``: that file is made by depmod when the package is installed, and nothing is
installed here. Each module itself says what it depends on (``depends=a,b`` in its .modinfo section), so that is read.
"""

from __future__ import annotations

import ctypes
import lzma
import re
import typing as t
from pathlib import Path

from .errors import GuestError

# Drivers first, what waits for their disks last: init.sh relies on that. What a kernel lacks or has built in is left
# out.
WANTED = (
    "button",
    "evdev",
    "gpio_keys",
    "virtio_pci",
    "virtio_mmio",
    "virtio_rng",
    "virtio_balloon",
    "virtio_console",
    "virtio_net",
    "e1000",
    "e1000e",
    "af_packet",
    "pvpanic_mmio",
    "pvpanic_pci",
    "efivarfs",
    "tpm_crb",
    "tpm_tis",
    "9pnet_virtio",
    "9p",
    "virtiofs",
    "virtio_blk",
    "virtio_scsi",
    "ata_piix",
    "ahci",
    "sr_mod",
    "sd_mod",
)
# For a guest with the agent: a file system that can be frozen, and the checksum that it asks for by another way.
_WITH_AGENT = ("crc32c_generic", "ext4")
# A board without the keyboard controller and the VGA of a PC.
_OF_ARCH = {"aarch64": ("xhci_pci", "usbhid", "hid_generic", "virtio_gpu")}
_SUFFIXES = (".ko", ".ko.xz", ".ko.zst")
_DEPENDS = re.compile(rb"\0depends=([\w,-]*)\0")


def wanted(arch: str, with_agent: bool) -> t.Tuple[str, ...]:
    """What a guest of an architecture has, as names of modules in the order in which they load."""
    return (*_OF_ARCH.get(arch, ()), *(_WITH_AGENT if with_agent else ()), *WANTED)


def canonical(name: str) -> str:
    """The kernel takes ``-`` and ``_`` in module names for the same."""
    return name.replace("-", "_")


def index(folder: Path) -> t.Dict[str, Path]:
    """All modules under ``folder`` (…/lib/modules/VERSION), by canonical name."""
    found: t.Dict[str, Path] = {}
    for path in sorted(folder.rglob("*.ko*")):
        for suffix in _SUFFIXES:
            if path.name.endswith(suffix):
                found[canonical(path.name[: -len(suffix)])] = path
    return found


def depends(module: bytes) -> t.List[str]:
    """Canonical names of the modules that this one, as uncompressed ELF, asks for by name."""
    match = _DEPENDS.search(module)
    return [canonical(name) for name in match.group(1).decode().split(",") if name] if match else []


def load_order(wanted: t.Iterable[str], needs: t.Callable[[str], t.Optional[t.List[str]]]) -> t.List[str]:
    """Names in an order in which each comes after what it depends on, otherwise in the order of ``wanted``.

    ``needs`` answers a module's dependencies, or None for a module that does not exist (built in, or not of this
    kernel), which is left out. Raises GuestError for a circle, which no sound kernel has.
    """
    order: t.List[str] = []
    done: t.Set[str] = set()

    def visit(name: str, above: t.Tuple[str, ...]) -> None:
        if name in above:
            raise GuestError(f"kernel modules depend on each other in a circle: {' -> '.join((*above, name))}")
        if name in done:
            return
        required = needs(name)
        if required is not None:
            for other in required:
                visit(other, (*above, name))
            order.append(name)
        done.add(name)

    for name in wanted:
        visit(canonical(name), ())
    return order


def read_module(path: Path) -> bytes:
    """The module, uncompressed, since busybox's insmod takes no other. Raises GuestError for an unknown compression."""
    data = path.read_bytes()
    if data[:4] == b"\x7fELF":
        return data
    if data[:6] == b"\xfd7zXZ\0":
        return lzma.decompress(data)
    if data[:4] == b"\x28\xb5\x2f\xfd":
        return _zstd(data, path)
    raise GuestError(f"{path.name} is compressed in a way that this builder does not know")


def _zstd(data: bytes, path: Path) -> bytes:
    """Decompress with the system's libzstd: dpkg and rpm need it themselves, and Python has none before 3.14."""
    try:
        library = ctypes.CDLL("libzstd.so.1")
    except OSError as error:
        raise GuestError(f"{path.name} needs libzstd: install libzstd1 (Debian) or libzstd (Fedora)") from error
    library.ZSTD_getFrameContentSize.restype = ctypes.c_ulonglong
    library.ZSTD_getFrameContentSize.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    library.ZSTD_decompress.restype = ctypes.c_size_t
    library.ZSTD_decompress.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    size = library.ZSTD_getFrameContentSize(data, len(data))
    if size > 1 << 28:  # also the two values that mean "unknown" and "broken"
        raise GuestError(f"{path.name}: a zstd frame without a believable size")
    buffer = ctypes.create_string_buffer(size)
    if library.ZSTD_decompress(buffer, size, data, len(data)) != size:
        raise GuestError(f"{path.name}: broken zstd data")
    return buffer.raw


def collect(folder: Path, wanted: t.Iterable[str] = WANTED) -> t.List[t.Tuple[str, bytes]]:
    """(file name, uncompressed content) of the wanted modules under ``folder`` and all they need, in load order."""
    paths = index(folder)
    contents: t.Dict[str, bytes] = {}

    def needs(name: str) -> t.Optional[t.List[str]]:
        if name not in paths:
            return None
        contents[name] = read_module(paths[name])
        return depends(contents[name])

    return [(f"{name}.ko", contents[name]) for name in load_order(wanted, needs)]
