# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks of real VMs: QEMU takes every option, the guest sees what was asked for, and only what is ours is deleted."""

from __future__ import annotations

import hashlib
import os
import select
import signal
import subprocess
import time
import typing as t
import uuid
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.disk_tuning import all_limits
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_disks import throttle_limits, throttle_name
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import command_lines
from ansible_collections.maqet.qemu.plugins.module_utils.host.watch import GrowingFile
from ansible_collections.maqet.qemu.tests.hosts import modules
from ansible_collections.maqet.qemu.tests.integration.local.conftest import (
    NOTHING,
    Local,
    Result,
    given,
    needs_machine,
    remove,
)
from ansible_collections.maqet.qemu.tests.integration.local.test_states import FORCED, kinds, thrice

MIB = 1 << 20
STOPPED = {"state": "present", **NOTHING}


@pytest.fixture
def other() -> t.Iterator[str]:
    """A second VM."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    yield name
    remove(name)


def raw(path: Path, content: bytes = b"", size: int = 4 * MIB) -> str:
    with path.open("wb") as file:
        file.write(content)
        file.truncate(size)
    return str(path)


def ask(name: str, command: str, **arguments: t.Any) -> t.Any:
    return modules.must("maqet_qmp", vm=name, command=command, arguments=arguments)["response"]


def blocks(name: str) -> dict[str, Result]:
    """query-block by the id of the device."""
    found = {}
    for block in ask(name, "query-block"):
        device = block["qdev"].removeprefix("/machine/peripheral/").partition("/")[0]
        found[device] = block
    return found


def module(name: str, **wanted: t.Any) -> Result:
    return modules.run_module("maqet_vm", {"name": name, **wanted}).result


# Option by option, and what QEMU says of the disk then: writeback, direct, no-flush.
CACHES = {
    "writeback": (True, False, False),
    "none": (True, True, False),
    "writethrough": (False, False, False),
    "directsync": (False, True, False),
    "unsafe": (True, False, True),
}
PLAIN: list[Result] = [
    *({"name": f"cache-{cache}", "cache": cache} for cache in CACHES),
    {"name": "aio-threads", "aio": "threads"},
    {"name": "aio-native", "aio": "native", "cache": "none"},
    {"name": "discard", "discard": "unmap", "detect_zeroes": "unmap"},
    {"name": "zeroes", "detect_zeroes": "on"},
    {
        "name": "rate",
        "throttle": {"iops": 100, "iops_max": 200, "iops_max_length": 2, "bps_read": "1M", "iops_size": 4096},
    },
    {"name": "rate-discard", "throttle": {"bps": "5M"}, "discard": "unmap", "cache": "none", "interface": "scsi"},
    {"name": "serial", "serial": "S-1.2_3"},
    {"name": "boot", "bootindex": 1},
    {"name": "nvme", "interface": "nvme", "cache": "writethrough"},
    {"name": "usb", "interface": "usb", "cache": "none"},
    {"name": "usb-read", "interface": "usb", "readonly": True},
    {"name": "scsi-read", "interface": "scsi", "readonly": True, "cache": "directsync"},
    {"name": "sata", "interface": "sata", "cache": "unsafe"},
    {"name": "cd", "type": "cdrom"},
    {"name": "cd-scsi", "type": "cdrom", "interface": "scsi"},
]


@pytest.mark.parametrize("kind", ["owned", "path"])
def test_qemu_takes_every_option(name: str, tmp_path: Path, kind: str) -> None:
    """Of images that are its own, and of files that it was handed open."""
    tmp_path.chmod(0o700)
    disks: list[Result] = []
    for index, disk in enumerate(PLAIN):
        source: Result = {"path": raw(tmp_path / str(index))} if kind == "path" else {"size": "4M", "format": "raw"}
        empty = disk.get("type") == "cdrom" and kind == "owned"
        disks.append({**disk, **({} if empty else source)})
    given(name, state="paused", disks=disks)
    found = blocks(name)
    assert set(found) == {disk["name"] for disk in disks}
    for disk in disks:
        block = found[disk["name"]]
        if "path" not in disk and "size" not in disk:
            assert "inserted" not in block
            continue
        inserted = block["inserted"]
        if "cache" in disk and disk.get("type") != "cdrom":
            assert tuple(inserted["cache"][key] for key in ("writeback", "direct", "no-flush")) == CACHES[disk["cache"]]
        assert inserted["ro"] is bool(disk.get("readonly") or disk.get("type") == "cdrom")
        node = f"disk-{disk['name']}"
        assert inserted["node-name"] == (f"{node}-rate" if "throttle" in disk else node)
    nodes = {node["node-name"]: node for node in ask(name, "query-named-block-nodes", flat=True)}
    assert nodes["disk-discard"]["detect_zeroes"] == "unmap" and nodes["disk-zeroes"]["detect_zeroes"] == "on"
    again = module(name, state="paused", disks=disks)
    assert again["changed"] is False, again
    assert modules.run_module("maqet_vm", {"name": name, "disks": disks}, check=True).result["changed"] is False


def test_io_uring_where_there_is_one(name: str) -> None:
    started = module(name, state="paused", disks=[{"size": "4M", "aio": "io_uring"}], **NOTHING)
    if started.get("failed"):
        assert started["error_code"] == "qemu_failed" and "io_uring" in started["msg"], started
        pytest.skip(started["msg"])
    assert started["vm"]["status"] == "prelaunch"


def test_a_disk_of_ide_and_a_cdrom_beside_it(name: str, tmp_path: Path) -> None:
    needs_machine("pc")
    disks = [{"size": "4M", "interface": "ide"}, {"type": "cdrom", "interface": "ide", "path": raw(tmp_path / "cd")}]
    given(name, state="paused", machine="pc", disks=disks)
    assert set(blocks(name)) == {"disk0", "disk1"}


def test_what_the_guest_sees(name: str, agent_guest: Result, tmp_path: Path) -> None:
    """Serial number, size, write protection, trimming, the content of a CD, a rate, and its change while it runs."""
    disks: list[Result] = [
        {"name": "data", "size": "8M", "format": "raw", "serial": "SER-123", "discard": "unmap"},
        {"name": "locked", "path": raw(tmp_path / "locked", b"do not write"), "readonly": True},
        {"name": "slow", "size": "16M", "throttle": {"bps": "1M"}},
        {"name": "far", "size": "4M", "interface": "scsi", "serial": "SCSI-9", "cache": "none", "aio": "native"},
        {"name": "cd", "type": "cdrom", "interface": "scsi", "path": raw(tmp_path / "cd.iso", b"from the CD\n")},
    ]
    started = given(name, **{**agent_guest, "disks": disks})
    modules.must("maqet_guest", vm=name, command="guest-ping", wait_for_agent=True, timeout=120)

    def sh(line: str, fine: bool = True) -> str:
        wanted = {"vm": name, "exec": {"argv": ["/bin/sh", "-c", line]}, "allow_dangerous": True, "timeout": 120}
        run = modules.run_module("maqet_guest", wanted).result
        assert bool(run.get("failed")) is not fine, run
        return str(run["stdout"])

    assert sh("cat /sys/block/vda/serial /sys/block/vda/size") == f"SER-123{8 * MIB // 512}\n"
    assert sh("cat /sys/block/vdb/ro /sys/block/vdb/serial") == "1\nlocked"
    assert sh("head -c 12 /dev/vdb") == "do not write"
    sh("echo x >/dev/vdb", fine=False)
    assert Path(disks[1]["path"]).read_bytes()[:12] == b"do not write"
    assert (
        "SCSI-9" in sh("cat /sys/block/sda/device/vpd_pg80") and sh("cat /sys/block/sda/size") == f"{4 * MIB // 512}\n"
    )
    assert sh("head -n 1 /dev/sr0") == "from the CD\n"
    sh("echo x >/dev/sr0", fine=False)

    data = started["vm"]["disks"]["data"]
    empty = os.stat(data).st_blocks
    assert empty * 512 < MIB
    sh("tr '\\0' x </dev/zero | dd of=/dev/vda bs=1M count=4 iflag=fullblock && sync")
    assert os.stat(data).st_blocks * 512 >= 4 * MIB
    sh("blkdiscard /dev/vda")
    assert os.stat(data).st_blocks <= empty

    def seconds() -> float:
        return float(
            sh(
                "a=$(cut -d' ' -f1 /proc/uptime); dd if=/dev/vdc of=/dev/null bs=64k count=48 iflag=direct 2>/dev/null;"
                " b=$(cut -d' ' -f1 /proc/uptime); echo $b $a | awk '{ print $1 - $2 }'"
            )
        )

    assert seconds() > 2, "3 MiB at 1 MiB/s"
    path = f"/objects/{throttle_name('slow')}"
    ask(name, "qom-set", path=path, property="limits", value=throttle_limits(all_limits({"iops": 100000})))
    assert seconds() < 1


def test_a_life_of_clones(local: Local, name: str, tmp_path: Path) -> None:
    """Made, left alone, grown, shrunk with consent, removed: in check mode, for real, and again."""
    source = raw(tmp_path / "source.img", b"boot me", 64 * MIB)
    checksum = f"sha256:{hashlib.sha256(Path(source).read_bytes()).hexdigest()}"
    disk = {"name": "root", "clone": source, "checksum": checksum}
    wrong = module(name, **STOPPED, disks=[{**disk, "checksum": f"sha256:{'1' * 64}"}])
    assert wrong["error_code"] == "invalid_option" and checksum in wrong["msg"] and "1" * 64 in wrong["msg"]
    assert not Path(layout().vms, name).exists()

    made, again = thrice(local, name, **STOPPED, disks=[disk])
    assert kinds(made) == ["clone_disk", "define"] and made["actions"][0]["clone"] == source
    path = Path(again["vm"]["disks"]["root"])
    assert path.parent == Path(layout().vm(name).disks) and path.stat().st_blocks * 512 < MIB
    assert subprocess.run(["qemu-img", "compare", "-q", source, path], check=False).returncode == 0
    assert "root.qcow2: done" in Path(layout().vm(name).disks_log).read_text("utf-8")

    grown, _again = thrice(local, name, state="present", disks=[{**disk, "size": "80M"}])
    assert kinds(grown) == ["grow_disk", "redefine"]
    Path(source).unlink()
    kept, _again = thrice(local, name, state="paused", disks=[{**disk, "size": "80M", "cache": "none"}])
    assert kinds(kept) == ["redefine", "start"], "the source is needed once"

    smaller = [{**disk, "size": "64M", "cache": "none"}]
    refused = module(name, disks=smaller)
    assert refused["error_code"] == "invalid_option" and "it would lose data" in refused["msg"]
    refused = module(name, disks=smaller, allow_restart=True, **FORCED)
    assert refused["error_code"] == "invalid_option" and "the VM runs" in refused["msg"]
    module(name, state="stopped", **FORCED)
    shrunk, _again = thrice(local, name, state="present", disks=smaller, **FORCED)
    assert kinds(shrunk) == ["shrink_disk", "redefine"] and shrunk["actions"][0]["impact"] == "recreate"
    look = subprocess.run(["qemu-io", "-r", "-c", "read -v 0 16", path], capture_output=True, check=True)
    assert b"boot.me" in look.stdout

    absent, _again = thrice(local, name, state="absent", purge=True)
    assert kinds(absent) == ["delete_disk", "undefine"]
    assert not Path(layout().vms, name).exists()


def test_only_what_is_ours_is_deleted(local: Local, name: str, other: str, tmp_path: Path) -> None:
    """An ISO, a base image, a block device and another VM's disk survive, and what was copied from does."""
    theirs = given(other, **STOPPED, disks=[{"name": "root", "size": "4M"}])["vm"]["disks"]["root"]
    backing = raw(tmp_path / "backing")
    setup = subprocess.run(["losetup", "--find", "--show", backing], capture_output=True, text=True, check=False)
    if setup.returncode != 0:
        pytest.skip(f"no loop devices here: {setup.stderr}")
    device = setup.stdout.strip()
    try:
        files = {kind: raw(tmp_path / kind, kind.encode()) for kind in ("iso", "base", "clone", "file")}
        disks: list[Result] = [
            {"name": "cd", "type": "cdrom", "path": files["iso"]},
            {"name": "top", "base": files["base"]},
            {"name": "copy", "clone": files["clone"]},
            {"name": "device", "path": device},
            {"name": "file", "path": files["file"]},
            {"name": "theirs", "path": theirs},
            {"name": "mine", "size": "4M"},
        ]
        given(name, state="paused", disks=disks)
        before = {path: os.stat(path).st_ino for path in (*files.values(), device, theirs)}
        kept, _again = thrice(local, name, state="absent", **FORCED)
        assert [Path(path).name for path in kept["kept"]] == ["copy.qcow2", "mine.qcow2", "top.qcow2"]
        given(name, state="present", disks=disks)
        gone, _again = thrice(local, name, state="absent", purge=True)
        assert kinds(gone) == ["delete_disk"] * 3 + ["undefine"]
        assert {path: os.stat(path).st_ino for path in before} == before
        assert not Path(layout().vms, name).exists() and Path(layout().vms, other).exists()
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def test_a_disk_that_two_vms_want(name: str, other: str) -> None:
    """It is said which VM has it; after that has ended the other one starts; what it needs is not purged."""
    disk = given(other, disks=[{"name": "root", "size": "4M"}])["vm"]["disks"]["root"]
    for state in ("running", "restarted"):
        refused = module(name, state=state, disks=[{"name": "shared", "path": disk}], **NOTHING)
        assert refused["error_code"] == "invalid_option" and f"VM {other} runs and writes it" in refused["msg"], refused
    assert not Path(layout().vms, name).exists()
    refused = module(name, disks=[{"name": "copy", "clone": disk}], **NOTHING)
    assert f"VM {other} runs and writes it" in refused["msg"]
    modules.must("maqet_vm", name=other, state="stopped", **FORCED)
    given(name, disks=[{"name": "shared", "path": disk}])
    refused = module(other, state="absent", purge=True)
    assert refused["error_code"] == "invalid_option" and f"VM {name}" in refused["msg"] and Path(disk).exists()
    modules.must("maqet_vm", name=name, state="absent", **FORCED)


def test_a_base_that_a_vm_is_to_write(name: str, other: str, tmp_path: Path) -> None:
    """Not by a start, a plugged disk or another path to it, while the overlay is there, though its VM never ran."""
    base = raw(tmp_path / "base.img")
    link = tmp_path / "link.img"
    link.symlink_to(base)
    given(other, state="present", disks=[{"name": "top", "base": base}])
    disks = [{"name": "root", "path": str(link), "format": "raw"}]
    refused = module(name, state="running", disks=disks, **NOTHING)
    assert refused["error_code"] == "invalid_option" and f"is the base of a disk of VM {other}" in refused["msg"], (
        refused
    )
    assert not Path(layout().vms, name).exists()
    given(name, disks=[{**disks[0], "readonly": True}])
    plugged = module(name, disks=disks, allow_restart=True, **FORCED)
    assert plugged["error_code"] == "invalid_option" and f"VM {other}" in plugged["msg"], plugged
    modules.must("maqet_vm", name=other, state="absent", purge=True)
    given(name, disks=disks, allow_restart=True, **FORCED)


def test_a_task_that_is_killed_while_it_copies(name: str, tmp_path: Path) -> None:
    """No program goes on without it, and the next task begins anew."""
    source = tmp_path / "source.img"
    with source.open("wb") as file:
        for _part in range(192):  # what cannot be shared has to be written
            file.write(os.urandom(MIB))
    paths = layout().vm(name)
    first = {"name": "first", "clone": raw(tmp_path / "first.img")}
    wanted: Result = {**STOPPED, "disks": [first, {"name": "root", "clone": str(source)}]}
    given(name, **{**STOPPED, "disks": [first]})
    with GrowingFile(paths.disks_log) as log:
        said = log.read()
        child = modules.begin("maqet_vm", {"name": name, **wanted})
        while b"root.qcow2: converted: " not in said:
            assert select.select([log.fd], [], [], 60)[0], said
            said += log.read()
    with child:
        child.send_signal(signal.SIGKILL)
    assert [entry for entry in os.listdir(paths.home) if entry.endswith(".new")] == ["root.qcow2.new"]
    assert os.listdir(paths.disks) == ["first.qcow2"]
    deadline = time.monotonic() + 10
    while any("qemu-img" in words[0] and name in " ".join(words) for _pid, words in command_lines() if words):
        assert time.monotonic() < deadline, "qemu-img has outlived its task"
        time.sleep(0.01)
    made = module(name, **wanted)
    assert kinds(made) == ["clone_disk", "redefine"]
    assert [entry for entry in os.listdir(paths.home) if entry.endswith(".new")] == []
    assert (
        subprocess.run(["qemu-img", "compare", "-q", source, made["vm"]["disks"]["root"]], check=False).returncode == 0
    )
