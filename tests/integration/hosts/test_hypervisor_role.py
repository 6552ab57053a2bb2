# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role that makes a host ready, over ssh and become: from bare to a VM that runs, and back.

The tests are one story, in the order in which they stand here. Hosts have no way out: packages that are not installed
are in apt's own store (:data:`rootfs.APT_CACHED`), and pip finds its wheels in the base.
"""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.tests.hosts import nspawn, play, rootfs

#: A login a run, not one a task: nothing here is about logins.
PERSIST = {"ansible_ssh_args": "-o ControlMaster=auto -o ControlPersist=30s"}
POLICY = {"version": 1, "roles": {"viewer": {"groups": ["vm-viewers"]}, "operator": {"groups": ["vm-ops"]}}}
VARIABLES: dict[str, t.Any] = {
    **PERSIST,
    "hypervisor_cache_valid_time": 10**9,  # the package lists are as old as the base
    "hypervisor_python_source": "wheels",
    "hypervisor_wheels": rootfs.WHEELS,
    "hypervisor_wheels_on_host": True,
    "hypervisor_policy": POLICY,
    "hypervisor_groups": [{"name": "vm-ops", "members": [rootfs.USER]}],
    "hypervisor_users": [rootfs.USER],
    "hypervisor_slice_settings": {"MemoryMax": "80%"},
    "hypervisor_kvm_options": {"kvm_intel": {"nested": True}},
    "hypervisor_hugepages": 3,
    "hypervisor_bridge": {"name": "br0", "port": "eth1", "addresses": ["192.0.2.1/24"]},
}
#: Each task that makes something of a bare host, in order.
FIRST = [
    "Install QEMU and what goes with it",
    "Make the folders of the collection",
    "Give the runners their Python libraries",
    "Make the groups",
    "Let users into the groups",
    "Let the VMs of users stay when they log out",
    "Write the policy of the host",
    "Make folders for drop-ins",
    "Write drop-ins",
    "Write the rule for logs",
    "Reserve huge pages at boot",
    "Make the folder for options of modules",
    "Set options of the KVM modules",
    "Describe the bridge",
]
#: What follows from these, where that can be said of nothing that is there yet. See tasks/python.yml, accounts.yml.
AFTERWARDS = ["Have the host go back by itself", "Tell the network's service", "See that the host can still be reached"]
VM: dict[str, t.Any] = {
    "name": "web1",
    "state": "running",
    "accel": "tcg",
    "memory": 64,
    "firmware": "uefi",
    "tpm": True,
    "networks": [{"type": "bridge", "bridge": "br0"}],
}


def role(host: nspawn.Host, *options: str, **variables: t.Any) -> play.PlayOutcome:
    """A run of the role."""
    plays = [{"hosts": "hypervisors", "gather_facts": False, "become": True, "roles": ["maqet.qemu.hypervisor"]}]
    return play.run_playbook(host.inventory, plays, {**VARIABLES, **variables}, options=options)


def changed(outcome: play.PlayOutcome) -> list[str]:
    """The tasks that changed something, by their own names."""
    return [name.rpartition(" : ")[2] for name in outcome.must_succeed().changed]


def tasks(host: nspawn.Host, *wanted: dict[str, t.Any], become: bool = True) -> list[dict[str, t.Any]]:
    """The results of tasks. A plain user logs in for them: what groups one is in is decided then."""
    named = [{"name": f"task {number}", **task} for number, task in enumerate(wanted)]
    plays = [{"hosts": "hypervisors", "gather_facts": False, "become": become, "tasks": named}]
    outcome = play.run_playbook(host.inventory, plays, PERSIST if become else {})
    return [task.result for task in outcome.must_succeed().tasks]


def refusal(outcome: play.PlayOutcome) -> str:
    """What the failed task said; nothing had changed before it."""
    (failed,) = [task for task in outcome.tasks if task.status == "failed"]
    assert outcome.changed == []
    return str(failed.result["msg"])


def exists(host: nspawn.Host, path: str) -> bool:
    return bool(host.root("find", str(Path(path).parent), "-maxdepth", "1", "-path", path))


# `./dev test` runs the role in the Molecule scenario default.
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def host(nspawn_host: nspawn.Host) -> nspawn.Host:
    """Without what the base brings of ours, with systemd-networkd for the network, and with a free interface."""
    nspawn_host.root("rm", "-rf", rootfs.VENV, "/var/lib/maqet", "/etc/modprobe.d")
    config = f"[Match]\nName=host0\n\n[Network]\nAddress={nspawn_host.address}/24\nIPv6AcceptRA=no\n"
    rootfs.write(nspawn_host.folder / "root/etc/systemd/network/80-container-host0.network", config)
    # As at a boot: the address is networkd's from the beginning.
    nspawn_host.root("systemctl", "disable", "--quiet", "maqet-test-address.service")
    nspawn_host.root("ip", "-4", "address", "flush", "dev", "host0")
    nspawn_host.root("systemctl", "start", "systemd-networkd.service")
    nspawn_host.root("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth1-far")
    nspawn_host.root("ip", "link", "set", "eth1-far", "up")
    nspawn_host.root("/lib/systemd/systemd-networkd-wait-online", "--interface=host0", "--timeout=60")
    return nspawn_host


def test_what_is_refused_before_anything_is_done(host: nspawn.Host) -> None:
    """Nothing is installed by guess, and no policy gets as far as the host that its runners would not read."""
    policy = {**POLICY, "clases": {"availability": "deny"}}
    words = refusal(role(host, "--check", hypervisor_policy=policy))
    assert words.startswith("hypervisor_policy: clases: a value of type dict"), words
    assert "Did you mean classes?" in words and words.endswith("The host keeps the policy that it has.")

    words = refusal(role(host, hypervisor_python_source="distribution", hypervisor_policy={}, hypervisor_bridge=None))
    assert words.startswith("hypervisor_python_source: Debian 1"), words

    bridge = {"name": "br0", "port": "host0", "addresses": ["192.0.2.1/24"]}
    words = refusal(role(host, hypervisor_bridge=bridge))
    assert words.startswith(f"hypervisor_bridge.port: host0 carries Ansible's own connection to {host.address}"), words
    assert not exists(host, "/var/lib/maqet") and not exists(host, "/usr/bin/swtpm")


def test_an_unknown_distribution_is_refused_with_the_remedy(host: nspawn.Host) -> None:
    """The message names the variable to fill in."""
    facts = {"os_family": "Plan9", "distribution": "Plan9", "distribution_major_version": "4", "architecture": "x86_64"}
    pretend = {
        "name": "pretend",
        "ansible.builtin.set_fact": {**facts, "service_mgr": "rc", "cacheable": True},  # makes them ansible_facts
    }
    plays = [{"hosts": "hypervisors", "gather_facts": False, "become": True, "pre_tasks": [pretend]}]
    whole: list[dict[str, t.Any]] = [{**plays[0], "roles": ["maqet.qemu.hypervisor"]}]
    outcome = play.run_playbook(host.inventory, whole, VARIABLES)
    words = outcome.result("Refuse a host whose package names are not known")["msg"]
    assert outcome.rc != 0
    assert words.startswith("hypervisor_packages: empty, and this role knows no package names for Plan9")


def test_from_bare_to_a_vm_that_runs(host: nspawn.Host) -> None:
    """What check mode announces the first run does; the second changes nothing, also when a VM has run in between."""
    announced = changed(role(host, "--check"))
    assert not exists(host, "/var/lib/maqet") and not exists(host, "/etc/maqet")
    first = role(host)
    said = ["Say that the libraries would come after the packages" if "libraries" in one else one for one in FIRST]
    assert announced == [one for one in said if one != "Let users into the groups"]
    assert changed(first) == FIRST + AFTERWARDS
    assert first.result("Say what takes a boot")["msg"] == ["huge pages: 3 are wanted, 0 are reserved"]

    (started,) = tasks(host, {"maqet.qemu.maqet_vm": VM})
    assert started["vm"]["runner"]["python"] == f"{rootfs.VENV}/bin/python"
    assert "master br0" in host.root("ip", "link", "show", started["vm"]["networks"][0]["interface"])
    assert changed(role(host)) == []
    assert changed(role(host, "--check")) == []


def test_what_the_host_has_then(host: nspawn.Host) -> None:
    """Users, rights, limits and the bridge, by the words of those who use them."""
    python = f"{rootfs.VENV}/bin/python"
    assert host.root("readlink", "-f", python) == host.root("readlink", "-f", "/usr/bin/python3")
    listed = json.loads(host.root(python, "-m", "pip", "list", "--format", "json"))
    assert {"qemu.qmp", "psutil", "PyYAML"} <= {entry["name"] for entry in listed}
    assert {"kvm", "vm-ops"} <= set(host.root("id", "-nG", rootfs.USER).split())
    assert "Linger=yes" in host.root("loginctl", "show-user", rootfs.USER)
    assert "MemoryMax=infinity" not in host.root("systemctl", "show", "maqet.slice", "--property=MemoryMax")
    assert (
        host.root("stat", "-c", "%a %U", "/etc/maqet", "/etc/maqet/policy.yml").split() == "755 root 644 root".split()
    )
    assert host.root("cat", "/etc/modprobe.d/maqet-kvm.conf").splitlines()[1:] == ["options kvm_intel nested=1"]
    assert "192.0.2.1/24" in host.root("ip", "-brief", "address", "show", "br0")
    # A member of a group that the policy names is let in without become; the boot waits for the bridge.
    (asked,) = tasks(host, {"maqet.qemu.maqet_qmp": {"vm": "web1", "command": "query-status"}}, become=False)
    assert asked["decision"]["decision"] == "allow", asked
    assert "network-online.target" in host.root("systemctl", "show", "maqet@web1.service", "--property=Wants")


def test_a_plain_user_needs_no_environment_of_its_own(host: nspawn.Host) -> None:
    vm = {"name": "mine", "state": "running", "accel": "tcg", "memory": 64}
    gone = {"name": "mine", "state": "absent", "force": True, "stop_timeout": 0}
    started, _gone = tasks(host, {"maqet.qemu.maqet_vm": vm}, {"maqet.qemu.maqet_vm": gone}, become=False)
    assert started["vm"]["runner"]["python"] == f"{rootfs.VENV}/bin/python"
    assert "warnings" not in started, started


def test_a_bad_policy_leaves_the_old_one(host: nspawn.Host) -> None:
    """A change is shown and counts at once; a mistake changes nothing, by the words of the checker."""
    before = host.root("cat", "/etc/maqet/policy.yml")
    bad = {**POLICY, "net": {"listen": ["everywhere:0"]}}
    words = refusal(role(host, "--tags", "policy", hypervisor_policy=bad))
    assert words.startswith("hypervisor_policy: net.listen[0]: 'everywhere:0'"), words
    assert host.root("cat", "/etc/maqet/policy.yml") == before
    closed = {**POLICY, "vms": {"web*": {"commands": {"system_reset": "deny"}}}}
    assert changed(role(host, "--tags", "policy", hypervisor_policy=closed)) == ["Write the policy of the host"]
    reset = {"maqet.qemu.maqet_qmp": {"vm": "web1", "command": "system_reset"}, "ignore_errors": True}
    (denied,) = tasks(host, reset)
    assert denied["error_code"] == "policy_denied", denied


def test_logrotate_keeps_the_chain(host: nspawn.Host) -> None:
    """It cuts what the runner says, which the runner goes on with, and does not touch the audit."""
    log = "/var/log/maqet/web1.runner.log"
    host.root("sh", "-c", f"echo something >>{log}")
    audit = host.root("sh", "-c", "cat /var/log/maqet/web1.audit.jsonl")
    host.root("logrotate", "--force", "/etc/logrotate.d/maqet")
    assert host.root("sh", "-c", f"ls {log}* | sort").split() == [log, f"{log}.1.gz"]
    assert host.root("stat", "-c", "%s", log).strip() == "0"
    assert host.root("sh", "-c", "cat /var/log/maqet/web1.audit.jsonl") == audit
    (chain,) = tasks(host, {"maqet.qemu.maqet_audit_info": {"vm": "web1"}})
    assert chain["verified"] and chain["records"], chain


def test_another_source_of_libraries(host: nspawn.Host) -> None:
    """The environment is made anew for it; the VM does not mind, and its next runner has the new one."""
    wheels = f"{rootfs.WHEELS}/*.whl"
    unpack = "import glob,zipfile,sys\nfor w in glob.glob(sys.argv[1]): zipfile.ZipFile(w).extractall(sys.argv[2])"
    host.root("python3", "-c", unpack, wheels, "/usr/local/lib/python3.11/dist-packages")
    told = {"hypervisor_python_source": "distribution", "hypervisor_python_packages": ["python3-apt"]}
    assert changed(role(host, "--tags", "python", **told)) == [
        "Remove an environment of another Python or another source",
        "Make an environment that sees the distribution's libraries",
    ]
    assert changed(role(host, "--tags", "python", **told)) == []
    assert not exists(host, f"{rootfs.VENV}/bin/pip")
    runner = host.root("systemctl", "show", "--value", "--property=MainPID", "maqet@web1.service").strip()
    host.root("kill", "-KILL", runner)
    (found,) = tasks(host, {"maqet.qemu.maqet_vm": {"name": "web1", "state": "running"}})
    assert found["vm"]["runner"]["pid"] != int(runner) and found["vm"]["status"] == "running"


def test_wheels_from_the_controller_and_the_connection_over_the_bridge(host: nspawn.Host) -> None:
    """The folder travels. And the port may be the interface that we came by, if its address moves along."""
    there = str(host.folder / "root") + rootfs.WHEELS
    told = {"hypervisor_wheels": there, "hypervisor_wheels_on_host": False}
    moved = {"name": "br1", "port": "host0", "addresses": [f"{host.address}/24"], "move_connection": True}
    names = ["Bring the wheels", "Give the runners their Python libraries", "Describe the bridge", *AFTERWARDS]
    outcome = role(host, "--tags", "python,network", **told, hypervisor_bridge=moved)
    assert [one for one in changed(outcome) if not one.startswith("Remove")] == names
    assert host.address in host.root("ip", "-brief", "address", "show", "br1")
    assert "master br1" in host.root("ip", "link", "show", "host0")
    assert changed(role(host, "--tags", "network", hypervisor_bridge=moved)) == []


def test_a_bridge_that_does_not_come_up_goes_again(host: nspawn.Host) -> None:
    """networkd cannot configure it; the host has afterwards what it had before, without waiting for anything."""
    bridge = {"name": "br2", "addresses": ["999.0.2.1/24"], "dhcp": True}
    blocked = host.folder / "root/etc/systemd/network/04-none.network"
    rootfs.write(blocked, "[Match]\nName=br2\n\n[Link]\nUnmanaged=yes\n")
    outcome = role(host, "--tags", "network", hypervisor_bridge=bridge, __hypervisor_bridge_seconds=3)
    assert outcome.rc != 0
    words = outcome.result("Say what went wrong")["msg"]
    assert words.startswith("hypervisor_bridge: systemd-networkd did not bring br2 up"), words
    assert "br2" not in host.root("ip", "-brief", "link")
    assert "br2" not in host.root("ls", "/etc/systemd/network")
    assert "maqet-bridge-rollback" not in host.root("systemctl", "list-units", "--all", "--plain")


def test_uninstall(host: nspawn.Host) -> None:
    """Refused while there are VMs and while the connection goes over the bridge; VMs' data and the audit stay."""
    absent = {"hypervisor_state": "absent"}
    words = refusal(role(host, **absent))
    assert words.startswith("hypervisor_uninstall_vms: refuse, and this host has the VMs web1."), words
    keep = {**absent, "hypervisor_uninstall_vms": "keep"}
    outcome = role(host, **keep)
    assert outcome.rc != 0 and outcome.changed == []
    assert f"br1 carries Ansible's own connection to {host.address}" in outcome.output
    for path in ("05-maqet-br1.netdev", "05-maqet-br1.network", "05-maqet-br1-port.network"):
        host.root("rm", f"/etc/systemd/network/{path}")
    host.root("networkctl", "reload")
    host.root("ip", "link", "delete", "br1")
    host.root("/lib/systemd/systemd-networkd-wait-online", "--interface=host0", "--timeout=60")

    stop = {"name": "web1", "state": "stopped", "force": True, "stop_timeout": 0, "autostart": True}
    tasks(host, {"maqet.qemu.maqet_vm": stop})
    assert changed(role(host, "--check", **keep))
    assert exists(host, "/etc/systemd/system/maqet@.service")
    role(host, **keep).must_succeed()
    assert changed(role(host, **keep)) == []
    ours = "/etc /run /usr/lib/systemd -path /etc/ssh -prune -o -name *maqet* -print"
    left = set(host.root("find", *ours.split()).split())
    assert {path for path in left if "maqet-test" not in path} == set(), left
    assert not exists(host, rootfs.VENV) and not exists(host, "/var/lib/maqet/runner")
    assert exists(host, "/var/lib/maqet/vms/web1/definition.json") and exists(host, "/var/log/maqet/web1.audit.jsonl")
    assert "br0" not in host.root("ip", "-brief", "link")

    purge = {**absent, "hypervisor_uninstall_vms": "purge", "hypervisor_uninstall_logs": True}
    role(host, **purge).must_succeed()
    assert not exists(host, "/var/lib/maqet") and not exists(host, "/var/log/maqet")
