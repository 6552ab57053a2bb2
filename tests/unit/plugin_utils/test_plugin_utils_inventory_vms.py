# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory makes of the facts of VMs, and of what only looks like such."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.plugin_utils import inventory_vms

VM: dict[str, t.Any] = {
    "name": "web1",
    "status": "running",
    "uuid": "0b0e6a0e-6c1c-4d0f-8d3a-111111111111",
    "definition": {
        "memory": 512,
        "cpus": 2,
        "labels": {"role": "web", "canary": ""},
        "networks": [
            {"type": "bridge", "bridge": "br0"},
            {"type": "user", "hostfwd": [{"host_port": 2222, "guest_port": 22}]},
        ],
        "vnc": {"password": "(hidden)"},
        "cloud_init": {"user_data": "s3cret"},
        "kernel": "/srv/s3cret",
    },
    "networks": [
        {"id": "nic0", "type": "bridge", "model": "virtio-net-pci", "mac": "52:54:00:00:00:01", "interface": "x"},
        {"id": "nic1", "type": "user", "model": "virtio-net-pci", "mac": "52:54:00:00:00:02", "interface": None},
    ],
    "qemu_version": "7.2.22",
    "accel": "tcg",
    "restarts": 0,
    "home": "/var/lib/s3cret",
    "details": {
        "addresses": [
            {
                "interface": "eth0",
                "mac": "52:54:00:00:00:01",
                "family": "ipv4",
                "address": "192.0.2.9",
                "prefix": 24,
                "source": "agent",
            }
        ]
    },
}


def record(**changes: t.Any) -> inventory_vms.Record:
    (one,) = inventory_vms.records([{**VM, **changes}])
    return one


def test_the_record_of_a_vm() -> None:
    found = record()
    assert found["state"] == "running" and found["memory"] == 512 and found["arch"] is None and found["error"] is None
    assert found["labels"] == {"role": "web", "canary": ""}
    assert found["networks"] == [
        {"id": "nic0", "type": "bridge", "mac": "52:54:00:00:00:01", "bridge": "br0"},
        {"id": "nic1", "type": "user", "mac": "52:54:00:00:00:02"},
    ]
    assert found["forwards"] == [{"protocol": "tcp", "host_address": "127.0.0.1", "host_port": 2222, "guest_port": 22}]
    assert [address["address"] for address in found["addresses"]] == ["192.0.2.9"]


def test_no_secret_and_no_path_is_in_it() -> None:
    assert "s3cret" not in json.dumps(record()) and "hidden" not in json.dumps(record())


def test_a_vm_whose_files_are_damaged() -> None:
    found = record(status="unknown", error="damaged", definition=None, networks=[], uuid=None, details=None)
    assert (found["state"], found["error"], found["uuid"], found["labels"]) == ("unknown", "damaged", None, {})


def test_what_has_not_the_form_of_a_fact_is_left_out() -> None:
    found = record(
        definition={"memory": True, "cpus": "2", "labels": ["a"], "networks": [{"hostfwd": [7]}, "x"]},
        networks=[{"id": 7, "type": "user"}, None],
        details={"addresses": [{"address": ["192.0.2.9"]}, "x"]},
    )
    assert found["memory"] is None and found["cpus"] is None and found["labels"] == {} and found["forwards"] == []
    assert found["networks"] == [{"type": "user"}] and found["addresses"] == [{}]


@pytest.mark.parametrize("name", ["", "../x", "all hosts", None, 7, "{{ x }}", "a" * 64])
def test_a_name_that_no_vm_can_have(name: t.Any) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        inventory_vms.records([VM, {**VM, "name": name}])


@pytest.mark.parametrize("answer", [None, {}, "web1"])
def test_what_is_no_answer(answer: t.Any) -> None:
    with pytest.raises(ValueError, match="no list"):
        inventory_vms.records(answer)


def test_variables() -> None:
    found = inventory_vms.variables(record(), "h1", stale=False)
    assert all(key.startswith("maqet_") for key in found)
    assert (found["maqet_name"], found["maqet_hypervisor"], found["maqet_stale"]) == ("web1", "h1", False)


@pytest.mark.parametrize(
    ("by", "prefix", "names"),
    [
        (inventory_vms.GROUPINGS, "q_", ["q_vms", "q_running", "q_label_role_web", "q_label_canary", "q_on_h1"]),
        (["state"], "", ["vms", "running"]),
        ([], "maqet_", ["maqet_vms"]),
    ],
)
def test_groups(by: t.Sequence[str], prefix: str, names: list[str]) -> None:
    assert inventory_vms.groups(record(), "h1", prefix, by) == names


def test_a_vm_that_was_started_paused_is_paused() -> None:
    assert inventory_vms.groups(record(status="prelaunch"), "h1", "", ["state"]) == ["vms", "paused"]
    assert inventory_vms.groups(record(status="io-error"), "h1", "", ["state"]) == ["vms", "io-error"]


def test_names_that_do_not_meet_stay() -> None:
    assert inventory_vms.settle([("a", "h1"), ("b", "h2")], {"h1", "h2"}) == (["a", "b"], {})


def test_two_of_a_name_are_both_qualified_in_whatever_order() -> None:
    wanted = [("a", "h1"), ("b", "h1"), ("a", "h2")]
    found = inventory_vms.settle(wanted, ())
    assert found == (["a.h1", "b", "a.h2"], {"a": ["h1", "h2"]})
    assert inventory_vms.settle(wanted[::-1], ()).final == found.final[::-1]


def test_a_name_that_another_host_has() -> None:
    assert inventory_vms.settle([("db", "h1")], {"db"}) == (["db.h1"], {"db": ["h1"]})


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        ([("a", "h1"), ("a", "h2"), ("a.h1", "h3")], set()),
        ([("a", "h1"), ("a", "h1")], set()),
        ([("a", "h1"), ("a", "h2")], {"a.h2"}),
    ],
)
def test_names_that_meet_all_the_same(wanted: list[tuple[str, str]], taken: set[str]) -> None:
    with pytest.raises(ValueError, match=r"^hostname: a"):
        inventory_vms.settle(wanted, taken)
