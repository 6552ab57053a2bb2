# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role that makes a host ready, over ssh and become, on a host whose environment is still missing."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.maqet.qemu.tests.hosts import nspawn, play, rootfs

# Hosts have no way out: pip finds its wheels in the base, and the package lists are as old as the base.
PLAY: list[dict[str, t.Any]] = [
    {
        "hosts": "hypervisors",
        "gather_facts": False,
        "become": True,
        "environment": {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": rootfs.WHEELS},
        "vars": {"hypervisor_cache_valid_time": 10**9},
        "roles": ["maqet.qemu.hypervisor"],
    }
]
LIBRARIES_TASK = "Give the runners their Python libraries"


@pytest.fixture(scope="module")
def bare_host(nspawn_host: nspawn.Host) -> nspawn.Host:
    """The host without the environment that the base brings."""
    nspawn_host.root("rm", "-rf", rootfs.VENV)
    return nspawn_host


def test_check_mode_then_first_run_then_nothing(bare_host: nspawn.Host) -> None:
    """What check mode announces the first run does, with the interpreter it was told; the second finds nothing."""
    announced = play.run_playbook(bare_host.inventory, PLAY, options=["--check"]).must_succeed()
    bare_host.root("test", "!", "-e", rootfs.VENV)
    first = play.run_playbook(bare_host.inventory, PLAY).must_succeed()
    second = play.run_playbook(bare_host.inventory, PLAY).must_succeed()

    assert [name.rpartition(" : ")[2] for name in announced.changed] == [LIBRARIES_TASK]
    assert first.changed == announced.changed
    assert second.changed == []

    listed = json.loads(bare_host.root(f"{rootfs.VENV}/bin/python", "-m", "pip", "list", "--format", "json"))
    assert {"qemu.qmp", "psutil", "PyYAML"} <= {entry["name"] for entry in listed}
    assert _resolved(bare_host, f"{rootfs.VENV}/bin/python") == _resolved(bare_host, "/usr/bin/python3")


def test_an_unknown_distribution_is_refused_with_the_remedy(bare_host: nspawn.Host) -> None:
    """Nothing is installed by guess: the message names the variable to fill in."""
    facts = {"os_family": "Plan9", "distribution": "Plan9", "architecture": "x86_64", "cacheable": True}
    pretend = {"name": "pretend", "ansible.builtin.set_fact": facts}  # cacheable makes them ansible_facts
    outcome = play.run_playbook(bare_host.inventory, [{**PLAY[0], "pre_tasks": [pretend]}])

    refusal = outcome.result("Refuse a host whose package names are not known")
    assert outcome.rc != 0
    assert refusal["msg"].startswith("hypervisor_packages: empty, and this role knows no package names for Plan9")


def _resolved(host: nspawn.Host, path: str) -> str:
    return host.root("readlink", "-f", path)
