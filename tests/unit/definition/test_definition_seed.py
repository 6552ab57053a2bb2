# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a seed: what a guest's YAML reader makes of them, whose instance they are, and what is shown of them."""

from __future__ import annotations

import json
import typing as t

import pytest
import yaml
from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import normalise
from ansible_collections.maqet.qemu.plugins.module_utils.definition.seed import (
    as_yaml,
    contents,
    label,
    shown,
    without_secrets,
)
from hypothesis import given
from hypothesis import strategies as st

UUID = "11111111-2222-3333-4444-555555555555"
CHARACTERS = st.characters(exclude_categories=["Cs"])
TEXTS = st.text(CHARACTERS, max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def seed(name: str = "web-1", **parts: t.Any) -> dict[str, str]:
    files = contents(normalise({"cloud_init": parts})["cloud_init"], name, UUID)
    return {file: data.decode() for file, data in files.items()}


def instance(**parts: t.Any) -> str:
    return str(yaml.safe_load(seed(**parts)["meta-data"])["instance-id"])


@given(VALUES)
def test_yaml_readers_find_what_was_given(value: t.Any) -> None:
    assert yaml.safe_load(as_yaml({"key": value})) == {"key": value}


@pytest.mark.parametrize(
    "character", ["\x7f", "\x85", "\u2028", "\u2029", "\ufeff", "\uffff", "\U0001f600", "\t", "\x00"]
)
def test_yaml_readers_find_odd_characters(character: str) -> None:
    assert yaml.safe_load(as_yaml({"key": f"a{character} b"})) == {"key": f"a{character} b"}


def test_nothing_said() -> None:
    """Both files that must be there are, and the guest is called like its VM."""
    files = seed(user_data={})
    assert set(files) == {"user-data", "meta-data"} == set(seed(rerun=False))
    assert files["user-data"].startswith("#cloud-config\n") and yaml.safe_load(files["user-data"]) == {}
    assert yaml.safe_load(files["meta-data"]) == {"instance-id": UUID, "local-hostname": "web-1"}


def test_structures() -> None:
    network = {"version": 2, "ethernets": {"eth0": {"dhcp4": True}}}
    files = seed(user_data={"b": 1, "a": ["ä"]}, vendor_data={"c": None}, network_config={"network": network})
    assert files["user-data"].startswith("#cloud-config\n") and files["vendor-data"].startswith("#cloud-config\n")
    assert yaml.safe_load(files["user-data"]) == {"a": ["ä"], "b": 1}
    assert yaml.safe_load(files["vendor-data"]) == {"c": None}
    assert yaml.safe_load(files["network-config"]) == network and files["network-config"].startswith("{")
    assert files == seed(vendor_data={"c": None}, network_config=network, user_data={"a": ["ä"], "b": 1})


def test_texts_are_taken_as_they_are() -> None:
    script, network = "#!/bin/sh\r\necho ä\n\n", "version: 2\nethernets: {}"
    files = seed(user_data=script, vendor_data=script, network_config=network)
    assert (files["user-data"], files["vendor-data"], files["network-config"]) == (script, script, network)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"local-hostname": "x", "a": 1}, {"instance-id": UUID, "local-hostname": "x", "a": 1}),
        ("a: 1\n", {"instance-id": UUID, "local-hostname": "web-1", "a": 1}),
        ("'local-hostname' : x\na: 1", {"instance-id": UUID, "local-hostname": "x", "a": 1}),
        (
            "instance-id: i\na: {instance-id: j}",
            {"instance-id": "i", "local-hostname": "web-1", "a": {"instance-id": "j"}},
        ),
        ("a:\n  instance-id: j", {"instance-id": UUID, "local-hostname": "web-1", "a": {"instance-id": "j"}}),
    ],
)
def test_meta_data(given: t.Any, found: dict[str, t.Any]) -> None:
    assert yaml.safe_load(seed(meta_data=given)["meta-data"]) == found


@pytest.mark.parametrize(("name", "hostname"), [("a_b", "a-b"), ("web.example.org", "web.example.org"), ("a-_.", "a")])
def test_a_name_for_the_guest(name: str, hostname: str) -> None:
    assert yaml.safe_load(seed(name, rerun=False)["meta-data"])["local-hostname"] == hostname


def test_the_instance() -> None:
    one, other = {"user_data": {"hostname": "a"}}, {"user_data": {"hostname": "b"}}
    assert instance(**one) == instance(**other) == instance(**one, rerun=False) == UUID
    assert instance(**one, instance_id="i-1") == "i-1"
    first, second = instance(**one, rerun=True), instance(**other, rerun=True)
    assert first == instance(**one, rerun=True) != second and first.startswith(f"{UUID}-")
    parts: list[dict[str, t.Any]] = [
        {},
        {"vendor_data": {}},
        {"meta_data": {"a": 1}},
        {"network_config": {"config": "disabled"}},
        {"network_config": {"version": 1, "config": []}},
    ]
    assert len({instance(**{"user_data": {}, "rerun": True, **more}) for more in parts}) == len(parts)


def test_a_label_is_of_the_files_and_fits() -> None:
    """128 characters are the room in an ISO 9660 image (ECMA-119, 8.4.20)."""
    labels = [label({"user-data": data, "meta-data": b"b"}) for data in (b"a", b"b", b"a")]
    assert labels[0] == labels[2] != labels[1] != label({"meta-data": b"a", "user-data": b"b"})
    assert len(labels[0]) < 128 and labels[0].isascii()


def test_what_is_shown_is_no_secret_and_tells_changes() -> None:
    secret: dict[str, t.Any] = {"user_data": {"password": "hunter2"}, "meta_data": "a: hunter2", "instance_id": "i-1"}
    first = shown(secret)
    assert set(first) == set(secret) and first["instance_id"] == "i-1"
    assert "hunter2" not in json.dumps(first)
    other = shown({**secret, "user_data": {"password": "hunter3"}})
    assert first["user_data"] != other["user_data"] and first["meta_data"] == other["meta_data"]
    assert first["user_data"].startswith("sha256:")
    options = without_secrets({"memory": 1, "cloud_init": secret})
    assert options == {"memory": 1, "cloud_init": first}
    assert without_secrets({"cloud_init": None, "cpus": 2}) == {"cloud_init": None, "cpus": 2}


@pytest.mark.parametrize(
    "odd", ["hunter2", ["hunter2"], {"user_data": {"a": {"hunter2"}}}, {"user_data": "hunter2\udcff"}]
)
def test_what_will_be_refused_is_not_shown_either(odd: t.Any) -> None:
    assert "hunter2" not in repr(shown(odd))
