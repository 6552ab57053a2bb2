# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How disks come to the other host, and what cannot move."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.defaults import effective
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import Definition, DiskFile
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.vm import migrate_offer
from ansible_collections.maqet.qemu.plugins.module_utils.vm.migrate import said

OWN = DiskFile("/v/web/disks/root.qcow2", "qcow2", True)
THEIRS = DiskFile("/srv/data.raw", "raw")


@pytest.mark.parametrize(
    ("file", "readonly", "storage", "way"),
    [
        (OWN, False, "auto", "copy"),
        (OWN, False, "copy", "copy"),
        (OWN, True, "auto", "copy"),
        (THEIRS, False, "auto", "shared"),
        (THEIRS, False, "shared", "shared"),
        (THEIRS, False, "copy", "copy"),
        (THEIRS, True, "auto", "same"),
        (THEIRS, True, "shared", "same"),
        (THEIRS, True, "copy", "same"),
    ],
)
def test_the_way_of_a_disk(file: DiskFile, readonly: bool, storage: str, way: str) -> None:
    assert migrate_offer.way_of({"name": "root", "readonly": readonly}, file, storage) == way


def refusal(call: t.Callable[..., t.Any], *arguments: t.Any) -> str:
    with pytest.raises(MaqetError) as error:
        call(*arguments)
    assert error.value.error_code == "migration_refused"
    return str(error.value)


def test_an_own_image_is_not_shared() -> None:
    words = refusal(migrate_offer.way_of, {"name": "root", "readonly": False}, OWN, "shared")
    assert "root" in words and "storage" in words


@pytest.mark.parametrize(
    ("intent", "seen", "named"),
    [
        ({"host_devices": [{"pci": "0000:01:00.0"}]}, {}, "host_devices"),
        ({"shares": [{"tag": "x", "path": "/srv"}]}, {}, "shares"),
        ({"networks": [{"type": "socket", "peer": "db"}]}, {}, "db"),
        ({}, {"blocked": ["virtio-9p is mounted"]}, "virtio-9p is mounted"),
    ],
)
def test_what_belongs_to_its_host_does_not_move(intent: t.Any, seen: t.Any, named: str) -> None:
    assert named in refusal(migrate_offer.check_sendable, effective(intent, "x86_64"), seen)


def test_what_can_move() -> None:
    migrate_offer.check_sendable(effective({"networks": [{"type": "user"}]}, "x86_64"), {"blocked": []})


@pytest.mark.parametrize(
    ("found", "device", "named"),
    [
        (None, False, "job"),
        ({"plain": False, "snapshots": [], "size": 1}, False, "job"),
        ({"plain": True, "snapshots": ["before"], "size": 1}, False, "before"),
        ({"plain": True, "snapshots": [], "size": 1}, True, "block device"),
    ],
)
def test_what_a_copy_would_lose(found: t.Any, device: bool, named: str) -> None:
    assert named in refusal(migrate_offer.check_copied, "root", found, device)


def test_own_images_are_in_the_other_hosts_folder() -> None:
    kept = DiskFile("/v/web/disks/x/deep.raw", "raw", True)
    definition = Definition("web", "u", {}, {"root": OWN, "data": THEIRS, "deep": kept})
    told = {"definition": definition.to_json(), "home_disks": "/v/web/disks"}
    moved = migrate_offer.adapted(told, "/home/x/vms/web/disks").files
    assert moved["root"] == DiskFile("/home/x/vms/web/disks/root.qcow2", "qcow2", True)
    assert (moved["data"], moved["deep"]) == (THEIRS, kept)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            {"phase": "memory", "total": 1 << 30, "remaining": 1 << 28, "transferred": 1 << 29},
            "memory: 75 % of 1024 MiB, 512 MiB sent",
        ),
        ({"phase": "memory"}, "memory"),
        ({"phase": "disks", "left": 2}, "disks: 2 left to be copied"),
        ({"phase": "switchover"}, "switchover"),
    ],
)
def test_progress_in_words(data: t.Any, words: str) -> None:
    assert said(data) == words
