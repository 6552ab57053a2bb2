# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The legitimate counterpart of each attack works: a guard that denies everything would be as wrong as none."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import socket
import subprocess
import threading
import typing as t
import uuid
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.tests.hosts import modules
from ansible_collections.maqet.qemu.tests.integration.local.attacks import images
from ansible_collections.maqet.qemu.tests.integration.local.conftest import Local, Result, remove

MODES = ("ipc", "direct")
POLICY = Path("/etc/maqet/policy.yml")
#: Held by every test that puts a policy into place: there is one file for all VMs of this machine.
LOCK = Path("/run/lock/maqet-test-policy.lock")
WANTED: Result = {
    "accel": "tcg",
    "memory": "64",
    "display": "headless",
    "disks": [{"name": "d0", "size": "4M"}],
    "extra_args": ["-device", "pcie-root-port,id=rp1,chassis=1", "-device", "qemu-xhci,id=xhci"],
}


@contextlib.contextmanager
def policy_in_place(section: t.Mapping[str, t.Any], name: str) -> t.Iterator[None]:
    """The host's policy with a section for one VM, while the test runs. JSON is YAML."""
    LOCK.touch()
    with LOCK.open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        POLICY.parent.mkdir(mode=0o755, exist_ok=True)
        before = POLICY.read_bytes() if POLICY.exists() else None
        try:
            _put(json.dumps({"version": 1, "vms": {name: section}}).encode())
            yield
        finally:
            _put(before) if before is not None else POLICY.unlink(missing_ok=True)


def _put(text: bytes) -> None:
    beside = POLICY.with_suffix(".new")
    beside.write_bytes(text)
    beside.chmod(0o644)
    beside.replace(POLICY)


@dataclasses.dataclass(frozen=True)
class Vm:
    """The VM of this file's tests, and what its policy names."""

    local: Local
    name: str
    facts: Result
    tap: str
    nbd_port: int
    migration: socket.socket

    @property
    def output(self) -> Path:
        return Path(self.facts["output"])

    @property
    def disks(self) -> Path:
        return Path(self.facts["home"], "disks")

    def send(self, mode: str, *commands: tuple[str, Result], **options: t.Any) -> list[Result]:
        """Each by a module of its own, which must succeed."""
        return [
            modules.must("maqet_qmp", vm=self.name, command=command, arguments=arguments, mode=mode, **options)
            for command, arguments in commands
        ]

    def play(self, mode: str, *commands: tuple[str, Result]) -> list[Result]:
        """Each as a task of one play, for arguments that Ansible might hand on as something else."""
        tasks: list[Result] = [
            {"maqet_qmp": {"vm": self.name, "command": command, "arguments": arguments, "mode": mode}}
            for command, arguments in commands
        ]
        results = self.local.run(*tasks)
        said = [f"{c}: {r.get('msg')} {r.get('qmp_desc', '')}" for (c, _a), r in zip(commands, results) if r["failed"]]
        assert not said, "\n" + "\n".join(said)
        return results


def _policy(tap: str, nbd_port: int, migration_port: int) -> Result:
    return {
        "devices": [tap],
        "net": {"listen": [f"127.0.0.1:{nbd_port}"], "connect": [f"127.0.0.1:{migration_port}"]},
        "commands": {"nbd-server-start": "allow", "block-export-add": "allow", "nbd-server-stop": "allow"},
    }


def _listener() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(4)
    return listener


@pytest.fixture(scope="module")
def vm(local: Local) -> t.Iterator[Vm]:
    """A running VM; a tap interface, a free port and a listener, which the host's policy names for it."""
    unique = uuid.uuid4().hex[:8]
    name, tap = f"test-{unique}", f"mq{unique}"
    with contextlib.ExitStack() as stack:
        probe = _listener()
        nbd_port = int(probe.getsockname()[1])
        probe.close()
        migration = stack.enter_context(_listener())
        subprocess.run(["ip", "tuntap", "add", tap, "mode", "tap"], check=True)
        stack.callback(subprocess.run, ["ip", "link", "del", tap], check=True)
        stack.enter_context(policy_in_place(_policy(tap, nbd_port, int(migration.getsockname()[1])), name))
        started = modules.must("maqet_vm", name=name, state="running", **WANTED)
        yield Vm(local, name, started["vm"], tap, nbd_port, migration)
        remove(name)


@pytest.mark.parametrize("mode", MODES)
def test_files_that_qemu_makes(vm: Vm, mode: str) -> None:
    """A screenshot, memory, a core, a console's log: opened by whoever guards, named in the record."""
    shot, page, core, log = (f"{kind}-{mode}" for kind in ("shot", "page", "core", "console"))
    results = vm.send(
        mode,
        ("screendump", {"filename": shot}),
        ("pmemsave", {"val": 0xFFFFF000, "size": 4096, "filename": str(vm.output / page)}),
        ("dump-guest-memory", {"paging": False, "protocol": f"file:{core}"}),
        ("chardev-add", {"id": log, "backend": {"type": "file", "data": {"out": log}}}),
        ("chardev-remove", {"id": log}),
    )
    assert (vm.output / shot).read_bytes()[:2] == b"P6"
    assert (vm.output / page).stat().st_size == 4096
    assert (vm.output / core).read_bytes()[:4] == b"\x7fELF"
    assert (vm.output / log).exists()
    for result, made in zip(results[:4], (shot, page, core, log)):
        (file,) = result["audit"][0]["files"]
        assert file["path"] == str(vm.output / made)
        assert file["arg"] in ("filename", "protocol", "backend.data.out") and file["as"] != file["path"]


@pytest.mark.parametrize("mode", MODES)
def test_harmless_objects_and_questions(vm: Vm, mode: str) -> None:
    """Objects that reach nothing outside, a secret by its text, a network of QEMU's own, bitmaps in one transaction."""
    kinds: dict[str, Result] = {
        "iothread": {},
        "rng-builtin": {},
        "rng-random": {"filename": "/dev/urandom"},
        "memory-backend-ram": {"size": 1 << 20},
        "throttle-group": {"limits": {"bps-total": 1 << 20}},
        "secret": {"data": "correct horse"},
    }
    objects = [("object-add", {"qom-type": kind, "id": f"{kind}-{mode}", **more}) for kind, more in kinds.items()]
    bitmaps = [
        {"type": "block-dirty-bitmap-add", "data": {"node": "disk-d0", "name": f"{word}-{mode}"}} for word in ("a", "b")
    ]
    results = vm.play(
        mode,
        *objects,
        ("netdev_add", {"type": "user", "id": f"net-{mode}", "restrict": True}),
        ("netdev_del", {"id": f"net-{mode}"}),
        ("transaction", {"actions": bitmaps}),
        ("qom-get", {"path": "/machine/peripheral/d0", "property": "type"}),
        ("query-cpu-model-expansion", {"type": "static", "model": {"name": "qemu64"}}),
    )
    assert results[-2]["response"] == "virtio-blk-pci"
    assert results[-1]["response"]["model"]["name"]


@pytest.mark.parametrize("mode", MODES)
def test_a_disk_is_plugged_in_and_out(vm: Vm, mode: str) -> None:
    """An image in the VM's own folder, given inline; gone again when QEMU says so."""
    image = vm.disks / f"more-{mode}.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "1M"], check=True)
    node = {
        "node-name": f"more-{mode}",
        "driver": "qcow2",
        "file": {"driver": "file", "filename": str(image)},
    }
    vm.send(
        mode,
        ("blockdev-add", node),
        ("device_add", {"driver": "usb-storage", "id": f"stick-{mode}", "bus": "xhci.0", "drive": f"more-{mode}"}),
    )
    vm.send(mode, ("device_del", {"id": f"stick-{mode}"}), wait_for_event="DEVICE_DELETED")
    vm.send(
        mode,
        ("blockdev-del", {"node-name": f"more-{mode}"}),
        ("blockdev-add", {**node, "read-only": True}),
        ("blockdev-del", {"node-name": f"more-{mode}"}),
    )


@pytest.mark.parametrize("mode", MODES)
def test_a_hostile_header_with_its_names_overruled(vm: Vm, mode: str) -> None:
    """An image whose header names a file of the host may be used by who says ``backing: null``: QEMU opens no other."""
    image = vm.disks / f"foreign-{mode}.qcow2"
    image.write_bytes(images.qcow2_bytes(backing="/etc/hostname"))
    node = {"driver": "qcow2", "read-only": True, "file": {"driver": "file", "filename": str(image)}}
    _added, nodes, _gone = vm.play(
        mode,
        ("blockdev-add", {"node-name": "foreign", "backing": None, **node}),
        ("query-named-block-nodes", {}),
        ("blockdev-del", {"node-name": "foreign"}),
    )
    assert "/etc/hostname" not in [one["file"] for one in nodes["response"]]


def test_a_disk_on_pci(vm: Vm) -> None:
    """Plugged in, and asked for back; a PC's slot lets go of a card when the guest says so, and here is no guest."""
    image = vm.disks / "card.raw"
    image.write_bytes(b"\0" * (1 << 20))
    vm.send(
        "ipc",
        ("blockdev-add", {"node-name": "card", "driver": "raw", "file": {"driver": "file", "filename": str(image)}}),
        ("device_add", {"driver": "virtio-blk-pci", "id": "card", "bus": "rp1", "drive": "card"}),
        ("device_del", {"id": "card"}),
    )


@pytest.mark.parametrize("mode", MODES)
def test_a_tap_that_the_policy_names(vm: Vm, mode: str) -> None:
    """The runner opens it, QEMU gets the descriptor and runs no script."""
    (plugged, _gone) = vm.send(
        mode,
        ("netdev_add", {"type": "tap", "id": f"tap-{mode}", "ifname": vm.tap}),
        ("netdev_del", {"id": f"tap-{mode}"}),
    )
    (file,) = plugged["audit"][0]["files"]
    assert file["path"] == vm.tap


def test_another_tap_stays_closed(vm: Vm) -> None:
    """What the policy names is one interface, not interfaces."""
    refused = vm.local.qmp(vm.name, command="netdev_add", arguments={"type": "tap", "id": "t", "ifname": "mqother0"})
    assert refused["error_code"] == "policy_denied" and "mqother0" in refused["msg"]
    assert refused["decision"]["allow_with"] == {"policy": {"devices": ["mqother0"]}}


@pytest.mark.parametrize("mode", MODES)
def test_an_export_that_the_policy_names(vm: Vm, mode: str) -> None:
    """One NBD port, read-only; its neighbour stays closed."""
    address = {"type": "inet", "data": {"host": "127.0.0.1", "port": str(vm.nbd_port)}}
    vm.send(
        mode,
        ("nbd-server-start", {"addr": address}),
        ("block-export-add", {"type": "nbd", "id": f"e-{mode}", "node-name": "disk-d0", "name": "x"}),
    )
    info = ["qemu-img", "info", "--output=json", "-f", "raw", f"nbd://127.0.0.1:{vm.nbd_port}/x"]
    seen = json.loads(subprocess.run(info, check=True, stdout=subprocess.PIPE).stdout)
    assert seen["virtual-size"] == 4 << 20
    vm.send(mode, ("block-export-del", {"id": f"e-{mode}"}), ("nbd-server-stop", {}))
    address["data"] = {"host": "127.0.0.1", "port": str(vm.nbd_port + 1)}
    refused = vm.local.qmp(vm.name, command="nbd-server-start", arguments={"addr": address}, mode=mode)
    assert refused["error_code"] == "policy_denied", refused


def test_a_snapshot_and_a_restart(vm: Vm) -> None:
    """An overlay in the VM's own folder, on top of which the guest goes on; the VM starts again afterwards."""
    overlay = vm.disks / "overlay.qcow2"
    vm.send(
        "ipc",
        (
            "blockdev-snapshot-sync",
            {"node-name": "disk-d0", "snapshot-file": str(overlay), "snapshot-node-name": "top", "format": "qcow2"},
        ),
    )
    info = subprocess.run(["qemu-img", "info", "-U", "--output=json", overlay], check=True, stdout=subprocess.PIPE)
    assert json.loads(info.stdout)["backing-filename"] == vm.facts["disks"]["d0"]
    modules.must("maqet_vm", name=vm.name, state="restarted", force=True, stop_timeout=0)


def test_a_migration_target_that_the_policy_names(vm: Vm) -> None:
    """One port of one host gets the stream (and hangs up, so that the VM stays here)."""
    got: list[bytes] = []

    def take() -> None:
        vm.migration.settimeout(20)
        with contextlib.suppress(OSError), vm.migration.accept()[0] as peer:
            got.append(peer.recv(4))

    taker = threading.Thread(target=take)
    taker.start()
    vm.send("ipc", ("migrate", {"uri": f"tcp:127.0.0.1:{vm.migration.getsockname()[1]}"}))
    taker.join()
    assert got == [b"QEVM"]
    assert os.path.exists(f"/proc/{modules.must('maqet_vm', name=vm.name)['vm']['qemu_pid']}")
