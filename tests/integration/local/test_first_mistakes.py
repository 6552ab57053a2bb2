# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mistakes that everybody makes once, really made: the page on troubleshooting quotes what is said then.

Those that need no VM are in tests/unit/docs.
"""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.tests.hosts import modules
from ansible_collections.maqet.qemu.tests.integration.local.conftest import NOTHING, Local, Result, given, remove
from ansible_collections.maqet.qemu.tests.integration.local.test_waits import free_ports
from ansible_collections.maqet.qemu.tests.integration.local.test_ways import adhoc
from ansible_collections.maqet.qemu.tests.unit.docs.quotes import compare

# Somebody without a role, who may look into our Python's folder as root may.
SOMEBODY = [
    "setpriv",
    "--reuid=65534",
    "--clear-groups",
    "--inh-caps=+dac_read_search",
    "--ambient-caps=+dac_read_search",
]


def said(result: Result, **names: str) -> str:
    """What a task failed with, under the names that the page has: ``web1=NAME``."""
    assert result["failed"] is True and result["error_code"]
    message = str(result["msg"])
    for shown, real in names.items():
        message = message.replace(real, shown)
    return message


def test_names_and_interpreters(tmp_path: Path) -> None:
    done = adhoc(tmp_path / "short", "-m", "maqet_qmp", "-a", "vm=web1 command=query-status")
    assert "maqet_qmp" in done.stdout and done.returncode != 0
    if "Cannot resolve" in done.stdout:  # ansible-core 2.18 has other words
        compare("short-name", done.stdout)
    interpreter = "ansible_python_interpreter=/usr/bin/python3.99"
    done = adhoc(
        tmp_path / "python", "-m", "maqet.qemu.maqet_qmp", "-a", "vm=web1 command=query-status", "-e", interpreter
    )
    if "The module interpreter" in done.stdout:
        compare("no-python", done.stdout)
    assert "python3.99" in done.stdout and done.returncode != 0


def test_what_the_guest_does_not_do(local: Local, name: str) -> None:
    (port,) = free_ports(1)
    networks = [{"type": "user", "hostfwd": [{"host_port": port, "guest_port": 22}]}]
    began = local.vm(name, state="running", **NOTHING, networks=networks, wait_for=[{"ssh": {"timeout": 2}}])
    # A guest without a network card's driver never answers; the page says what was seen of one.
    message = said(began, web1=name, **{"2222": str(port)}).replace(layout().state, "/var/lib/maqet")
    compare("no-ssh", message)
    compare("no-acpi", said(local.vm(name, state="stopped", stop_timeout=1), web1=name))
    compare("no-agent", said(local.run({"maqet_guest": {"vm": name, "command": "guest-ping"}})[0]))
    compare("restart", said(local.vm(name, memory="128")))


def test_a_disk_in_use(local: Local, name: str, running_with_disk: str) -> None:
    path = os.path.join(layout().vms, running_with_disk, "disks", "root.qcow2")
    second = local.vm(name, state="running", **NOTHING, disks=[{"path": path}])
    compare("disk-in-use", said(second, db1=running_with_disk).replace(layout().vms, "/var/lib/maqet/vms"))


@pytest.fixture
def running_with_disk() -> t.Iterator[str]:
    chosen = f"test-{os.urandom(4).hex()}"
    given(chosen, disks=[{"name": "root", "size": "4M"}])
    yield chosen
    remove(chosen)


def test_the_guard(local: Local, running: str) -> None:
    compare("denied", said(local.qmp(running, command="migrate", arguments={"uri": "tcp:192.0.2.20:4444"})))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_somebody_without_a_role(running: str) -> None:
    with modules.begin("maqet_qmp", {"vm": running, "command": "query-status"}, SOMEBODY) as child:
        assert child.stdout is not None and child.stderr is not None
        run = modules.Run(child.stdout.read() + child.stderr.read(), child.wait())
    compare("no-role", said(run.result))
