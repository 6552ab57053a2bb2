# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""maqet_screenshot of a real guest's screen, compared pixel by pixel."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import typing as t
import uuid
import zlib
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.screenshot import from_ppm
from ansible_collections.maqet.qemu.tests.hosts import modules
from ansible_collections.maqet.qemu.tests.integration.local.conftest import ARCH, NOTHING, Local, Result, given, remove

READY = "maqet guest ready.*\n"
#: VGA's text mode, 80 columns of 9 pixels and 25 lines of 16; or what the kernel draws on virtio's first screen.
SIZE, COLUMN = ((1280, 800), 8) if ARCH == "aarch64" else ((720, 400), 9)
Pixels = t.List[bytes]


@pytest.fixture(scope="module")
def vm(guest: Result) -> t.Iterator[str]:
    """A VM with a screen, on which the guest shows what is typed."""
    chosen = f"test-{uuid.uuid4().hex[:8]}"
    words = "maqet.keyboard vt.global_cursor_default=0"  # a cursor blinks
    wanted = {**guest, "cmdline": f"{guest['cmdline']} {words}", "display": "headless"}
    given(chosen, **wanted, wait_for=[{"serial": READY}], timeout=120)
    yield chosen
    remove(chosen)


def rows(path: str | Path) -> Pixels:
    """The rows of a PNG file with eight bits a sample and no interlace, three bytes a pixel (PNG, chapters 5 and 9)."""
    data, at, packed = Path(path).read_bytes(), 8, b""
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    assert (width, height) == SIZE and (depth, colour, data[28]) == (8, 2, 0)
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        packed += data[at + 8 : at + 8 + length] if data[at + 4 : at + 8] == b"IDAT" else b""
        at += 12 + length
    raw, found = zlib.decompress(packed), [bytes(3 * width)]
    for row in range(height):
        start = row * (1 + 3 * width)
        found.append(_unfiltered(raw[start], raw[start + 1 : start + 1 + 3 * width], found[-1]))
    return found[1:]


def _unfiltered(kind: int, line: bytes, above: bytes) -> bytes:
    out = bytearray(line)
    for index in range(len(out)):
        left = out[index - 3] if index >= 3 else 0
        corner = above[index - 3] if index >= 3 else 0
        guess = left + above[index] - corner
        nearest = min((left, above[index], corner), key=lambda value: abs(guess - value))
        out[index] = (out[index] + (0, left, above[index], (left + above[index]) // 2, nearest)[kind]) & 0xFF
    return bytes(out)


def letters(picture: Pixels) -> list[list[bytes]]:
    """The picture as text: the eight pixels by sixteen of each place, line by line."""
    width = 3 * COLUMN
    return [
        [
            b"".join(picture[16 * line + y][width * column : width * column + 24] for y in range(16))
            for column in range(SIZE[0] // COLUMN)
        ]
        for line in range(SIZE[1] // 16)
    ]


def test_the_screen_shows_what_was_typed(local: Local, vm: str, tmp_path: Path) -> None:
    """Equal letters have equal pixels, others do not; in check mode nothing is taken; by name a card's screen."""
    dest = tmp_path / "new" / "shot.png"
    shot: Result = {"maqet_screenshot": {"vm": vm, "reason": "ticket 4711"}}
    checked, none, _typed, first, second, again = local.play(
        {**shot, "maqet_screenshot": {"vm": vm, "dest": str(dest)}, "check_mode": True},
        {"ansible.builtin.stat": {"path": str(Path(layout().vm(vm).output, "screenshot.png"))}},
        {"maqet_keys": {"vm": vm, "text": "AbAbXX\n"}},
        shot,
        {"maqet_screenshot": {"vm": vm, "filename": "second.png", "device": "maqet-video", "head": 0}},
        {"maqet_screenshot": {"vm": vm, "dest": str(dest)}},
    )
    assert checked["changed"] and checked["audit"] == [] and checked["dest"] == str(dest)
    assert not none["stat"]["exists"]
    for result in (first, second, again):
        assert not result["failed"] and result["changed"] is True, result
        assert (result["width"], result["height"]) == SIZE and "content" not in result
        data = Path(result["path"]).read_bytes()
        assert (result["size"], result["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert sorted(os.listdir(layout().vm(vm).output)) == ["screenshot.png", "second.png"]
    assert dest.read_bytes() == Path(again["path"]).read_bytes()
    assert [record["op"] for record in first["audit"]] == ["screendump"] * 2
    assert first["audit"][0]["reason"] == "ticket 4711"

    picture = rows(first["path"])
    assert 2 <= len({row[at : at + 3] for row in picture for at in range(0, len(row), 3)}) <= 16, "the colours of text"
    found = [line[:7] for line in letters(picture)]
    typed = [line for line in found if line[0] == line[2] and line[1] == line[3] and line[4] == line[5]]
    assert any(len({*line[:2], line[4], line[6]}) == 4 for line in typed), "A, b, X and a blank"


def test_conversion_is_what_qemu_writes_as_png(local: Local, vm: str) -> None:
    """The same screen as PPM, by our own conversion and by QEMU's."""
    _stop, direct, raw, _cont = local.run(
        {"maqet_vm": {"name": vm, "state": "paused"}},
        {"maqet_screenshot": {"vm": vm, "filename": "direct.png"}},
        {"maqet_qmp": {"vm": vm, "command": "screendump", "arguments": {"filename": "raw.ppm"}}},
        {"maqet_vm": {"name": vm, "state": "running"}},
    )
    assert not direct["failed"] and not raw["failed"], "a machine that is paused has a screen"
    output = Path(layout().vm(vm).output)
    ours = output / "ours.png"
    ours.write_bytes(from_ppm((output / "raw.ppm").read_bytes()).data)
    assert rows(ours) == rows(direct["path"])


def test_links_of_a_hostile_qemu_are_not_followed(local: Local, vm: str, tmp_path: Path) -> None:
    """What lies in QEMU's folder is not root's to trust: a link in the place of the picture is replaced."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    planted = Path(layout().vm(vm).output, "planted.png")
    planted.symlink_to(victim)
    (result,) = local.run({"maqet_screenshot": {"vm": vm, "filename": "planted.png"}})
    assert not result["failed"], result["msg"]
    assert victim.read_bytes() == b"precious" and not planted.is_symlink()
    assert stat.S_IMODE(planted.stat().st_mode) == 0o600
    assert planted.stat().st_uid == planted.parent.stat().st_uid


def test_errors(local: Local, name: str, vm: str) -> None:
    """Each names what to do."""
    modules.must("maqet_vm", name=name, state="running", display="none", **NOTHING)
    blind, missing, card, head, named, busy = local.play(
        {"maqet_screenshot": {"vm": name}},
        {"maqet_screenshot": {"vm": "nosuchvm"}},
        {"maqet_screenshot": {"vm": vm, "device": "nix"}},
        {"maqet_screenshot": {"vm": vm, "head": 0}},
        {"maqet_screenshot": {"vm": vm, "filename": "../shot.png"}},
        {"maqet_screenshot": {"vm": vm, "dest": "x.png"}, "async": 60, "poll": 5},
    )
    assert blind["error_code"] == "no_display" and "display: headless" in blind["msg"]
    assert os.listdir(layout().vm(name).output) == []
    assert missing["error_code"] == "vm_not_found"
    assert card["error_code"] == "invalid_option" and "device" in card["msg"] and "nix" in card["msg"]
    assert "device" in head["msg"] and head["failed"]
    assert named["error_code"] == "invalid_option" and "filename" in named["msg"]
    assert busy["error_code"] == "invalid_option" and "async" in busy["msg"]
