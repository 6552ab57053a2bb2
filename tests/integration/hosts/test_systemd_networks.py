# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taps of VMs whose runners are units: what the unit takes away from them does not concern networks."""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.tests.hosts import nspawn
from ansible_collections.maqet.qemu.tests.integration.hosts.test_systemd_vms import FIRMWARE, show, tasks

STOPPED: dict[str, t.Any] = {"state": "stopped", "force": True, "stop_timeout": 0}


def test_a_tap_of_a_unit(nspawn_host: nspawn.Host) -> None:
    """QEMU gets it, no capability, and the tap goes with it. What the host cannot do is said, and nothing is left."""
    host = nspawn_host
    host.root("ip", "link", "add", "br9", "type", "bridge")
    host.root("ip", "link", "set", "br9", "up")
    card = {"type": "bridge", "bridge": "br9", "queues": 2}
    (started,) = tasks(host, {"name": "tapped", **FIRMWARE, "networks": [card]})
    (tap,) = [each["interface"] for each in started["vm"]["networks"]]
    assert "master br9" in host.root("ip", "link", "show", tap)
    runner, qemu = started["vm"]["runner_pid"], started["vm"]["qemu_pid"]
    assert show(host, "tapped", "MainPID")["MainPID"] == str(runner)
    lines = host.root("grep", "Cap", f"/proc/{qemu}/status").splitlines()
    sets = {key: int(value, 16) for key, value in (line.split(":\t") for line in lines)}
    assert [sets[kind] for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == [0] * 4
    host.root("kill", "-KILL", str(runner))
    (later,) = tasks(host, {"name": "tapped", "state": "running"})
    assert later["vm"]["qemu_pid"] == qemu and tap in host.root("ip", "-brief", "link")
    tasks(host, {"name": "tapped", **STOPPED})
    assert tap not in host.root("ip", "-brief", "link")
    tasks(host, {"name": "tapped", "state": "absent"})
