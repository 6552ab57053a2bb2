# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import pathlib
import stat
import threading
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host import hostkey
from ansible_collections.maqet.qemu.plugins.module_utils.host.hostkey import host_key


def test_it_is_made_once_and_private(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "state" / "audit.key"
    first = host_key(str(path))
    assert first is not None and len(first) == 32
    assert host_key(str(path)) == first == path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["audit.key"]


def test_of_several_who_make_it_one_does(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    barrier = threading.Barrier(4)
    make = hostkey._make

    def together(path: str) -> None:
        barrier.wait(10)
        make(path)

    monkeypatch.setattr(hostkey, "_make", together)
    found: list[t.Any] = []
    threads = [threading.Thread(target=lambda: found.append(host_key(str(tmp_path / "k")))) for _number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(found)) == 1 and found[0] is not None
    assert os.listdir(tmp_path) == ["k"]


@pytest.mark.parametrize("what", ["short", "readable", "link", "folder", "fifo", "no folder"])
def test_one_that_is_not_safe_is_not_used(tmp_path: pathlib.Path, what: str) -> None:
    path = tmp_path / "k"
    if what == "short":
        path.write_bytes(b"x" * 31)
        path.chmod(0o600)
    elif what == "readable":
        path.write_bytes(b"x" * 32)
        path.chmod(0o640)
    elif what == "link":
        (tmp_path / "target").write_bytes(b"x" * 32)
        path.symlink_to(tmp_path / "target")
    elif what == "folder":
        path.mkdir()
    elif what == "fifo":
        os.mkfifo(path, 0o600)
    else:
        (tmp_path / "file").touch()
        path = tmp_path / "file" / "k"
    assert host_key(str(path)) is None
