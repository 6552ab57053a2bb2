# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies: the same bytes, the same holes, whatever the kernel can do of it."""

from __future__ import annotations

import errno
import hashlib
import os
import pathlib
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host import copying

MIB = 1 << 20


def holed(path: pathlib.Path, parts: dict[int, bytes], size: int) -> None:
    with path.open("wb") as file:
        for at, data in parts.items():
            file.seek(at)
            file.write(data)
        file.truncate(size)


def refuse(*_arguments: t.Any) -> int:
    raise OSError(errno.EXDEV, "another file system")


@pytest.mark.parametrize("kernel", [True, False], ids=["copy_file_range", "read and write"])
@pytest.mark.parametrize(
    ("parts", "size"),
    [
        ({}, 0),
        ({}, 5 * MIB),
        ({0: b"a"}, 1),
        ({0: b"a" * 5000}, 5000),
        ({MIB: b"b" * 70000}, 100 * MIB),
        ({0: b"c" * (9 * MIB), 40 * MIB: b"d" * 10, 63 * MIB: b"e" * MIB}, 64 * MIB),
    ],
    ids=["empty", "a hole", "one byte", "odd", "holes around", "several steps"],
)
def test_copy(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, parts: dict[int, bytes], size: int, kernel: bool
) -> None:
    if not kernel:
        monkeypatch.setattr(os, "copy_file_range", refuse)
    one, other = tmp_path / "one", tmp_path / "other"
    holed(one, parts, size)
    heard: list[float] = []
    with one.open("rb") as source, other.open("w+b") as target:
        copying.copy(source.fileno(), target.fileno(), heard.append)
        assert copying.sha256(target.fileno(), heard.append) == hashlib.sha256(one.read_bytes()).hexdigest()
    assert other.stat().st_size == size
    assert other.stat().st_blocks <= one.stat().st_blocks + 16
    assert heard[-1] == size if size else True


def test_what_goes_wrong_is_not_hidden(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: t.Any) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "copy_file_range", full)
    (tmp_path / "one").write_bytes(b"x")
    with (tmp_path / "one").open("rb") as source, (tmp_path / "other").open("w+b") as target:
        with pytest.raises(OSError, match="full"):
            copying.copy(source.fileno(), target.fileno(), lambda _done: None)
        assert copying.reflink(0, target.fileno()) is False
