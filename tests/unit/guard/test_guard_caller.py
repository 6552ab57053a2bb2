# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import pathlib

from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import (
    MAX_ITEMS,
    MAX_TEXT,
    asserted,
    caller_of,
    myself,
)
from ansible_collections.maqet.qemu.plugins.module_utils.guard.canonical import canonical


def test_myself_as_the_kernel_sees_me() -> None:
    me = myself({"host": "ops1"})
    assert (me.pid, me.uid, me.gid) == (os.getpid(), os.getuid(), os.getgid())
    assert me.exe == os.readlink("/proc/self/exe")
    assert me.comm and len(me.comm) <= 15
    assert me.peer is None
    assert me.controller == {"host": "ops1"}


def test_numbers_of_the_audit_subsystem(tmp_path: pathlib.Path) -> None:
    home = tmp_path / "42"
    home.mkdir()
    (home / "loginuid").write_text("1000")
    (home / "sessionid").write_text("4294967295\n")
    (home / "comm").write_bytes(b"odd\xff name\n")
    (home / "exe").symlink_to("/usr/bin/thing")
    found = caller_of(42, 7, 8, peer=True, proc=str(tmp_path))
    assert (found.auid, found.ses, found.uid, found.gid) == (1000, 4294967295, 7, 8)
    assert (found.exe, found.comm) == ("/usr/bin/thing", r"odd\xff name")
    assert found.peer == {"pid": 42, "uid": 7, "gid": 8}


def test_a_process_that_is_gone(tmp_path: pathlib.Path) -> None:
    found = caller_of(42, 7, 8, proc=str(tmp_path))
    assert (found.pid, found.uid, found.gid) == (42, 7, 8)
    assert (found.auid, found.ses, found.exe, found.comm) == (None, None, None, None)


def test_garbage_where_a_number_should_be(tmp_path: pathlib.Path) -> None:
    home = tmp_path / "42"
    home.mkdir()
    (home / "loginuid").write_text("-1 or so")
    (home / "sessionid").write_text("\u0663")
    found = caller_of(42, 7, 8, proc=str(tmp_path))
    assert found.auid is None and found.ses is None


def test_claims_of_the_controller_are_marked_and_bounded() -> None:
    assert asserted(None) == asserted("text") == {"asserted": True}
    assert asserted({"user": "ann", "asserted": False}) == {"user": "ann", "asserted": True}
    assert asserted({"job": 7, "task": None, "play": ["a"]}) == {"job": 7, "play": "['a']", "asserted": True}
    many = asserted({f"k{number}": "x" * 1000 for number in range(100)})
    assert len(many) == MAX_ITEMS + 1
    assert max(len(str(value)) for value in many.values()) == MAX_TEXT
    canonical(many)
