# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each VM has a number of its own, keeps it, and never gets one that is somebody's."""

from __future__ import annotations

import concurrent.futures
import os
import pathlib
import pwd
import uuid

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import identity
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import UUID

WIDE, NARROW = identity.RANGES
WHOLE = "         0          0 4294967295\n"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def where(tmp_path: pathlib.Path) -> Layout:
    return Layout(str(tmp_path / "s"), str(tmp_path / "r"), str(tmp_path / "l"), "system")


@pytest.mark.parametrize(
    ("uids", "gids", "expected"),
    [
        (WHOLE, WHOLE, WIDE),
        ("0 100000 65536\n", "0 100000 65536\n", NARROW),
        (WHOLE, "0 100000 65536\n", NARROW),
        ("0 1000 1\n1 100000 65536\n", "0 1000 1\n1 100000 65536\n", NARROW),
        ("0 100000 58192\n", "0 100000 58192\n", NARROW),
        ("0 1 5\n2100000000 9 65536\n", "0 1 5\n2100000000 9 65536\n", WIDE),
    ],
)
def test_the_range_that_exists(uids: str, gids: str, expected: range) -> None:
    assert identity.available(uids, gids) == expected


@pytest.mark.parametrize("text", ["", "0 1000 1\n", "0 100000 58191\n", "50001 0 65536\n"])
def test_no_range_exists(text: str) -> None:
    with pytest.raises(MaqetError, match="has no numbers for it") as caught:
        identity.available(text, text)
    assert caught.value.error_code == "no_identity"


def test_choosing() -> None:
    first = identity.choose(WIDE, UUID, lambda _uid: False)
    assert first in WIDE and first == identity.choose(WIDE, UUID, lambda _uid: False)
    second = identity.choose(WIDE, UUID, lambda uid: uid == first)
    assert second == (first + 1 if first + 1 in WIDE else WIDE[0])
    only = WIDE[17]
    assert identity.choose(WIDE, UUID, lambda uid: uid != only) == only
    with pytest.raises(MaqetError, match="all numbers from 50000 to 50002 are in use"):
        identity.choose(range(50_000, 50_003), UUID, lambda _uid: True)
    assert len({identity.choose(WIDE, str(uuid.uuid4()), lambda _uid: False) for _n in range(200)}) > 190


def test_whose_a_number_is() -> None:
    assert identity.is_vms(WIDE[0]) and identity.is_vms(NARROW[-1])
    assert not identity.is_vms(0) and not identity.is_vms(1000) and not identity.is_vms(WIDE[-1] + 1)


@as_root
def test_a_number_is_kept(where: Layout) -> None:
    uid = identity.allocate(where, "web", UUID)
    assert os.stat(where.vm("web").output).st_uid == os.stat(where.vm("web").output).st_gid == uid
    assert identity.allocate(where, "web", str(uuid.uuid4())) == uid


@as_root
@pytest.mark.parametrize("left", ["", "disks", "output"])
def test_two_vms_never_share(where: Layout, left: str) -> None:
    """Also with one of which only a folder is left, and with one that was copied with its owner."""
    uid = identity.allocate(where, "web", UUID)
    other = os.path.join(where.vms, "old", left)
    os.makedirs(other)
    os.chown(other, uid, uid)
    assert identity.allocate(where, "web", UUID) != uid


@as_root
def test_a_number_that_has_become_somebodys(where: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    uid, ask = identity.allocate(where, "web", UUID), pwd.getpwuid
    monkeypatch.setattr(pwd, "getpwuid", lambda asked: ask(0) if asked == uid else ask(asked))
    second = identity.allocate(where, "web", UUID)
    assert second != uid and os.stat(where.vm("web").output).st_uid == second


@as_root
def test_many_at_once(where: Layout) -> None:
    names = [f"vm{number}" for number in range(16)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        uids = list(pool.map(lambda name: identity.allocate(where, name, UUID), names))
    assert len(set(uids)) == 16
