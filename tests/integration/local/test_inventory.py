# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin before this machine: real VMs, and their guests' addresses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
import uuid
from pathlib import Path

import pytest
import yaml
from ansible_collections.maqet.qemu.plugins.inventory import maqet
from ansible_collections.maqet.qemu.plugins.plugin_utils import inventory_reading
from ansible_collections.maqet.qemu.tests.hosts import modules, play
from ansible_collections.maqet.qemu.tests.integration.local.conftest import Result, given, remove

Source = t.Callable[..., Path]


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """A function that writes a source for the plugin."""

    def write(**changes: t.Any) -> Path:
        path = tmp_path / "here.maqet.yml"
        options = {"plugin": "maqet.qemu.maqet", "hypervisors": ["localhost"], "timeout": 60, **changes}
        path.write_text(json.dumps(options), "utf-8")
        return path

    return write


def test_a_vm_of_this_machine(name: str, source: Source) -> None:
    """What it says of itself is text and never a template, and constructed groups see it."""
    rule = {"host_port": 22399, "guest_port": 22}
    labels = {"role": "web", "note": "{{ lookup('ansible.builtin.env', 'HOME') }}"}
    made = given(name, labels=labels, networks=[{"type": "user", "hostfwd": [rule]}])["vm"]
    path = source(
        compose={"ansible_user": "'debian'", "twice": "maqet_memory * 2"},
        groups={"small": "maqet_memory < 100", "wrong": "nothing.at_all"},
        keyed_groups=[{"key": "maqet_labels.role | default('none')", "prefix": "role"}],
        forks="{{ 3 + 4 }}",
    )
    found = play.list_inventory(path).must_succeed()
    mine = found.hosts[name]
    assert (mine["ansible_host"], mine["ansible_port"], mine["ansible_user"]) == ("127.0.0.1", 22399, "debian")
    assert (mine["maqet_uuid"], mine["maqet_state"], mine["twice"]) == (made["uuid"], "running", 128)
    assert mine["maqet_labels"] == labels
    for group in ("maqet_vms", "maqet_running", "maqet_label_role_web", "maqet_on_localhost", "small", "role_web"):
        assert name in found.groups[group], group
    assert "wrong" not in found.groups
    whole = [{"hosts": name, "gather_facts": False, "tasks": [{"ansible.builtin.debug": {"var": "maqet_labels.note"}}]}]
    (shown,) = play.run_playbook(path, whole).must_succeed().tasks
    assert shown.result["maqet_labels.note"] == labels["note"]
    strict = play.list_inventory(source(groups={"wrong": "nothing.at_all"}, strict=True))
    assert strict.rc != 0 and "wrong" in strict.words


@pytest.mark.long
def test_the_address_that_the_agent_tells(agent_guest: Result, name: str, source: Source) -> None:
    """Of a card of QEMU's own network it is known, and leads nowhere; nobody is asked where nobody shall be."""
    given(name, **{**agent_guest, "networks": [{"type": "user"}], "wait_for": ["ip"], "timeout": 300})
    (vm,) = modules.must("maqet_vm_info", name=name, gather=["addresses"])["vms"]
    mac = vm["networks"][0]["mac"]
    told = [(one["source"], one["address"]) for one in vm["details"]["addresses"] if one["mac"] == mac]
    assert ("agent", "10.0.2.15") in told
    mine = play.list_inventory(source()).must_succeed().hosts[name]
    assert "10.0.2.15" in [one["address"] for one in mine["maqet_addresses"]] and "ansible_host" not in mine
    mine = play.list_inventory(source(addresses=False)).must_succeed().hosts[name]
    assert mine["maqet_addresses"] == []


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0, reason="a bridge is made by root")
def test_the_address_that_a_lease_tells(name: str, source: Source, tmp_path: Path) -> None:
    """As libvirt's DHCP server writes it for its bridge, and only what is younger than the VM."""
    bridge = f"mqi{uuid.uuid4().hex[:6]}"
    subprocess.run(["ip", "link", "add", bridge, "type", "bridge"], check=True)
    leases = Path(f"/var/lib/libvirt/dnsmasq/{bridge}.status")
    folders = [folder for folder in (leases.parent, leases.parent.parent) if not folder.exists()]
    try:
        subprocess.run(["ip", "link", "set", bridge, "up"], check=True)
        made = given(name, networks=[{"type": "bridge", "bridge": bridge}])["vm"]
        assert "ansible_host" not in play.list_inventory(source()).must_succeed().hosts[name]
        leases.parent.mkdir(parents=True, exist_ok=True)
        lease = {"mac-address": made["networks"][0]["mac"], "ip-address": "192.0.2.77", "expiry-time": 0}
        leases.write_text(json.dumps([lease]), "utf-8")
        mine = play.list_inventory(source()).must_succeed().hosts[name]
        assert mine["ansible_host"] == "192.0.2.77"
        assert [one["source"] for one in mine["maqet_addresses"]] == ["lease"]
        assert "ansible_host" not in play.list_inventory(source(address_sources=["agent"])).must_succeed().hosts[name]
    finally:
        remove(name)
        leases.unlink(missing_ok=True)
        for folder in folders:
            folder.rmdir()
        subprocess.run(["ip", "link", "del", bridge], check=True)


@pytest.mark.long
def test_what_is_refused_says_what_to_do(source: Source, tmp_path: Path) -> None:
    for changes, words in (
        ({"hypervisors": ["lab"]}, "'lab' is no host and no group of the sources before this one"),
        ({"hypervisors": [{"name": "h", "user": "x"}]}, "'user' says nothing of a connection"),
        ({"timeout": 0}, "timeout: 0 is too small"),
        ({"keep_unreachable": True}, "nothing is kept without a cache"),
        ({"prefer_networks": ["10.0.0.0/40"]}, "is neither a network"),
        ({"group_by": ["colour"]}, "colour"),
        ({"forks": "{{ nothing }}"}, "forks: cannot be templated"),
    ):
        refused = play.list_inventory(source(**changes))
        assert refused.rc != 0 and words in refused.words, refused.words
    other = tmp_path / "here.yml"
    other.write_text(source().read_text("utf-8"), "utf-8")
    assert play.list_inventory(other).rc != 0, "its name does not end as it must"


def test_variables_of_every_kind_reach_the_hypervisor(name: str, tmp_path: Path, source: Source) -> None:
    """Of the inventory, beside it and from the command line; a template in one is made what it says, once."""
    given(name)
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text("python: '{{ from_e }}'\n", "utf-8")
    hosts = {"hosts": {"here": {"ansible_connection": "local", "ansible_python_interpreter": "{{ python }}"}}}
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"all": {"children": {"lab": hosts}}}), "utf-8")
    path = source(hypervisors=["{{ from_e_too }}"])
    options = ["-e", json.dumps({"from_e": sys.executable, "from_e_too": "lab"})]
    found = play.list_inventory(inventory, path, options=options).must_succeed()
    assert name in found.groups["maqet_on_here"]
    without = play.list_inventory(inventory, path, options=["-e", "from_e_too=lab"]).must_succeed()
    assert "hypervisor here: ansible_python_interpreter: cannot be templated" in without.words
    assert "maqet_vms" not in without.groups


def test_ansible_reads_no_template_from_what_it_is_handed(tmp_path: Path) -> None:
    secret = "a{{ 1 + 1 }}{% if %}\"'\\ é: #"
    question = inventory_reading.Question({"here": {"ansible_x": secret, "ansible_connection": "local"}}, 9, 1)
    path = tmp_path / "hosts.yml"
    path.write_text(inventory_reading.inventory(question), "utf-8")
    whole = [{"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.debug": {"var": "ansible_x"}}]}]
    (shown,) = play.run_playbook(path, whole).must_succeed().tasks
    assert shown.result["ansible_x"] == secret


@pytest.mark.long
def test_the_examples_are_sources(tmp_path: Path) -> None:
    """Each is understood up to its hypervisors, of which there are none of that kind here but one."""
    cache = {"ANSIBLE_INVENTORY_CACHE_CONNECTION": str(tmp_path), "LAB1_PASSWORD": "x", "HOME": str(tmp_path)}
    hosts = tmp_path / "hosts.yml"
    hosts.write_text('{"hypervisors": {"hosts": {"h1": {"ansible_connection": "local"}}}}', "utf-8")
    examples = list(yaml.safe_load_all(maqet.EXAMPLES))
    assert len(examples) == 3
    for number, example in enumerate(examples):
        path = tmp_path / f"example{number}.maqet.yml"
        path.write_text(json.dumps({**example, "timeout": 2}), "utf-8")
        play.list_inventory(hosts, path, env=cache).must_succeed()
