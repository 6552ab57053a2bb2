# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""UEFI with variables that stay, Secure Boot, a TPM and shared folders, as a real guest sees them; and what is left."""

from __future__ import annotations

import glob
import os
import shutil
import signal
import typing as t
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host import helpers
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import Process
from ansible_collections.maqet.qemu.tests.hosts import modules
from ansible_collections.maqet.qemu.tests.integration.local.conftest import ARCH, NOTHING, Local, Result, given, kill

READY: Result = {"wait_for": [{"serial": "maqet guest ready"}], "timeout": 300}
FORCE: Result = {"force": True, "stop_timeout": 0}


def said(name: str) -> list[str]:
    """What the guest has said since its start, without the terminal's colours."""
    lines = Path(layout().vm(name).serial_log).read_text("utf-8", "replace").splitlines()
    return [line[line.index("maqet ") + len("maqet ") :].strip() for line in lines if "maqet " in line]


def swtpm(name: str) -> Process:
    """The VM's only helper."""
    (found,) = helpers.living(layout().vm(name))["tpm"]
    return found


@pytest.mark.parametrize("option", ["firmware", "tpm", "shares"])
def test_create_change_remove(local: Local, name: str, tmp_path: Path, option: str) -> None:
    """Each step in check mode, for real, and again."""
    tmp_path.chmod(0o755)
    first, second = {
        "firmware": ("uefi", "uefi-secure"),
        "tpm": (True, {"version": "1.2"}),
        "shares": ([{"path": str(tmp_path)}], [{"path": str(tmp_path), "tag": "a", "readonly": True}]),
    }[option]
    create: Result = {"maqet_vm": {"name": name, "state": "running", **NOTHING, option: first}}
    change: Result = {"maqet_vm": {"name": name, "state": "running", option: second, "allow_restart": True, **FORCE}}
    refused: Result = {"maqet_vm": {"name": name, "state": "running", option: second}}
    remove: Result = {"maqet_vm": {"name": name, "state": "absent", "purge": True, **FORCE}}
    check = {"check_mode": True}
    steps = [{**create, **check}, create, create, refused, {**change, **check}, change, change]
    results = local.run(*steps, {**remove, **check}, remove, remove)
    assert [result["changed"] for result in results] == [True, True, False, False, True, True, False, True, True, False]
    assert [index for index, result in enumerate(results) if result["failed"]] == [3], results
    assert results[3]["error_code"] == "restart_required" and results[3]["options"] == [option]
    for before in (0, 4, 7):  # what check mode has announced
        assert results[before]["actions"] == results[before + 1]["actions"]
        assert results[before]["diff"] == results[before + 1]["diff"]
    assert results[5]["diff"]["before"][option] == results[1]["vm"]["definition"][option]
    assert results[5]["diff"]["after"][option] == results[5]["vm"]["definition"][option]
    deleted = [Path(action["path"]).name for action in results[8]["actions"] if action["action"] == "delete_state"]
    assert deleted == {"firmware": ["nvram"], "tpm": ["tpm"], "shares": []}[option]
    assert not Path(layout().vm(name).home).exists() and tmp_path.is_dir()


def test_a_uefi_guest_keeps_what_it_writes_into_its_variables(name: str, guest: Result) -> None:
    """Over a restart, over the VM's removal, and until it is purged; other firmware begins with others.

    With Secure Boot Arm's firmware starts nothing that its keys have not signed; a PC's does, if it is QEMU's kernel.
    """
    options = {**guest, "cmdline": f"{guest['cmdline']} maqet.firmware", "firmware": "uefi", **READY}
    given(name, **options)
    assert {"firmware: uefi, secure boot: 0", "variable: set"} <= set(said(name))
    home = Path(layout().vm(name).home)
    uid = os.lstat(home / "nvram" / "vars.raw").st_uid
    assert uid == home.lstat().st_gid and os.lstat(home / "nvram").st_uid == os.geteuid()
    gone = modules.must("maqet_vm", name=name, state="absent", **FORCE)
    assert gone["kept"] == [str(home / "nvram")]
    given(name, **options)
    assert "variable: kept" in said(name)
    refusal: Result = {"wait_for": [{"serial": "Security Violation"}], "timeout": 300}
    ready = refusal if ARCH == "aarch64" else READY
    secure = modules.must("maqet_vm", name=name, state="restarted", firmware="uefi-secure", **ready, **FORCE)
    assert secure["vm"]["definition"]["firmware"] == "uefi-secure"
    if ARCH != "aarch64":
        assert {"firmware: uefi, secure boot: 1", "variable: set"} <= set(said(name))
    assert (home / "nvram" / "vars.raw.1").exists()


def test_a_guest_sees_its_tpm_and_its_folders(name: str, generic_guest: Result, tmp_path: Path) -> None:
    """A folder to which QEMU's user has the rights, below folders that it may not enter; and one only to read."""
    shares = []
    tmp_path.chmod(0o700)
    for tag, mode in (("open", 0o777), ("kept", 0o755)):
        folder = tmp_path / tag
        folder.mkdir()
        folder.chmod(mode)
        (folder / "hello").write_text(f"from {tag}\n", "utf-8")
        shares.append({"path": str(folder), "tag": tag, "readonly": tag == "kept"})
    words = "maqet.firmware maqet.share=open maqet.share=kept"
    options = {**generic_guest, "cmdline": f"{generic_guest['cmdline']} {words}", **READY}
    started = given(name, tpm=True, shares=shares, **options)
    chip, *rest = said(name)[1:-1]
    assert chip == "tpm: 2" or (ARCH == "aarch64" and chip == "tpm: none"), "Debian's kernel has no driver there"
    assert rest == [
        *(f"firmware: {'none' if ARCH == 'aarch64' else 'bios'}", "nets: none"),
        *("share open: from open", "share open: written", "share kept: from kept", "share kept: not written"),
    ]
    answer = tmp_path / "open" / "answer"
    assert answer.read_text("utf-8") == "from the guest\n"
    if os.geteuid() == 0:
        assert answer.lstat().st_uid == started["vm"]["qemu_uid"]
    assert sorted(each.name for each in (tmp_path / "kept").iterdir()) == ["hello"]


def test_a_tpm_lives_as_long_as_its_qemu(local: Local, name: str) -> None:
    """It outlives the runner, is the next one's to watch, and goes with QEMU, whether there is a runner or not."""
    started = given(name, tpm=True)
    first = swtpm(name)
    assert started["vm"]["helpers"] == {"tpm": first.pid}
    kill(started["vm"]["runner_pid"])
    adopted = local.vm(name, state="running")
    assert adopted["vm"]["helpers"] == {"tpm": first.pid} and first.alive()
    kill(adopted["vm"]["runner_pid"])
    kill(started["vm"]["qemu_pid"])
    assert first.wait_gone(10)
    again = given(name)
    second = swtpm(name)
    assert again["vm"]["qemu_pid"] != started["vm"]["qemu_pid"] and second != first
    kill(again["vm"]["qemu_pid"])
    assert second.wait_gone(10)
    if os.geteuid() == 0:
        state = Path(layout().vm(name).tpm)
        assert state.stat().st_mode & 0o777 == 0o700 and state.stat().st_uid == started["vm"]["qemu_uid"]


def test_a_tpm_that_dies_is_missed(local: Local, name: str) -> None:
    """It is an event, and the facts lack its pid, also under the next runner; the guest goes on."""
    started = given(name, tpm=True)
    dead = swtpm(name)
    dead.kill()
    wait: dict[str, t.Any] = {"wait_for": [{"event": "MAQET_HELPER_EXITED"}]}
    events = local.vm(name, state="running", **wait)["events"]
    (event,) = [event for event in events if event["event"] == "MAQET_HELPER_EXITED"]
    assert event["data"] == {"helper": "tpm", "pid": dead.pid, "status": -9}
    kill(started["vm"]["runner_pid"])
    adopted = local.vm(name, state="running", wait_for=[{"event": "MAQET_ADOPTED"}])
    assert adopted["vm"]["helpers"] == {"tpm": None} and adopted["vm"]["status"] == "running"


def test_one_that_is_left_over_is_ended(name: str) -> None:
    """A stopped one cannot notice that its QEMU has gone; the next start does not wait for it."""
    started = given(name, tpm=True)
    left = swtpm(name)
    left.kill(signal.SIGSTOP)
    kill(started["vm"]["runner_pid"])
    kill(started["vm"]["qemu_pid"])
    assert left.alive()
    given(name)
    assert not left.alive() and swtpm(name) != left


def test_what_the_host_lacks(local: Local, name: str) -> None:
    """Said before anything is made, with the remedy."""
    for wanted, words in (
        ({"firmware": {"code": "/nowhere/code.fd"}}, "firmware.code: '/nowhere/code.fd' cannot be read"),
        ({"firmware": "uefi-secure", "machine": "pc", "arch": "x86_64"}, "Use machine: q35"),
        ({"shares": [{"path": "/nowhere"}]}, "shares[0].path: '/nowhere' is no folder"),
    ):
        refused = local.vm(name, state="running", **{**NOTHING, **wanted})
        assert refused["error_code"] == "invalid_option" and words in refused["msg"], refused
    assert not Path(layout().vm(name).home).exists()


@pytest.mark.skipif(shutil.which("qemu-system-aarch64") is None, reason="qemu-system-aarch64 is not installed")
@pytest.mark.skipif(not glob.glob("/usr/share/qemu/firmware/*aarch64*"), reason="no UEFI for aarch64 is installed")
def test_firmware_on_arm(name: str) -> None:
    """Without a kernel Arm's board has UEFI, whose shell speaks on the serial port."""
    wait = {"wait_for": [{"serial": "UEFI Interactive Shell"}], "timeout": 300}
    wanted = {"arch": "aarch64", "accel": "tcg", "memory": "256", "tpm": True}
    started = modules.must("maqet_vm", name=name, state="running", **wanted, **wait)
    assert started["vm"]["definition"].get("firmware") is None
    assert Path(layout().vm(name).nvram, "vars.raw").stat().st_blocks < 64 * 1024, "64 MiB of zeros take no room"
