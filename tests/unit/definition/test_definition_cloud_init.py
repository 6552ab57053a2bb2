# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cloud_init takes, what it refuses, and that no refusal quotes what may be a secret."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.changes import RESTART, diff
from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import merge, normalise
from ansible_collections.maqet.qemu.tests.unit.definition.conftest import Refused

SECRET = "hunter2"
ETHERNETS = {"ethernets": {"all": {"match": {"name": "e*"}, "dhcp4": True}}}


def given(**parts: t.Any) -> t.Any:
    return normalise({"cloud_init": parts})["cloud_init"]


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"user_data": {}},
        {"user_data": {"hostname": "a", "users": ["default"], "packages": ["nginx"]}},
        {"user_data": {"a_module_of_ones_own": 1, "x": None}},
        {"user_data": "#cloud-config\n{}"},
        {"user_data": "\n #Cloud-Config\nusers: []"},
        {"user_data": "#cloud-config-archive\n- type: x"},
        {"user_data": "#!/bin/sh\nid"},
        {"user_data": "#include\nhttps://example.org/x"},
        {"user_data": "#include-once\nhttps://example.org/x"},
        {"user_data": "#cloud-boothook\n#!/bin/sh\nid"},
        {"user_data": "#part-handler\n"},
        {"user_data": "## template: jinja\n#cloud-config\nhostname: {{ v1.instance_id }}"},
        {"user_data": "Content-Type: multipart/mixed; boundary=x\nMIME-Version: 1.0\n\n--x--"},
        {"vendor_data": {"runcmd": [["id"]]}, "instance_id": "i-1", "rerun": False},
        {"meta_data": {"instance-id": "a", "local-hostname": "b", "of_ones_own": {"c": 1}}},
        {"meta_data": "# mine\nlocal-hostname: a\n"},
        {"network_config": {"version": 2, **ETHERNETS}},
        {"network_config": {"version": 1, "config": []}},
        {"network_config": {"config": "disabled"}},
        {"network_config": "version: 2\nethernets: {}\n"},
        {"network_config": "network:\n  version: 2\n"},
        {"network_config": "network: {config: disabled}\nconfig: disabled"},
        {"rerun": True},
    ],
)
def test_taken_as_it_is(parts: dict[str, t.Any]) -> None:
    assert given(**parts) == parts
    assert merge(merge({}, {"cloud_init": parts}), {}) == {"cloud_init": parts}


@pytest.mark.parametrize(
    ("parts", "normal"),
    [
        ({"user_data": "", "vendor_data": None, "instance_id": ""}, {}),
        (
            {"network_config": {"network": {"version": "2", **ETHERNETS}}},
            {"network_config": {"version": 2, **ETHERNETS}},
        ),
        (
            {"network_config": json.dumps({"version": 1, "config": []})},
            {"network_config": {"version": 1, "config": []}},
        ),
        ({"meta_data": '{"instance-id": 7}'}, {"meta_data": {"instance-id": "7"}}),
    ],
)
def test_normal_form(parts: dict[str, t.Any], normal: dict[str, t.Any]) -> None:
    assert given(**parts) == normal
    assert given(**normal) == normal


@pytest.mark.parametrize(
    ("option", "parts", "word"),
    [
        ("user_data", {"user_data": f"password: {SECRET}"}, "header"),
        ("user_data", {"user_data": f"# cloud-config\npassword: {SECRET}"}, "nearly #cloud-config"),
        ("user_data", {"user_data": f"#cloud_config\npassword: {SECRET}"}, "nearly #cloud-config"),
        ("user_data", {"user_data": f"## template: jinja\npassword: {SECRET}"}, "second line"),
        ("user_data", {"user_data": "/srv/user-data"}, "lookup"),
        ("user_data", {"user_data": [SECRET]}, "neither a dictionary nor a text"),
        ("user_data", {"user_data": f"#!/bin/sh\0{SECRET}"}, "NUL"),
        ("user_data", {"user_data": f"#!/bin/sh\n{SECRET}\udcff"}, "UTF-8"),
        ("user_data", {"user_data": {"password": f"{SECRET}\udcff"}}, "UTF-8"),
        ("user_data", {"user_data": {"password": float("nan")}}, "UTF-8"),
        ("user_data", {"user_data": {"password": {SECRET}}}, "neither text"),
        ("user_data", {"user_data": f"#cloud-config\n{SECRET * 200000}"}, "bytes"),
        ("user_data.pasword", {"user_data": {"pasword": SECRET}}, "Did you mean password"),
        ("user_data.ssh_authorised_keys", {"user_data": {"ssh_authorised_keys": [SECRET]}}, "ssh_authorized_keys"),
        ("user_data.run_cmd", {"user_data": {"run_cmd": [SECRET]}}, "runcmd"),
        ("user_data.runcmd", {"user_data": {"runcmd": f"echo {SECRET}"}}, "is not a list"),
        ("user_data.write_files", {"user_data": {"write_files": {"content": SECRET}}}, "is not a list"),
        ("user_data.network", {"user_data": {"network": {"version": 2}}}, "network_config"),
        ("user_data.7", {"user_data": {7: SECRET}}, "not a string"),
        ("vendor_data.hostnam", {"vendor_data": {"hostnam": "x"}}, "hostname"),
        ("vendor_data", {"vendor_data": SECRET}, "header"),
        ("meta_data.hostname", {"meta_data": {"hostname": "x"}}, "local-hostname"),
        ("meta_data.instance_id", {"meta_data": {"instance_id": "x"}}, "instance_id"),
        ("meta_data", {"meta_data": "- a\n"}, "mapping"),
        ("meta_data", {"meta_data": f"---\nkey: {SECRET}\n"}, "first line"),
        ("meta_data", {"meta_data": 7}, "neither a dictionary nor a text"),
        ("network_config", {"network_config": ETHERNETS}, "no version"),
        ("network_config", {"network_config": "ethernets: {}"}, "says no version"),
        ("network_config.version", {"network_config": {"version": 3}}, "is not 1 or 2"),
        ("network_config.version", {"network_config": {"version": True}}, "is not 1 or 2"),
        ("network_config.ethernet", {"network_config": {"version": 2, "ethernet": {}}}, "ethernets"),
        ("network_config.config", {"network_config": {"version": 1, "config": {}}}, "is not a list"),
        ("network_config", {"network_config": {"version": 2}}, "configure nothing"),
        ("userdata", {"userdata": "x"}, "user_data"),
        ("instance_id", {"instance_id": "../x"}, "not an instance id"),
        ("instance_id", {"instance_id": "x\n"}, "not an instance id"),
        ("instance_id", {"instance_id": "x", "meta_data": {"instance-id": "y"}}, "Remove one"),
        ("instance_id", {"instance_id": "x", "meta_data": "instance-id: y"}, "Remove one"),
        ("rerun", {"rerun": True, "instance_id": "x"}, "Remove one"),
        ("rerun", {"rerun": True, "meta_data": '"instance-id": y'}, "Remove one"),
        ("rerun", {"rerun": "yes"}, "boolean"),
    ],
)
def test_refused(refused: Refused, option: str, parts: dict[str, t.Any], word: str) -> None:
    error = refused(f"cloud_init.{option}", normalise, {"cloud_init": parts})
    assert word in str(error)
    assert SECRET not in json.dumps(error.as_dict())


def test_not_a_dictionary(refused: Refused) -> None:
    refused("cloud_init", normalise, {"cloud_init": [1]})


def test_a_change_costs_a_restart_and_the_order_of_keys_none() -> None:
    one = {"cloud_init": {"user_data": {"hostname": "a", "locale": "C"}}}
    assert not diff(one, {"cloud_init": {"user_data": {"locale": "C", "hostname": "a"}}}, "x86_64")
    others: list[dict[str, t.Any]] = [{"cloud_init": {}}, {"cloud_init": {"user_data": {"hostname": "b"}}}, {}]
    for other in others:
        assert diff(one, other, "x86_64").impacts == {"cloud_init": RESTART}
    assert not diff({}, {"cloud_init": {}}, "x86_64").restart
