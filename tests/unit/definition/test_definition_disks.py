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
        ([{**S, "interface": "sata"}] * 7, "disks"),
        ([{**S, "interface": "ide"}] * 5, "disks"),
    ],
)
def test_refused(given: t.Any, option: str, refused: t.Any) -> None:
    refused(option, disks, "disks", given)


@pytest.mark.parametrize(("interface", "room"), [("sata", 6), ("ide", 4), ("scsi", 20)])
def test_controllers_have_room(interface: str, room: int) -> None:
    assert len(disks("disks", [{**S, "interface": interface}] * room)) == room
