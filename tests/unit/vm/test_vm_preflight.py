# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of a host before anything is touched, and the sentence when it cannot be."""

from __future__ import annotations

import os
import pathlib
import socket
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import qemu
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.vm import preflight

WHERE = Layout("/nowhere/s", "/nowhere/r", "/nowhere/l", "user")


@pytest.fixture(autouse=True)
def emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    """An emulator that knows little."""
    monkeypatch.setattr(qemu, "find_binary", lambda arch: f"/bin/qemu-system-{arch}")
    monkeypatch.setattr(qemu, "find_program", lambda _name: None)
    monkeypatch.setattr(qemu, "machines", lambda _binary: ["pc", "q35", "pc-q35-7.2", "virt"])
    monkeypatch.setattr(qemu, "cpu_models", lambda _binary, _machine: ["max", "EPYC", "EPYC-v1"])


@pytest.mark.parametrize(
    "intent", [{}, {"machine": "pc-q35-7.2"}, {"cpu_model": "EPYC,-svm,topoext=on"}, {"cpu_model": "max"}]
)
def test_what_this_host_has(intent: dict[str, t.Any]) -> None:
    preflight.check_definition({"arch": "x86_64", **intent}, WHERE)


@pytest.mark.parametrize(
    ("intent", "option", "words"),
    [
        ({"machine": "pc-q35-7.3"}, "machine", "Did you mean pc-q35-7.2"),
        ({"machine": "zzzzz"}, "machine", "See '/bin/qemu-system-x86_64 -machine help'"),
        ({"cpu_model": "EPYC-v9,-svm"}, "cpu_model", "'EPYC-v9' is not known to the QEMU of this host. Did you mean"),
        ({"kernel": "FOLDER"}, "kernel", "is a folder. Give the path of a kernel image on this host"),
        ({"kernel": "FILE/below"}, "kernel", "cannot be used: Not a directory"),
        ({"kernel": "FILE", "initrd": "/nowhere/initrd"}, "initrd", "cannot be used: No such file or directory"),
        ({"kernel": "FIFO"}, "kernel", "is neither a file nor a block device"),
        ({"firmware": {"type": "uefi", "code": "/nowhere/code"}}, "firmware.code", "cannot be read: No such file"),
        ({"firmware": "uefi-secure", "machine": "pc"}, "firmware", "Use machine: q35"),
        ({"tpm": True}, "tpm", "Install the package swtpm"),
    ],
)
def test_what_it_lacks(tmp_path: pathlib.Path, intent: dict[str, t.Any], option: str, words: str) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo")
    places = {"FOLDER": str(tmp_path), "FILE": str(tmp_path / "file"), "FIFO": str(tmp_path / "fifo")}
    for key, value in intent.items():
        for word, path in places.items():
            value = value.replace(word, path) if isinstance(value, str) else value
        intent = {**intent, key: value}
    with pytest.raises(MaqetError) as caught:
        preflight.check_definition({"arch": "x86_64", **intent}, WHERE)
    assert caught.value.error_code == "invalid_option"
    assert caught.value.details["option"] == option
    assert str(caught.value).startswith(f"{option}: {caught.value.details['value']!r} ")
    assert words in str(caught.value)


def test_a_share_must_be_a_folder(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").touch()
    intent = {"arch": "x86_64", "shares": [{"path": str(tmp_path), "tag": "a"}]}
    preflight.check_definition(intent, WHERE)
    intent["shares"] = [{"path": str(tmp_path), "tag": "a"}, {"path": str(tmp_path / "file"), "tag": "b"}]
    with pytest.raises(MaqetError, match="is no folder on this host") as caught:
        preflight.check_definition(intent, WHERE)
    assert caught.value.details["option"] == "shares[1].path"


def test_a_kernel_without_read_permission(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = tmp_path / "kernel"
    kernel.touch(mode=0o000)
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    for uid, remedy in ((1000, "Change its mode or owner, or run the task"), (0, "Only SELinux, AppArmor or ")):
        monkeypatch.setattr(os, "geteuid", lambda uid=uid: uid)
        with pytest.raises(MaqetError, match=rf"kernel: '.*' may not be read by uid {uid}\. {remedy}"):
            preflight.check_definition({"arch": "x86_64", "kernel": str(kernel)}, WHERE)


def forwarding(port: int, **rest: t.Any) -> dict[str, t.Any]:
    rule = {"host_port": port, "guest_port": 22, **rest}
    return {"arch": "x86_64", "networks": [{"type": "user"}, {"type": "user", "hostfwd": [rule]}]}


@pytest.fixture(params=["tcp", "udp"])
def taken(request: pytest.FixtureRequest) -> t.Iterator[tuple[str, int]]:
    """A port of 127.0.0.1 that somebody listens on."""
    kind = socket.SOCK_STREAM if request.param == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind(("127.0.0.1", 0))
        if request.param == "tcp":
            holder.listen()
        yield request.param, holder.getsockname()[1]


@pytest.mark.parametrize("address", [None, "127.0.0.1", "0.0.0.0"])
def test_a_port_that_is_taken(taken: tuple[str, int], address: t.Optional[str]) -> None:
    protocol, port = taken
    rest = {"host_address": address} if address else {}
    with pytest.raises(MaqetError) as caught:
        preflight.check_start(forwarding(port, protocol=protocol, **rest), {})
    assert caught.value.details["option"] == "networks[1].hostfwd[0].host_port"
    assert f"{port} cannot be listened on at {address or '127.0.0.1'}: Address already in use" in str(caught.value)


def test_a_port_that_is_taken_elsewhere(taken: tuple[str, int]) -> None:
    """Another address, and another protocol."""
    protocol, port = taken
    preflight.check_start(forwarding(port, protocol=protocol, host_address="127.0.0.2"), {})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if protocol == "tcp" else socket.SOCK_STREAM) as other:
        other.bind(("127.0.0.1", 0))
        free = other.getsockname()[1]
    preflight.check_start(forwarding(free, protocol="udp" if protocol == "tcp" else "tcp"), {})


def test_asking_does_not_take_the_port(taken: tuple[str, int]) -> None:
    with socket.socket(socket.AF_INET) as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
    preflight.check_start(forwarding(port), {})
    preflight.check_start(forwarding(port), {})


def test_an_address_that_is_not_ours() -> None:
    with pytest.raises(MaqetError, match=r"at 192\.0\.2\.1: Cannot assign requested address"):
        preflight.check_start(forwarding(5555, host_address="192.0.2.1"), {})


def test_a_port_of_the_qemu_that_is_replaced_is_free(taken: tuple[str, int]) -> None:
    """In a restart the old QEMU still listens when this is asked."""
    protocol, port = taken
    preflight.check_start(forwarding(port, protocol=protocol), forwarding(port, protocol=protocol))
    with pytest.raises(MaqetError, match="cannot be listened on"):
        preflight.check_start(forwarding(port, protocol=protocol), forwarding(port + 1, protocol=protocol))
