# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The template unit under a real systemd: what start, stop, restart, kill and boot do to a runner and to its child.

The runner is a stand-in (``tests/hosts/stand_in.py``), which tells of itself through a fifo: nothing here polls.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.tests.hosts import nspawn, rootfs
from ansible_collections.maqet.qemu.tests.hosts.play import REPOSITORY

SOURCES = "/opt/maqet/sources"
UTILS = "ansible_collections/maqet/qemu/plugins/module_utils"
#: What systemd could get wrong between the file and the command line.
CONFIG = "/etc/ma qet/$HOME/${MAQET_RUN}/`x`/\"q\"/'s'/back\\slash\\n/%i/é"
SLOW = 60.0
DROP_IN = "/etc/systemd/system/maqet@{name}.service.d/test.conf"


class Stage:
    """A host with the sources, the stand-in and its fifo; a VM is whatever has been prepared."""

    def __init__(self, host: nspawn.Host) -> None:
        self.host = host
        self.top = host.folder / "root/opt/maqet"
        shutil.copytree(REPOSITORY / "plugins/module_utils", self.top / "sources" / UTILS)
        for script in ("stand_in.py", "drive.py"):
            shutil.copy(REPOSITORY / "tests/hosts" / script, self.top)
        os.mkfifo(self.top / "events")
        host.root("chmod", "-R", "a+rwX", "/opt/maqet")
        self._fifo = os.open(self.top / "events", os.O_RDWR | os.O_NONBLOCK)
        self._rest = b""

    def close(self) -> None:
        os.close(self._fifo)

    def call(self, *calls: t.Sequence[t.Any], user: bool = False) -> list[t.Any]:
        """What the calls answer (see ``drive.py``), made by root or by the plain user in a login of its own."""
        argv = ["python3", "/opt/maqet/drive.py", SOURCES, json.dumps(calls)]
        return t.cast("list[t.Any]", json.loads((self.host.ssh if user else self.host.root)(*argv)))

    def start(self, name: str, behaviour: str = "", config: str = "/etc/maqet", user: bool = False) -> dict[str, t.Any]:
        """A VM that runs; what its runner said when it was ready."""
        prepared = ("prepare", name, "/opt/maqet/stand_in.py", config, behaviour)
        assert self.call(prepared, ("start", name, SLOW), user=user) == [None, None]
        return self.event(name, "ready")

    def event(self, name: str, event: str) -> dict[str, t.Any]:
        """The next word of any runner, which must be this one of this VM's."""
        found = self.next()
        assert (found["vm"], found["event"]) == (name, event), found
        return found

    def next(self, seconds: float = SLOW) -> dict[str, t.Any]:
        """The next word of any runner."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self._rest:
            if not select.select([self._fifo], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"no runner said anything within {seconds} s")
            self._rest += os.read(self._fifo, 65536)
        line, _newline, self._rest = self._rest.partition(b"\n")
        return t.cast("dict[str, t.Any]", json.loads(line))

    def drain(self) -> None:
        """Forget what has been said up to now."""
        while not self.silent():
            self.next()

    def silent(self) -> bool:
        """Whether no runner has said anything that was not asked for."""
        return not self._rest and not select.select([self._fifo], [], [], 0)[0]

    def alive(self, pid: int) -> bool:
        return Path(f"/proc/{self.host.state['leader']}/root/proc/{pid}/stat").exists()

    def show(self, name: str, *properties: str) -> dict[str, str]:
        shown = self.host.root("systemctl", "show", f"maqet@{name}.service", f"--property={','.join(properties)}")
        return dict(line.partition("=")[::2] for line in shown.splitlines())

    def drop_in(self, name: str, text: str) -> None:
        rootfs.write(self.host.folder / "root" / DROP_IN.format(name=name).lstrip("/"), text)
        self.host.root("systemctl", "daemon-reload")


@pytest.fixture(scope="module")
def stage(nspawn_host: nspawn.Host) -> t.Iterator[Stage]:
    with contextlib.closing(Stage(nspawn_host)) as stage:
        yield stage


def test_systemd_finds_nothing_wrong_with_it(stage: Stage) -> None:
    """Root's unit and a user's, as the host's own systemd reads them."""
    folder = stage.top / "verify"
    for user in (False, True):
        (text,) = stage.call(("text",), user=user)
        rootfs.write(folder / str(user) / "maqet@.service", text)
        script = 'XDG_RUNTIME_DIR=/run HOME=/root systemd-analyze verify "$@" 2>&1 || echo "status $?"'
        words = ["--user"] if user else []
        said = stage.host.root("sh", "-c", script, "sh", *words, f"/opt/maqet/verify/{user}/maqet@web.service")
        assert said == ""


def test_a_start_returns_when_the_runner_is_ready(stage: Stage) -> None:
    """It is told what its file says, to the letter, and runs in our slice with its child."""
    ready = stage.start("first", config=CONFIG)
    assert ready["options"] == {
        "vm": "first",
        "state": "/var/lib/maqet",
        "run": "/run/maqet",
        "log": "/var/log/maqet",
        "scope": "system",
        "config": CONFIG,
    }
    facts = stage.show("first", "ActiveState", "MainPID", "Slice", "ControlGroup")
    assert facts["ActiveState"] == "active"
    assert (facts["MainPID"], facts["Slice"]) == (str(ready["pid"]), "maqet.slice")
    assert "/maqet.slice/" in facts["ControlGroup"]
    for pid in (ready["pid"], ready["child"]):
        assert facts["ControlGroup"] in stage.host.root("cat", f"/proc/{pid}/cgroup")
    status = stage.host.root("cat", f"/proc/{ready['child']}/status")
    assert "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status
    assert stage.call(("start", "first", SLOW), ("state", "first")) == [None, "active"], "again, nothing happens"
    assert stage.silent()


def test_a_failed_start_leaves_nothing(stage: Stage) -> None:
    """A runner that gives up, and one that never gets ready."""
    for behaviour, seconds in (("fail", SLOW), ("hang", 1)):
        prepared = ("prepare", "bad", "/opt/maqet/stand_in.py", "/etc/maqet", behaviour)
        _none, failed, state = stage.call(prepared, ("start", "bad", seconds), ("state", "bad"))
        assert failed["error_code"] == "command_failed", failed
        assert state == "inactive"
    assert "the stand-in was told to fail" in stage.host.root("cat", "/var/log/maqet/bad.runner.log")
    stage.event("bad", "stops")  # it was told to, rather than killed
    stage.event("bad", "stopped")
    assert stage.host.root("systemctl", "list-units", "--all", "--no-legend", "maqet@bad*") == ""


def test_without_its_file_the_reason_is_given(stage: Stage) -> None:
    failed, state = stage.call(("start", "nothing", SLOW), ("state", "nothing"))
    assert "maqet@nothing.service" in failed["error"]
    assert state == "inactive"


def test_a_killed_runner_has_a_successor_within_a_second(stage: Stage) -> None:
    """Again and again, and its child stays the same one; the successors are started by systemd alone."""
    ready = stage.start("killed")
    child, delays = ready["child"], []
    for _round in range(10):
        killed = time.monotonic()
        stage.host.root("kill", "-KILL", str(ready["pid"]))
        ready = stage.event("killed", "ready")
        delays.append(ready["time"] - killed)
        assert ready["child"] == child
    assert max(delays) < 1, delays
    assert stage.show("killed", "NRestarts") == {"NRestarts": "10"}
    assert stage.call(("stop", "killed", SLOW)) == [None]
    stage.event("killed", "stops")
    stage.event("killed", "stopped")


def test_a_runner_that_hangs_has_a_successor(stage: Stage) -> None:
    stage.drop_in("mute", "[Service]\nWatchdogSec=1\nTimeoutAbortSec=1\n")
    ready = stage.start("mute", "mute")
    (stage.host.folder / "root/var/lib/maqet/vms/mute/behaviour").write_text("")
    successor = stage.event("mute", "ready")
    assert successor["child"] == ready["child"] and successor["pid"] != ready["pid"]
    assert stage.call(("stop", "mute", SLOW), ("forget", "mute")) == [None, None]
    stage.event("mute", "stops")
    stage.event("mute", "stopped")
    assert not (stage.host.folder / "root" / DROP_IN.format(name="mute").lstrip("/")).exists()


def test_a_restart_replaces_the_runner_and_nothing_else(stage: Stage) -> None:
    ready = stage.start("again")
    assert stage.call(("restart", "again", SLOW), ("state", "again")) == [None, "active"]
    assert stage.event("again", "leaves")["pid"] == ready["pid"]
    successor = stage.event("again", "ready")
    assert successor["child"] == ready["child"] and successor["pid"] != ready["pid"]


def test_a_stop_has_the_runner_end_its_child(stage: Stage) -> None:
    ready = stage.start("stopped")
    assert stage.call(("stop", "stopped", SLOW), ("state", "stopped")) == [None, "inactive"]
    stage.event("stopped", "stops")
    stage.event("stopped", "stopped")
    assert not stage.alive(ready["child"])


def test_a_stop_takes_the_time_that_the_runner_asks_for(stage: Stage) -> None:
    stage.drop_in("slow", "[Service]\nTimeoutStopSec=1\n")
    ready = stage.start("slow", "slow")
    assert stage.call(("stop", "slow", SLOW)) == [None]
    begun, ended = stage.event("slow", "stops")["time"], stage.event("slow", "stopped")["time"]
    assert ended - begun > 4
    assert not stage.alive(ready["child"])


def test_a_runner_that_has_left_can_be_stopped(stage: Stage) -> None:
    """Neither a failure nor an end of the child: the runner was to take care of that, and there is none."""
    ready = stage.start("left")
    stage.host.root("kill", "-TERM", str(ready["pid"]))
    stage.event("left", "leaves")
    assert stage.call(("stop", "left", SLOW), ("state", "left")) == [None, "inactive"]
    assert stage.alive(ready["child"]) and stage.silent()
    assert stage.start("left")["child"] == ready["child"], "the next runner finds it"


def test_a_runner_that_may_not_be_restarted(stage: Stage) -> None:
    ready = stage.start("forbidden", "deaf")
    assert stage.call(("forbid_restart", "forbidden"), ("state", "forbidden")) == [None, "deactivating"]
    stage.host.root("kill", "-KILL", str(ready["pid"]))
    assert stage.call(("stop", "forbidden", SLOW), ("state", "forbidden")) == [None, "inactive"]
    assert stage.silent()


def test_limits_are_set_changed_and_taken_back(stage: Stage) -> None:
    """While it runs, and for good; a VM without limits has no drop-in. ``forget`` leaves no trace."""
    control = stage.host.folder / "root/etc/systemd/system.control/maqet@limited.service.d"
    nothing = {"CPUQuota": "", "CPUWeight": "", "IOWeight": "", "MemoryMax": ""}
    names = ("CPUQuotaPerSecUSec", "CPUWeight", "IOWeight", "MemoryMax")
    stage.start("limited")
    assert stage.call(("limits", "limited", nothing)) == [None]
    assert not control.exists()
    default = stage.show("limited", *names)
    wanted = {"CPUQuota": "150%", "CPUWeight": "20", "IOWeight": "30", "MemoryMax": "700M"}
    assert stage.call(("limits", "limited", wanted)) == [None]
    set_to = {"CPUQuotaPerSecUSec": "1.500000s", "CPUWeight": "20", "IOWeight": "30", "MemoryMax": str(700 << 20)}
    assert stage.show("limited", *names) == set_to
    stage.host.root("systemctl", "daemon-reload")
    assert stage.show("limited", *names) == set_to
    assert stage.call(("limits", "limited", nothing)) == [None]
    assert stage.show("limited", *names) == default
    assert stage.call(("limits", "limited", wanted), ("stop", "limited", SLOW), ("forget", "limited")) == [None] * 3
    stage.event("limited", "stops")
    stage.event("limited", "stopped")
    assert not control.exists()
    assert stage.show("limited", *names) == default
    stage.host.root("test", "-e", "/etc/systemd/system/maqet@.service")


def test_a_newer_unit_is_taken_up_and_a_foreign_one_left_alone(stage: Stage) -> None:
    """Also where whoever wrote it was killed before systemd was told."""
    template = stage.host.folder / "root/etc/systemd/system/maqet@.service"
    text = template.read_text()
    ready = stage.start("renewed")
    ours = {"Description": "QEMU virtual machine renewed"}
    old = text.replace("# maqet.qemu unit 1\n", "# maqet.qemu unit 0\n").replace("QEMU virtual machine", "Old")
    template.write_text(old)
    stage.host.root("systemctl", "daemon-reload")
    assert stage.show("renewed", *ours) == {"Description": "Old renewed"}
    assert stage.call(("restart", "renewed", SLOW)) == [None]
    stage.event("renewed", "leaves")
    assert stage.event("renewed", "ready")["child"] == ready["child"]
    assert stage.show("renewed", *ours) == ours
    assert template.read_text() == text

    template.write_text("# mine\n" + text.replace("QEMU virtual machine", "My"))
    assert stage.call(("restart", "renewed", SLOW)) == [None]
    stage.event("renewed", "leaves")
    stage.event("renewed", "ready")
    assert stage.show("renewed", *ours) == {"Description": "My renewed"}, "though nobody has told systemd"
    assert template.read_text().startswith("# mine\n")
    template.write_text(text)
    stage.host.root("systemctl", "daemon-reload")


def test_many_who_start_at_once_where_there_is_no_unit_yet(stage: Stage) -> None:
    """Whoever writes the template, and whoever comes a moment later: systemd knows it for all of them."""
    template = stage.host.folder / "root/etc/systemd/system/maqet@.service"
    text = template.read_text()
    names = [f"many{number}" for number in range(6)]
    stage.call(*(("prepare", name, "/opt/maqet/stand_in.py", "/etc/maqet", "") for name in names))
    for running in stage.host.root("systemctl", "list-units", "--plain", "--no-legend", "maqet@*").splitlines():
        stage.host.root("systemctl", "kill", "--kill-who=all", "--signal=KILL", running.split()[0])
        stage.host.root("systemctl", "stop", running.split()[0])
    stage.drain()
    template.unlink()
    stage.host.root("systemctl", "daemon-reload")
    with ThreadPoolExecutor(len(names)) as pool:
        answers = list(pool.map(lambda name: stage.call(("start", name, SLOW), ("state", name)), names))
    assert answers == [[None, "active"]] * len(names)
    assert {stage.next()["vm"] for _name in names} == set(names)
    assert template.read_text() == text
    assert stage.silent()


def test_a_user_who_lingers_has_a_manager(stage: Stage) -> None:
    """And one who does not has none, but a piece of advice; the unit outlives every login."""
    manager, advice = stage.call(("manager",), ("advice",), user=True)
    assert manager is None
    assert advice.startswith("User tester does not linger") and advice.endswith("loginctl enable-linger tester")
    assert stage.call(("manager",), ("advice",)) == ["/etc/systemd/system", None]
    stage.host.root("loginctl", "enable-linger", "tester")
    stage.host.root("systemctl", "start", "user@1000.service")  # waits until it is ready

    manager, advice = stage.call(("manager",), ("advice",), user=True)
    assert (manager, advice) == ("/home/tester/.config/systemd/user", None)
    ready = stage.start("mine", user=True)
    assert ready["options"]["scope"] == "user"
    for pid in (ready["pid"], ready["child"]):
        assert "/user@1000.service/maqet.slice/maqet" in stage.host.root("cat", f"/proc/{pid}/cgroup")
    limits = {"CPUQuota": "50%", "MemoryMax": "700M"}
    calls = (("state", "mine"), ("limits", "mine", limits), ("enable", "mine", True), ("enabled", "mine"))
    assert stage.call(*calls, user=True) == ["active", None, None, True]
    stage.host.root("kill", "-KILL", str(ready["pid"]))
    assert stage.event("mine", "ready")["child"] == ready["child"]
    assert stage.call(("restart", "mine", SLOW), ("stop", "mine", SLOW), ("forget", "mine"), user=True) == [None] * 3
    for event in ("leaves", "ready", "stops", "stopped"):
        stage.event("mine", event)
    left = stage.host.ssh("find", ".config/systemd", "-not", "-type", "d").split()
    assert left == [".config/systemd/user/maqet@.service"]


def test_after_a_power_cut_what_is_enabled_runs_again(stage: Stage) -> None:
    """Root's and a lingering user's, with its limits; the others do not. Last, as it ends all others."""
    stage.host.root("loginctl", "enable-linger", "tester")
    stage.start("boot")
    prepared = ("prepare", "boot-user", "/opt/maqet/stand_in.py", "/etc/maqet", "")
    calls = (("enable", "boot", True), ("enable", "boot", True), ("enabled", "boot"), ("enabled", "first"))
    assert stage.call(*calls) == [None, None, True, False]
    assert stage.call(("limits", "boot", {"MemoryMax": "700M"})) == [None]
    assert stage.call(prepared, ("enable", "boot-user", True), user=True) == [None, None]
    stage.host.root("sync")
    stage.host.kill()
    stage.host.start()

    assert {(said["vm"], said["event"]) for said in (stage.next(), stage.next())} == {
        ("boot", "ready"),
        ("boot-user", "ready"),
    }
    assert stage.silent()
    assert stage.show("boot", "ActiveState", "MemoryMax") == {"ActiveState": "active", "MemoryMax": str(700 << 20)}
    assert stage.call(("enable", "boot", False), ("enabled", "boot")) == [None, False]
