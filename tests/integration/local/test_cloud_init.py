# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""cloud_init: the seed as QEMU gets it, and a real Debian guest that sets itself up by it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import typing as t
import uuid
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host.iso import label_of
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.tests.hosts import cloud_guest, modules
from ansible_collections.maqet.qemu.tests.integration.local.conftest import NOTHING, Local, Result, given, remove

SECRET = f"secret{uuid.uuid4().hex}"
USER_DATA = {"users": [{"name": "ada", "plain_text_passwd": SECRET}]}
# A boot takes half a minute under emulation on an idle machine, and twenty times as long on a busy one.
SECONDS = 1800
ENDED = {"force": True, "stop_timeout": 0}


def seed_of(name: str) -> Path:
    return Path(layout().vm(name).seed)


def files_in(image: Path, folder: Path) -> dict[str, str]:
    """What a guest finds."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    argv = ["xorriso", "-report_about", "FATAL", "-osirrox", "on", "-indev", str(image), "-extract", "/", str(out)]
    subprocess.run(argv, check=True, capture_output=True)
    return {file.name: file.read_text() for file in out.iterdir()}


def block_node(name: str) -> Result:
    nodes = modules.must("maqet_qmp", vm=name, command="query-named-block-nodes")["response"]
    (found,) = [node for node in nodes if node["node-name"] == "maqet-seed"]
    return dict(found)


def test_the_seed_lives_as_long_as_the_definition_asks_for_it(local: Local, name: str, tmp_path: Path) -> None:
    """Created, repeated, changed, taken away and removed, each in check mode first; no guest runs for it."""
    wanted: Result = {"name": name, "state": "paused", **NOTHING, "cloud_init": {"user_data": USER_DATA}}
    checked, first, again = local.run(
        {"maqet_vm": wanted, "check_mode": True}, {"maqet_vm": wanted}, {"maqet_vm": wanted}
    )
    assert not first["failed"], first["msg"]
    for key in ("actions", "diff"):
        assert checked[key] == first[key]
    assert (checked["changed"], first["changed"], again["changed"]) == (True, True, False)
    seed = seed_of(name)
    assert (seed.stat().st_uid, seed.stat().st_mode & 0o777) == (os.geteuid(), 0o600)
    found = files_in(seed, tmp_path)
    assert json.loads(found["user-data"].partition("\n")[2]) == USER_DATA
    assert json.loads(found["meta-data"]) == {"instance-id": first["vm"]["uuid"], "local-hostname": name}
    assert block_node(name)["ro"] is True and block_node(name)["drv"] == "raw"

    other = {**wanted, "cloud_init": {"user_data": {**USER_DATA, "hostname": "other"}, "rerun": True}}
    before = label_of(str(seed))
    refused, checked, changed, again = local.run(
        {"maqet_vm": other},
        {"maqet_vm": {**other, "allow_restart": True}, "check_mode": True},
        {"maqet_vm": {**other, "allow_restart": True, **ENDED}},
        {"maqet_vm": other},
    )
    assert refused["error_code"] == "restart_required" and refused["options"] == ["cloud_init"]
    assert checked["diff"] == changed["diff"] and checked["changed"] is changed["changed"] is True
    assert changed["diff"]["before"]["cloud_init"] == {
        "user_data": first["vm"]["definition"]["cloud_init"]["user_data"]
    }
    assert again["changed"] is False and label_of(str(seed)) != before
    assert json.loads(files_in(seed, tmp_path)["meta-data"])["instance-id"].startswith(f"{first['vm']['uuid']}-")

    inode = seed.stat().st_ino
    given(name, state="paused", cpus=2, allow_restart=True, **ENDED)
    assert seed.stat().st_ino == inode, "made of the same definition, so it is left alone"
    given(name, state="stopped", **ENDED)
    seed.unlink()
    given(name, state="paused")
    assert seed.exists(), "a start makes what is missing"

    none = {**wanted, "state": "stopped", "cloud_init": {}, **ENDED}
    checked, gone, again = local.run({"maqet_vm": none, "check_mode": True}, {"maqet_vm": none}, {"maqet_vm": none})
    assert checked["diff"] == gone["diff"] and gone["changed"] is True and again["changed"] is False
    assert not seed.exists()

    given(name, state="paused", cloud_init={"rerun": False})
    absent: Result = {"name": name, "state": "absent", **ENDED}
    checked, removed, again = local.run(
        {"maqet_vm": absent, "check_mode": True}, {"maqet_vm": absent}, {"maqet_vm": absent}
    )
    assert (checked["changed"], removed["changed"], again["changed"]) == (True, True, False)
    assert not seed.parent.exists(), "without purge, too: it is made of the definition"


def test_no_secret_is_shown(local: Local, name: str) -> None:
    """Neither by a run that talks much, nor by its results, also of a refusal; and what holds it is closed."""
    wanted: Result = {
        "name": name,
        **NOTHING,
        "cloud_init": {"user_data": USER_DATA, "vendor_data": f"#!/bin/sh\n{SECRET}"},
    }
    several = [
        {"maqet_vm": wanted},
        {"maqet_vm": {**wanted, "cloud_init": {"user_data": f"password: {SECRET}"}}},
        {"maqet_vm": {**wanted, "cloud_init": {"user_data": {"pasword": SECRET}}}},
        {"maqet_vm": {**wanted, "cloud_init": {"userdata": SECRET}}},
        {"maqet_vm": {**wanted, "state": "paused"}},
        {"maqet_vm_info": {"name": name}},
    ]
    made, headless, misspelt, unknown, started, told = local.play(*several, options=["-vvv", "--diff"])
    assert not made["failed"] and not started["failed"], made
    assert headless["error_code"] == misspelt["error_code"] == "invalid_option"
    assert unknown["failed"] and "userdata" in unknown["msg"]
    shown = made["vm"]["definition"]["cloud_init"]
    assert set(shown) == {"user_data", "vendor_data"} and shown == made["diff"]["after"]["cloud_init"]
    assert shown["user_data"].startswith("sha256:") and shown["user_data"] in made["output"]
    for result in (made, headless, misspelt, unknown, started, told):
        assert SECRET not in json.dumps(result)
    paths = layout().vm(name)
    holders = {
        str(path)
        for folder in (paths.home, paths.run, paths.log)
        for path in Path(folder).rglob("*")
        if path.is_file() and SECRET.encode() in path.read_bytes()
    }
    assert holders == {paths.definition, paths.seed}
    assert {os.stat(path).st_mode & 0o777 for path in holders} == {0o600}
    pid = started["vm"]["qemu_pid"]
    assert SECRET.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"arch": "aarch64"}, id="aarch64"),
        pytest.param(
            {"machine": "pc", "disks": [{"size": "1M"}], "agent": True, "networks": [{"type": "user"}]}, id="pc"
        ),
    ],
)
def test_qemu_takes_it_beside_others(name: str, options: Result) -> None:
    if shutil.which(f"qemu-system-{options.get('arch', 'x86_64')}") is None:
        pytest.skip(f"no {options} here")
    given(name, state="paused", **options, cloud_init={"user_data": "#!/bin/sh\nid\n"})
    assert block_node(name)["image"]["filename"].startswith("/dev/fdset/")


def test_a_host_without_a_program_for_it(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Said before anything is done."""
    for program in ("qemu-img", "qemu-system-x86_64", "qemu-system-aarch64"):
        found = shutil.which(program)
        if found:
            (tmp_path / program).symlink_to(found)
    monkeypatch.setenv("PATH", str(tmp_path))
    run = modules.run_module("maqet_vm", {"name": name, **NOTHING, "cloud_init": {"user_data": {}}})
    assert run.status != 0 and run.result["error_code"] == "command_failed" and "package xorriso" in run.result["msg"]
    assert not Path(layout().vm(name).home).exists()


# --- a real guest ---------------------------------------------------------------------------------------------------


class Login:
    """A way into a guest by ssh, with a key of this test."""

    def __init__(self, folder: Path) -> None:
        self._key = folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self._key)], check=True)
        self.public = self._key.with_suffix(".pub").read_text().strip()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])

    def ask(self, *words: str) -> str:
        """What a program in the guest prints."""
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "BatchMode=yes")
        argv = ["ssh", "-F", "none", *(f"-o{option}" for option in options), "-i", str(self._key)]
        argv += ["-p", str(self.port), "ada@127.0.0.1", *words]
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def test_a_real_guest(debian: cloud_guest.Image, tmp_path: Path) -> None:
    """It gets name, user and key; only with rerun a change is acted on; nothing is left.

    By the module itself: what a controller adds is tested above, and would end so long a play.
    """
    login, name = Login(tmp_path), f"test-{uuid.uuid4().hex[:8]}"
    user = {
        "name": "ada",
        "ssh_authorized_keys": [login.public],
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
        "shell": "/bin/bash",
    }

    def wanted(run: str, **more: t.Any) -> Result:
        user_data = {
            "users": [user],
            "runcmd": [["sh", "-c", f"echo {run} >>/var/lib/runs"]],
            "ssh_deletekeys": False,
            "final_message": f"{run} is set up",
        }
        return {
            "name": name,
            "state": "running",
            **debian.options(),
            "agent": True,
            "networks": [{"type": "user", "hostfwd": [{"host_port": login.port, "guest_port": 22}]}],
            "cloud_init": {"user_data": user_data, **more},
            "timeout": SECONDS,
            "stop_timeout": SECONDS,
        }

    def set_up(run: str, **more: t.Any) -> Result:
        wait = [{"serial": f"{run} is set up"}]
        return modules.must("maqet_vm", **wanted(run, **more), allow_restart=True, wait_for=wait)

    try:
        checked = modules.run_module("maqet_vm", wanted("first"), check=True).result
        first = set_up("first")
        assert checked["actions"] == first["actions"] and checked["changed"] is first["changed"] is True
        assert modules.must("maqet_vm", **wanted("first"))["changed"] is False
        assert login.ask("hostname") == f"{name}\n"
        assert login.ask("sudo", "cloud-init", "query", "instance_id").strip() == first["vm"]["uuid"]
        modules.must("maqet_guest", vm=name, command="guest-ping", wait_for_agent=True, timeout=SECONDS)
        assert "ada" in login.ask("id") and login.ask("cat", "/var/lib/runs") == "first\n"

        refused = modules.run_module("maqet_vm", wanted("second")).result
        assert refused["error_code"] == "restart_required"
        second = set_up("second")
        third = set_up("third", rerun=True)
        assert second["stop_steps"] == third["stop_steps"] == ["system_powerdown"]
        assert login.ask("cat", "/var/lib/runs") == "first\nthird\n", "the second was there, and was not acted on"
        assert "third" in login.ask("sudo", "cloud-init", "query", "userdata")

        absent: Result = {"name": name, "state": "absent", "purge": True, **ENDED}
        assert modules.must("maqet_vm", **absent)["changed"] is True
        assert modules.must("maqet_vm", **absent)["changed"] is False
        assert debian.disk.exists() and not Path(layout().vm(name).home).exists()
    finally:
        remove(name)
