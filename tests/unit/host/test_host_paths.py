# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where everything lies, word for word: a changed name is a host whose VMs are lost."""

from __future__ import annotations

import os

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import MAX_SOCKET_PATH, Layout, layout

SYSTEM = Layout("/var/lib/maqet", "/run/maqet", "/var/log/maqet", "system")


@pytest.mark.parametrize(
    ("uid", "environment", "expected"),
    [
        (0, {}, SYSTEM),
        (0, {"HOME": "/root", "XDG_STATE_HOME": "/s", "XDG_DATA_HOME": "/d"}, SYSTEM),
        (
            1000,
            {"HOME": "/home/ann"},
            Layout(
                "/home/ann/.local/share/maqet",
                "/home/ann/.local/state/maqet/run",
                "/home/ann/.local/state/maqet/log",
                "user",
                "/home/ann/.config/maqet",
            ),
        ),
        (
            1000,
            {"HOME": "/home/ann", "XDG_STATE_HOME": "/s", "XDG_CONFIG_HOME": "/c", "XDG_DATA_HOME": "/d"},
            Layout("/d/maqet", "/s/maqet/run", "/s/maqet/log", "user", "/c/maqet"),
        ),
        (
            1000,
            {"HOME": "/h", "XDG_STATE_HOME": "", "XDG_DATA_HOME": "", "XDG_RUNTIME_DIR": "/run/user/1000"},
            Layout(
                "/h/.local/share/maqet",
                "/h/.local/state/maqet/run",
                "/h/.local/state/maqet/log",
                "user",
                "/h/.config/maqet",
            ),
        ),
    ],
)
def test_layout(monkeypatch: pytest.MonkeyPatch, uid: int, environment: dict[str, str], expected: Layout) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    for name in ("HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert layout() == expected


@pytest.mark.parametrize(
    ("what", "path"),
    [
        ("home", "/var/lib/maqet/vms/web"),
        ("definition", "/var/lib/maqet/vms/web/definition.json"),
        ("disks", "/var/lib/maqet/vms/web/disks"),
        ("output", "/var/lib/maqet/vms/web/output"),
        ("serial_log", "/var/lib/maqet/vms/web/serial.log"),
        ("qemu_log", "/var/lib/maqet/vms/web/qemu.log"),
        ("last_exit", "/var/lib/maqet/vms/web/last-exit.json"),
        ("snapshots", "/var/lib/maqet/vms/web/snapshots.json"),
        ("run", "/run/maqet/web"),
        ("runner_socket", "/run/maqet/web/runner.sock"),
        ("monitor_socket", "/run/maqet/web/monitor.sock"),
        ("direct_socket", "/run/maqet/web/direct.sock"),
        ("vnc_socket", "/run/maqet/web/vnc/vnc.sock"),
        ("status", "/run/maqet/web/status.json"),
        ("lock", "/run/maqet/web/lock"),
        ("audit_log", "/var/log/maqet/web.audit.jsonl"),
        ("runner_log", "/var/log/maqet/web.runner.log"),
    ],
)
def test_files_of_a_vm(what: str, path: str) -> None:
    assert getattr(SYSTEM.vm("web"), what) == path


@pytest.mark.parametrize(
    ("what", "path"),
    [
        ("vms", "/var/lib/maqet/vms"),
        ("runners", "/var/lib/maqet/runner"),
        ("cache", "/var/lib/maqet/cache"),
        ("venv_python", "/var/lib/maqet/venv/bin/python"),
    ],
)
def test_folders_of_a_host(what: str, path: str) -> None:
    assert getattr(SYSTEM, what) == path


def sockets(where: Layout, name: str) -> list[str]:
    paths = where.vm(name)
    return [paths.runner_socket, paths.monitor_socket, paths.direct_socket, paths.vnc_socket]


@pytest.mark.parametrize("letter", ["r", "ä"])
def test_the_longest_socket_path(letter: str) -> None:
    room = MAX_SOCKET_PATH - len("//web/monitor.sock")
    fits = "/" + letter * (room // len(letter.encode()))
    assert max(len(os.fsencode(path)) for path in sockets(Layout("/s", fits, "/l", "user"), "web")) <= MAX_SOCKET_PATH
    with pytest.raises(MaqetError, match=r"name: 'web' makes the socket path .* longer than 107 bytes") as caught:
        Layout("/s", fits + letter, "/l", "user").vm("web")
    assert caught.value.error_code == "invalid_option"
    assert "XDG_STATE_HOME" in str(caught.value)


def test_the_longest_name_fits_for_root_and_most_homes() -> None:
    assert max(map(len, sockets(SYSTEM, "n" * 63))) <= MAX_SOCKET_PATH
