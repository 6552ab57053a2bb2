# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A TPM is a real swtpm with its state in the VM's home, at the other end of a socket of QEMU's."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import socket
import struct

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import processes, qemu
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.host.tpm import find_swtpm
from ansible_collections.maqet.qemu.plugins.module_utils.runner import tpm
from ansible_collections.maqet.qemu.plugins.module_utils.runner.helpers import Crew
from ansible_collections.maqet.qemu.plugins.module_utils.runner.opened import Opened

WANTED = {"version": "2.0", "model": "tpm-crb"}
# swtpm_ioctls(3): INIT, with which the TPM is powered on; the answer is a result of 4 bytes.
_INIT = 2


@pytest.fixture
def paths(tmp_path: pathlib.Path) -> VmPaths:
    """A folder whose name would end an option of swtpm's."""
    found = Layout(str(tmp_path / "s,mode=0777"), str(tmp_path / "r"), str(tmp_path / "l"), "user").vm("web")
    os.makedirs(found.output)
    return found


def test_the_command_line() -> None:
    common = ["--ctrl", "type=unixio,clientfd=9", "--tpmstate", "dir=../tpm,mode=0600", "--terminate"]
    assert tpm.command_line("/b/swtpm", "2.0", "../tpm", 9) == ["/b/swtpm", "socket", "--tpm2", *common]
    assert tpm.command_line("/b/swtpm", "1.2", "../tpm", 9) == ["/b/swtpm", "socket", *common]


def test_without_one_nothing_is_started(paths: VmPaths) -> None:
    crew = Crew(paths)
    with contextlib.ExitStack() as stack:
        opened = Opened(stack)
        assert tpm.start(None, paths, crew, opened, None) is None
        assert (crew.facts, opened.inherited) == ({}, [])


@pytest.mark.skipif(shutil.which("swtpm") is None, reason="swtpm is not installed")
@pytest.mark.parametrize("version", ["2.0", "1.2"])
def test_it_keeps_its_state_where_nobody_else_reads_it(paths: VmPaths, version: str) -> None:
    crew = Crew(paths)
    with contextlib.ExitStack() as stack:
        opened = Opened(stack)
        fd = tpm.start({**WANTED, "version": version}, paths, crew, opened, None)
        assert fd is not None and opened.inherited == [fd]
        with socket.socket(fileno=os.dup(fd)) as control:
            control.settimeout(30)
            control.sendall(struct.pack(">II", _INIT, 0))
            assert control.recv(4) == bytes(4)
        (kept,) = pathlib.Path(paths.tpm).glob("tpm*.permall")
        assert kept.stat().st_mode & 0o777 == 0o600 and os.stat(paths.tpm).st_mode & 0o777 == 0o700
        process = processes.noted(crew.facts["tpm"])
    crew.end(0.0)
    assert process is not None and not process.alive()


def test_where_there_is_no_swtpm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu, "find_program", lambda _name: None)
    with pytest.raises(MaqetError, match="Install the package swtpm") as caught:
        find_swtpm()
    assert (caught.value.error_code, caught.value.details["option"]) == ("invalid_option", "tpm")
