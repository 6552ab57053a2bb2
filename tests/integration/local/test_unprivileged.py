# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""QEMU of the system's VMs is a user of its own, which can touch its own files and what it was handed, no others."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
import typing as t
import uuid
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host import identity
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths, layout
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.direct import DirectMonitor
from ansible_collections.maqet.qemu.tests.hosts import modules
from ansible_collections.maqet.qemu.tests.integration.local.conftest import NOTHING, Result, given, remove

READY = [{"serial": "maqet guest ready.*\n"}]
DISK = [{"name": "root", "size": "4M"}]
SECONDS = 60.0


def status(pid: int) -> dict[str, str]:
    """/proc/PID/status: proc(5)."""
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return {key: value.strip() for key, _colon, value in (line.partition(":") for line in lines)}


def modes(path: str | Path) -> tuple[int, int, int]:
    found = os.lstat(path)
    return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)


def paths(name: str) -> VmPaths:
    return layout().vm(name)


def image(path: Path, fmt: str = "raw", base: Path | None = None) -> Path:
    """An image that only root can use, in a folder that only root can enter."""
    path.parent.chmod(0o700)
    below = [] if base is None else ["-b", str(base), "-F", "qcow2"]
    subprocess.run(["qemu-img", "create", "-q", "-f", fmt, *below, str(path), "3M"], check=True)
    path.chmod(0o600)
    return path


@pytest.fixture
def other() -> t.Iterator[str]:
    """A second VM."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    yield name
    remove(name)


def test_what_qemu_may(name: str) -> None:
    """No root, no capabilities, no groups, no new privileges, a filter of system calls, no core file."""
    started = given(name, disks=DISK)
    uid, pid = started["vm"]["qemu_uid"], started["vm"]["qemu_pid"]
    assert identity.is_vms(uid)
    found = status(pid)
    assert found["Uid"].split() == found["Gid"].split() == [str(uid)] * 4
    assert found["Groups"] == ""
    for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(found[kind], 16) == 0, kind
    assert (found["Seccomp"], found["NoNewPrivs"]) == ("2", "1")
    for process in (pid, started["vm"]["runner_pid"]):
        limits = Path(f"/proc/{process}/limits").read_text("ascii")
        assert "Max core file size        0                    0 " in limits
    assert status(started["vm"]["runner_pid"])["Uid"].split() == ["0"] * 4
    assert os.lstat(f"/proc/{started['vm']['runner_pid']}/fd").st_uid == 0
    line = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    filters = b"on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
    assert line[line.index(b"-sandbox") + 1] == filters
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    assert {entry.partition(b"=")[0] for entry in environment if entry} <= {b"PATH", b"LANG", b"HOME"}


def test_whose_the_files_are(name: str) -> None:
    """The user stays with the VM."""
    started = given(name, disks=DISK, display="vnc")
    uid = started["vm"]["qemu_uid"]
    where = paths(name)
    assert modes(where.home) == (0, uid, 0o710)
    assert modes(where.disks) == modes(where.output) == (uid, uid, 0o700)
    assert modes(started["vm"]["disks"]["root"]) == (uid, uid, 0o600)
    for file in (where.definition, where.serial_log, where.qemu_log):
        assert modes(file) == (0, 0, 0o600)
    with socket.socket(socket.AF_UNIX) as screen:
        screen.connect(where.vnc_socket)
        assert screen.recv(4) == b"RFB "
    assert modes(os.path.dirname(where.vnc_socket)) == (uid, uid, 0o700)
    again = given(name, state="restarted", force=True, stop_timeout=0)
    assert again["vm"]["qemu_uid"] == uid


def as_user(uid: int, *words: str) -> tuple[int, str]:
    """What a process of that user gets: a taken over QEMU could do no more."""
    done = subprocess.run(list(words), user=uid, group=uid, extra_groups=[], cwd="/", capture_output=True, check=False)
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")


def test_two_vms_are_strangers(name: str, other: str) -> None:
    first, second = (given(one, disks=DISK)["vm"] for one in (name, other))
    uid = second["qemu_uid"]
    assert uid != first["qemu_uid"]
    code, words = as_user(uid, "cat", second["disks"]["root"])
    assert code == 0, words
    where = paths(name)
    theirs = [first["disks"]["root"], where.definition, where.serial_log, where.output, where.disks, where.home]
    theirs += [where.audit_log, layout().vms, f"/proc/{first['qemu_pid']}/environ"]
    for path in theirs:
        code, words = as_user(uid, "ls" if os.path.isdir(path) else "cat", path)
        assert code != 0 and "ermission denied" in words, path
    for path in (where.disks, where.output, where.home, paths(other).home, layout().vms, where.run):
        code, words = as_user(uid, "touch", f"{path}/x")
        assert code != 0 and "ermission denied" in words, path
    connect = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    for path in (where.monitor_socket, where.direct_socket, paths(other).direct_socket):
        code, words = as_user(uid, "/usr/bin/env", sys.executable, "-c", connect, path)
        assert code != 0, path
    kill = "import os, sys; os.kill(int(sys.argv[1]), 0)"  # the program is missing on small systems
    code, words = as_user(uid, "/usr/bin/env", sys.executable, "-c", kill, str(first["qemu_pid"]))
    assert code != 0, words


def test_images_that_only_root_may_use(name: str, tmp_path: Path) -> None:
    """Written, read, and below an overlay two deep: all handed over open, none changes its owner."""
    lowest = image(tmp_path / "lowest.qcow2", "qcow2")
    base = image(tmp_path / "base.qcow2", "qcow2", lowest)
    disk, readonly = image(tmp_path / "disk.raw"), image(tmp_path / "cd.raw")
    (tmp_path / "lv").symlink_to(disk)
    disks: list[dict[str, t.Any]] = [
        {"name": "over", "base": str(base)},
        {"name": "link", "path": str(tmp_path / "lv"), "format": "raw"},
        {"name": "cd", "path": str(readonly), "format": "raw", "readonly": True},
    ]
    started = given(name, disks=disks)
    pid = started["vm"]["qemu_pid"]
    opened = {os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")}
    assert {str(file) for file in (lowest, base, disk, readonly)} <= opened
    with DirectMonitor(paths(name).direct_socket, SECONDS) as monitor:
        blocks = {block["qdev"].split("/")[3]: block["inserted"] for block in monitor.execute("query-block")}
        over = blocks["over"]
        assert over["image"]["backing-image"]["backing-image"]["format"] == "qcow2"
        assert (blocks["cd"]["ro"], blocks["link"]["ro"]) == (True, False)
        for device, command in (("link", "write -P 7 0 512"), ("over", "write -P 9 0 512")):
            line = f'qemu-io -d /machine/peripheral/{device}/virtio-backend "{command}"'
            monitor.execute("human-monitor-command", {"command-line": line})
    for file in (lowest, base, disk, readonly):
        assert modes(file) == (0, 0, 0o600)
    given(name, state="stopped", force=True, stop_timeout=0)
    assert disk.read_bytes()[:512] == b"\7" * 512
    bigger = [{**disks[0], "size": "8M"}, *disks[1:]]
    given(name, disks=bigger)


def test_a_snapshot_of_an_image_that_is_roots(name: str, tmp_path: Path) -> None:
    """QEMU opens its former top again, for reading only: also one that it knows by number."""
    disk = image(tmp_path / "disk.qcow2", "qcow2")
    started = given(name, disks=[{"name": "root", "path": str(disk)}])
    top = Path(paths(name).output, "top.qcow2")
    image_of = started["vm"]["qemu_uid"]
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(top), "3M"], check=True)
    os.chown(top, image_of, image_of)
    node = {"driver": "qcow2", "node-name": "top", "file": {"driver": "file", "filename": str(top)}, "backing": None}
    with DirectMonitor(paths(name).direct_socket, SECONDS) as monitor:
        monitor.execute("blockdev-add", node)
        monitor.execute("blockdev-snapshot", {"node": "disk-root", "overlay": "top"})
        nodes = {one["node-name"]: one for one in monitor.execute("query-named-block-nodes", {"flat": True})}
    assert nodes["disk-root"]["ro"] is True and nodes["disk-root-file"]["file"].startswith("/dev/fdset/")


def test_a_block_device(name: str, tmp_path: Path) -> None:
    """It is handed over like any other file that is not QEMU's."""
    file = image(tmp_path / "disk.raw")
    setup = subprocess.run(["losetup", "--find", "--show", str(file)], capture_output=True, text=True, check=False)
    if setup.returncode != 0:
        pytest.skip(f"no loop devices here: {setup.stderr}")
    device = setup.stdout.strip()
    try:
        disks = [{"name": "root", "path": device, "format": "raw"}]
        given(name, disks=disks)
        given(name, state="stopped", force=True, stop_timeout=0)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def test_a_kernel_that_is_roots_alone(name: str, guest: Result, tmp_path: Path) -> None:
    """As Ubuntu has them: the guest boots all the same."""
    closed = dict(guest)
    for option in ("kernel", "initrd"):
        closed[option] = str(shutil.copy(guest[option], tmp_path / option))
        os.chmod(closed[option], 0o600)
    given(name, **closed, wait_for=READY)


def test_a_vm_from_before(name: str) -> None:
    """All that it has is root's, as it was when QEMU was root."""
    given(name, state="present", disks=DISK)
    where = paths(name)
    os.makedirs(where.output, exist_ok=True)
    for folder in (where.home, where.disks, where.output):
        os.chown(folder, 0, 0)
        os.chmod(folder, 0o700)
    old = Path(where.output, "old-dump")
    old.write_text("x", "utf-8")
    started = given(name)
    assert modes(started["vm"]["disks"]["root"])[0] == modes(where.output)[0] == started["vm"]["qemu_uid"]
    assert old.read_text("utf-8") == "x"


@pytest.mark.parametrize("kind", ["link", "name"])
def test_what_a_taken_over_qemu_may_have_left(name: str, tmp_path: Path, kind: str) -> None:
    """A link in the place of its image leads neither a start nor a change to another file of the host."""
    raw = [{"name": "root", "size": "1M", "format": "raw"}]
    given(name, state="present", disks=raw)
    victim = Path(paths(name).home, "last-exit.json")
    victim.write_text("root's", "utf-8")
    file, trap = Path(paths(name).disks, "root.raw"), Path(paths(name).disks, "more.raw.new")
    file.unlink()
    (file.symlink_to if kind == "link" else file.hardlink_to)(victim)
    started = modules.run_module("maqet_vm", {"name": name, "state": "running"}).result
    assert started["failed"] and started["error_code"] == "state_unsafe", started
    grown = modules.run_module("maqet_vm", {"name": name, "disks": [{**raw[0], "size": "8M"}]}).result
    assert grown["failed"] and "is a link, or a file that has other names too" in grown["msg"], grown
    trap.symlink_to(victim)
    given(name, state="present", disks=[*raw, {"name": "more", "size": "1M", "format": "raw"}])
    assert modes(victim) == (0, 0, 0o644) or modes(victim)[0] == 0
    assert victim.read_text("utf-8") == "root's"
    file.unlink()


def test_a_port_that_only_root_may_listen_on(name: str) -> None:
    network = [{"type": "user", "hostfwd": [{"host_port": 81, "guest_port": 80}]}]
    wanted = {"name": name, "state": "running", **NOTHING, "networks": network}
    refused = modules.run_module("maqet_vm", wanted).result
    assert refused["error_code"] == "invalid_option" and "only root may listen" in refused["msg"]
