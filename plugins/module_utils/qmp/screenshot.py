# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of a screen as QEMU writes them: what is in a file, and PNG from PPM. Pure functions.

QEMU writes PNG since 7.1, if it was built with libpng, and PPM always (QEMU QMP reference, screendump). A file that
QEMU has written is a stranger's: everything in it is looked at before it is used.
"""

from __future__ import annotations

import re
import struct
import typing as t
import zlib

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: No screen of QEMU's is larger in either direction; in pixels.
_LARGEST = 32768
# Netpbm's "raw" PPM: a magic, three numbers that white space or comments divide, one white space, three bytes a pixel.
_PPM = re.compile(rb"P6(?:\s|#[^\n]*\n)+(\d{1,6})(?:\s|#[^\n]*\n)+(\d{1,6})(?:\s|#[^\n]*\n)+255\s")
# What a PPM file has before its pixels is looked for in so many bytes: QEMU writes 20, and a stranger's megabytes of
# white space would cost the expression a hundred times their size in memory.
_HEAD = 4096
# PNG specification, 11.2.2: eight bits a sample, colour type 2 (red, green, blue), no interlace.
_RGB = (8, 2, 0, 0, 0)


class Picture(t.NamedTuple):
    """A whole PNG file, and its size in pixels."""

    data: bytes
    width: int
    height: int


def png(data: bytes) -> Picture:
    """What is in a file of QEMU's, as PNG; ``qmp_error`` if it is no whole picture."""
    return _png(data) if data.startswith(_SIGNATURE) else from_ppm(data)


def _png(data: bytes) -> Picture:
    head, end = len(_SIGNATURE), data[-12:]
    if data[head : head + 8] != b"\0\0\0\rIHDR" or len(data) < head + 37 or end != _chunk(b"IEND", b""):
        raise _broken("PNG file that is cut short")
    width, height = struct.unpack_from(">II", data, head + 8)
    return Picture(data, *_size(width, height))


def from_ppm(data: bytes) -> Picture:
    """PNG of the same pixels; ``qmp_error`` if that is no whole PPM file with eight bits a sample."""
    found = _PPM.match(data[:_HEAD])
    if found is None:
        raise _broken("file that is neither PNG nor PPM")
    width, height = _size(int(found[1]), int(found[2]))
    stride = 3 * width
    if len(data) - found.end() != stride * height:
        raise _broken(f"PPM file of {width} times {height} pixels that is cut short or has something behind them")
    pixels = memoryview(data)[found.end() :]
    packer = zlib.compressobj()
    packed = []
    for row in range(height):  # before each row stands its filter: none
        packed += [packer.compress(b"\0"), packer.compress(pixels[row * stride : (row + 1) * stride])]
    header = struct.pack(">IIBBBBB", width, height, *_RGB)
    body = b"".join([*packed, packer.flush()])
    whole = _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")
    return Picture(whole, width, height)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _size(width: int, height: int) -> tuple[int, int]:
    if not (0 < width <= _LARGEST and 0 < height <= _LARGEST):
        raise _broken(f"picture of {width} times {height} pixels")
    return width, height


def _broken(what: str) -> MaqetError:
    return MaqetError(
        f"QEMU has written a {what}. Take the screenshot again; if that does not help, look for room on the disk.",
        "qmp_error",
        command="screendump",
    )


def without_screen(error: MaqetError, name: str) -> MaqetError:
    """QEMU's refusals of ``screendump`` in words that help; another error as it is."""
    words = str(error.details.get("qmp_desc", ""))
    if error.error_code != "qmp_error":
        return error
    if "no console" in words or words == "no surface":
        return MaqetError(
            f"VM {name} has no screen. Give it one with 'display: headless' of maqet_vm, which takes a restart.",
            "no_display",
            **error.details,
        )
    if "not found" in words or "not bound to a" in words:
        return MaqetError(
            f"device: VM {name} has no screen of this name and number ({words}). Leave device and head out for its "
            "first screen.",
            "invalid_option",
            **error.details,
        )
    return error
