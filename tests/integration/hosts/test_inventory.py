# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin before real hosts over ssh: what it finds there, and what a host costs that does not answer."""

from __future__ import annotations

import json
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.tests.hosts import nspawn, play

VM: dict[str, t.Any] = {"state": "running", "accel": "tcg", "memory": 64, "machine": "q35"}
OPTIONS: dict[str, t.Any] = {
    "plugin": "maqet.qemu.maqet",
    "hypervisors": ["hypervisors"],
    "become": True,
    "timeout": 60,
}
# Seconds for all that is not waiting: two starts of Ansible on a machine that is busy with other things.
OVERHEAD = 40.0
# A password that is no template, whatever it looks like.
PASSWORD = "pa{{ss}}%1"


# What every host has. A note that looks like a template is one that Ansible makes of a template.
_FORWARD = {"host_address": "0.0.0.0", "host_port": 2222, "guest_port": 22}
_NOTE = "{{ '{{ nothing }}' }}"
VMS: list[dict[str, t.Any]] = [
    {
        "name": "{{ inventory_hostname }}-web",
        "labels": {"role": "web"},
        "networks": [{"type": "user", "hostfwd": [_FORWARD]}],
    },
    {"name": "same"},
    {"name": "{{ inventory_hostname }}-idle", "state": "paused", "labels": {"role": "db", "note": _NOTE}},
    {"name": "{{ inventory_hostname }}-off", "state": "present"},
]

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def hosts(host_run: nspawn.Run) -> t.Iterator[tuple[nspawn.Host, nspawn.Host]]:
    """Two hypervisors with four VMs each, of which one has the same name on both."""
    pair = host_run.up("h1"), host_run.up("h2")
    tasks = [{"maqet.qemu.maqet_vm": {**VM, **vm}} for vm in VMS]
    whole = [{"hosts": "hypervisors", "gather_facts": False, "become": True, "tasks": tasks}]
    play.run_playbook(host_run.inventory(), whole).must_succeed()
    yield pair
    for host in pair:
        host.remove()


@pytest.fixture
def source(tmp_path: Path) -> t.Callable[..., Path]:
    """A function that writes a source for the plugin."""

    def write(**changes: t.Any) -> Path:
        path = tmp_path / "lab.maqet.yml"
        path.write_text(json.dumps({**OPTIONS, **changes}), "utf-8")
        return path

    return write


Source = t.Callable[..., Path]
Pair = t.Tuple[nspawn.Host, nspawn.Host]


def test_the_vms_of_two_hosts(hosts: Pair, host_run: nspawn.Run, source: Source) -> None:
    found = play.list_inventory(host_run.inventory(), source()).must_succeed()
    print(f"\ninventory of 2 hosts with 4 VMs each over ssh: {found.seconds:.1f} s")
    every = ["h1-idle", "h1-off", "h1-web", "h2-idle", "h2-off", "h2-web", "same.h1", "same.h2"]
    assert found.groups["maqet_vms"] == every
    assert found.groups["maqet_running"] == ["h1-web", "h2-web", "same.h1", "same.h2"]
    assert found.groups["maqet_paused"] == ["h1-idle", "h2-idle"]
    assert found.groups["maqet_stopped"] == ["h1-off", "h2-off"]
    assert found.groups["maqet_label_role_web"] == ["h1-web", "h2-web"]
    assert found.groups["maqet_on_h2"] == ["h2-idle", "h2-off", "h2-web", "same.h2"]
    assert found.groups["hypervisors"] == ["h1", "h2"]
    web = found.hosts["h2-web"]
    assert (web["ansible_host"], web["ansible_port"]) == (hosts[1].address, 2222)
    assert (web["maqet_state"], web["maqet_hypervisor"], web["maqet_labels"]) == ("running", "h2", {"role": "web"})
    assert "ansible_host" not in found.hosts["h1-off"]
    assert found.hosts["h1-idle"]["maqet_labels"]["note"] == "{{ nothing }}"
    assert "same, a VM of h1, h2, is the name of several" in found.words
    assert found.hosts["h1"]["ansible_host"] == hosts[0].address


def test_names_and_collisions(hosts: Pair, host_run: nspawn.Run, source: Source) -> None:
    inventory = host_run.inventory()
    stays = source(hostname="maqet_name ~ '.' ~ maqet_hypervisor", group_prefix="q_", group_by=["hypervisor"])
    found = play.list_inventory(inventory, stays).must_succeed()
    assert found.groups["q_on_h1"] == ["h1-idle.h1", "h1-off.h1", "h1-web.h1", "same.h1"]
    assert not any(name.startswith(("maqet_", "q_running", "q_label")) for name in found.groups)
    assert "is the name of" not in found.words
    refused = play.list_inventory(inventory, source(on_collision="fail"))
    assert refused.rc != 0 and "hostname: maqet_name ~ '.' ~ maqet_hypervisor" in refused.words
    assert "same, a VM of h1, h2" in refused.words


def test_a_host_given_whole_with_a_vaulted_password(hosts: Pair, host_run: nspawn.Run, source: Source) -> None:
    """Another user, whose sudo asks; the host is in no other source."""
    host = hosts[0]
    script = (
        "useradd -m ada; printf 'ada:%s' \"$1\" | chpasswd; echo 'ada ALL=(ALL) ALL' >/etc/sudoers.d/ada; "
        "cp -r ~tester/.ssh ~ada/.ssh; chown -R ada: ~ada/.ssh"
    )
    host.root("sh", "-euc", script, "sh", PASSWORD)
    path = source(hypervisors=["later"])
    secret = path.with_name("vault-password")
    secret.write_text("v4ult", "utf-8")
    words = [sys.executable, "-m", "ansible", "vault", "encrypt_string", "--vault-password-file", str(secret), PASSWORD]
    vaulted = subprocess.run(words, check=True, capture_output=True, text=True, cwd=path.parent).stdout
    options = connection(host)
    lines = ["plugin: maqet.qemu.maqet", "become: true", "timeout: 60", "hypervisors:", f"  - name: {host.name}"]
    lines += [f"    {key}: {json.dumps(value)}" for key, value in options.items()]
    lines += ["    ansible_become_password: " + vaulted.strip().replace("\n", "\n    ")]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    found = play.list_inventory(path, options=["--vault-password-file", str(secret)]).must_succeed()
    assert found.groups["maqet_on_h1"] == ["h1-idle", "h1-off", "h1-web", "same"]
    assert PASSWORD not in json.dumps(found.hosts) and "h1" not in found.hosts
    path.write_text(path.read_text("utf-8").partition("    ansible_become_password")[0], "utf-8")
    refused = play.list_inventory(path).must_succeed()
    assert refused.hosts == {} and "hypervisor h1 could not be read" in refused.words


def connection(host: nspawn.Host) -> dict[str, str]:
    """Connection variables of a host for ada."""
    return {
        "ansible_host": host.address,
        "ansible_user": "ada",
        "ansible_ssh_private_key_file": str(host.run.key),
        "ansible_ssh_args": "-o ControlMaster=no",
        "ansible_ssh_common_args": " ".join(host.ssh_options),
        "ansible_python_interpreter": "/usr/bin/python3",
    }


def test_a_host_that_hangs_costs_its_time_and_a_warning(hosts: Pair, host_run: nspawn.Run, source: Source) -> None:
    """Its kernel takes the call, and nobody answers: the worst of ways to be dead. The cache still knows its VMs."""
    inventory, seconds = host_run.inventory(), 15
    place = source().parent / "cache"
    cached: dict[str, t.Any] = {
        "cache": True,
        "cache_plugin": "ansible.builtin.jsonfile",
        "cache_connection": str(place),
        "cache_timeout": 3600,
    }
    full = play.list_inventory(inventory, source(**cached)).must_succeed()
    sshd = hosts[1].root("pgrep", "--oldest", "sshd").strip()
    hosts[1].root("kill", "-STOP", sshd)
    try:
        again = play.list_inventory(inventory, source(**cached)).must_succeed()  # nobody is asked
        assert again.hosts == full.hosts and again.words == full.words
        print(f"\nthe same from the cache: {again.seconds:.1f} s")

        dead = play.list_inventory(inventory, source(timeout=seconds)).must_succeed()
        print(f"one of 2 hosts hangs, timeout {seconds} s: {dead.seconds:.1f} s")
        assert seconds - 1 <= dead.seconds < seconds + OVERHEAD
        assert dead.groups["maqet_vms"] == ["h1-idle", "h1-off", "h1-web", "same"]
        assert "the VMs of hypervisor h2 could not be read" in dead.words and "h1 could" not in dead.words

        options = ["--flush-cache"]
        left_out = play.list_inventory(inventory, source(timeout=seconds, **cached), options=options).must_succeed()
        assert left_out.groups["maqet_vms"] == dead.groups["maqet_vms"]
        kept = play.list_inventory(
            inventory, source(timeout=seconds, keep_unreachable=True, **cached), options=options
        ).must_succeed()
        assert kept.groups == full.groups
        assert {name: one["maqet_stale"] for name, one in kept.hosts.items() if "maqet_stale" in one} == {
            name: "h2" in name for name in full.groups["maqet_vms"]
        }
        assert "h2 could not be read" in kept.words
    finally:
        hosts[1].root("kill", "-CONT", sshd)
    # The cache has no answer of h2's that is good, so that it alone is asked.
    back = play.list_inventory(inventory, source(**cached)).must_succeed()
    assert back.groups == full.groups and not any(one.get("maqet_stale") for one in back.hosts.values())


def test_a_host_without_power(hosts: Pair, host_run: nspawn.Run, source: Source) -> None:
    """The network says that there is nobody, which takes less than the time-out."""
    hosts[1].kill()
    found = play.list_inventory(host_run.inventory(), source(timeout=15)).must_succeed()
    print(f"\none of 2 hosts is gone, timeout 15 s: {found.seconds:.1f} s")
    assert found.seconds < 15 + OVERHEAD
    assert found.groups["maqet_vms"] == ["h1-idle", "h1-off", "h1-web", "same"]
    assert "the VMs of hypervisor h2 could not be read: " in found.words
