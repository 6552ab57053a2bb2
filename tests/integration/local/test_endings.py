# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a VM has ended: asked of maqet_vm_info after the runner is gone; and what restart_policy makes of it."""

from __future__ import annotations

import json
import os
import signal
import typing as t
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import of_pid, wait_readable
from ansible_collections.maqet.qemu.plugins.module_utils.host.watch import Folder
from ansible_collections.maqet.qemu.tests.integration.local.conftest import (
    ARCH,
    NOTHING,
    Local,
    Result,
    given,
    kill,
    remove,
    traces,
)

FORCE: Result = {"force": True, "stop_timeout": 0}
# What a PC boots from a disk. mov dx, 0x505; mov al, 1; out dx, al: the port of QEMU's pvpanic device. mov al, 0xfe;
# out 0x64, al: the keyboard controller resets the machine. Behind both: hlt in a loop.
PC = {
    "panic": b"\xba\x05\x05\xb0\x01\xee\xf4\xeb\xfd",
    "reset": b"\xb0\xfe\xe6\x64\xf4\xeb\xfd",
    "halt": b"\xf4\xeb\xfd",
}
# What Arm's board runs as its kernel. The panic looks through the configuration space of bus 0, which begins at
# 0x40_1000_0000, a device each 0x8000, for pvpanic's 1b36:0011, puts its register at 0x1000_0000, and writes 1 there:
# movz x1, 0x1000, lsl 16; movk x1, 0x40, lsl 32; movz w2, 0x1b36; movk w2, 0x11, lsl 16; 1: ldr w3, [x1]; cmp w3, w2;
# b.eq 2f; add x1, x1, 0x8000; b 1b; 2: movz w4, 0x1000, lsl 16; str w4, [x1, 0x10]; movz w5, 2; strh w5, [x1, 4];
# movz w6, 1; strb w6, [x4]. The reset is PSCI's: movz w0, 9; movk w0, 0x8400, lsl 16; hvc 0. Behind both: wfi.
ARM = {
    "panic": "0100a2d20108c0f2c26683522202a072230040b97f00026b6000005421204091fcffff17"
    "0400a252241000b9450080522508007926008052860000397f2003d5ffffff17",
    "reset": "200180520080b072020000d47f2003d5ffffff17",
    "halt": "7f2003d5ffffff17",
}


def code(folder: Path, what: str) -> Result:
    """Options for a VM that does one thing, with a disk."""
    disk, kernel = folder / "disk.img", folder / "kernel"
    boot = PC[what].ljust(510, b"\0") + b"\x55\xaa"
    disk.write_bytes(boot.ljust(1024 * 1024, b"\0"))  # SeaBIOS boots no disk that is smaller than a cylinder
    kernel.write_bytes(bytes.fromhex(ARM[what]))
    by_itself = {"kernel": str(kernel)} if ARCH == "aarch64" else {}
    return {"disks": [{"path": str(disk), "format": "raw"}], **NOTHING, **by_itself}


def gone(vm: Result) -> None:
    """Wait until a VM's processes are."""
    for key in ("qemu_pid", "runner_pid"):
        process = of_pid(vm[key]) if vm[key] else None
        assert process is None or process.wait_gone(30)


def last_exit(local: Local, name: str) -> Result:
    """What is known of a VM that has ended and left nothing."""
    (vm,) = local.run({"maqet_vm_info": {"name": name}})[0]["vms"]
    assert vm["status"] == "stopped" and traces(name) == []
    return dict(vm["last_exit"])


def started_again(name: str, old: int) -> int:
    """Wait until the runner has a new QEMU that is ready; its pid."""
    paths = layout().vm(name)
    with Folder(paths.run) as folder:
        while True:
            status = json.loads(Path(paths.status).read_text("utf-8")) if os.path.exists(paths.status) else {}
            pid = status.get("qemu", {}).get("pid")
            if status.get("phase") == "ready" and pid != old:
                return int(pid)
            assert wait_readable([folder.fd], 30), status
            os.read(folder.fd, 65536)


@pytest.mark.parametrize(
    ("how", "reason", "status"),
    [
        pytest.param("quit", "host-qmp-quit", 0, id="quit"),
        pytest.param(signal.SIGTERM, "host-signal", 0, id="SIGTERM"),
        pytest.param(signal.SIGKILL, "signal", -9, id="SIGKILL"),
        pytest.param(signal.SIGSEGV, "signal", -11, id="SIGSEGV"),
    ],
)
def test_ended_from_the_host(local: Local, name: str, how: t.Any, reason: str, status: int) -> None:
    """The word, a sentence, the status, and which QEMU it was."""
    vm = local.vm(name, state="running", **NOTHING)["vm"]
    if how == "quit":
        local.qmp(name, command="quit")
    else:
        os.kill(vm["qemu_pid"], how)
    gone(vm)
    found = last_exit(local, name)
    assert (found["reason"], found["status"], found["qemu"]["pid"]) == (reason, status, vm["qemu_pid"])
    assert found["uptime"] >= 0 and found["detail"]
    if how == signal.SIGTERM:
        assert "terminating on signal 15" in found["detail"]


def test_ended_by_its_guest(local: Local, name: str, guest: Result) -> None:
    """A guest that powers itself off, and one that obeys the power button of the host."""
    once = {**guest, "cmdline": f"{guest['cmdline']} maqet.poweroff"}
    vm = local.vm(name, state="running", **once, wait_for=["exit"])["vm"]
    gone(vm)
    assert last_exit(local, name)["reason"] == "guest-shutdown"
    asked, _stopped = local.run(
        {"maqet_vm": {"name": name, "state": "running", **guest, "wait_for": [{"serial": "maqet guest ready"}]}},
        {"maqet_vm": {"name": name, "state": "stopped"}},
    )
    assert not asked["failed"], asked
    assert last_exit(local, name)["reason"] == "host-powerdown"


def test_reset_and_panic(local: Local, name: str, tmp_path: Path) -> None:
    """What the guest's reset and panic do is the definition's to say."""
    reset = local.vm(name, state="running", reboot_action="shutdown", wait_for=["exit"], **code(tmp_path, "reset"))
    assert not reset["failed"], reset
    assert last_exit(local, name)["reason"] == "guest-reset"
    for action, wait in (("shutdown", "exit"), ("pause", {"event": "GUEST_PANICKED"})):
        wanted = {"panic_action": action, "wait_for": [wait], **code(tmp_path, "panic")}
        panicked = local.vm(name, state="running", **wanted)
        assert not panicked["failed"], panicked
        if action == "shutdown":
            found = last_exit(local, name)
            assert found["reason"] == "guest-panic" and found["panic"]["action"] == "poweroff"
    assert panicked["vm"]["status"] == "guest-panicked"


def test_nobody_was_there(local: Local, name: str) -> None:
    """Runner and QEMU are killed: what can be known is told, also after the next start."""
    vm = local.vm(name, state="running", **NOTHING)["vm"]
    os.kill(vm["runner_pid"], signal.SIGKILL)
    os.kill(vm["qemu_pid"], signal.SIGKILL)
    gone(vm)
    (info,) = local.run({"maqet_vm_info": {"name": name}})[0]["vms"]
    assert info["status"] == "stopped" and info["last_exit"]["reason"] == "unknown"
    again = local.vm(name, state="running")
    assert again["vm"]["last_exit"]["reason"] == "unknown"
    assert again["vm"]["last_exit"]["qemu"]["pid"] == vm["qemu_pid"]


def test_removed_while_its_runner_tidies_up(name: str) -> None:
    """QEMU has just gone: when the task returns, the runner has, too."""
    for _time in range(3):
        kill(given(name)["vm"]["qemu_pid"])
        remove(name)


def test_it_is_started_again(local: Local, name: str) -> None:
    """After a failure, with its guest running, and under the same runner; not after a stop, by whatever means."""
    vm = local.vm(name, state="running", restart_policy="on-failure", **NOTHING)["vm"]
    pid = vm["qemu_pid"]
    os.kill(pid, signal.SIGKILL)
    new = started_again(name, pid)
    (info,) = local.run({"maqet_vm_info": {"name": name}})[0]["vms"]
    assert (info["status"], info["qemu_pid"], info["runner_pid"]) == ("running", new, vm["runner_pid"])
    assert info["restarts"] == 1 and info["last_exit"]["reason"] == "signal"
    hung = of_pid(new)
    assert hung is not None
    hung.kill(signal.SIGSTOP)  # so that the task must kill it, which looks like a failure
    ended = local.vm(name, state="stopped", timeout=2, **FORCE)
    assert ended["stop_steps"][-1] == "SIGKILL" and ended["vm"]["status"] == "stopped"
    assert traces(name) == []


def test_a_stop_while_it_waits(local: Local, name: str, tmp_path: Path) -> None:
    """Between two starts there is no QEMU; a task that wants the VM stopped ends the wait, and says so."""
    wanted = {"restart_policy": "on-failure", **code(tmp_path, "halt")}
    vm = local.vm(name, state="running", **wanted)["vm"]
    paths = layout().vm(name)
    (tmp_path / "disk.img").unlink()  # so that each start fails, and the next pause is longer
    with Folder(paths.run) as folder:
        os.kill(vm["qemu_pid"], signal.SIGKILL)
        while json.loads(Path(paths.status).read_text("utf-8")).get("pause", 0) < 8:
            assert wait_readable([folder.fd], 30)
            os.read(folder.fd, 65536)
    info, stopped, again = local.run(
        {"maqet_vm_info": {"name": name}},
        {"maqet_vm": {"name": name, "state": "stopped"}},
        {"maqet_vm": {"name": name, "state": "stopped"}},
    )
    assert info["vms"][0]["status"] == "restarting" and info["vms"][0]["last_exit"]["reason"] == "qemu-error"
    assert "disk.img" in info["vms"][0]["last_exit"]["detail"]
    assert [action["action"] for action in stopped["actions"]] == ["cancel_restart"]
    assert stopped["changed"] is True and again["changed"] is False
    assert traces(name) == []
