# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys and screenshots over ssh: of a user's own VM, of the system's with become, and of the system's without."""

from __future__ import annotations

import hashlib
import typing as t
from pathlib import Path

from ansible_collections.maqet.qemu.tests.hosts import nspawn, rootfs
from ansible_collections.maqet.qemu.tests.integration.hosts.test_user_scope import PERSIST, VM, run

SCREEN: dict[str, t.Any] = {**VM, "display": "headless"}
END = {"state": "absent", "force": True, "stop_timeout": 0}


def test_a_picture_comes_to_the_controller(nspawn_host: nspawn.Host, tmp_path: Path) -> None:
    """The picture on the controller is the very one that was taken, whoever took it."""
    nspawn_host.ssh("mkdir", "-p", ".local/share/maqet")
    nspawn_host.ssh("ln", "-sfn", rootfs.VENV, ".local/share/maqet/venv")
    results = run(
        nspawn_host,
        {"maqet.qemu.maqet_vm": {"name": "mine", **SCREEN}},
        {"maqet.qemu.maqet_vm": {"name": "ours", **SCREEN}, "become": True},
        {"maqet.qemu.maqet_keys": {"vm": "mine", "keys": ["esc"]}},
        {"maqet.qemu.maqet_screenshot": {"vm": "mine", "dest": f"{tmp_path}/"}},
        {"maqet.qemu.maqet_screenshot": {"vm": "ours", "dest": f"{tmp_path}/"}, "become": True},
        {"maqet.qemu.maqet_screenshot": {"vm": "ours", "dest": f"{tmp_path}/refused.png"}},
        {"maqet.qemu.maqet_vm": {"name": "mine", **END}},
        {"maqet.qemu.maqet_vm": {"name": "ours", **END, "purge": True}, "become": True},
        **PERSIST,
    )
    keys, mine, ours, refused = results[2:6]
    assert keys["typed"] == 1, keys
    for name, result in (("mine", mine), ("ours", ours)):
        picture = (tmp_path / f"{name}.png").read_bytes()
        assert result["dest"] == str(tmp_path / f"{name}.png") and "content" not in result
        assert hashlib.sha256(picture).hexdigest() == result["sha256"]
    assert mine["path"] == "/home/tester/.local/share/maqet/vms/mine/output/screenshot.png"
    assert refused["error_code"] == "host_error" and "become" in refused["msg"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.png", "ours.png"]
