# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks for whole jobs, as users call them, each in check mode first."""

from __future__ import annotations

import typing as t
import uuid

import pytest
from ansible_collections.maqet.qemu.tests.hosts import modules, play
from ansible_collections.maqet.qemu.tests.integration.local.conftest import NOTHING, Local, Result, remove, state_of


@pytest.fixture(scope="module")
def vms() -> t.Iterator[list[str]]:
    """Three VMs with a disk that run, and a fourth that does not."""
    stem = f"test-{uuid.uuid4().hex[:8]}"
    chosen = [f"{stem}-{letter}" for letter in "abcd"]
    wanted = {**NOTHING, "state": "running", "disks": [{"name": "root", "size": "1M"}]}
    entries: list[Result] = [{"name": name} for name in chosen]
    entries[3]["state"] = "stopped"
    modules.must("maqet_vms", vms=entries, defaults=wanted)
    yield chosen
    for name in chosen:
        remove(name)


def run(local: Local, playbook: str, *options: str, **variables: t.Any) -> play.PlayOutcome:
    hosts = {f"{playbook}_hosts": "all", f"{playbook}_become": False}
    names = {"rolling_restart": "restart", "snapshot_fleet": "snapshot"}
    hosts = {key.replace(playbook, names.get(playbook, playbook)): value for key, value in hosts.items()}
    return play.run_playbook(local.inventory, f"maqet.qemu.{playbook}", {**hosts, **variables}, options=options)


def pids(vms: t.Sequence[str]) -> list[int]:
    return [modules.must("maqet_vm_info", name=name)["vms"][0]["qemu_pid"] for name in vms]


def test_rolling_restart(local: Local, vms: list[str]) -> None:
    """One after another, of those that were named only those that run; and nothing in check mode."""
    wanted: Result = {"restart_vms": [vms[0], vms[1], vms[3]], "restart_stop_timeout": 0, "restart_force": True}
    before = pids(vms)
    foreseen = run(local, "rolling_restart", "--check", **wanted).must_succeed()
    assert foreseen.changed == [f"Restart {name}" for name in vms[:2]]
    assert pids(vms) == before
    done = run(local, "rolling_restart", **wanted).must_succeed()
    assert done.changed == foreseen.changed
    after = pids(vms)
    assert after[0] != before[0] and after[1] != before[1] and after[2:] == before[2:]
    assert [state_of(name) for name in vms[:3]] == ["running"] * 3


@pytest.mark.long
def test_the_first_that_is_not_well_ends_it(local: Local, vms: list[str]) -> None:
    """A guest without an operating system never says a word, so the second VM is never touched."""
    before = pids(vms)
    broken = run(
        local,
        "rolling_restart",
        restart_vms=vms[:2],
        restart_stop_timeout=0,
        restart_force=True,
        restart_wait_for=[{"serial": {"regex": "never said", "timeout": 1}}],
    )
    assert broken.rc != 0
    (failed,) = [task for task in broken.tasks if task.status == "failed"]
    assert (failed.task, failed.result["error_code"]) == (f"Restart {vms[0]}", "wait_timeout")
    assert pids(vms)[1] == before[1]


@pytest.mark.long
def test_snapshot_fleet(local: Local, vms: list[str]) -> None:
    """Of VMs that run and of one that does not; the oldest go when there are more than are kept."""
    names = {"snapshot_vms": vms[1:]}

    def there(vm: str) -> list[str]:
        (found,) = modules.must("maqet_vm_info", name=vm, gather=["snapshots"])["vms"]
        return [one["name"] for one in found["details"]["snapshots"]]

    foreseen = run(local, "snapshot_fleet", "--check", **names).must_succeed()
    assert foreseen.result("Take the snapshots")["changed"]
    assert there(vms[1]) == []
    for name in ("one", "two", "three"):
        run(local, "snapshot_fleet", **names, snapshot_name=name, snapshot_keep=2).must_succeed()
    assert [there(vm) for vm in vms] == [[], ["two", "three"], ["two", "three"], ["two", "three"]]
    again = run(local, "snapshot_fleet", **names, snapshot_name="three", snapshot_keep=2).must_succeed()
    assert again.changed == []
    named = run(local, "snapshot_fleet", **names, snapshot_keep=1, snapshot_memory=True).must_succeed()
    results = named.result("Take the snapshots")["results"]
    told = {one["item"]["name"]: one["snapshots"][0] for one in results if not one.get("skipped")}
    assert [told[vm]["memory"] for vm in vms[1:]] == [True, True, False]
    assert len({one["name"] for one in told.values()}) == 1 and told[vms[1]]["name"].startswith("fleet-20")


@pytest.mark.long
def test_drain(local: Local, vms: list[str]) -> None:
    """Which VMs ran or were paused is noted before they are stopped, and only these are so again; other labels stay."""
    modules.must("maqet_vm", name=vms[0], labels={"role": "web"})
    modules.must("maqet_vm", name=vms[1], state="paused")
    wanted: Result = {"drain_vms": vms, "drain_stop_timeout": 0, "drain_force": True}

    def now() -> tuple[list[str], list[Result]]:
        found = [modules.must("maqet_vm_info", name=name)["vms"][0] for name in vms]
        return [vm["status"] for vm in found], [vm["definition"].get("labels", {}) for vm in found]

    foreseen = run(local, "drain", "--check", **wanted).must_succeed()
    assert foreseen.changed == ["Note which of the others run", "Stop the others"]
    assert now() == (["running", "paused", "running", "stopped"], [{"role": "web"}, {}, {}, {}])
    assert run(local, "drain", **wanted).must_succeed().changed == foreseen.changed
    noted = {"drained": "running"}
    assert now() == (["stopped"] * 4, [{"role": "web", **noted}, {"drained": "paused"}, noted, {}])
    assert run(local, "drain", **wanted).must_succeed().changed == []
    ended = run(local, "drain", **wanted, drain_end=True).must_succeed()
    assert ended.changed == ["Have them run again, or paused", "Forget what was noted"]
    assert now() == (["running", "prelaunch", "running", "stopped"], [{"role": "web"}, {}, {}, {}])
    assert run(local, "drain", **wanted, drain_end=True).must_succeed().changed == []
    # One that has not begun is as good as paused for the next drain.
    run(local, "drain", **wanted).must_succeed()
    assert now()[1][1] == {"drained": "paused"}
    run(local, "drain", **wanted, drain_end=True).must_succeed()
    modules.must("maqet_vm", name=vms[1], state="running")


@pytest.mark.long
def test_drain_to_nowhere(local: Local) -> None:
    """Hosts that are not in the inventory, or are drained themselves, are no reason to stop anything."""
    for to in ("localhost", ["localhost", "elsewhere"]):
        refused = run(local, "drain", "--check", drain_to=to)
        assert refused.rc != 0
        assert [task.task for task in refused.tasks] == ["Demand that they can go to where they are to go"]
