# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cables between two VMs: who may send into whose socket, whoever comes first."""

from __future__ import annotations

import os
import pathlib
import socket
import stat
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host import files
from ansible_collections.maqet.qemu.plugins.module_utils.host.identity import RANGES
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import MAX_SOCKET_PATH, Layout
from ansible_collections.maqet.qemu.plugins.module_utils.runner import cables

WEB, DB = RANGES[0][1], RANGES[0][2]
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


class House:
    """Two VMs, web and db, and the sockets that their QEMUs would bind."""

    def __init__(self, folder: pathlib.Path, scope: str) -> None:
        self.where = Layout(str(folder / "s"), str(folder / "r"), str(folder / "l"), scope)
        self.bound: list[socket.socket] = []

    def has_user(self, name: str, uid: int) -> None:
        output = self.where.vm(name).output
        files.make_folder(output)
        os.chown(output, uid, uid)

    def bind(self, path: str, uid: t.Optional[int] = None) -> None:
        """As QEMU does: with the mode that the runner's umask leaves."""
        one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        one.bind(path)
        os.chmod(path, 0o700)
        if uid is not None:
            os.chown(path, uid, uid)
        self.bound.append(one)


@pytest.fixture
def house(tmp_path: pathlib.Path) -> t.Iterator[House]:
    found = House(tmp_path, "system" if os.geteuid() == 0 else "user")
    yield found
    for one in found.bound:
        one.close()


def whose(path: str) -> tuple[int, int, int]:
    status = os.lstat(path)
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)


def test_each_end_is_the_others_far_end(house: House) -> None:
    web = cables.prepare(house.where, "web", "db", None)
    db = cables.prepare(house.where, "db", "web", None)
    assert (web.socket, web.far) == (db.far, db.socket)
    assert os.path.isdir(os.path.dirname(web.socket)) and os.path.isdir(os.path.dirname(db.socket))
    assert len({web.socket, db.socket, house.where.vm("web").cable("db2")}) == 3


def test_what_an_older_qemu_left_is_gone(house: House) -> None:
    end = cables.prepare(house.where, "web", "db", None)
    house.bind(end.socket)
    cables.prepare(house.where, "web", "db", None)
    assert os.listdir(os.path.dirname(end.socket)) == []


def test_the_longest_names_fit(house: House) -> None:
    where = Layout("/var/lib/maqet", "/run/maqet", "/var/log/maqet", "system")
    names = "a" * 63, "b" * 63
    assert len(where.vm(names[0]).cable(names[1])) == len(where.vm(names[0]).monitor_socket) <= MAX_SOCKET_PATH


@root
def test_the_second_one_lets_itself_in(house: House) -> None:
    """The first could not know the other's number; nobody else gets in."""
    house.has_user("web", WEB)
    web = cables.prepare(house.where, "web", "db", WEB)
    house.bind(web.socket, WEB)
    cables.share(house.where.vm("web"))
    assert whose(os.path.dirname(web.socket)) == (WEB, WEB, 0o710)
    assert whose(web.socket) == (WEB, WEB, 0o660)

    house.has_user("db", DB)
    db = cables.prepare(house.where, "db", "web", DB)
    assert whose(os.path.dirname(web.socket)) == (WEB, DB, 0o710) and whose(web.socket) == (WEB, DB, 0o660)
    house.bind(db.socket, DB)
    cables.share(house.where.vm("db"))
    assert whose(os.path.dirname(db.socket)) == (DB, WEB, 0o710) and whose(db.socket) == (DB, WEB, 0o660)


@root
def test_before_the_first_one_has_bound(house: House) -> None:
    """Its folder is the second one's already, and its socket follows."""
    house.has_user("web", WEB)
    house.has_user("db", DB)
    web = cables.prepare(house.where, "web", "db", WEB)
    cables.prepare(house.where, "db", "web", DB)
    house.bind(web.socket, WEB)
    cables.share(house.where.vm("web"))
    assert whose(web.socket) == (WEB, DB, 0o660)


@root
@pytest.mark.parametrize("trap", ["link", "file", "somebody's socket", "folder"])
def test_what_a_taken_over_qemu_may_have_put_there(house: House, tmp_path: pathlib.Path, trap: str) -> None:
    """Only a socket of its own is given to the other; nothing is followed."""
    house.has_user("web", WEB)
    web = cables.prepare(house.where, "web", "db", WEB)
    victim = tmp_path / "victim"
    victim.write_text("root's", "utf-8")
    victim.chmod(0o600)
    folder = os.path.dirname(web.socket)
    if trap == "link":
        os.symlink(victim, web.socket)
    elif trap == "file":
        os.link(victim, web.socket)
    elif trap == "somebody's socket":
        house.bind(web.socket)
    else:
        os.rmdir(folder)
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        os.symlink(tmp_path / "elsewhere", folder)
    kept = whose(str(victim)), whose(str(tmp_path / "elsewhere")) if trap == "folder" else whose(web.socket)
    house.has_user("db", DB)
    if trap == "folder":  # the folder above is root's, so this cannot be
        with pytest.raises(OSError):
            cables.prepare(house.where, "db", "web", DB)
    else:
        cables.prepare(house.where, "db", "web", DB)
        cables.share(house.where.vm("web"))
    now = whose(str(victim)), whose(str(tmp_path / "elsewhere")) if trap == "folder" else whose(web.socket)
    assert now == kept
