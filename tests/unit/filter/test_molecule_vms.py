# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which VMs the platforms of a molecule.yml are, and which platforms are refused."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.maqet.qemu.plugins.filter.molecule_vms import FilterModule

REMOTE = "https://example.org/images/debian.qcow2?x=1"


def made(*platforms: t.Any, **given: t.Any) -> list[dict[str, t.Any]]:
    """Of platforms whose scenario lies in /srv/scenario."""
    rest = {"prefix": "m-", "ports": [5001, 5002], "public_key": "ssh-ed25519 AAAA me\n", "images": "/images"}
    function = FilterModule().filters()["molecule_vms"]
    return list(function(list(platforms), **{**rest, "folder": "/srv/scenario", **given}))


def test_a_platform_of_two_words() -> None:
    """A name and an image are enough to be reached."""
    (one,) = made({"name": "web_1", "groups": ["web"], "image": REMOTE})
    assert one["vm"].keys() == {"name", "disks", "networks", "cloud_init"}
    assert one["vm"]["name"] == "m-web_1"
    assert one["vm"]["networks"] == [{"type": "user", "hostfwd": [{"host_port": 5001, "guest_port": 22}]}]
    assert one["vm"]["disks"] == [{"name": "root", "base": f"/images/{one['image']['name']}"}]
    assert one["image"]["url"] == REMOTE and one["image"]["name"].endswith("-debian.qcow2")
    seed = one["vm"]["cloud_init"]
    (user,) = seed["user_data"]["users"]
    assert (user["name"], user["ssh_authorized_keys"]) == ("molecule", ["ssh-ed25519 AAAA me"])
    assert seed["meta_data"] == {"local-hostname": "web-1"}
    assert one["instance"] == {"instance": "web_1", "address": "127.0.0.1", "port": 5001, "user": "molecule"}


def test_what_a_platform_says_is_added() -> None:
    """Options of maqet_vm are handed on; disks, cards and users come beside those that are needed."""
    first, second = made(
        {"name": "a", "image": REMOTE.replace("example", "mirror.example"), "image_checksum": "sha256:00"},
        {
            "name": "b",
            "image": "base.qcow2",
            "image_size": "20G",
            "memory": "2G",
            "ssh_user": "ada",
            "ssh_port": 2222,
            "disks": [{"name": "data", "size": "1G"}],
            "networks": [{"type": "bridge", "bridge": "br0"}],
            "cloud_init": {"user_data": {"users": ["default"], "packages": ["curl"]}, "rerun": True},
        },
    )
    (elsewhere,) = made({"name": "a", "image": REMOTE})
    assert first["image"]["checksum"] == "sha256:00" and "checksum" not in elsewhere["image"]
    assert first["image"]["name"] != elsewhere["image"]["name"], "another address is another file"
    assert second["image"] == {} and second["vm"]["memory"] == "2G"
    root, data = second["vm"]["disks"]
    assert root == {"name": "root", "base": "/srv/scenario/base.qcow2", "size": "20G"} and data["name"] == "data"
    assert [card["type"] for card in second["vm"]["networks"]] == ["user", "bridge"]
    seed = second["vm"]["cloud_init"]
    assert seed["rerun"] is True and seed["user_data"]["packages"] == ["curl"]
    default, user = seed["user_data"]["users"]
    assert (default, user["name"]) == ("default", "ada")
    assert (second["instance"]["port"], second["instance"]["user"]) == (2222, "ada")


@pytest.mark.parametrize(
    ("path", "base"), [("/a/b.qcow2", "/a/b.qcow2"), ("../b.qcow2", "/srv/b.qcow2"), ("~/b.qcow2", "/home/ada/b.qcow2")]
)
def test_where_an_image_is(monkeypatch: pytest.MonkeyPatch, path: str, base: str) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert made({"name": "a", "image": path})[0]["vm"]["disks"][0]["base"] == base


@pytest.mark.parametrize(
    ("platform", "words"),
    [
        ("a", "platforms[0]: 'a' has no name"),
        ({"image": "x"}, "has no name"),
        ({"name": "a"}, "a has no image. Give the address or path"),
        ({"name": "a", "image": 5}, "platforms[0].image: 5 is a int"),
        ({"name": "a", "image": "x", "image_checksum": "sha256:0"}, "it is for an image with an address"),
        ({"name": "a", "image": "x", "disks": {}}, "platforms[0].disks: {} is a dict"),
        ({"name": "a", "image": "x", "ssh_port": "ssh"}, "platforms[0].ssh_port: 'ssh' is a str"),
        ({"name": "a", "image": "x", "cloud_init": {"user_data": "#!/bin/sh"}}, "user_data: a text cannot be added"),
    ],
)
def test_a_platform_that_cannot_be_understood(platform: t.Any, words: str) -> None:
    with pytest.raises(AnsibleFilterError) as refused:
        made(platform)
    assert words in str(refused.value)


def test_no_platforms_and_too_few_ports() -> None:
    with pytest.raises(AnsibleFilterError, match="is no list of VMs"):
        made()
    with pytest.raises(AnsibleFilterError, match="1 are too few for 2 platforms"):
        made({"name": "a", "image": "x"}, {"name": "b", "image": "x"}, ports=[5001])
