# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache of QEMU's schemas: by build, whole or missing, nobody else's."""

from __future__ import annotations

import os
import pathlib
import stat
import sys

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host import schema_cache

KEY = "0" * 64
VALUE = {"format": 1, "commands": "query-status:0:", "types": "o"}


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> str:
    return str(tmp_path / "cache")


def only_file(folder: str) -> pathlib.Path:
    (path,) = pathlib.Path(folder).iterdir()
    return path


def test_what_is_stored_is_loaded(folder: str) -> None:
    assert schema_cache.load(folder, KEY) is None
    schema_cache.store(folder, KEY, VALUE)
    assert schema_cache.load(folder, KEY) == VALUE
    assert schema_cache.load(folder, "1" * 64) is None
    assert stat.S_IMODE(only_file(folder).stat().st_mode) == 0o600


@pytest.mark.parametrize("damage", [b"", b"{}", b"0\n{}", b"\xff\n\xff"])
def test_a_damaged_file_is_a_miss(folder: str, damage: bytes) -> None:
    schema_cache.store(folder, KEY, VALUE)
    only_file(folder).write_bytes(damage)
    assert schema_cache.load(folder, KEY) is None
    schema_cache.store(folder, KEY, VALUE)
    assert schema_cache.load(folder, KEY) == VALUE


@pytest.mark.parametrize("place", [0, 3, 70, -2])
def test_one_changed_byte_is_a_miss(folder: str, place: int) -> None:
    schema_cache.store(folder, KEY, VALUE)
    data = bytearray(only_file(folder).read_bytes())
    data[place] ^= 1
    only_file(folder).write_bytes(data)
    assert schema_cache.load(folder, KEY) is None


def test_what_others_may_write_is_a_miss(folder: str) -> None:
    schema_cache.store(folder, KEY, VALUE)
    only_file(folder).chmod(0o620)
    assert schema_cache.load(folder, KEY) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_another_user_owns_is_a_miss(folder: str) -> None:
    schema_cache.store(folder, KEY, VALUE)
    os.chown(only_file(folder), 65534, 65534)
    assert schema_cache.load(folder, KEY) is None


def test_no_link_is_followed_and_no_pipe_waits(folder: str, tmp_path: pathlib.Path) -> None:
    schema_cache.store(folder, KEY, VALUE)
    path = only_file(folder)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert schema_cache.load(folder, KEY) is None
    path.unlink()
    os.mkfifo(path, 0o600)
    assert schema_cache.load(folder, KEY) is None


def test_a_folder_that_cannot_be_is_no_error(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    schema_cache.store(str(tmp_path / "file" / "cache"), KEY, VALUE)
    assert schema_cache.load(str(tmp_path / "file" / "cache"), KEY) is None


def test_old_builds_are_forgotten_and_other_files_stay(folder: str) -> None:
    pathlib.Path(folder).mkdir()
    (pathlib.Path(folder) / "kvm-x86_64.json").write_text("{}")
    for number in range(schema_cache.KEPT + 3):
        schema_cache.store(folder, f"{number:064}", number)
        os.utime(pathlib.Path(folder) / f"qmp-schema-{number:064}.json", ns=(number, number))
    found = [schema_cache.load(folder, f"{number:064}") for number in range(schema_cache.KEPT + 3)]
    assert found == [None] * 3 + list(range(3, schema_cache.KEPT + 3))
    assert (pathlib.Path(folder) / "kvm-x86_64.json").exists()


def test_a_key_tells_builds_apart(tmp_path: pathlib.Path) -> None:
    binary = tmp_path / "qemu"
    binary.write_text("one")
    key = schema_cache.key_of(str(binary), "7.2.22")
    assert key is not None
    assert schema_cache.key_of(str(binary), "7.2.22") == key
    assert schema_cache.key_of(str(binary), "7.2.22 (Debian 2)") != key
    (tmp_path / "link").symlink_to(binary)
    assert schema_cache.key_of(str(tmp_path / "link"), "7.2.22") == key
    binary.write_text("other")
    assert schema_cache.key_of(str(binary), "7.2.22") != key


def test_the_program_of_a_process_has_the_key_of_its_file() -> None:
    exe = os.path.realpath(sys.executable)
    assert schema_cache.key_of(f"/proc/{os.getpid()}/exe", "1") == schema_cache.key_of(exe, "1")


@pytest.mark.parametrize("binary", ["/nonexistent", "", "a\0b"])
def test_no_program_has_no_key(binary: str) -> None:
    assert schema_cache.key_of(binary, "1") is None
