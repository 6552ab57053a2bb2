# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""cloud_init: the seed as QEMU gets it. A real guest sets itself up by it in test_end_to_end.py."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.defaults import MACHINES
from ansible_collections.maqet.qemu.plugins.module_utils.host.iso import label_of
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.tests.hosts import modules
from ansible_collections.maqet.qemu.tests.integration.local.conftest import (
    ARCH,
    NOTHING,
    Local,
    Result,
    given,
    needs_machine,
)

SECRET = f"secret{uuid.uuid4().hex}"
USER_DATA = {"users": [{"name": "ada", "plain_text_passwd": SECRET}]}
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
    if shutil.which(f"qemu-system-{options.get('arch', ARCH)}") is None:
        pytest.skip(f"no {options} here")
    needs_machine(options.get("machine", MACHINES[ARCH]))
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
