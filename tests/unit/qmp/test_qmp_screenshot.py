# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures: PPM to PNG, read back by a decoder of the test's own, and files that are none."""

from __future__ import annotations

import struct
import tracemalloc
import zlib

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.screenshot import from_ppm, png, without_screen

PIXELS = bytes(range(18))
PPM = b"P6\n3 2\n255\n" + PIXELS


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and content of each chunk, whose checksums must be right (PNG specification, 5.3)."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    found, at = [], 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        body = data[at + 4 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length)[0] == zlib.crc32(body)
        found.append((body[:4], body[4:]))
        at += 12 + length
    return found


def pixels(data: bytes) -> tuple[int, int, bytes]:
    """Width, height and pixels of a PNG file as we write it."""
    parts = chunks(data)
    assert [kind for kind, _body in parts] == [b"IHDR", b"IDAT", b"IEND"]
    width, height, *rest = struct.unpack(">IIBBBBB", parts[0][1])
    assert rest == [8, 2, 0, 0, 0]
    raw = zlib.decompress(parts[1][1])
    rows = [raw[row * (1 + 3 * width) : (row + 1) * (1 + 3 * width)] for row in range(height)]
    assert len(raw) == height * (1 + 3 * width) and {row[0] for row in rows} == {0}
    return width, height, b"".join(row[1:] for row in rows)


def test_ppm_becomes_png() -> None:
    made = from_ppm(PPM)
    assert (made.width, made.height) == (3, 2)
    assert pixels(made.data) == (3, 2, PIXELS)
    assert png(PPM) == made


@pytest.mark.parametrize("head", [b"P6 3 2 255 ", b"P6\n# by hand\n3\n2\n# three\n255\n", b"P6\t3\r\n2\n255\t"])
def test_ppm_may_be_spelt_in_other_ways(head: bytes) -> None:
    assert pixels(from_ppm(head + PIXELS).data) == (3, 2, PIXELS)


def test_pixels_that_look_like_white_space_stay_pixels() -> None:
    blank = b"\n \t#" * 4 + b"##"
    assert pixels(from_ppm(b"P6\n3 2\n255\n" + blank).data)[2] == blank


def test_png_stays_as_it_is() -> None:
    data = from_ppm(PPM).data
    again = png(data)
    assert again.data is data and (again.width, again.height) == (3, 2)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "neither PNG nor PPM"),
        (b"P5\n3 2\n255\n" + PIXELS, "neither"),
        (b"P6\n3 2\n65535\n" + PIXELS * 2, "neither"),
        (b"P6\n3 2\n255", "neither"),
        (b"P6\n9999999 2\n255\n", "neither"),
        (b"P6\n99999 2\n255\n", "99999 times 2"),
        (b"P6\n0 2\n255\n", "0 times 2"),
        (PPM[:-1], "cut short"),
        (PPM + b"\0", "something behind"),
        (b"\x89PNG\r\n\x1a\n", "cut short"),
        (from_ppm(PPM).data[:-1], "cut short"),
        (from_ppm(PPM).data.replace(b"IHDR", b"iCCP"), "cut short"),
        (from_ppm(PPM).data.replace(b"IHDR\0\0\0\3", b"IHDR\0\0\0\0"), "0 times 2"),
    ],
)
def test_what_is_no_picture(data: bytes, words: str) -> None:
    with pytest.raises(MaqetError, match=words) as caught:
        png(data)
    assert caught.value.error_code == "qmp_error"


def test_a_head_without_end_takes_no_memory() -> None:
    """Whoever has taken QEMU over may write megabytes of white space: 8 of them took 1 GiB and 3 s."""
    tracemalloc.start()
    try:
        with pytest.raises(MaqetError, match="neither"):
            png(b"P6" + b" " * (1 << 20))
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def refusal(words: str) -> MaqetError:
    return MaqetError("QEMU refused", "qmp_error", command="screendump", qmp_desc=words)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (refusal("There is no console to take a screendump from"), "no_display", "display: headless"),
        (refusal("no surface"), "no_display", "display: headless"),
        (refusal("Device 'nix' not found"), "invalid_option", "device: VM web"),
        (refusal("Device maqet-video (head 3) is not bound to a QemuConsole"), "invalid_option", "head 3"),
        (refusal("failed to open file"), "qmp_error", "QEMU refused"),
        (MaqetError("no", "policy_denied", qmp_desc="no surface"), "policy_denied", "no"),
    ],
)
def test_refusals_in_words(error: MaqetError, code: str, words: str) -> None:
    told = without_screen(error, "web")
    assert told.error_code == code and words in str(told) and told.details == error.details
