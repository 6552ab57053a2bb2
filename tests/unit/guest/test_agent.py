# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the builder takes of the guest agent's packages: the program, its loader, and the libraries it needs."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.tests.guest.maqet_guest import agent, packages
from ansible_collections.maqet.qemu.tests.guest.maqet_guest.errors import GuestError

SH = Path("/bin/sh")


def unpacked(folder: Path, *libraries: str) -> Path:
    """A folder as packages make it, with this system's shell for an agent."""
    (folder / "usr/sbin").mkdir(parents=True)
    shutil.copy(SH, folder / "usr/sbin/qemu-ga")
    (folder / "lib64").mkdir()
    loader, needed = agent.linked(SH.read_bytes())
    assert loader
    for name in (Path(loader).name, *needed):
        if not libraries or name in libraries:
            (folder / "lib64" / f"{name}.1").write_bytes(Path(loader).resolve().read_bytes())  # which needs nothing
            (folder / "lib64" / name).symlink_to(f"{name}.1")
    return folder


def test_what_a_program_is_linked_to() -> None:
    loader, libraries = agent.linked(SH.read_bytes())
    assert loader is not None and Path(loader).exists()
    assert any(name.startswith("libc.so") for name in libraries)
    assert agent.linked(Path(loader).resolve().read_bytes()) == (None, [])


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01"])
def test_what_is_no_program(data: bytes) -> None:
    with pytest.raises(GuestError, match="64-bit"):
        agent.linked(data)


def test_program_loader_and_libraries(tmp_path: Path) -> None:
    found = {entry.name: entry for entry in agent.members(unpacked(tmp_path))}
    loader, libraries = agent.linked(SH.read_bytes())
    assert loader
    names = ["qemu-ga", "ld.so", Path(loader).name, *libraries]
    assert set(found) == {agent.FOLDER, *(f"{agent.FOLDER}/{name}" for name in names)}
    assert found["lib/agent/qemu-ga"].data == SH.read_bytes() and found["lib/agent/qemu-ga"].mode & 0o111
    assert found["lib/agent/ld.so"].data.decode() == Path(loader).name


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    loader, libraries = agent.linked(SH.read_bytes())
    assert loader
    with pytest.raises(GuestError, match=libraries[0]):
        agent.members(unpacked(tmp_path, Path(loader).name))


def test_no_agent_in_the_packages(tmp_path: Path) -> None:
    with pytest.raises(GuestError, match="no qemu-ga"):
        agent.members(tmp_path)


def test_library_dependencies() -> None:
    depends = (
        "libc6 (>= 2.34), libglib2.0-0t64 (>= 2.63.3) | libglib2.0-0, libudev1:amd64, lsb-base, init-system-helpers"
    )
    assert packages.library_dependencies(depends) == ["libc6", "libglib2.0-0t64", "libudev1"]
    assert packages.library_dependencies("") == []
    assert sys.byteorder == "little"
