# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""KVM is used where a guest has been seen to run, and nowhere else."""

from __future__ import annotations

import dataclasses
import grp
import os
import pathlib
import re
import shutil
import struct
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import accel
from ansible_collections.maqet.qemu.plugins.module_utils.host.accel import Answer

HERE = os.uname().machine
OTHER = "aarch64" if HERE == "x86_64" else "x86_64"
YES = Answer(True, "")
NO = Answer(False, "a guest that should end at once was still running after 1 s")


class Host:
    """The boundary to the real host: a device node that opens or not, and what running a guest shows."""

    def __init__(self, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.binary = str(folder / "qemu")
        pathlib.Path(self.binary).touch()
        self.cache = str(folder / "cache")
        self.device = True
        self.answer: t.Optional[Answer] = None
        self.boot = "first boot"
        self.node = folder / "kvm"
        self.node.touch()
        monkeypatch.setattr(accel, "_DEVICE", str(self.node))
        real = os.access
        monkeypatch.setattr(
            os, "access", lambda path, mode: self.device if path == str(self.node) else real(path, mode)
        )
        self.groups: t.Optional[list[int]] = []
        monkeypatch.setattr(accel, "kvm_groups", lambda: self.groups)
        monkeypatch.setattr(accel, "prove", self._prove)
        monkeypatch.setattr(accel, "boot_id", lambda: self.boot)

    def _prove(self, _accel: str, _arch: str, _binary: str) -> Answer:
        assert self.answer is not None, "no guest should have been run"
        return self.answer

    def resolve(self, wanted: str = "auto", arch: str = HERE) -> str:
        return accel.resolve(wanted, arch, self.binary, self.cache)


@pytest.fixture
def host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("wanted", "arch", "device", "answer", "expected"),
    [
        ("tcg", HERE, True, None, "tcg"),
        ("tcg", OTHER, False, None, "tcg"),
        ("auto", HERE, True, YES, "kvm"),
        ("auto", HERE, True, NO, "tcg"),
        ("auto", HERE, False, None, "tcg"),
        ("auto", OTHER, True, None, "tcg"),
        ("kvm", HERE, True, YES, "kvm"),
        ("kvm", HERE, True, NO, "a guest that should end at once was still running"),
        ("kvm", HERE, False, None, f"uid {os.geteuid()} may not open "),
        ("kvm", OTHER, True, None, f"the host is {HERE}, the guest {OTHER}"),
    ],
)
def test_resolve(host: Host, wanted: str, arch: str, device: bool, answer: t.Optional[Answer], expected: str) -> None:
    host.device, host.answer = device, answer
    if expected in ("kvm", "tcg"):
        assert host.resolve(wanted, arch) == expected
        return
    with pytest.raises(MaqetError) as caught:
        host.resolve(wanted, arch)
    assert str(caught.value).startswith("accel: 'kvm' does not work on this host: ")
    assert expected in str(caught.value)
    assert str(caught.value).endswith("Use 'auto' or 'tcg'")
    assert caught.value.error_code == "invalid_option"


def test_a_host_without_the_device(host: Host) -> None:
    host.node.unlink()
    assert host.resolve("auto") == "tcg"
    with pytest.raises(MaqetError, match=r"kvm is missing: load kvm_intel or kvm_amd \(modprobe\), after switching"):
        host.resolve("kvm")


def test_a_user_who_is_not_let_in(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.device = False
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    group = grp.getgrgid(host.node.stat().st_gid).gr_name
    words = (
        f"uid 1000 may not open {host.node}. Add the user to the group {group} (usermod -aG {group} USER) and log in"
    )
    with pytest.raises(MaqetError, match=re.escape(words)):
        host.resolve("kvm")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(MaqetError, match=r"Only SELinux, AppArmor or a network file system refuse something to root"):
        host.resolve("kvm")


def test_an_architecture_without_proof(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "_PROBES", {})
    assert host.resolve("auto") == "tcg"
    with pytest.raises(MaqetError, match="we have no proof for"):
        host.resolve("kvm")


@pytest.mark.parametrize("answer", [YES, NO])
def test_the_answer_is_kept(host: Host, answer: Answer) -> None:
    host.answer = answer
    first = host.resolve()
    host.answer = None
    assert host.resolve() == first


def reboot(host: Host) -> None:
    host.boot = "second boot"


def upgrade(host: Host) -> None:
    os.utime(host.binary, (1, 1))


def replace(host: Host) -> None:
    host.binary += "-other"
    pathlib.Path(host.binary).touch()
    os.utime(host.binary, (0, os.stat(host.binary[:-6]).st_mtime))


@pytest.mark.parametrize("change", [reboot, upgrade, replace])
def test_the_answer_is_not_kept_for_another_host(host: Host, change: t.Callable[[Host], None]) -> None:
    host.answer = NO
    assert host.resolve() == "tcg"
    change(host)
    host.answer = YES
    assert host.resolve() == "kvm"


def test_the_answer_is_not_kept_for_another_user(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.answer = YES
    assert host.resolve() == "kvm"
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    host.answer = NO
    assert host.resolve() == "tcg"


def test_the_x86_firmware() -> None:
    """Intel SDM vol. 3, 10.1.4: the first instruction is 16 bytes below 4 GiB, the end of the ROM."""
    rom = accel._x86_firmware()
    assert len(rom) == 65536
    jump, distance = struct.unpack_from("<Bh", rom, 0xFFF0)
    code = 0xFFF3 + distance
    assert (jump, code) == (0xE9, 0xFF00)
    assert rom[code : code + 6] == bytes.fromhex("fa 2e 66 0f 01 16")  # cli; lgdt cs:[...]
    limit, table = struct.unpack_from("<HI", rom, struct.unpack_from("<H", rom, code + 6)[0])
    assert (limit, table) == (15, 0xFFFFFF40)
    assert rom[0xFF48:0xFF50] == bytes.fromhex("ffff 0000 00 9b cf 00")  # flat 32-bit code, already accessed
    target, selector = struct.unpack_from("<IH", rom, rom.index(b"\x66\xea") + 2)
    assert (target, selector) == (0xFFFFFF20, 8)
    body = rom[target & 0xFFFF :][:13]
    assert body[0] == 0xB9 and struct.unpack_from("<I", body, 1)[0] == accel._ROUNDS
    assert body[5:] == bytes.fromhex("49 75fd b010 e6f4 f4")


def test_the_arm_firmware() -> None:
    """Arm ARM, C6.2 (MOVZ, SUBS, B.cond) and DEN0022, 5.9: PSCI SYSTEM_OFF is 0x84000008, called by HVC."""
    rom = accel._arm_firmware()
    assert len(rom) == 65536
    rounds, subtract, branch, low, high, call = struct.unpack_from("<6I", rom)
    assert rounds & 0xFFE0001F == 0x52A00001
    assert 0 <= accel._ROUNDS - ((rounds >> 5 & 0xFFFF) << 16) < 1 << 16
    assert (subtract, branch, call) == (0x71000421, 0x54FFFFE1, 0xD4000002)
    assert (high >> 5 & 0xFFFF) << 16 | (low >> 5 & 0xFFFF) == 0x84000008


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
class TestRealGuests:
    """Under TCG, which runs anywhere."""

    @staticmethod
    def binary(arch: str) -> str:
        found = shutil.which(f"qemu-system-{arch}")
        if found is None:
            pytest.skip(f"qemu-system-{arch} is not installed")
        return found

    def test_a_guest_ends_qemu(self, arch: str) -> None:
        assert accel.prove("tcg", arch, self.binary(arch), 60) == YES

    def test_a_guest_that_gets_nowhere(self, arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """What KVM looks like where it opens and does not run: the CPU never gets on."""
        stuck = bytearray(accel._PROBES[arch].firmware)
        stuck[0xFFF0:0xFFF2] = b"\xeb\xfe"  # jmp .
        stuck[0:4] = struct.pack("<I", 0x14000000)  # b .
        probe = dataclasses.replace(accel._PROBES[arch], firmware=bytes(stuck))
        monkeypatch.setitem(accel._PROBES, arch, probe)
        answer = accel.prove("tcg", arch, self.binary(arch), 0.5)
        assert answer == Answer(False, "a guest that should end at once was still running after 0.5 s")

    def test_an_accelerator_that_there_is_not(self, arch: str) -> None:
        answer = accel.prove("warp", arch, self.binary(arch), 60)
        assert not answer.works
        assert "warp" in answer.why


def test_a_device_that_is_roots_alone(host: Host) -> None:
    """QEMU is not root, whoever the runner is."""
    host.groups = None
    assert host.resolve("auto") == "tcg"
    with pytest.raises(MaqetError, match="is open to root alone"):
        host.resolve("kvm")


@pytest.mark.parametrize(
    ("uid", "mode", "gid", "groups"),
    [
        (0, 0o666, 0, []),
        (0, 0o666, 36, []),
        (0, 0o660, 36, [36]),
        (0, 0o660, 0, None),
        (0, 0o640, 36, None),
        (0, 0o600, 36, None),
        (0, None, 0, None),
        (1000, 0o600, 0, []),
    ],
)
def test_who_may_open_the_device(
    monkeypatch: pytest.MonkeyPatch, uid: int, mode: t.Optional[int], gid: int, groups: t.Optional[list[int]]
) -> None:
    def stat(_path: str) -> os.stat_result:
        if mode is None:
            raise FileNotFoundError
        return os.stat_result((0o020000 | mode, 0, 0, 1, 0, gid, 0, 0, 0, 0))

    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(os, "stat", stat)
    found = accel.kvm_groups()
    monkeypatch.undo()
    assert found == groups
