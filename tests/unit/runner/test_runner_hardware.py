# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices of the host for QEMU: nodes that are opened, groups that change hands, memory that may be locked."""

from __future__ import annotations

import contextlib
import os
import pathlib
import resource
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host import hardware as host
from ansible_collections.maqet.qemu.plugins.module_utils.runner import hardware
from ansible_collections.maqet.qemu.plugins.module_utils.runner.opened import Opened

USB = {"usb": {"bus": 1, "addr": 2}}
PCI = {"pci": "0000:01:00.0"}


def test_usb_nodes_by_their_place(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    (tmp_path / "node").touch()
    monkeypatch.setattr(host, "usb_node", lambda option, _wanted: str(tmp_path / "node"))
    with contextlib.ExitStack() as stack:
        opened = Opened(stack)
        assert hardware.usb_nodes([PCI, USB, USB], opened) == {1: "/dev/fdset/1", 2: "/dev/fdset/2"}
        assert [one.opaque for one in opened.sets] == ["host_devices[1].usb", "host_devices[2].usb"]


@pytest.fixture
def changes(monkeypatch: pytest.MonkeyPatch) -> list[t.Any]:
    """What is done to the host."""
    done: list[t.Any] = []
    monkeypatch.setattr(host, "vfio_node", lambda option, address: f"/dev/vfio/{option}{address}")
    monkeypatch.setattr(os, "chown", lambda *what: done.append(what))
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (65536, 65536))
    monkeypatch.setattr(resource, "setrlimit", lambda _which, limits: done.append(limits))
    return done


def test_a_group_for_qemus_user_and_memory_to_lock(changes: list[t.Any]) -> None:
    needed = (512 << 20) + (1 << 30)
    with hardware.given({"host_devices": [USB, PCI], "memory": 512}, 1234):
        assert changes == [("/dev/vfio/host_devices[1].pci0000:01:00.0", 1234, -1), (needed, needed)]
    assert changes[2:] == [(65536, 65536)], "only QEMU keeps the limit, which it inherited"


def test_nothing_is_done_without_pci(changes: list[t.Any]) -> None:
    with hardware.given({"host_devices": [USB], "memory": 512}, 1234):
        pass
    assert changes == []


def test_a_plain_users_qemu_is_that_user(changes: list[t.Any]) -> None:
    """Who has been given the group by the host's administrator, with a limit."""
    with hardware.given({"host_devices": [PCI], "memory": 512}, None):
        assert changes == []
