# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""maqet_snapshot against real QEMUs and a real guest: what was is there again, on the disks and in memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import types
import typing as t
import uuid
from pathlib import Path

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.maqet.qemu.plugins.module_utils import task as door
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import files
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.plugins.module_utils.vm import jobs
from ansible_collections.maqet.qemu.plugins.modules import maqet_guest, maqet_qmp, maqet_snapshot, maqet_vm
from ansible_collections.maqet.qemu.tests.integration.local.conftest import NOTHING, Local, Result, remove, state_of

# A throttled disk has a filter above its format, which snapshots have to reckon with.
TWO = [{"name": "a", "size": "8M"}, {"name": "b", "size": "8M", "throttle": {"bps": "100M"}}]
RESTART: Result = {"allow_restart": True, "force": True, "stop_timeout": 0}


@pytest.fixture(scope="module")
def vm(agent_guest: Result) -> t.Iterator[str]:
    """A VM with two disks, whose guest has an agent; the tests of this file share it and leave it running."""
    chosen = f"test-{uuid.uuid4().hex[:8]}"
    call(maqet_vm, name=chosen, state="running", **agent_guest, panic_action="pause", disks=TWO)
    yield chosen
    remove(chosen)


def call(module: types.ModuleType, check: bool = False, **options: t.Any) -> Result:
    """One task by a module's own code in this process, which spares the start of another; its result, or its error."""
    checked = ArgumentSpecValidator({**module.SPEC, **door.HIDDEN}).validate(options)
    assert not checked.error_messages
    warnings: list[str] = []
    ansible = types.SimpleNamespace(
        _name=module.__name__, params=checked.validated_parameters, check_mode=check, warn=warnings.append
    )
    before = os.umask(0o077)
    try:
        body = {maqet_vm: maqet_vm.ensure, maqet_guest: maqet_guest.ask, maqet_qmp: maqet_qmp.send}.get(module)
        result = dict((body or maqet_snapshot.ensure)(door.Task(ansible)))
    except MaqetError as error:
        result = {"failed": True, "msg": str(error), "error_code": error.error_code, **error.details}
    finally:
        os.umask(before)
    return {**json.loads(json.dumps(result)), "warnings": warnings}


def shell(vm: str, text: str) -> str:
    """What a line of shell says in the guest."""
    options: Result = {"exec": {"argv": ["/bin/sh", "-c", text]}, "allow_dangerous": True, "wait_for_agent": True}
    return str(call(maqet_guest, vm=vm, timeout=120, **options)["stdout"])


def mark(vm: str, word: str) -> None:
    """Leave a word of four letters in the guest's memory and on both disks."""
    shell(vm, f"printf {word} >/marker; printf {word} >/dev/vda; printf {word} >/dev/vdb; sync")


def marks(vm: str) -> tuple[str, str, str]:
    """What is left of them: in memory, on the disks."""
    text = shell(vm, "for f in /marker /dev/vda /dev/vdb; do head -c4 $f 2>/dev/null || printf none; done")
    return text[:4], text[4:8], text[8:]


def snap(vm: str, name: str, check: bool = False, **options: t.Any) -> Result:
    """One maqet_snapshot task that succeeds."""
    result = call(maqet_snapshot, check, vm=vm, name=name, **options)
    assert "failed" not in result, result
    return result


def refused(vm: str, name: str, **options: t.Any) -> Result:
    """One that does not."""
    result = call(maqet_snapshot, vm=vm, name=name, **options)
    assert result["failed"], result
    return result


def names(result: Result) -> list[str]:
    return [one["name"] for one in result["snapshots"]]


def ops(result: Result) -> list[str]:
    """The commands that were sent and changed something, as the audit has them."""
    questions = ("query-named-block-nodes", "query-jobs", "job-dismiss")
    sent = [record["op"] for record in result["audit"] if record["phase"] == "intent"]
    return [op for op in sent if op not in questions]


def test_with_memory_in_twelve_steps(local: Local, vm: str) -> None:
    """Created, described anew and removed: predicted, done, done no second time; and gone back to in between."""
    mark(vm, "eins")
    one = {"vm": vm, "name": "one"}
    described = {**one, "description": "the first"}
    steps = local.run(
        *(
            {"maqet_snapshot": options, **check}
            for options in (one, described, {**one, "state": "absent"})
            for check in ({"check_mode": True}, {}, {"check_mode": True}, {})
        ),
    )
    for index, word in ((0, "create_snapshot"), (4, "describe_snapshot"), (8, "delete_snapshot")):
        predicted, done, again, repeated = steps[index : index + 4]
        assert [action["action"] for action in done["actions"]] == [word]
        assert done["actions"] == predicted["actions"] and done["diff"] == predicted["diff"]
        assert (predicted["changed"], done["changed"], again["changed"], repeated["changed"]) == (
            True,
            True,
            False,
            False,
        )
        assert predicted["snapshots"] != done["snapshots"] == repeated["snapshots"] == again["snapshots"]
        assert ops(predicted) == ops(again) == ops(repeated) == []
        assert repeated["diff"]["before"] == repeated["diff"]["after"] == done["diff"]["after"]
    (made,) = steps[1]["snapshots"]
    assert made["memory"] and made["complete"] and made["disks"] == ["a", "b"] and made["memory_size"] > 10 * 1024**2
    assert made["vm_clock"] > 0 and made["qemu_version"] and made["description"] is None
    assert steps[5]["snapshots"] == [{**made, "description": "the first"}]
    assert ops(steps[1]) == ["snapshot-save"] and ops(steps[9]) == ["snapshot-delete"] and ops(steps[5]) == []
    assert steps[11]["snapshots"] == []
    assert not files.read_json(layout().vm(vm).snapshots)


def test_back_to_the_running_guest(vm: str) -> None:
    """Memory and disks are of the same moment again, the guest runs on, and going back is a change each time."""
    mark(vm, "eins")
    snap(vm, "here", description="x")
    mark(vm, "zwei")
    predicted = snap(vm, "here", check=True, state="reverted")
    assert predicted["changed"] and marks(vm) == ("zwei", "zwei", "zwei")
    back = snap(vm, "here", state="reverted")
    assert marks(vm) == ("eins", "eins", "eins") and state_of(vm) == "running"
    assert back["actions"] == predicted["actions"] and back["diff"] == predicted["diff"]
    assert ops(back) == ["stop", "snapshot-load", "cont"]
    assert snap(vm, "here", state="reverted")["changed"] is True
    call(maqet_qmp, vm=vm, command="stop")
    snap(vm, "here", state="reverted")
    assert state_of(vm) == "paused", "a guest that was paused stays so"
    call(maqet_qmp, vm=vm, command="cont")
    assert snap(vm, "here", state="absent")["snapshots"] == []


def test_back_from_a_panic(vm: str) -> None:
    """A guest that nobody has paused runs after the revert."""
    if not shell(vm, "ls -d /sys/bus/*/drivers/pvpanic* 2>/dev/null; true"):
        pytest.skip("the guest's kernel has no driver for pvpanic")
    mark(vm, "eins")
    snap(vm, "here")
    crash = {"argv": ["/bin/sh", "-c", "echo c >/proc/sysrq-trigger"]}
    assert "failed" in call(maqet_guest, vm=vm, exec=crash, allow_dangerous=True, timeout=5)
    call(maqet_vm, name=vm, wait_for=[{"event": "GUEST_PANICKED"}])
    assert state_of(vm) == "guest-panicked"
    snap(vm, "here", state="reverted")
    assert state_of(vm) == "running" and marks(vm) == ("eins", "eins", "eins")
    snap(vm, "here", state="absent")


def test_disks_alone(vm: str) -> None:
    """Both at once, with file systems frozen and thawed; going back needs the VM stopped, and consent to that."""
    mark(vm, "eins")
    made = snap(vm, "disks", fsfreeze=True, reason="ticket 4711")
    assert ops(made) == ["guest-fsfreeze-freeze", "transaction", "guest-fsfreeze-thaw"]
    assert {record["reason"] for record in made["audit"]} == {"ticket 4711"}
    (found,) = made["snapshots"]
    assert (found["memory"], found["disks"], found["fsfreeze"], found["memory_size"]) == (False, ["a", "b"], True, 0)
    frozen = call(maqet_guest, vm=vm, command="guest-fsfreeze-status")["response"]
    assert frozen == "thawed"
    single = snap(vm, "only-b", disks=["b"])
    assert [(one["name"], one["disks"], one["complete"]) for one in single["snapshots"]] == [
        ("disks", ["a", "b"], True),
        ("only-b", ["b"], True),
    ]
    mark(vm, "zwei")
    no = refused(vm, "disks", state="reverted")
    assert no["error_code"] == "restart_required" and "allow_restart" in no["msg"] and marks(vm)[1] == "zwei"
    other = refused(vm, "disks", memory=True)
    assert other["error_code"] == "snapshot_mismatch"
    back = snap(vm, "only-b", state="reverted", **RESTART)
    assert [one["action"] for one in back["actions"]] == ["stop", "revert_snapshot", "start", "resume"]
    assert back["stop_steps"] == ["quit"]
    assert marks(vm) == ("none", "zwei", "eins") and state_of(vm) == "running"
    snap(vm, "disks", state="reverted", **RESTART)
    assert marks(vm) == ("none", "eins", "eins")
    snap(vm, "disks", state="absent")
    assert snap(vm, "only-b", state="absent")["snapshots"] == []


def test_a_guest_without_its_memory(vm: str) -> None:
    """memory: false takes only the disks of a snapshot that has it; a machine that has changed can do no more."""
    mark(vm, "eins")
    snap(vm, "whole")
    mark(vm, "zwei")
    call(maqet_vm, name=vm, memory="272", **RESTART)
    no = refused(vm, "whole", state="reverted")
    assert no["error_code"] == "snapshot_mismatch" and no["options"] == ["memory"] and "memory: false" in no["msg"]
    snap(vm, "whole", state="reverted", memory=False, **RESTART)
    assert marks(vm) == ("none", "eins", "eins")
    call(maqet_vm, name=vm, memory="256", state="paused", **RESTART)
    snap(vm, "whole", state="reverted")
    assert state_of(vm) == "prelaunch"
    call(maqet_vm, name=vm, state="running")
    assert marks(vm) == ("eins", "eins", "eins"), "started anew, and in the middle of the old guest"
    snap(vm, "whole", state="absent")


def test_a_guest_that_cannot_freeze(vm: str) -> None:
    """A paused guest is refused before anything is sent."""
    call(maqet_qmp, vm=vm, command="stop")
    no = refused(vm, "never", fsfreeze=True)
    call(maqet_qmp, vm=vm, command="cont")
    assert no["error_code"] == "invalid_option" and "paused" in no["msg"] and ops(no) == []


# -- VMs without an operating system: what is in their images is written and read by qemu-io while they do not run


def write(vm: str, disk: str, byte: int) -> None:
    """Fill the beginning of an image."""
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", f"write -q -P {byte} 0 4k", image(vm, disk)], check=True)


def holds(vm: str, disk: str, byte: int) -> bool:
    """Whether the beginning of an image is that."""
    ask = ["qemu-io", "-f", "qcow2", "-c", f"read -q -P {byte} 0 4k", image(vm, disk)]
    return subprocess.run(ask, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def image(vm: str, disk: str) -> str:
    return f"{layout().vm(vm).disks}/{disk}.qcow2"


def make(vm: str, state: str = "present", **wanted: t.Any) -> None:
    result = call(maqet_vm, name=vm, state=state, **{**NOTHING, "disks": TWO, **wanted})
    assert "failed" not in result, result


def by_hand(vm: str, disk: str, *arguments: str) -> None:
    subprocess.run(["qemu-img", "snapshot", *arguments, image(vm, disk)], check=True)


def test_a_vm_that_does_not_run(name: str) -> None:
    """All of it by qemu-img, on both disks; the second time nothing; retention leaves what is not its own."""
    make(name)
    for disk in "ab":
        write(name, disk, 1)
    predicted = snap(name, "one", check=True)
    assert predicted["changed"] and predicted["snapshots"] == [] and not os.path.exists(layout().vm(name).snapshots)
    made = snap(name, "one", description="x", fsfreeze=True)
    assert (made["changed"], ops(made)) == (True, []) and made["snapshots"][0]["fsfreeze"] is False
    assert [snap(name, "one")["changed"], snap(name, "one", check=True)["changed"]] == [False, False]
    for disk in "ab":
        write(name, disk, 2)
    assert snap(name, "one", check=True, state="reverted")["changed"] and holds(name, "a", 2)
    assert snap(name, "one", state="reverted")["changed"]
    assert holds(name, "a", 1) and holds(name, "b", 1)
    by_hand(name, "a", "-c", "manual")
    for number in range(1, 4):
        kept = snap(name, f"g{number}", group="g", keep=2)
    assert names(kept) == ["one", "manual", "g2", "g3"]
    assert [one["complete"] for one in kept["snapshots"]] == [True, False, True, True]
    fewer = snap(name, "g3", check=True, group="g", keep=1)
    assert [one["action"] for one in fewer["actions"]] == ["delete_snapshot"] and "g2" not in fewer["diff"]["after"]
    assert names(snap(name, "g3", group="g", keep=1)) == ["one", "manual", "g3"]
    partly = refused(name, "manual")
    assert partly["error_code"] == "snapshot_incomplete" and "not on b" in partly["msg"]
    by_hand(name, "a", "-c", "manual")
    for left in ("manual", "one", "g3"):
        assert snap(name, left, check=True, state="absent")["changed"]
        assert left not in names(snap(name, left, state="absent"))
        assert snap(name, left, state="absent")["changed"] is False
    missing = refused(name, "one", state="reverted")
    assert missing["error_code"] == "snapshot_not_found"


def test_disks_that_cannot(name: str, tmp_path: Path) -> None:
    """A raw disk, a readonly one and one that is not there are refused, running or not, before anything is touched."""
    ready = tmp_path / "ready.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(ready), "1M"], check=True)
    raw = {"name": "r", "size": "1M", "format": "raw"}
    make(name, disks=[TWO[0], raw, {"name": "cd", "path": str(ready), "readonly": True}])
    for state in ("stopped", "running"):
        call(maqet_vm, name=name, state=state)
        before = files.read_json(layout().vm(name).snapshots)
        no = refused(name, "x")
        assert (
            no["error_code"] == "invalid_option"
            and "'r' is a raw image" in no["msg"]
            and "qemu-img convert" in no["msg"]
        )
        assert "read-only" in refused(name, "x", disks=["cd"])["msg"]
        assert "It has: a, r, cd" in refused(name, "x", disks=["nope"])["msg"]
        assert "leaves out r" in refused(name, "x", disks=["a"], memory=True)["msg"] or state == "stopped"
        assert ops(no) == [] and files.read_json(layout().vm(name).snapshots) == before
        made = snap(name, state, disks=["a"])
        assert [one["disks"] for one in made["snapshots"]][-1] == ["a"]
    assert refused("nosuchvm", "x")["error_code"] == "vm_not_found"
    call(maqet_vm, name=name, state="stopped", force=True, stop_timeout=0)
    assert refused(name, "x", disks=["a"], memory=True)["error_code"] == "vm_not_running"


def test_reasons_of_qemu(name: str, tmp_path: Path) -> None:
    """A device that cannot be saved, a full disk, a policy: the reason comes through, and nothing is left."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=768k", "maqet-test", str(tmp_path)], check=True)
    try:
        full = tmp_path / "full.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(full), "1M"], check=True)
        (tmp_path / "ballast").write_bytes(b"x" * 300_000)
        make(
            name, "running", disks=[{"name": "full", "path": str(full)}], extra_args=["-device", "nvme,serial=x,id=nv"]
        )
        stuck = refused(name, "x", memory=True)
        assert stuck["error_code"] == "job_failed" and "nvme" in stuck["reason"], stuck
        make(name, "running", disks=[{"name": "full", "path": str(full)}], extra_args=[], **RESTART)
        no_room = refused(name, "x")
        assert no_room["error_code"] == "job_failed" and "has 0 MiB free. With memory: false" in no_room["msg"], no_room
        assert state_of(name) == "running" and not os.path.exists(layout().vm(name).snapshots)
        make(
            name, "running", disks=[{"name": "full", "path": str(full)}], policy={"commands": {"snapshot-save": "deny"}}
        )
        predicted = call(maqet_snapshot, check=True, vm=name, name="x")
        assert predicted["error_code"] == "policy_denied"
        assert {record["op"] for record in predicted["audit"]} == {"query-named-block-nodes"}
        denied = refused(name, "x")
        assert denied["error_code"] == "policy_denied" and denied["changed"] is False
        assert not os.path.exists(layout().vm(name).snapshots) and state_of(name) == "running"
        assert call(maqet_qmp, vm=name, command="query-jobs")["response"] == []
    finally:
        call(maqet_vm, name=name, state="stopped", force=True, stop_timeout=0)
        subprocess.run(["umount", str(tmp_path)], check=True)


def killed(vm: str, op: str, **options: t.Any) -> None:
    """A task that gets SIGKILL as soon as QEMU works on the job of ``op``, and it would wait for its end."""

    def end(self: jobs.Jobs, job: str) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    task = os.fork()
    if task == 0:
        jobs.Jobs._wait = end  # type: ignore[method-assign]
        call(maqet_snapshot, vm=vm, **options)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(task, 0)[1]) == -signal.SIGKILL
    assert files.read_json(layout().vm(vm).snapshots)["pending"]["op"] == op


def test_a_task_that_is_killed(name: str) -> None:
    """SIGKILL in the middle of live work: the job goes on in QEMU, and the next task finds what became of it."""
    make(name, "running")
    notes = layout().vm(name).snapshots
    killed(name, "create", name="one", group="g")
    found = snap(name, "one", group="g")
    assert names(found) == ["one"] and found["snapshots"][0]["complete"] and found["snapshots"][0]["group"] == "g"
    assert any("broken off" in text for text in found["warnings"]), found["warnings"]
    killed(name, "revert", name="one", state="reverted")
    after = snap(name, "one", check=True)
    assert any("broken off" in text for text in after["warnings"]), after["warnings"]
    assert snap(name, "one")["snapshots"] == found["snapshots"] and state_of(name) == "running"
    killed(name, "delete", name="one", state="absent")
    assert snap(name, "one", state="absent")["snapshots"] == []
    assert not os.path.exists(notes)
    assert call(maqet_qmp, vm=name, command="query-jobs")["response"] == []


def test_what_killed_tasks_have_left(name: str) -> None:
    """A half-made snapshot is taken back, a half-done removal finished, a half-done revert explained."""
    make(name)
    notes = layout().vm(name).snapshots
    by_hand(name, "a", "-c", "half")
    half = {"op": "create", "name": "half", "disks": ["a", "b"], "memory": False}
    files.write_json(notes, {"format": 1, "snapshots": {"gone": {"description": "x"}}, "pending": half})
    predicted = snap(name, "half", check=True)
    done = snap(name, "half")
    assert (
        [one["action"] for one in done["actions"]]
        == ["repair_snapshot", "create_snapshot"]
        == [one["action"] for one in predicted["actions"]]
    )
    assert done["snapshots"][0]["complete"] and list(files.read_json(notes)["snapshots"]) == ["half"]
    files.write_json(notes, {**files.read_json(notes), "pending": {"op": "delete", "name": "half"}})
    assert names(snap(name, "other")) == ["other"]
    files.write_json(notes, {**files.read_json(notes), "pending": {"op": "revert", "name": "other"}})
    no = refused(name, "third")
    assert no["error_code"] == "snapshot_unfinished" and "'other'" in no["msg"]
    assert snap(name, "other", state="reverted")["changed"] and snap(name, "third")["changed"]
    with open(notes, "w", encoding="ascii") as file:
        file.write("{")
    lost = snap(name, "third")
    assert lost["changed"] is False and "lost" in lost["warnings"][0]


def test_memory_that_cannot_be_loaded(name: str) -> None:
    """QEMU says so only when the disks have gone back: the machine is reset, and never runs on with the old memory."""
    make(name, "running")
    snap(name, "one")
    make(name, "running", memory="96", **RESTART)
    os.unlink(layout().vm(name).snapshots)
    no = refused(name, "one", state="reverted")
    assert no["error_code"] == "job_failed" and no["reason"] in no["msg"]
    assert ops(no) == ["stop", "snapshot-load", "system_reset"] and state_of(name) == "prelaunch"
    make(name, "running", memory="96")
    assert state_of(name) == "running"
