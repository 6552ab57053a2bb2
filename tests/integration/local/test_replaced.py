# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is replaced under a VM that runs: its runner by a newer one, QEMU's program, its runner's Python."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
import typing as t
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host import qemu
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import wait_readable
from ansible_collections.maqet.qemu.plugins.module_utils.host.starting import runners
from ansible_collections.maqet.qemu.tests.integration.local.conftest import ARCH, NOTHING, Local, kill

FORCE = {"force": True, "stop_timeout": 0}


def variables(name: str) -> dict[str, str]:
    """With what the VM's runner was started."""
    text = Path(layout().vm(name).runner_env).read_text("utf-8")
    return dict(word.split("=", 1) for word in shlex.split(text))


def older(name: str, tmp_path: Path) -> str:
    """Have the VM's next runner be of another archive, as an older collection would have left it; its name."""
    values = variables(name)
    ours = Path(values["MAQET_RUNNER"])
    theirs = ours.with_name("runner-00000000000000ff.cpython-39.pyz")
    shutil.copyfile(ours, theirs)
    env = Path(layout().vm(name).runner_env)
    env.write_text(env.read_text("utf-8").replace(ours.name, theirs.name), "utf-8")
    return theirs.name


def test_another_runner(local: Local, name: str, tmp_path: Path) -> None:
    """It is told apart, works, and makes way for ours under a live guest; then its archive goes."""
    started = local.vm(name, state="running", **NOTHING)
    theirs = older(name, tmp_path)
    kill(started["vm"]["runner_pid"])
    asked, old, kept, check, upgraded, again, done = local.run(
        {"maqet_qmp": {"vm": name, "command": "query-status"}},
        {"maqet_vm_info": {"name": name}},
        {"maqet_vm": {"name": name, "state": "running"}},
        {"maqet_vm": {"name": name, "runner": "upgrade"}, "check_mode": True},
        {"maqet_vm": {"name": name, "runner": "upgrade"}},
        {"maqet_vm": {"name": name, "runner": "upgrade"}},
        {"maqet_qmp": {"vm": name, "command": "query-status"}},
    )
    assert asked["response"]["status"] == "running" == done["response"]["status"]
    assert old["vms"][0]["runner"]["digest"] == "00000000000000ff" and old["vms"][0]["runner"]["current"] is False
    assert kept["changed"] is False, "an older runner is no reason for a change by itself"
    assert (
        [one["action"] for one in check["actions"]] == ["upgrade_runner"] == [x["action"] for x in upgraded["actions"]]
    )
    assert upgraded["vm"]["runner"]["current"] is True and upgraded["vm"]["qemu_pid"] == started["vm"]["qemu_pid"]
    assert again["changed"] is False
    assert theirs not in runners(layout())


@pytest.fixture
def public() -> t.Iterator[Path]:
    """A folder as far as which QEMU's user comes. Not pytest's: another run of it may close that at any time."""
    with tempfile.TemporaryDirectory(prefix="maqet-public-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_qemus_program(local: Local, name: str, public: Path) -> None:
    """An upgrade of the package gives the name to another file; the old one goes on, with a new runner too."""
    program = qemu.find_binary(ARCH)
    folder = public / "bin"
    folder.mkdir()
    copy = folder / Path(program).name
    shutil.copy2(program, copy)
    env = {"PATH": f"{folder}:{os.environ['PATH']}"}
    for beside in ("lib", "lib64", "share"):  # where a QEMU that has been moved looks for its modules and firmware
        (public / beside).symlink_to(f"/usr/{beside}")
    started = local.play({"maqet_vm": {"name": name, "state": "running", **NOTHING}}, env=env)[0]
    assert not started["failed"], started["msg"]
    assert started["vm"]["qemu_binary"] == str(copy)
    copy.unlink()
    kill(started["vm"]["runner_pid"])
    asked, info, direct, stopped = local.run(
        {"maqet_qmp": {"vm": name, "command": "query-status"}},
        {"maqet_vm_info": {"name": name}},
        {"maqet_qmp": {"vm": name, "command": "query-status", "mode": "direct"}},
        {"maqet_vm": {"name": name, "state": "stopped", **FORCE}},
    )
    assert asked["response"]["status"] == direct["response"]["status"] == "running"
    assert info["vms"][0]["qemu_pid"] == started["vm"]["qemu_pid"]
    assert not stopped["failed"] and stopped["vm"]["last_exit"]["reason"] == "host-qmp-quit"


def imports_of(name: str, tmp_path: Path) -> tuple[subprocess.Popen[bytes], Path]:
    """A runner that takes the VM over and notes down each import (PYTHONPROFILEIMPORTTIME); it is ready."""
    values, log = variables(name), tmp_path / "imports.log"
    argv = [values["MAQET_PYTHON"], values["MAQET_RUNNER"], "--vm", name]
    for option in ("state", "run", "log", "scope", "config"):
        argv += [f"--{option}", values[f"MAQET_{option.upper()}"]]
    reader, writer = os.pipe()
    with log.open("wb") as file:
        env = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
        process = subprocess.Popen(
            [*argv, "--ready-fd", str(writer)], stdout=file, stderr=file, env=env, pass_fds=(writer,)
        )
    os.close(writer)
    assert wait_readable([reader], 60)
    os.close(reader)
    return process, log


def test_pythons_library(local: Local, name: str, tmp_path: Path) -> None:
    """What is imported before the runner says that it is ready may be replaced: nothing is imported after that."""
    started = local.vm(name, state="running", **NOTHING)
    kill(started["vm"]["runner_pid"])
    process, log = imports_of(name, tmp_path)
    before = log.read_bytes()
    assert b"import time:" in before
    tasks: list[dict[str, t.Any]] = [
        {"maqet_qmp": {"vm": name, "command": "query-status"}},
        {"maqet_qmp": {"vm": name, "command": "query-nonsense"}},
        {"maqet_qmp": {"vm": name, "command": "human-monitor-command", "arguments": {"command-line": "info status"}}},
        {
            "maqet_qmp": {
                "vm": name,
                "command": "dump-guest-memory",
                "arguments": {"paging": False, "protocol": "file:x"},
            }
        },
        {"maqet_qmp": {"vm": name, "command": "device_add", "arguments": {"driver": "nothing"}}},
        {"maqet_qmp": {"vm": name, "command": "query-block", "explain": True, "policy": {"consent": False}}},
        {"maqet_guest": {"vm": name, "command": "guest-ping"}},
        {"maqet_vm": {"name": name, "policy": {"commands": {"query-block": "deny"}}, "restart_policy": "on-failure"}},
        {"maqet_qmp": {"vm": name, "command": "query-block"}},
        {"maqet_vm": {"name": name, "state": "stopped", **FORCE}},
    ]
    results = local.run(*tasks)
    assert results[0]["response"]["status"] == "running" and not results[-1]["failed"], results[-1]
    assert process.wait(30) == 0
    after = log.read_bytes()[len(before) :].decode()
    assert b"took over QEMU" in log.read_bytes() and "told to quit" in after
    assert [line for line in after.splitlines() if line.startswith("import time:")] == []
