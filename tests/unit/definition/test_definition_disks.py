# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks: given, and in normal form."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.disks import disks

GIB = 2**30
S = {"size": "1G"}


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ([], []),
        ([S], [{"name": "disk0", "size": GIB}]),
        ([S, S], [{"name": "disk0", "size": GIB}, {"name": "disk1", "size": GIB}]),
        ([{"name": "root", **S}, S], [{"name": "root", "size": GIB}, {"name": "disk1", "size": GIB}]),
        ([{"base": "/i/b.qcow2"}], [{"name": "disk0", "base": "/i/b.qcow2"}]),
        (
            [{"interface": "scsi", "format": "qcow2", "base": "/b", "size": "2G", "readonly": True}],
            [
                {
                    "name": "disk0",
                    "size": 2 * GIB,
                    "base": "/b",
                    "format": "qcow2",
                    "interface": "scsi",
                    "readonly": True,
                }
            ],
        ),
        ([{"path": "/i/a b,c.img", "format": "raw"}], [{"name": "disk0", "path": "/i/a b,c.img", "format": "raw"}]),
        # What Ansible makes of a suboption that was left out.
        ([{"name": None, "size": "1G", "base": None, "path": None}], [{"name": "disk0", "size": GIB}]),
        (
            [{"readonly": False, "interface": "ide", **S}],
            [{"name": "disk0", "size": GIB, "interface": "ide", "readonly": False}],
        ),
        ([{"name": "a" * 20, **S}], [{"name": "a" * 20, "size": GIB}]),
        ([{"type": "disk", **S}], [{"name": "disk0", "size": GIB}]),
        ([{"type": "cdrom"}], [{"name": "disk0", "type": "cdrom"}]),
        (
            [{"format": "raw", "path": "/i/a.iso", "type": "cdrom", "readonly": True}],
            [{"name": "disk0", "type": "cdrom", "path": "/i/a.iso", "format": "raw", "readonly": True}],
        ),
        (
            [{"checksum": f"SHA256:{'Ab' * 32}", "clone_format": "vpc", "clone": "/i/a", "size": "2G"}],
            [
                {
                    "name": "disk0",
                    "size": 2 * GIB,
                    "clone": "/i/a",
                    "clone_format": "vpc",
                    "checksum": f"sha256:{'ab' * 32}",
                }
            ],
        ),
        (
            [{"preallocation": "falloc", "format": "raw", **S}],
            [{"name": "disk0", "size": GIB, "format": "raw", "preallocation": "falloc"}],
        ),
    ],
)
def test_normal_form(given: t.Any, normal: t.Any) -> None:
    assert disks("disks", given) == normal


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ("/i/a.img", "disks"),
        (S, "disks"),
        (["/i/a.img"], "disks[0]"),
        ([{}], "disks[0]"),
        ([{"name": "root"}], "disks[0]"),
        ([S, {"size": "banana"}], "disks[1].size"),
        ([{"size": 0}], "disks[0].size"),
        ([{"path": "/a", "size": "1G"}], "disks[0].size"),
        ([{"path": "/a", "base": "/b"}], "disks[0].base"),
        ([{"path": "a.img"}], "disks[0].path"),
        ([{"path": "~/a.img"}], "disks[0].path"),
        ([{"path": ""}], "disks[0].path"),
        ([{"path": "/srv/images/"}], "disks[0].path"),
        ([{"path": "/a\x00b"}], "disks[0].path"),
        ([{"path": "/a\nb"}], "disks[0].path"),
        ([{"path": "/a\udcff"}], "disks[0].path"),
        ([{"path": "/" + "a" * 4095}], "disks[0].path"),
        ([{"path": 5}], "disks[0].path"),
        ([{"base": "json:{}"}], "disks[0].base"),
        ([{"base": "/b", "format": "raw"}], "disks[0].format"),
        ([{**S, "format": "vmdk"}], "disks[0].format"),
        ([{**S, "interface": "floppy"}], "disks[0].interface"),
        ([{**S, "interface": ["scsi"]}], "disks[0].interface"),
        ([{**S, "readonly": "yes"}], "disks[0].readonly"),
        ([{**S, "readonly": True, "interface": "sata"}], "disks[0].readonly"),
        ([{**S, "readonly": True, "interface": "ide"}], "disks[0].readonly"),
        ([{**S, "cache": "some"}], "disks[0].cache"),
        ([{**S, "name": "Root"}], "disks[0].name"),
        ([{**S, "name": "a" * 21}], "disks[0].name"),
        ([{**S, "name": "a,b"}], "disks[0].name"),
        ([{**S, "name": "a\n"}], "disks[0].name"),
        ([{**S, "name": "0a"}], "disks[0].name"),
        ([{**S, "name": "nic0"}], "disks[0].name"),
        ([{**S, "name": "maqet-scsi"}], "disks[0].name"),
        ([{**S, "name": "a"}, {**S, "name": "a"}], "disks[1].name"),
        ([{**S, "name": "disk1"}, S], "disks[1].name"),
        ([{"clone": "/a", "base": "/b"}], "disks[0].clone"),
        ([{"clone": "/a", "path": "/b"}], "disks[0].clone"),
        ([{"clone": "a"}], "disks[0].clone"),
        ([{"clone": "/a", "clone_format": "iso"}], "disks[0].clone_format"),
        ([{"clone": "/a", "checksum": "ab" * 32}], "disks[0].checksum"),
        ([{"clone": "/a", "checksum": "md5:" + "ab" * 16}], "disks[0].checksum"),
        ([{"clone": "/a", "checksum": f"sha256:{'ab' * 32}\n"}], "disks[0].checksum"),
        ([{**S, "checksum": f"sha256:{'ab' * 32}"}], "disks[0].checksum"),
        ([{"base": "/b", "clone_format": "raw"}], "disks[0].clone_format"),
        ([{"base": "/b", "preallocation": "full"}], "disks[0].preallocation"),
        ([{"path": "/b", "preallocation": "full"}], "disks[0].preallocation"),
        ([{**S, "preallocation": "yes"}], "disks[0].preallocation"),
        ([{**S, "preallocation": "metadata", "format": "raw"}], "disks[0].preallocation"),
        ([{**S, "type": "floppy"}], "disks[0].type"),
        ([{"type": "cdrom", **S}], "disks[0].size"),
        ([{"type": "cdrom", "base": "/b"}], "disks[0].base"),
        ([{"type": "cdrom", "clone": "/b"}], "disks[0].clone"),
        ([{"type": "cdrom", "readonly": False}], "disks[0].readonly"),
        ([{"type": "cdrom", "interface": "virtio"}], "disks[0].interface"),
        ([{"type": "cdrom", "interface": "usb"}], "disks[0].interface"),
        ([{"type": "cdrom", "format": "raw"}], "disks[0].format"),
        ([{"type": "cdrom", "discard": "unmap"}], "disks[0].discard"),
        ([{"type": "cdrom", "throttle": {"iops": 5}}], "disks[0].throttle"),
        ([{**S, "readonly": True, "interface": "nvme"}], "disks[0].readonly"),
        ([{"type": "cdrom"}] * 7, "disks"),
        ([{**S, "interface": "sata"}] * 7, "disks"),
        ([{**S, "interface": "ide"}] * 5, "disks"),
    ],
)
def test_refused(given: t.Any, option: str, refused: t.Any) -> None:
    refused(option, disks, "disks", given)


@pytest.mark.parametrize(("interface", "room"), [("sata", 6), ("ide", 4), ("scsi", 20)])
def test_controllers_have_room(interface: str, room: int) -> None:
    assert len(disks("disks", [{**S, "interface": interface}] * room)) == room
