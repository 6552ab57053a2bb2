# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does KVM run guests here? Asked by running one, since ``/dev/kvm`` can open where no guest gets anywhere.

The guest is a firmware image of a few bytes that counts down and ends QEMU. It is given a second;
the answer is kept until the host boots again or the emulator changes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import grp
import os
import struct
import subprocess
import tempfile
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, access_remedy, invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.host.files import make_folder, read_json, write_json
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import boot_id

SECONDS = 1.0
_DEVICE = "/dev/kvm"
_ROM = 64 * 1024


@dataclasses.dataclass(frozen=True)
class _Probe:
    """A machine whose firmware ends QEMU with ``status``."""

    firmware: bytes
    options: tuple[str, ...]
    status: int


# How often the guest goes round its loop: 10 ms on a CPU, about 0.1 s under TCG. A kernel that can only *emulate*
# guest instructions opens /dev/kvm too and does about a million a second (seen on nested hosts): too few.
_ROUNDS = 20_000_000


def _x86_firmware() -> bytes:
    """Reset vector → protected mode → the loop → `out 0xf4, 0x10`, which makes isa-debug-exit leave with 2*0x10+1.

    The image is the last 64 KiB below 4 GiB (Intel SDM vol. 3, 10.1.4). In real mode even a real KVM may
    emulate, so the loop runs in 32-bit code; the descriptor has its accessed bit set because ROM is not writable.
    """
    base, code, protected, table, pointer = 0xFFFF0000, 0xFF00, 0xFF20, 0xFF40, 0xFF50
    parts = {
        code: b"\xfa\x2e\x66\x0f\x01\x16" + struct.pack("<H", pointer)  # cli; lgdt cs:[pointer]
        + b"\x0f\x20\xc0\x0c\x01\x0f\x22\xc0"  # cr0 |= PE
        + b"\x66\xea" + struct.pack("<IH", base + protected, 8),  # jmp 8:protected
        protected: b"\xb9" + struct.pack("<I", _ROUNDS) + b"\x49\x75\xfd"  # ecx = n; dec ecx; jnz
        + b"\xb0\x10\xe6\xf4\xf4",  # mov al,0x10; out 0xf4,al; hlt
        table: bytes(8) + b"\xff\xff\x00\x00\x00\x9b\xcf\x00",  # null, flat 32-bit code
        pointer: struct.pack("<HI", 15, base + table),
        0xFFF0: b"\xe9" + struct.pack("<h", code - 0xFFF3),  # jmp code
    }  # fmt: skip
    image = bytearray(b"\xf4" * _ROM)
    for offset, part in parts.items():
        image[offset : offset + len(part)] = part
    return bytes(image)


def _arm_firmware() -> bytes:
    """The CPU starts at 0 of the first flash; after the loop, PSCI SYSTEM_OFF (Arm DEN0022, 5.9) ends QEMU with 0."""
    words = (
        0x52A00001 | (_ROUNDS >> 16) << 5,  # mov w1, #(n >> 16) << 16
        0x71000421,  # subs w1, w1, #1
        0x54FFFFE1,  # b.ne .-4
        0x52800100,  # mov w0, #0x0008
        0x72B08000,  # movk w0, #0x8400, lsl #16
        0xD4000002,  # hvc #0
    )
    return struct.pack("<6I", *words).ljust(_ROM, b"\0")


_PROBES = {
    "x86_64": _Probe(
        _x86_firmware(), ("-machine", "q35", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x01"), status=33
    ),
    "aarch64": _Probe(_arm_firmware(), ("-machine", "virt,gic-version=max", "-cpu", "max"), status=0),
}


@dataclasses.dataclass(frozen=True)
class Answer:
    """Whether the accelerator runs guests, and if not, why."""

    works: bool
    why: str


def resolve(accel: str, arch: str, binary: str, cache: t.Optional[str]) -> str:
    """The accelerator to use for ``accel`` (auto, kvm, tcg): ``kvm`` only where it has been seen to work.

    ``cache``: the folder in which answers are kept; None asks anew and keeps nothing.
    """
    if accel == "tcg":
        return "tcg"
    answer = _kvm(arch, binary, cache)
    if answer.works:
        return "kvm"
    if accel == "kvm":
        raise invalid_option("accel", accel, f"does not work on this host: {answer.why}", "Use 'auto' or 'tcg'")
    return "tcg"


def _kvm(arch: str, binary: str, cache: t.Optional[str]) -> Answer:
    if arch != os.uname().machine:
        return Answer(False, f"the host is {os.uname().machine}, the guest {arch}")
    if arch not in _PROBES:
        return Answer(False, f"we have no proof for {arch}")
    if not os.path.exists(_DEVICE):
        return Answer(
            False,
            f"{_DEVICE} is missing: load kvm_intel or kvm_amd (modprobe), after switching virtualization on in the "
            "machine's firmware, or in the VM that this host is itself",
        )
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        return Answer(False, f"uid {os.geteuid()} may not open {_DEVICE}. {_remedy()}")
    if kvm_groups() is None:
        return Answer(
            False, f"{_DEVICE} is open to root alone, which QEMU is not: give it to a group (chgrp, chmod g+rw)"
        )
    if cache is None:
        return prove("kvm", arch, binary)
    path = os.path.join(cache, f"kvm-{arch}.json")
    key = {"boot_id": boot_id(), "binary": binary, "mtime": os.stat(binary).st_mtime, "uid": os.geteuid()}
    with contextlib.suppress(MaqetError, AttributeError, KeyError, TypeError):  # a damaged cache is no answer
        known = read_json(path)
        if known["key"] == key:
            return Answer(known["works"], known["why"])
    answer = prove("kvm", arch, binary)
    make_folder(cache)
    write_json(path, {"key": key, **dataclasses.asdict(answer)})
    return answer


def _remedy() -> str:
    """How a plain user is let in: by the device's group, which a process has from its login."""
    if os.geteuid() == 0:
        return access_remedy()
    try:
        group = grp.getgrgid(os.stat(_DEVICE).st_gid).gr_name
    except (KeyError, OSError):
        group = "kvm"
    return f"Add the user to the group {group} (usermod -aG {group} USER) and log in again"


def kvm_groups() -> t.Optional[list[int]]:
    """The groups in which a QEMU with a user of its own may open ``/dev/kvm``; None if there is no way.

    A plain user's QEMU has that user's rights, and needs none.
    """
    if os.geteuid() != 0:
        return []
    try:
        status = os.stat(_DEVICE)
    except OSError:
        return None
    if status.st_mode & 0o006 == 0o006:
        return []
    return [status.st_gid] if status.st_gid != 0 and status.st_mode & 0o060 == 0o060 else None


def prove(accel: str, arch: str, binary: str, seconds: float = SECONDS) -> Answer:
    """Run the smallest guest under ``accel`` and see whether it ends as it should within ``seconds``."""
    probe = _PROBES[arch]
    with tempfile.NamedTemporaryFile(prefix="maqet-probe-") as file:
        file.write(probe.firmware)
        file.flush()
        argv: t.Sequence[str] = (
            binary, "-accel", accel, *probe.options, "-m", "64", "-nodefaults", "-no-user-config",
            "-display", "none", "-bios", file.name,
        )  # fmt: skip
        try:
            done = subprocess.run(  # pylint: disable=ansible-bad-function  # the runner calls this too, and is no module
                argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired:
            return Answer(False, f"a guest that should end at once was still running after {seconds:g} s")
    if done.returncode == probe.status:
        return Answer(True, "")
    words = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return Answer(False, words[-1] if words else f"QEMU ended with status {done.returncode}")
