# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive writer: what it writes, its own reader and the cpio program read back."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.tests.guest.maqet_guest import cpio

TREE = [
    cpio.directory("bin"),
    cpio.regular("bin/tool", b"\x00\xffELF", 0o755),
    cpio.regular("empty", b""),
    cpio.regular("größe", b"abcde"),
    cpio.symlink("link", "bin/tool"),
    cpio.character_device("console", 5, 1),
]


@pytest.mark.parametrize("size", range(9))
def test_every_padding_comes_back(size: int) -> None:
    entries = [cpio.regular("n" * (size + 1), b"x" * size), cpio.regular("after", b"y")]
    assert list(cpio.read_newc(cpio.write_newc(entries))) == entries


def test_all_kinds_come_back() -> None:
    assert list(cpio.read_newc(cpio.write_newc(TREE))) == TREE


def test_members_start_at_multiples_of_four_and_hold_no_time_or_owner() -> None:
    archive = cpio.write_newc([cpio.regular("ab", b"12345")])
    second = archive.index(cpio.MAGIC, 1)
    assert second % 4 == 0
    fields = [archive[at : at + 8] for at in range(6, 110, 8)]
    uid, gid, mtime, size, name_size = fields[2], fields[3], fields[5], fields[6], fields[11]
    assert {uid, gid, mtime} == {b"00000000"}
    assert (size, name_size) == (b"00000005", b"00000003")


@pytest.mark.parametrize("name", ["", "/etc/passwd", "TRAILER!!!"])
def test_names_that_would_break_the_archive_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        cpio.write_newc([cpio.regular(name, b"")])


def test_a_repeated_name_is_refused() -> None:
    with pytest.raises(ValueError, match="'a'"):
        cpio.write_newc([cpio.regular("a", b"1"), cpio.regular("a", b"2")])


@pytest.mark.parametrize("cut", [1, 50, 109, 119, 200])
def test_a_cut_archive_is_an_error(cut: int) -> None:
    archive = cpio.write_newc([cpio.regular("file", b"z" * 300)])
    with pytest.raises(ValueError, match=r"no newc header|cut short"):
        list(cpio.read_newc(archive[:cut]))


def test_the_reader_strips_what_rpm2cpio_puts_before_names() -> None:
    entry = cpio.regular("./lib/modules/x.ko", b"m")
    assert [member.name for member in cpio.read_newc(cpio.write_newc([entry]))] == ["lib/modules/x.ko"]


@pytest.mark.skipif(not shutil.which("cpio"), reason="the cpio program is not here to compare with")
def test_the_cpio_program_reads_it(tmp_path: Path) -> None:
    files = [entry for entry in TREE if not stat.S_ISCHR(entry.mode)]  # a node would need root
    subprocess.run(["cpio", "-idm", "--quiet"], input=cpio.write_newc(files), cwd=tmp_path, check=True)
    assert (tmp_path / "bin/tool").read_bytes() == b"\x00\xffELF"
    assert stat.S_IMODE((tmp_path / "bin/tool").stat().st_mode) == 0o755
    assert (tmp_path / "link").readlink() == Path("bin/tool")
    assert (tmp_path / "empty").stat().st_size == 0


@pytest.mark.skipif(not shutil.which("cpio"), reason="the cpio program is not here to compare with")
def test_the_reader_reads_what_the_cpio_program_wrote(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"1" * 1001)
    (tmp_path / "two").symlink_to("one")
    made = subprocess.run(
        ["cpio", "-o", "-H", "newc", "--quiet"], input=b"one\ntwo\n", cwd=tmp_path, check=True, stdout=subprocess.PIPE
    ).stdout
    assert [(entry.name, entry.data) for entry in cpio.read_newc(made)] == [("one", b"1" * 1001), ("two", b"one")]
