# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What QEMU's programs say about themselves, as recorded from several versions, and where they are found."""

from __future__ import annotations

import os
import pathlib

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import qemu

MACHINES_7 = """\
Supported machines are:
microvm              microvm (i386)
pc                   Standard PC (i440FX + PIIX, 1996) (alias of pc-i440fx-7.2)
pc-i440fx-7.2        Standard PC (i440FX + PIIX, 1996) (default)
q35                  Standard PC (Q35 + ICH9, 2009) (alias of pc-q35-7.2)
pc-q35-7.2           Standard PC (Q35 + ICH9, 2009)
isapc                ISA-only PC
none                 empty machine
x-remote             Experimental remote machine
"""
CPUS_7 = """\
Available CPUs:
x86 486                   (alias configured by machine type)
x86 486-v1               \x20
x86 Broadwell-v1          Intel Core Processor (Broadwell)
x86 base                  base CPU model type with no features enabled
x86 host                  processor with all supported host features\x20
x86 max                   Enables all features supported by the accelerator in the current host

Recognized CPUID flags:
  3dnow 3dnowext 3dnowprefetch abm ace2 ace2-en acpi adx aes amd-no-ssb
  vmx-vnmi-pending wbnoinvd
  xop xsave
"""
CPUS_10 = """\
Available CPUs:
  486                   (alias configured by machine type)
  486-v1               \x20
  EPYC-Genoa            (alias configured by machine type)
  max                   Enables all features supported by the accelerator in the current host

Recognized CPUID flags:
  3dnow 3dnowext 3dnowprefetch abm ace2 ace2-en acpi adx aes amd-no-ssb
"""
CPUS_ARM = """\
Available CPUs:
  a64fx
  cortex-a72
  max
"""


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (MACHINES_7, "microvm pc pc-i440fx-7.2 q35 pc-q35-7.2 isapc none x-remote"),
        (CPUS_7, "486 486-v1 Broadwell-v1 base host max"),
        (CPUS_10, "486 486-v1 EPYC-Genoa max"),
        (CPUS_ARM, "a64fx cortex-a72 max"),
        ("", ""),
    ],
    ids=["machines", "cpus of 7.2", "cpus of 10", "cpus of arm", "nothing"],
)
def test_names_in_help(text: str, names: str) -> None:
    assert qemu.parse_help_names(text) == names.split()


@pytest.fixture
def programs(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A folder that is all the PATH there is."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(qemu, "_SEARCH", "")
    return tmp_path


def program(folder: pathlib.Path, name: str, says: str = "") -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n/bin/cat <<'END'\n{says}\nEND\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("says", "version"),
    [
        ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright (c) 2003-2022", "7.2.22"),
        ("QEMU emulator version 10.0.2 (qemu-10.0.2-1.fc42)\nCopyright (c) 2003-2025", "10.0.2"),
        ("QEMU emulator version 8.2.91 (v9.0.0-rc1)", "8.2.91"),
        ("something else", "unknown"),
    ],
)
def test_version(tmp_path: pathlib.Path, says: str, version: str) -> None:
    assert qemu.version(program(tmp_path, "qemu", says)) == version


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_no_emulator(programs: pathlib.Path, arch: str) -> None:
    with pytest.raises(MaqetError, match=f"arch: '{arch}' needs qemu-system-{arch}, which is not installed") as caught:
        qemu.find_binary(arch)
    assert caught.value.error_code == "qemu_not_found"
    assert caught.value.details["option"] == "arch"
    assert "maqet.qemu.hypervisor" in str(caught.value)


def test_no_image_tool(programs: pathlib.Path) -> None:
    with pytest.raises(MaqetError, match="qemu-img is not installed") as caught:
        qemu.find_image_tool()
    assert caught.value.error_code == "qemu_not_found"


def test_emulators_are_found(programs: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RHEL calls the emulator of the host's own architecture qemu-kvm, and has it in no PATH."""
    here = os.uname().machine
    libexec = programs / "libexec"
    libexec.mkdir()
    kvm = program(libexec, "qemu-kvm")
    with pytest.raises(MaqetError):
        qemu.find_binary(here)
    monkeypatch.setattr(qemu, "_SEARCH", str(libexec))
    assert qemu.find_binary(here) == kvm
    with pytest.raises(MaqetError):
        qemu.find_binary("another")
    full = program(programs, f"qemu-system-{here}")
    assert qemu.find_binary(here) == full
