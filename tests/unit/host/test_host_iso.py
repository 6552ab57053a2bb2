# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images made by this machine's own program, and read again by another one's rules."""

from __future__ import annotations

import os
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import iso

FILES = {"user-data": b"#cloud-config\n", "meta-data": b"{}\n" * 1000}
PROGRAMS = [name for name in iso._TOOLS if shutil.which(name)]
needs_a_program = pytest.mark.skipif(not PROGRAMS, reason="no program that makes ISO 9660 images is here")


def make(folder: Path, label: str = "ONE", contents: t.Optional[t.Mapping[str, bytes]] = None) -> bool:
    return iso.make(
        str(folder / "seed.iso"), "cidata", label, FILES if contents is None else contents, str(folder / "work")
    )


@needs_a_program
@pytest.mark.parametrize("program", PROGRAMS)
def test_made_once_for_each_label(tmp_path: Path, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iso, "_TOOLS", (program,))
    path = tmp_path / "seed.iso"
    assert iso.label_of(str(path)) is None
    assert make(tmp_path) is True
    assert iso.label_of(str(path)) == "ONE"
    assert path.stat().st_mode & 0o777 == 0o600 and path.stat().st_size % 512 == 0
    before = path.stat().st_ino
    assert make(tmp_path) is False and path.stat().st_ino == before
    assert make(tmp_path, "TWO", {"user-data": b"x"}) is True
    assert iso.label_of(str(path)) == "TWO" and path.stat().st_ino != before
    assert os.listdir(tmp_path) == ["seed.iso"]


@needs_a_program
@pytest.mark.parametrize("program", PROGRAMS)
def test_others_read_what_was_written(tmp_path: Path, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("xorriso") is None or shutil.which("blkid") is None:
        pytest.skip("xorriso or blkid is not here")
    monkeypatch.setattr(iso, "_TOOLS", (program,))
    make(tmp_path)
    path = str(tmp_path / "seed.iso")
    said = subprocess.run(["blkid", "-p", "-o", "export", path], check=True, capture_output=True, text=True).stdout
    assert "LABEL=cidata\n" in said and "TYPE=iso9660\n" in said
    out = tmp_path / "out"
    argv = ["xorriso", "-report_about", "FATAL", "-osirrox", "on", "-indev", path, "-extract", "/", str(out)]
    subprocess.run(argv, check=True, capture_output=True)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == FILES


@pytest.mark.skipif("xorrisofs" not in PROGRAMS, reason="the older programs write the time of day into images")
def test_the_same_input_makes_the_same_image(tmp_path: Path) -> None:
    images = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        make(tmp_path / name)
        images.append((tmp_path / name / "seed.iso").read_bytes())
        os.utime(tmp_path / name / "seed.iso", (0, 0))
    assert images[0] == images[1]


@needs_a_program
def test_what_is_no_image_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "seed.iso").write_bytes(b"short")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "left").write_text("by a runner that was killed")
    assert make(tmp_path) is True and iso.label_of(str(tmp_path / "seed.iso")) == "ONE"
    assert not (tmp_path / "work").exists()


def test_a_program_that_fails_leaves_the_old_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "seed.iso").write_bytes(b"old")
    monkeypatch.setattr(iso, "_TOOLS", ("false",))
    with pytest.raises(MaqetError) as caught:
        make(tmp_path)
    assert caught.value.error_code == "command_failed"
    assert (tmp_path / "seed.iso").read_bytes() == b"old" and os.listdir(tmp_path) == ["seed.iso"]


def test_without_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MaqetError, match=r"cloud_init: .* package xorriso") as caught:
        make(tmp_path)
    assert caught.value.error_code == "command_failed" and os.listdir(tmp_path) == []
