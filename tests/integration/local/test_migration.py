# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migration between two hosts on this machine, and what becomes of one that is broken off. Over ssh: tests/../hosts."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import typing as t
import uuid
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import SYSTEM
from ansible_collections.maqet.qemu.tests.hosts import play, twins
from ansible_collections.maqet.qemu.tests.integration.local.conftest import Result

_COUNT = re.compile(rb"maqet count: ([0-9]+)\r?\n")
KILL = {"force": True, "stop_timeout": 0}


@dataclasses.dataclass
class Pair:
    """Two hosts, and a VM that counts on one of them. ``at`` is that one."""

    one: twins.Twin
    two: twins.Twin
    folder: Path
    vm: str = ""
    at: t.Optional[twins.Twin] = None

    @property
    def here(self) -> twins.Twin:
        assert self.at is not None
        return self.at

    @property
    def there(self) -> twins.Twin:
        return self.two if self.at is self.one else self.one

    def inventory(self) -> Path:
        """Both hosts, as Ansible knows them."""
        variables = {
            host.name: {"ansible_connection": "local", "ansible_python_interpreter": str(host.python(self.folder))}
            for host in (self.one, self.two)
        }
        path = self.folder / "hosts.json"
        path.write_text(json.dumps({"all": {"hosts": variables}}), "utf-8")
        return path

    def start(self, guest: Result, **more: t.Any) -> Result:
        """The VM on the first host, when it has counted a little."""
        self.at = self.one
        counting = {**guest, "memory": "128", "cmdline": f"{guest['cmdline']} maqet.count"}
        wanted = {**counting, "disks": [{"name": "root", "size": "4M", "format": "raw"}], **more}
        waits = {"wait_for": [{"serial": "maqet count: 3\r\n"}], "timeout": 120}
        result = self.one.module("maqet_vm", name=self.vm, state="running", **{**waits, **wanted})
        assert not result["failed"], result
        return result

    def migrate(self, **more: t.Any) -> Result:
        """To the other host; :attr:`at` is where it is then."""
        result = twins.migrate(self.here, self.there, self.vm, **more)
        result.pop("invocation", None)
        running = [host for host in (self.one, self.two) if host.runs for _pid in self.qemus(host)]
        assert len(running) == 1, ([host.name for host in running], result)
        self.at = running[0]
        return result

    def qemus(self, host: twins.Twin) -> list[int]:
        """QEMU's processes of the VM there, as this machine counts."""
        return [pid for pid, words in _processes(host) if any(f"guest={self.vm}," in word for word in words)]

    def runner(self, host: twins.Twin) -> int:
        (found,) = [pid for pid, words in _processes(host) if "--vm" in words and self.vm in words]
        return found

    def counts(self, more: int = 2) -> int:
        """Wait until the guest has counted a little more; where it stands. Nothing is missing on its disk."""
        waited = self.here.module(
            "maqet_vm",
            name=self.vm,
            state="running",
            wait_for=[{"serial": f"(maqet count: .*\n){{{more}}}"}],
            timeout=60,
        )
        assert not waited["failed"], waited
        return self.check_disk()

    def check_disk(self) -> int:
        """The last number on the disk, where each number is at its place, once."""
        data = self.here.path(f"{SYSTEM.state}/vms/{self.vm}/disks/root.raw").read_bytes()
        found = [data[at : at + 512].rstrip(b"\0\n ").decode() for at in range(512, len(data), 512)]
        last = max(index for index, text in enumerate(found, 1) if text)
        assert [int(text) for text in found[:last]] == list(range(1, last + 1))
        return last

    def left(self, host: twins.Twin) -> list[str]:
        """What a host has of the VM, but for its audit log."""
        trees = [host.path(f"{SYSTEM.state}/vms/{self.vm}"), host.path(f"{SYSTEM.run}/{self.vm}")]
        return [str(path) for tree in trees if tree.exists() for path in (tree, *tree.rglob("*"))]


def _processes(host: twins.Twin) -> t.Iterator[tuple[int, list[str]]]:
    space = os.readlink(f"/proc/{host.init}/ns/pid") if host.runs else None
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.readlink(entry / "ns/pid") == space:
                    yield int(entry.name), (entry / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
            except OSError:  # it has ended
                continue


@pytest.fixture(scope="module")
def moving(guest: Result) -> t.Iterator[Pair]:
    """Two hosts, and a VM of which nothing is left afterwards."""
    why = twins.obstacle()
    if why:
        pytest.skip(why)
    folder = Path(tempfile.mkdtemp(prefix="maqet-twins-", dir="/var/tmp"))
    folder.chmod(0o755)
    one, two = twins.Twin("one", folder / "one"), twins.Twin("two", folder / "two")
    made = Pair(one, two, folder, f"test-{uuid.uuid4().hex[:8]}")
    try:
        made.start(guest)
        yield made
        for host in (one, two):
            host.module("maqet_vm", name=made.vm, state="absent", purge=True, **KILL)
            assert made.qemus(host) == [] and made.left(host) == []
    finally:
        two.remove()
        one.remove()
        shutil.rmtree(folder)


@pytest.fixture
def pair(moving: Pair) -> t.Iterator[Pair]:
    """The same for one test, which leaves the VM on one of the hosts, and nothing of it on the other one."""
    before = moving.counts()
    yield moving
    for host in (moving.one, moving.two):
        if not host.runs:
            host.start()
    assert moving.counts() > before, "the guest has begun anew"
    assert moving.left(moving.there) == []


def killer(pid: t.Callable[[], int], words: str) -> t.Callable[[str], None]:
    """Kills once, when the sender says that it has come so far."""
    done: list[int] = []

    def hear(said: str) -> None:
        if said.startswith(words) and not done:
            done.append(pid())
            os.kill(done[0], signal.SIGKILL)

    return hear


def test_there_and_back(pair: Pair) -> None:
    """The same guest goes on, on the other host, and nothing of it is lost or done twice."""
    source, target = pair.here, pair.there
    uuid_of = source.module("maqet_vm_info", name=pair.vm)["vms"][0]["uuid"]
    with source.path(f"{SYSTEM.state}/vms/{pair.vm}/serial.log").open("rb") as said:
        moved = pair.migrate()
        assert not moved["failed"] and moved["changed"], moved.get("msg")
        before = [int(number) for number in _COUNT.findall(said.read())]
    assert pair.at is target and pair.left(source) == []
    assert moved["vm"]["uuid"] == uuid_of and moved["vm"]["status"] == "running"
    assert 0 <= moved["downtime"] <= moved["stopped"] + 5 <= moved["total_time"]
    pair.counts()
    after = _COUNT.findall(target.path(f"{SYSTEM.state}/vms/{pair.vm}/serial.log").read_bytes())
    assert int(after[0]) == before[-1] + 1
    again = twins.migrate(source, target, pair.vm)
    assert not again["failed"] and not again["changed"], again.get("msg")
    assert pair.migrate()["changed"] and pair.at is source
    for host in (source, target):
        audit = host.module("maqet_audit_info", vm=pair.vm)
        assert not audit["failed"], audit


def test_a_paused_guest_stays_paused(pair: Pair) -> None:
    pair.here.module("maqet_vm", name=pair.vm, state="paused")
    moved = pair.migrate()
    assert not moved["failed"], moved.get("msg")
    assert moved["vm"]["status"] == "paused" and "stopped" not in moved


@pytest.mark.long
@pytest.mark.parametrize("phase", ["memory", "switchover"])
@pytest.mark.parametrize(("end", "what"), [("there", "runner"), ("there", "qemu"), ("here", "runner")])
def test_killed_half_way(pair: Pair, end: str, what: str, phase: str) -> None:
    """Whoever is killed, and when: exactly one copy runs, and the same task again has it where it is wanted."""
    source, target = pair.here, pair.there
    victim = {"here": source, "there": target}[end]

    def pid() -> int:
        return pair.runner(victim) if what == "runner" else pair.qemus(victim)[0]

    pair.migrate(tell=killer(pid, phase), bandwidth="40M")
    if pair.at is source:
        assert pair.left(target) == []
        again = pair.migrate()
        assert not again["failed"] and again["changed"], again.get("msg")
    assert pair.at is target


@pytest.mark.long
def test_the_task_is_killed(pair: Pair) -> None:
    """The module on the source is gone: the migration is given up, and the guest goes on."""
    source = pair.here
    pids: t.Dict[str, int] = {}

    def kill(words: str) -> None:
        if words.startswith("memory"):
            os.kill(twins.worker(pids["send"]), signal.SIGKILL)

    lost = pair.migrate(tell=kill, hear=pids.__setitem__, bandwidth="20M")
    assert lost["failed"] and pair.at is source, lost.get("msg")


@pytest.mark.long
def test_the_destination_loses_its_power(pair: Pair) -> None:
    """The guest goes on here, also while nobody can say what is left there."""
    source, target = pair.here, pair.there
    lost = pair.migrate(tell=lambda words: target.kill() if words.startswith("memory") else None, bandwidth="40M")
    assert lost["failed"], lost.get("msg")
    assert pair.at is source
    pair.counts()
    target.start()
    again = pair.migrate()
    assert not again["failed"] and pair.at is target, again.get("msg")


def cut_off(pair: Pair) -> Result:
    """Migrate, and have the other host lose its power when it has everything and was not told yet that it may run."""
    target = pair.there

    def stop(words: str) -> None:
        if words == "switchover":
            os.kill(pair.runner(target), signal.SIGSTOP)  # it lives, and says nothing
        if words == "handed over":
            target.kill()

    return pair.migrate(tell=stop)


@pytest.mark.long
def test_what_was_handed_over_does_not_run_again(pair: Pair) -> None:
    """Both stand still until somebody knows. What certainly never ran there goes on here."""
    source, target = pair.here, pair.there
    lost = cut_off(pair)
    assert lost["failed"] and lost["error_code"] == "migration_undecided", lost.get("msg")
    for state in ("running", "restarted", "paused", "absent"):
        refused = source.module("maqet_vm", name=pair.vm, state=state)
        assert refused["error_code"] == "vm_migrated", refused
    for mode in ("ipc", "direct"):
        denied = source.module("maqet_qmp", vm=pair.vm, command="cont", mode=mode)
        assert denied["error_code"] == "policy_denied" and "moves to another host" in denied["msg"], denied
    info = source.module("maqet_vm_info", name=pair.vm)["vms"][0]
    assert info["status"] == "postmigrate" and info["migration"]["phase"] == "handed_over", info
    os.kill(pair.runner(source), signal.SIGKILL)  # the next runner does not let it go on either
    undecided = pair.migrate()
    assert undecided["error_code"] == "migration_undecided" and "reclaim" in undecided["msg"], undecided
    target.start()
    again = pair.migrate()
    assert not again["failed"] and pair.at is target, again.get("msg")
    assert any("reclaim" in step for step in again["settled"])


@pytest.mark.long
def test_a_host_that_is_lost_for_good(pair: Pair) -> None:
    """With its user's consent alone the VM runs here again."""
    source = pair.here
    assert cut_off(pair)["failed"]
    lost = pair.there
    back = pair.migrate(reclaim=True)
    assert not back["failed"] and back["changed"] and pair.at is source, back.get("msg")
    lost.start()  # after all: what came there is of no use, and says so
    left = lost.module("maqet_vm", name=pair.vm, state="running")
    assert left["error_code"] == "vm_migrating", left
    assert not lost.module("maqet_vm", name=pair.vm, state="absent", purge=True, **KILL)["failed"]


@pytest.mark.long
def test_all_kinds_of_belongings(pair: Pair) -> None:
    """UEFI and its variables, a TPM, a seed, ports, a card, and disks of all ways: copied, on a base, shared."""
    shared = Path(tempfile.mkdtemp(prefix="shared-", dir=pair.folder))
    shared.chmod(0o755)
    images = {"base": "qcow2", "data": "raw", "iso": "raw"}
    for name, form in images.items():
        subprocess.run(["qemu-img", "create", "-q", "-f", form, str(shared / name), "4M"], check=True)
    disks: t.List[Result] = [
        {"name": "root", "size": "8M", "throttle": {"iops": 1000}},
        {"name": "over", "base": str(shared / "base")},
        {"name": "data", "path": str(shared / "data"), "format": "raw"},
        {"name": "iso", "path": str(shared / "iso"), "format": "raw", "readonly": True},
    ]
    wanted = {"firmware": {"type": "uefi"}, "tpm": {}, "display": "vnc", "networks": [{"type": "user"}], "agent": True}
    wanted.update(serial="socket", rng=True, cloud_init={"user_data": {"hostname": "x"}}, disks=disks, memory="160")
    name = f"{pair.vm}-all"
    started = pair.one.module("maqet_vm", name=name, state="running", accel="tcg", **wanted)
    assert not started["failed"], started.get("msg")
    try:
        for source, target in ((pair.one, pair.two), (pair.two, pair.one)):
            moved = twins.migrate(source, target, name)
            assert not moved["failed"] and sorted(moved["actions"][0]["copied"]) == ["over", "root"], moved.get("msg")
            again = target.module("maqet_vm", name=name, state="running", accel="tcg", **wanted)
            assert not again["failed"] and not again["changed"], again
        assert sorted(entry.name for entry in shared.iterdir()) == sorted(images)
    finally:
        for host in (pair.one, pair.two):
            host.module("maqet_vm", name=name, state="absent", purge=True, **KILL)


@pytest.mark.long
def test_a_play(pair: Pair) -> None:
    """By Ansible itself: what is told meanwhile, check mode, and refusals before anything has begun."""
    source, target = pair.here, pair.there
    inventory = pair.inventory()

    def run(*wanted: Result, check: bool = False) -> play.PlayOutcome:
        named = [{"maqet.qemu.maqet_migrate": {"name": pair.vm, **one}, "ignore_errors": True} for one in wanted]
        whole = [{"hosts": source.name, "gather_facts": False, "tasks": named}]
        return play.run_playbook(inventory, whole, options=["--check"] if check else [])

    to = target.name
    looked = run({"to": to}, {"to": to, "storage": "shared"}, {"to": "three"}, {"to": source.name}, check=True)
    results = [task.result for task in looked.tasks]
    assert results[0]["changed"] and results[0]["actions"][0]["copied"] == ["root"], results[0]
    codes = ["migration_refused", "invalid_option", "invalid_option"]
    assert [result.get("error_code") for result in results[1:]] == codes, results
    assert pair.left(target) == []
    moved = run({"to": to})
    assert moved.tasks[0].result["changed"], moved.output
    assert f"<{source.name}> {pair.vm} -> {to}: handed over" in moved.output
    pair.at = target


@pytest.mark.long
def test_a_drain(pair: Pair) -> None:
    """By the playbook: who can moves, who cannot is stopped or ends it, and all of them come back as they were."""
    source, target = pair.here, pair.there
    inventory = pair.inventory()
    bound = f"{pair.vm}-bound"  # to its host, by a file that the other one does not have
    only_here = source.path(f"{SYSTEM.state}/only-here")
    only_here.write_bytes(bytes(1024))
    disk = {"name": "iso", "path": f"{SYSTEM.state}/only-here", "format": "raw", "readonly": True}
    made = source.module("maqet_vm", name=bound, state="paused", accel="tcg", memory="32", disks=[disk])
    assert not made["failed"], made
    source.module("maqet_vm", name=pair.vm, labels={"role": "web"})

    def run(*options: str, **more: t.Any) -> play.PlayOutcome:
        given = {"drain_hosts": source.name, "drain_become": False, "drain_to": target.name, **more}
        given = {"drain_stop_timeout": 0, "drain_force": True, **given}
        return play.run_playbook(inventory, "maqet.qemu.drain", given, options=options)

    def there(host: twins.Twin) -> t.Dict[str, t.Tuple[str, Result]]:
        found = host.module("maqet_vm_info")["vms"]
        return {vm["name"]: (vm["status"], vm["definition"].get("labels", {})) for vm in found}

    before = there(source)
    assert before == {pair.vm: ("running", {"role": "web"}), bound: ("prelaunch", {})}
    try:
        refused = run(drain_unmovable="fail")
        assert refused.rc != 0 and refused.changed == [] and there(source) == before, refused.output
        words = refused.result("Demand that all of them can")["msg"]
        assert bound in words and "only-here cannot be opened" in words and f"{pair.vm} (" not in words
        foreseen = run("--check").must_succeed()
        assert there(source) == before and there(target) == {}
        done = run().must_succeed()
        assert done.changed == foreseen.changed
        assert [name.split()[0] for name in done.changed] == ["Note", "Note", "Move", "Stop"]
        assert there(source) == {bound: ("stopped", {"drained": "paused"})}
        moved = {pair.vm: ("running", {"role": "web", "drained_from": source.name})}
        assert there(target) == moved
        assert run().must_succeed().changed == []
        away = run("--check", drain_end=True).must_succeed()
        assert away.changed[0] == "Move those home that came from there" and there(target) == moved
        back = run(drain_end=True).must_succeed()
        assert [name.split()[0] for name in back.changed] == ["Move", "Have", "Forget"]
        assert there(source) == before and there(target) == {}
        assert run(drain_end=True).must_succeed().changed == []
    finally:
        for host in (source, target):
            host.module("maqet_vm", name=bound, state="absent", purge=True, **KILL)
        only_here.unlink()
        pair.at = next(host for host in (source, target) if pair.qemus(host))
