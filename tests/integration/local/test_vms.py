# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""maqet_vms: all VMs of a host in one task, each a real QEMU."""

from __future__ import annotations

import tempfile
import typing as t
import uuid
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, layout
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import wait_readable
from ansible_collections.maqet.qemu.plugins.module_utils.host.watch import Folder
from ansible_collections.maqet.qemu.tests.hosts import modules
from ansible_collections.maqet.qemu.tests.integration.local.attacks.bare import free_port
from ansible_collections.maqet.qemu.tests.integration.local.conftest import NOTHING, Local, Result, remove

QUICK: Result = {**NOTHING, "stop_timeout": 0, "force": True}


@pytest.fixture
def names() -> t.Iterator[list[str]]:
    """Names of three VMs that the test may make."""
    stem = f"test-{uuid.uuid4().hex[:8]}"
    chosen = [f"{stem}-{letter}" for letter in "abc"]
    yield chosen
    for name in chosen:
        remove(name)


class Place:
    """VMs of nobody else: a task with ``purge`` is about all VMs that there are."""

    def __init__(self, folder: str) -> None:
        self._where = (*(f"{folder}/{name}" for name in "srl"), "user")
        self.where = Layout(*self._where)

    def run(self, module: str, check: bool = False, **options: t.Any) -> Result:
        done = modules.run_module(module, options, self._where, check)
        return {"failed": done.status != 0, **done.result}

    def status(self) -> dict[str, str]:
        return {vm["name"]: vm["status"] for vm in self.run("maqet_vm_info")["vms"]}


@pytest.fixture
def place() -> t.Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="mq-") as folder:  # short: names of sockets are
        made = Place(folder)
        yield made
        left = [{"name": name, "state": "absent"} for name in made.status()]
        assert not made.run("maqet_vms", vms=left, defaults={"purge": True, **QUICK})["failed"]
        assert made.status() == {}


def kinds(result: Result) -> dict[str, list[str]]:
    """What was done with each VM."""
    assert all("actions" in vm for vm in result["vms"]), result
    return {vm["name"]: [action["action"] for action in vm["actions"]] for vm in result["vms"]}


def test_twelve_steps(local: Local, names: list[str]) -> None:
    """Made, changed and removed; each in check mode, for real, again, and again in check mode."""
    steps: list[tuple[Result, list[str] | None, tuple[str, str]]] = [
        ({"state": "running"}, ["define", "start", "resume"], ("absent", "running")),
        ({"state": "paused", "labels": {"role": "web"}}, None, ("running", "paused")),
        ({"state": "absent", "purge": True}, ["stop", "undefine"], ("paused", "absent")),
    ]
    for wanted, does, (before, after) in steps:
        task = {"maqet_vms": {"vms": [{"name": name} for name in names], "defaults": {**QUICK, **wanted}}}
        foreseen, done, again, foreseen_again = local.run(
            {**task, "check_mode": True}, task, task, {**task, "check_mode": True}
        )
        for result in (foreseen, done, again, foreseen_again):
            assert not result["failed"], result
            assert [vm["name"] for vm in result["vms"]] == names
        assert foreseen["changed"] and done["changed"]
        assert not again["changed"] and not foreseen_again["changed"]
        assert kinds(foreseen) == kinds(done) and foreseen["diff"] == done["diff"]
        assert does is None or kinds(done) == dict.fromkeys(names, does)
        assert {name: side["status"] for name, side in done["diff"]["before"].items()} == dict.fromkeys(names, before)
        assert {name: side["status"] for name, side in done["diff"]["after"].items()} == dict.fromkeys(names, after)
        assert again["diff"] == foreseen_again["diff"] == {"before": {}, "after": {}}
        assert [vm["vm"]["status"] for vm in done["vms"]] == [after] * 3
        assert {record["vm"] for record in done["audit"]} == set(names)
        assert foreseen["audit"] == again["audit"] == []


def test_one_that_fails_does_not_hide_the_others(local: Local, names: list[str], tmp_path: Path) -> None:
    """The second lacks its disk. The others run; put right, it alone is worked on."""
    disk = tmp_path / "there.img"
    vms: list[Result] = [{"name": name} for name in names]
    vms[1] = {"name": names[1], "disks": [{"path": str(disk), "format": "raw"}]}
    task = {"maqet_vms": {"vms": vms, "defaults": {**QUICK, "state": "running"}}}
    (broken,) = local.run(task)
    assert (broken["failed"], broken["error_code"], broken["changed"]) == (True, "vms_failed", True)
    assert broken["msg"].startswith(f"1 of 3 VMs failed. {names[1]}: disks[0].path: '{disk}' ")
    assert [vm.get("failed", False) for vm in broken["vms"]] == [False, True, False]
    assert broken["vms"][1]["error_code"] == "invalid_option" and not broken["vms"][1]["changed"]
    assert [vm["vm"]["status"] for vm in broken["vms"] if not vm.get("failed")] == ["running", "running"]
    disk.write_bytes(b"\0" * 1024 * 1024)
    (mended,) = local.run(task)
    assert not mended["failed"] and [vm["changed"] for vm in mended["vms"]] == [False, True, False]


def test_a_mistake_in_one_is_found_before_anything_is_done(local: Local, names: list[str]) -> None:
    vms = [{"name": names[0]}, {"name": names[1], "memory": "banana"}, {"name": names[2], "diskz": []}]
    (refused,) = local.run({"maqet_vms": {"vms": vms, "defaults": {**NOTHING, "state": "running"}}})
    assert refused["failed"] and refused["error_code"] == "invalid_option"
    assert f"vms[1] ({names[1]}): memory: 'banana'" in refused["msg"]
    assert f"vms[2] ({names[2]}): diskz: there is no such option. Did you mean disks?" in refused["msg"]
    assert all(local.run({"maqet_vm_info": {"name": name}})[0]["vms"] == [] for name in names)


def test_too_many_failures_end_it(local: Local, names: list[str]) -> None:
    vms = [{"name": name, "disks": [{"path": "/nowhere.img"}]} for name in names[:2]] + [{"name": names[2]}]
    options = {"vms": vms, "defaults": {**QUICK, "state": "running"}, "concurrency": 1}
    (ended,) = local.run({"maqet_vms": {**options, "max_fail": "1"}})
    assert ended["failed"] and ended["msg"].startswith("2 of 3 VMs failed, 1 not begun. ")
    assert ended["vms"][2] == {
        "name": names[2],
        "changed": False,
        "skipped": True,
        "msg": "Not begun: more than 1 VMs had failed.",
    }
    assert ended["changed"] is False
    (went_on,) = local.run({"maqet_vms": {**options, "max_fail": "2"}})
    assert went_on["failed"] and went_on["vms"][2]["vm"]["status"] == "running"


def test_a_port_goes_from_one_to_another(place: Place) -> None:
    """Who is removed comes first, listed or not, so that who is made can have what it had."""
    card = {"type": "user", "hostfwd": [{"host_address": "127.0.0.1", "host_port": free_port(), "guest_port": 22}]}
    defaults = {**QUICK, "state": "running", "purge": True}
    first = place.run("maqet_vms", vms=[{"name": "old", "networks": [card]}, {"name": "stays"}], defaults=defaults)
    assert not first["failed"], first
    entries = [{"name": "new", "networks": [card]}, {"name": "stays"}]
    wanted: Result = {"vms": entries, "defaults": defaults, "purge": True}
    foreseen = place.run("maqet_vms", check=True, **wanted)
    done = place.run("maqet_vms", **wanted)
    assert not done["failed"], done
    assert kinds(done) == {"new": ["define", "start", "resume"], "stays": [], "old": ["stop", "undefine"]}
    assert not foreseen["failed"] and kinds(foreseen) == kinds(done) and foreseen["diff"] == done["diff"]
    assert place.status() == {"new": "running", "stays": "running"}
    again = place.run("maqet_vms", **wanted)
    assert not again["changed"] and [vm["name"] for vm in again["vms"]] == ["new", "stays"]


def test_check_mode_knows_who_gives_back(place: Place, tmp_path: Path) -> None:
    """A port and a disk of a VM that is to stop are free for the next one, and only if it can stop; a base is not."""
    card = {"type": "user", "hostfwd": [{"host_address": "127.0.0.1", "host_port": free_port(), "guest_port": 22}]}
    disk, base = tmp_path / "disk.img", tmp_path / "base.img"
    for path in (disk, base):
        path.write_bytes(bytes(1 << 20))
    has: Result = {"networks": [card], "disks": [{"path": str(disk), "format": "raw"}]}
    over: Result = {"name": "over", "disks": [{"name": "top", "base": str(base)}]}
    first = place.run("maqet_vms", vms=[{"name": "old", **has}, over], defaults={**QUICK, "state": "running"})
    assert not first["failed"], first
    stopped: Result = {"name": "old", "state": "stopped"}
    wanted: Result = {"defaults": {**QUICK, "state": "running"}, "vms": [{"name": "new", **has}, stopped]}
    foreseen = place.run("maqet_vms", check=True, **wanted)
    assert not foreseen["failed"] and kinds(foreseen)["new"] == ["define", "start", "resume"], foreseen
    asked = {**wanted, "_part": {"done": ["old"], "bad": ["old"], "failed": 1, "all": 2}, "progress": 1}
    assert "listened on" in place.run("maqet_vms", check=True, **asked)["vms"][0]["msg"]
    asked["_part"]["bad"] = []
    assert "msg" not in place.run("maqet_vms", check=True, **asked)["vms"][0]
    writes: Result = {"name": "new", "disks": [{"path": str(base), "format": "raw"}]}
    for state, refused in (("stopped", True), ("absent", False)):
        entries = [writes, {"name": "over", "state": state}]
        assert place.run("maqet_vms", check=True, vms=entries, defaults=wanted["defaults"])["failed"] is refused
    done = place.run("maqet_vms", **wanted)
    assert not done["failed"] and kinds(done) == kinds(foreseen), done


def test_what_is_not_listed_goes_and_its_disks_stay_unless_told(place: Place) -> None:
    disks = {"disks": [{"name": "root", "size": "1M"}]}
    made = place.run("maqet_vms", vms=[{"name": name} for name in "abc"], defaults={**NOTHING, **disks})
    assert not made["failed"], made
    images = {vm["name"]: Path(vm["vm"]["disks"]["root"]) for vm in made["vms"]}

    refused = place.run("maqet_vms", vms=[], purge=True, defaults={"purge": True})
    assert refused["error_code"] == "invalid_option" and "all VMs of this host (a, b, c)" in refused["msg"]
    kept = place.run("maqet_vms", vms=[{"name": "a"}, {"name": "b"}], purge=True)
    assert kept["vms"][2]["kept"] == [str(images["c"])] and images["c"].exists()
    gone = place.run("maqet_vms", vms=[{"name": "a"}], defaults={"purge": True}, purge=True)
    assert [vm["name"] for vm in gone["vms"]] == ["a", "b"]
    assert images["a"].exists() and not images["b"].exists()
    assert place.status() == {"a": "stopped"}
    place.run("maqet_vm", name="c", state="absent", purge=True)


def test_through_ansible(local: Local, names: list[str]) -> None:
    """Lines while it works, one result of all, a diff that can be read, and no password anywhere."""
    vms: list[Result] = [{"name": name} for name in names]
    vms[0].update(display="vnc", vnc={"password": "tr0ub4do"})
    task = {"maqet_vms": {"vms": vms, "defaults": {**QUICK, "state": "running"}, "progress": 1}}
    result = local.play(task, options=["--diff", "-vvv"])[0]
    assert not result["failed"], result
    assert [vm["vm"]["status"] for vm in result["vms"]] == ["running"] * 3
    lines = result["output"].splitlines()
    assert [line for line in lines if line.startswith("localhost: ")] == [
        "localhost: 1 of 3 VMs",
        "localhost: 2 of 3 VMs",
    ]
    assert any(line.startswith("+") and '"status": "running"' in line for line in lines)
    assert "tr0ub4do" not in result["output"]
    assert [record["controller"]["task"] for record in result["audit"]] == ["task 0"] * len(result["audit"])
    assert {record["vm"] for record in result["audit"]} == set(names)


def test_what_was_begun_is_finished_without_us(names: list[str]) -> None:
    """The module is killed when the first VM gets its folder: none is left half-made, the next task makes the rest."""
    options = {"vms": [{"name": name} for name in names], "defaults": {**QUICK, "state": "running"}}
    Path(layout().vms).mkdir(parents=True, exist_ok=True)
    with Folder(layout().vms) as folder, modules.begin("maqet_vms", options) as module:
        assert wait_readable([folder.fd], 60)
        module.kill()
    done = modules.must("maqet_vms", **options)
    assert [vm["vm"]["status"] for vm in done["vms"]] == ["running"] * 3
