# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ways in: short names, ad-hoc commands, async, pipelining, and the quickstart as a whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard.chain import read
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.tests.hosts import play
from ansible_collections.maqet.qemu.tests.integration.local.conftest import ARCH, Local, Result


def adhoc(tmp_path: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """``ansible localhost …`` as a user types it."""
    tree = tmp_path / "ansible_collections/maqet/qemu"
    tree.parent.mkdir(parents=True)
    tree.symlink_to(play.REPOSITORY)
    settings = {"ANSIBLE_COLLECTIONS_PATH": str(tmp_path), "ANSIBLE_HOME": str(tmp_path / "home"), **env}
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    return subprocess.run(
        [
            *(sys.executable, "-m", "ansible", "adhoc", "localhost"),
            *("-e", f"ansible_python_interpreter={sys.executable}"),
            *arguments,
        ],
        env={**kept, **settings, "LC_ALL": "C.UTF-8"},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
    )


def test_ad_hoc_by_its_full_name(tmp_path: Path, running: str) -> None:
    """The form of the README. Its record has no task of a play to name."""
    done = adhoc(tmp_path, "-m", "maqet.qemu.maqet_qmp", "-a", f"vm={running} command=query-status")
    assert done.returncode == 0, done.stdout
    assert '"status": "running"' in done.stdout
    assert "SUCCESS" in done.stdout


def test_ad_hoc_by_its_short_name(tmp_path: Path, running: str) -> None:
    """ANSIBLE_LIBRARY names the modules' folder; the action plugin is not found then, and the audit has less to say."""
    folder = tmp_path / "ansible_collections/maqet/qemu/plugins/modules"
    done = adhoc(tmp_path, "-m", "maqet_qmp", "-a", f"vm={running} command=query-status", ANSIBLE_LIBRARY=str(folder))
    assert done.returncode == 0, done.stdout
    assert '"status": "running"' in done.stdout
    record = read(layout().vm(running).audit_log)[-1]
    assert record["op"] == "query-status" and record["controller"]["module"].endswith("maqet_qmp")


@pytest.mark.parametrize("pipelining", ["0", "1"])
def test_pipelining(local: Local, running: str, pipelining: str) -> None:
    """The module's archive is a file on the host, or comes in by stdin."""
    (result,) = local.play(
        {"maqet_qmp": {"vm": running, "command": "query-status"}}, env={"ANSIBLE_PIPELINING": pipelining}
    )
    assert result["response"]["status"] == "running"


def test_async_start_and_query(local: Local, name: str) -> None:
    """A start under async leaves a VM that goes on when its wrapper has ended."""
    started, asked = local.play(
        {"maqet_vm": {"name": name, "state": "running", "accel": "tcg", "memory": "64"}, "async": 60, "poll": 1},
        {"maqet_qmp": {"vm": name, "command": "query-status"}, "async": 60, "poll": 1},
    )
    assert not started["failed"], started
    assert asked["response"]["status"] == "running"


def test_module_defaults_of_the_group(local: Local, running: str) -> None:
    """``group/maqet.qemu.maqet`` reaches our modules, and defaults of one module do not reach another."""
    task: Result = {"maqet_qmp": {"vm": running, "command": "query-status"}}
    reached, spared = local.play(
        {**task, "module_defaults": {"group/maqet.qemu.maqet": {"timeout": -7}}},
        {**task, "module_defaults": {"maqet.qemu.maqet_vm": {"memory": "1G"}}},
    )
    assert reached["error_code"] == "invalid_option" and "timeout: -7" in reached["msg"]
    assert not spared["failed"], spared


def test_the_quickstart(local: Local, name: str, guest: Result) -> None:
    """The playbook of './dev demo', on a VM of another name."""
    if os.uname().machine != ARCH:
        pytest.skip("the demo has a guest of this machine's architecture")
    variables = {"demo_name": name, "demo_kernel": guest["kernel"], "demo_initrd": guest["initrd"]}
    text = (play.REPOSITORY / "playbooks/quickstart.yml").read_text("utf-8")
    outcome = play.run_playbook(local.inventory, text, extra_vars=variables).must_succeed()
    trail = "\n".join(outcome.result("The audit trail")["msg"])
    assert "chain verified" in trail
    assert "human-monitor-command" in trail and "denied" in trail
    assert any("maqet guest ready" in line for line in outcome.result("Its greeting")["msg"])
