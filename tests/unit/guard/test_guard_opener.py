# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a verdict allows is opened, nothing else, and nothing is left of a command that failed."""

from __future__ import annotations

import os
import stat
import typing as t
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.judge import judge
from ansible_collections.maqet.qemu.plugins.module_utils.guard.opener import Opened, perform
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import parse
from ansible_collections.maqet.qemu.plugins.module_utils.guard.roles import Role
from ansible_collections.maqet.qemu.plugins.module_utils.guard.scope import Rights, Scope
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Opening, Request

DUMP = {"val": 0, "size": 1, "filename": "mem"}


def openings(scope: Scope, name: str, arguments: dict[str, t.Any], **policy: t.Any) -> tuple[Opening, ...]:
    host = parse({"version": 1, **policy}, "/etc/maqet/policy.yml")
    verdict = judge(Request(name, arguments), scope, Rights(host, host.layer(scope.vm), (), Role("admin")))
    assert verdict.allowed, verdict.reason
    return verdict.openings


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_new_file_is_private_and_empty_until_the_command_writes(scope: Scope, output: Path) -> None:
    before = open_files()
    opened = perform(openings(scope, "memsave", dict(DUMP)), None, None)
    assert stat.S_IMODE((output / "mem").stat().st_mode) == 0o600
    os.write(opened.passed[0].fd, b"memory")
    opened.close()
    opened.close()
    opened.discard()  # the command failed after it had written: what it wrote stays
    assert (output / "mem").read_bytes() == b"memory"
    assert open_files() == before


def test_the_empty_file_of_a_command_that_failed_goes(scope: Scope, output: Path) -> None:
    opened = perform(openings(scope, "memsave", dict(DUMP)), None, None)
    opened.close()
    opened.discard()
    assert not (output / "mem").exists()


def test_a_file_that_appeared_meanwhile_is_nobodys_to_write(scope: Scope, output: Path) -> None:
    judged = openings(scope, "memsave", dict(DUMP))
    (output / "mem").write_text("somebody's")
    with pytest.raises(MaqetError, match="File exists") as caught:
        perform(judged, None, None)
    assert caught.value.error_code == "file_refused"
    assert (output / "mem").read_text() == "somebody's"


@pytest.mark.parametrize("trick", ["symlink", "replaced", "gone"])
def test_a_file_that_changed_after_the_verdict(scope: Scope, home: Path, tmp_path: Path, trick: str) -> None:
    disk, victim = home / "disks" / "d", tmp_path / "victim"
    disk.write_bytes(b"\0" * 512)
    victim.write_text("secret")
    options = {"qom-type": "secret", "id": "s", "file": str(disk)}
    judged = openings(scope, "object-add", options)
    disk.unlink()
    if trick == "symlink":
        disk.symlink_to(victim)
    elif trick == "replaced":
        disk.write_bytes(b"\0" * 512)
        disk.rename(home / "disks" / "other")  # keeps the first inode busy, so that the next file has another
        disk.write_bytes(b"\0" * 512)
    before = open_files()
    with pytest.raises(MaqetError) as caught:
        perform(judged, None, None)
    assert caught.value.error_code == "file_refused"
    assert open_files() == before


def test_one_that_fails_takes_the_others_back(scope: Scope, output: Path) -> None:
    first = openings(scope, "memsave", {**DUMP, "filename": "a"})
    second = openings(scope, "memsave", {**DUMP, "filename": "b"})
    (output / "b").write_text("there")
    before = open_files()
    with pytest.raises(MaqetError):
        perform((*first, *second), None, None)
    assert (open_files(), sorted(os.listdir(output))) == (before, ["b"])


def test_what_is_kept_by_name_is_named_in_full(scope: Scope, home: Path) -> None:
    arguments = {"node-name": "a", "snapshot-file": "over.qcow2"}
    opened = perform(openings(scope, "blockdev-snapshot-sync", arguments), None, None)
    assert (opened.passed, arguments["snapshot-file"]) == ([], str(home / "output" / "over.qcow2"))


def test_only_what_belongs_to_qemus_user_keeps_its_name(scope: Scope, home: Path) -> None:
    disk = home / "disks" / "d"
    disk.write_bytes(b"\0" * 512)

    def add(uid: int) -> tuple[Opened, dict[str, t.Any]]:
        arguments: dict[str, t.Any] = {"driver": "raw", "file": {"driver": "file", "filename": f"{home}//disks/./d"}}
        its_own = Scope(scope.vm, scope.home, scope.schema, uid, uid)
        return perform(openings(its_own, "blockdev-add", arguments), None, None), arguments

    opened, arguments = add(os.getuid())
    assert (opened.passed, arguments["file"]["filename"]) == ([], str(disk))
    opened, arguments = add(os.getuid() + 1)
    assert [one.how for one in opened.passed] == ["fdset"]
    opened.passed[0].put("/dev/fdset/7")
    assert arguments["file"]["filename"] == "/dev/fdset/7"
    opened.close()


def test_reading_is_opened_for_reading(scope: Scope, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "i").write_bytes(b"\0" * 512)
    file = {"driver": "file", "filename": str(folder / "i"), "read-only": True}
    its_own = Scope(scope.vm, scope.home, scope.schema, os.getuid() + 1, None)
    roots = [{"path": str(folder), "access": "read"}]
    opened = perform(openings(its_own, "blockdev-add", {"driver": "raw", "file": file}, roots=roots), None, None)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(opened.passed[0].fd, b"x")
    opened.close()


@pytest.mark.parametrize("name", ["no-such-tap", "lo", "../x", ""])
def test_an_interface_that_is_no_tap(name: str) -> None:
    opening = Opening("ifname", name, "", (), "tap", "getfd", lambda _text: None)
    with pytest.raises(MaqetError, match="no tap interface"):
        perform([opening], None, None)
