# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plain user's own VMs on a host with systemd, and what a failed start says there."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.maqet.qemu.tests.hosts import nspawn, play, rootfs

VM: dict[str, t.Any] = {"state": "running", "accel": "tcg", "memory": 64}
# A user's VMs have no unit: where the host ends a login's processes with the login, they last as long as one login.
PERSIST = {"ansible_ssh_args": "-o ControlMaster=auto -o ControlPersist=20s"}


def run(host: nspawn.Host, *tasks: dict[str, t.Any], **variables: t.Any) -> list[dict[str, t.Any]]:
    """Tasks over ssh as the plain user; their results, failed or not."""
    named = [{"name": f"task {number}", "ignore_errors": True, **task} for number, task in enumerate(tasks)]
    whole = [{"hosts": "hypervisors", "gather_facts": False, "tasks": named}]
    outcome = play.run_playbook(host.inventory, whole, extra_vars=variables)
    results = [task.result for task in outcome.tasks]
    assert len(results) == len(tasks), outcome.output
    return results


def test_a_user_has_vms_of_its_own(nspawn_host: nspawn.Host) -> None:
    """Started, asked and removed without any privilege, in the user's own folders; root does not see them."""
    nspawn_host.root("chmod", "711", os.path.dirname(rootfs.VENV))  # as the role does: the system's Python is for all
    started, asked, seen_by_root, gone = run(
        nspawn_host,
        {"maqet.qemu.maqet_vm": {"name": "mine", **VM}},
        {"maqet.qemu.maqet_qmp": {"vm": "mine", "command": "query-status"}},
        {"maqet.qemu.maqet_vm_info": {"name": "mine"}, "become": True},
        {"maqet.qemu.maqet_vm": {"name": "mine", "state": "absent", "force": True, "stop_timeout": 0}},
        **PERSIST,
    )
    assert started["vm"]["status"] == "running", started
    assert started["vm"]["home"] == "/home/tester/.local/share/maqet/vms/mine"
    assert asked["response"]["status"] == "running"
    assert {record["uid"] for record in asked["audit"]} == {1000}
    assert seen_by_root["vms"] == []
    assert gone["vm"]["status"] == "absent"
    assert nspawn_host.ssh("find", ".local/state/maqet/run", ".local/share/maqet/vms", "-mindepth", "1") == ""


def test_a_failed_start_leaves_no_unit_and_says_why(nspawn_host: nspawn.Host) -> None:
    """The reason crosses systemd: QEMU's last words are in the task's error."""
    bad = {"name": "bad", **VM, "extra_args": ["-device", "nonesuch"]}
    (failed,) = run(nspawn_host, {"maqet.qemu.maqet_vm": bad, "become": True})
    assert failed["error_code"] == "qemu_failed", failed
    assert "'nonesuch' is not a valid device model name" in failed["msg"]
    assert "bad" not in nspawn_host.root("systemctl", "list-units", "--all", "--plain", "maqet@*")
    assert nspawn_host.root("find", "/run/maqet", "/var/lib/maqet/vms", "-mindepth", "1") == ""


def test_a_kernel_that_may_not_be_read(nspawn_host: nspawn.Host) -> None:
    """Names option, path and user, and leaves nothing."""
    nspawn_host.root("sh", "-c", "echo secret >/srv/kernel; chmod 600 /srv/kernel")
    (failed,) = run(nspawn_host, {"maqet.qemu.maqet_vm": {"name": "mine", **VM, "kernel": "/srv/kernel"}})
    assert failed["error_code"] == "invalid_option", failed
    assert "kernel: '/srv/kernel' may not be read by uid 1000" in failed["msg"]
