# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page on troubleshooting quotes what is really said. What needs a VM that runs is in tests/integration/local."""

from __future__ import annotations

import errno
import grp
import os
import pathlib
import runpy
import socket
import sys
import types
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils import errors
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy_file import PolicySource
from ansible_collections.maqet.qemu.plugins.module_utils.host import accel, links, qemu, yaml_strict
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.runner import emulator, libraries
from ansible_collections.maqet.qemu.plugins.module_utils.runner.helpers import Crew
from ansible_collections.maqet.qemu.tests.hosts.modules import run_module
from ansible_collections.maqet.qemu.tests.unit.docs.quotes import all_quotes, compare

#: Quotes that tests/integration/local/test_first_mistakes.py compares.
ELSEWHERE = {
    "short-name", "no-python", "no-role", "disk-in-use", "restart", "no-ssh", "no-acpi", "no-agent", "denied",
}  # fmt: skip


@pytest.fixture
def where(tmp_path: pathlib.Path) -> Layout:
    """A host without a VM."""
    return Layout(str(tmp_path / "s"), str(tmp_path / "r"), str(tmp_path / "l"), "user", str(tmp_path / "c"))


def said(where: Layout, module: str, **options: t.Any) -> str:
    """What a module fails with."""
    names = (where.state, where.run, where.log, where.scope, where.config)
    result = run_module(module, options, names).result
    assert result["failed"] is True and result["error_code"]
    return str(result["msg"])


def raised(call: t.Callable[[], t.Any]) -> str:
    with pytest.raises((MaqetError, RuntimeError)) as caught:
        call()
    return str(caught.value)


def test_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    monkeypatch.setattr(libraries, "_there", lambda _module: False)
    compare("no-libraries", raised(libraries.demand))
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3.8")
    monkeypatch.setattr(sys, "version_info", (3, 8, 18, "final", 0))
    compare("old-python", raised(lambda: runpy.run_path(errors.__file__)))


def test_no_qemu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu, "find_program", lambda _name: None)
    compare("no-qemu", raised(lambda: qemu.find_binary("x86_64")))


def test_kvm(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path / "kvm"
    monkeypatch.setattr(accel, "_DEVICE", str(device))

    def answer() -> str:
        return raised(lambda: accel.resolve("kvm", os.uname().machine, "qemu", None)).replace(str(device), "/dev/kvm")

    compare("no-kvm", answer())
    device.touch()
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(grp, "getgrgid", lambda _gid: types.SimpleNamespace(gr_name="kvm"))
    compare("kvm-closed", answer())


def test_a_vm_that_is_not_there(where: Layout) -> None:
    compare("not-root", said(where, "maqet_qmp", vm="web1", command="query-status"))
    names = (where.state, where.run, where.log, where.scope, where.config)
    assert run_module("maqet_vm", {"name": "web1", "accel": "tcg"}, names).status == 0
    compare("no-vm", said(where, "maqet_qmp", vm="wbe1", command="query-status"))


def test_a_security_module(where: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """None is here, so the error that it would give is put into its place."""
    paths = where.vm("web1")
    pathlib.Path(paths.qemu_log).parent.mkdir(parents=True)
    pathlib.Path(paths.qemu_log).write_text("qemu-system-x86_64: -kernel /srv/vmlinuz: Permission denied\n", "utf-8")
    # QEMU ends what it says without a full stop; the sentence around it has one.
    compare("denied-qemu", str(emulator.failure(1, paths, Crew(paths))))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    refused = PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/srv/images/debian-12.qcow2")
    compare("denied-root", str(errors.of_host(refused)))


def test_options(where: Layout) -> None:
    compare("option-typo", said(where, "maqet_vm", name="web1", memry="2G"))
    compare("bad-size", said(where, "maqet_vm", name="web1", memory="2 gigs"))
    compare("no-bridge", raised(lambda: links.bridge("networks[0].bridge", "br0", {})))


def test_images(where: Layout, tmp_path: pathlib.Path) -> None:
    image = tmp_path / "debian-12.qcow2"

    def answer() -> str:
        disks = [{"base": str(image), "size": "20G"}]
        message = said(where, "maqet_vm", name="web1", accel="tcg", state="running", disks=disks)
        return message.replace(str(tmp_path), "/srv/images")

    compare("no-image", answer())
    image.write_text("<html><title>404 Not Found</title></html>", "utf-8")
    compare("not-an-image", answer())


def test_a_port(where: Layout) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        networks = [{"type": "user", "hostfwd": [{"host_port": port, "guest_port": 22}]}]
        message = said(where, "maqet_vm", name="web1", accel="tcg", state="running", networks=networks)
    compare("port-taken", message.replace(str(port), "2222"))


def test_a_policy(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "policy.yml"
    file.write_text("version: 1\nroles: {operater: {groups: [vm-operators]}}\n", "utf-8")
    problem = PolicySource(str(file), yaml_strict.load).current().problem
    assert problem is not None
    compare("policy-typo", problem.replace(str(tmp_path), "/etc/maqet"))


def test_every_quote_is_compared() -> None:
    here = pathlib.Path(__file__)
    there = here.parents[2] / "integration" / "local" / "test_first_mistakes.py"
    for name in all_quotes():
        file = there if name in ELSEWHERE else here
        assert f'compare("{name}"' in file.read_text("utf-8"), name
