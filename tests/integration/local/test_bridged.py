# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses on a bridge, from the kernel's table of neighbours: a bridge in one namespace, a guest in another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t

import pytest

MAC = "52:54:00:12:34:56"
# The guest's side: it has its address for a second before it speaks with its gateway, which puts it into the table.
_GUEST = f"""
import socket, subprocess, sys, time
sys.stdin.readline()
for words in ("link set dev guest address {MAC}", "addr add 10.9.0.2/24 dev guest", "link set guest up"):
    subprocess.run(["ip", *words.split()], check=True)
time.sleep(1)
print(time.time(), flush=True)
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("10.9.0.1", 9))
sys.stdin.readline()
"""
# The host's side, which waits as maqet_vm does. Another MAC, another bridge and an old entry are not the guest.
_HOST = """
import json, subprocess, sys, time
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import of_pid, wait_readable
from ansible_collections.maqet.qemu.plugins.module_utils.vm.bridged import Bridged
from ansible_collections.maqet.qemu.plugins.module_utils.vm.awaited import Watched
mac, guest = sys.argv[1:]
def ip(words): subprocess.run(["ip", *words.split()], check=True)
for bridge in ("br0", "br1"):
    ip(f"link add {bridge} type bridge")
    ip(f"link set {bridge} up")
ip("addr add 10.9.0.1/24 dev br0")
ip("neigh add 10.9.0.7 lladdr 52:54:00:00:00:07 dev br0 nud reachable")
ip(f"neigh add 10.9.0.8 lladdr {mac} dev br0 nud stale")
ip(f"neigh add 10.9.0.9 lladdr {mac} dev br1 nud reachable")
time.sleep(1.2)
ip("link add tap0 type veth peer name guest")
words = ["unshare", "--net", sys.executable, "-c", guest]
child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
own = __import__("os").readlink("/proc/self/ns/net")
while __import__("os").readlink(f"/proc/{child.pid}/ns/net") == own: time.sleep(0.01)
ip(f"link set guest netns {child.pid}")
ip("link set tap0 master br0")
ip("link set tap0 up")
young = subprocess.Popen(["sleep", "60"])
watched = Watched(layout(), layout().vm("none"), of_pid(young.pid))
source = Bridged(watched, {mac: "br0"}, "ipv4")
first = source.look(False)
child.stdin.write(b"go\\n"); child.stdin.flush()
end = time.monotonic() + 20
found = None
while found is None and time.monotonic() < end:
    seen = source.seen()
    wait_readable(source.fds(), 5)
    found = source.look(False)
ended = time.time()
spoke = float(child.stdout.readline())
child.kill(); young.kill()
print(json.dumps({"first": repr(first), "found": found and found.value, "late": ended - spoke, "seen": seen}))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace is made by root")
def test_a_guest_that_speaks_with_its_gateway() -> None:
    """Nothing before it speaks, and then at once: netlink pushes it."""
    paths = os.pathsep.join(sys.path)
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", _HOST, MAC, _GUEST],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, t.Any] = json.loads(done.stdout)
    assert told["first"] == "None" and f"{MAC} on br0" in told["seen"]
    (address,) = told["found"]["addresses"]
    assert told["found"]["source"] == "neighbours"
    assert (address["address"], address["mac"], address["interface"]) == ("10.9.0.2", MAC, "br0")
    print(f"\nip from a bridge: {told['late'] * 1000:.0f} ms after the guest spoke")
    assert -0.1 < told["late"] < 0.2
