# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of systemctl, and when; a stand-in writes it down. Under a real systemd: tests/integration/hosts."""

from __future__ import annotations

import os
import pwd
import shutil
import threading
import typing as t
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import systemd, unit_text
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import SYSTEM, Layout

# Answers `show` with what lies in the file beside it, and fails for the verbs that lie in another.
SYSTEMCTL = """#!/bin/sh
cd "${0%/*}"
echo "$*" >>calls
[ "$1" = show ] && cat shown
read -r bad <failing
[ "$1" != "$bad" ] || { echo "it cannot $1" >&2; exit 1; }
"""
LOADED = "LoadState=loaded\nNeedDaemonReload=no\nActiveState=inactive\n"
SHOW = "show --property=LoadState,NeedDaemonReload,ActiveState maqet@web.service"
WEB = SYSTEM.vm("web")


class Stage:
    """A manager whose units are in a folder of the test, and which speaks to the stand-in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.units = folder / "user"
        program = folder / "systemctl"
        program.write_text(SYSTEMCTL)
        program.chmod(0o755)
        self.shown(LOADED)
        self.failing("")
        self.manager = systemd.Manager(SYSTEM, str(self.units), (str(program),))

    def shown(self, text: str) -> None:
        (self.folder / "shown").write_text(text)

    def failing(self, verb: str) -> None:
        (self.folder / "failing").write_text(f"{verb}\n")

    def calls(self) -> list[str]:
        """Those since the last time."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.write_text("")
        return lines


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.mark.parametrize("verb", ["start", "restart"])
@pytest.mark.parametrize(
    ("shown", "before"),
    [
        (LOADED, []),
        (LOADED.replace("loaded", "not-found"), ["daemon-reload"]),
        (LOADED.replace("Reload=no", "Reload=yes"), ["daemon-reload"]),
        (LOADED.replace("inactive", "failed"), ["reset-failed maqet@web.service"]),
    ],
)
def test_start(stage: Stage, verb: str, shown: str, before: list[str]) -> None:
    stage.shown(shown)
    getattr(stage.manager, verb)(WEB, 5)
    assert stage.calls() == [SHOW, *before, f"{verb} maqet@web.service"]
    template = stage.units / "maqet@.service"
    assert template.read_text() == unit_text.unit_text(SYSTEM)
    assert template.stat().st_mode & 0o777 == 0o644
    written = template.stat().st_mtime_ns
    getattr(stage.manager, verb)(WEB, 5)
    assert template.stat().st_mtime_ns == written


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_a_failed_start_is_cleaned_up(stage: Stage, verb: str) -> None:
    stage.failing(verb)
    with pytest.raises(MaqetError, match=f"it cannot {verb}") as caught:
        getattr(stage.manager, verb)(WEB, 5)
    assert caught.value.error_code == "command_failed"
    assert stage.calls()[1:] == [f"{word} maqet@web.service" for word in (verb, "stop", "reset-failed")]


def test_stop(stage: Stage) -> None:
    stage.failing("reset-failed")  # of a unit that systemd has forgotten
    stage.manager.stop(WEB, 5)
    stage.manager.forbid_restart(WEB)
    calls = ["stop maqet@web.service", "reset-failed maqet@web.service", "stop --no-block maqet@web.service"]
    assert stage.calls() == calls
    stage.failing("stop")
    with pytest.raises(MaqetError):
        stage.manager.stop(WEB, 5)


def test_limits(stage: Stage) -> None:
    """A VM that has none and never had any costs nothing."""
    stage.manager.limits(WEB, {"CPUQuota": "", "MemoryMax": ""})
    assert stage.calls() == []
    stage.manager.limits(WEB, {"CPUQuota": "50%", "MemoryMax": ""})
    assert stage.calls() == [SHOW, "set-property maqet@web.service CPUQuota=50% MemoryMax="]
    (stage.folder / "user.control/maqet@web.service.d").mkdir(parents=True)
    stage.manager.limits(WEB, {"CPUQuota": "", "MemoryMax": ""})
    assert stage.calls() == [SHOW, "set-property maqet@web.service CPUQuota= MemoryMax="]


def wanted_by(stage: Stage, name: str) -> None:
    """What `systemctl enable` does."""
    link = stage.units / "multi-user.target.wants" / f"maqet@{name}.service"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(stage.units / "maqet@.service")


def test_enable(stage: Stage) -> None:
    """Asked only where it changes something; the link counts, whatever it leads to."""
    stage.manager.enable(WEB, False)
    assert (stage.calls(), stage.manager.enabled(WEB)) == ([], False)
    stage.manager.enable(WEB, True)
    assert stage.calls() == [SHOW, "enable --quiet maqet@web.service"]
    wanted_by(stage, "web2")
    assert not stage.manager.enabled(WEB)
    wanted_by(stage, "web")
    assert stage.manager.enabled(WEB)
    stage.manager.enable(WEB, True)
    assert stage.calls() == []
    stage.manager.enable(WEB, False)
    assert stage.calls() == ["disable --quiet maqet@web.service"]


@pytest.mark.parametrize("folder", ["user.control/maqet@web.service.d", "user/maqet@web.service.d", None])
def test_forget(stage: Stage, folder: t.Optional[str]) -> None:
    """Drop-ins of ours and of administrators, where there are any; no others' VMs."""
    stage.units.mkdir()
    (stage.units / "maqet@web2.service.d").mkdir()
    if folder:
        (stage.folder / folder).mkdir(parents=True)
    stage.manager.forget(WEB)
    assert stage.calls() == (["revert maqet@web.service"] if folder else []) + ["reset-failed maqet@web.service"]


def test_state(stage: Stage) -> None:
    stage.shown("ActiveState=activating\n")
    assert stage.manager.state(WEB) == "activating"


def test_many_may_install_it_at_once(stage: Stage) -> None:
    """Each leaves the whole file, and nobody half of one."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            stage.manager.install()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert (stage.units / "maqet@.service").read_text() == unit_text.unit_text(SYSTEM)
    assert os.listdir(stage.units) == ["maqet@.service"]


USER = Layout("/home/u/data", "/home/u/run", "/home/u/log", "user", "/home/u/config")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The paths that this host has, for the questions that are asked about it."""
    present: set[str] = set()
    for question in ("isdir", "exists"):
        monkeypatch.setattr(os.path, question, lambda path: str(path) in present)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    ann = pwd.struct_passwd(("ann", "x", 4711, 4711, "", "/home/ann", ""))
    monkeypatch.setattr(pwd, "getpwuid", {4711: ann}.__getitem__)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if name in present else None)
    monkeypatch.setattr(systemd, "_version", lambda: 252)
    return present


BOOTED = {"/run/systemd/system", "systemctl"}
LINGERS = {*BOOTED, "/var/lib/systemd/linger/ann"}
REACHED = {*LINGERS, "/run/user/4711/systemd/private"}


@pytest.mark.parametrize(
    ("where", "present", "folder", "advised"),
    [
        (SYSTEM, set(), None, False),
        (SYSTEM, {"systemctl"}, None, False),
        (SYSTEM, {"/run/systemd/system"}, None, False),
        (SYSTEM, BOOTED, "/etc/systemd/system", False),
        (USER, set(), None, False),
        (USER, BOOTED, None, True),
        (USER, REACHED - LINGERS | BOOTED, None, True),
        (USER, LINGERS, None, False),
        (USER, REACHED, "/home/ann/.config/systemd/user", False),
    ],
)
def test_who_keeps_the_vms(
    host: set[str], where: Layout, present: set[str], folder: t.Optional[str], advised: bool
) -> None:
    host.update(present)
    manager = systemd.manager_of(where)
    assert (manager.folder if manager else None) == folder
    words = systemd.advice(where)
    assert bool(words) is advised
    assert words is None or words.endswith("loginctl enable-linger ann")


def test_a_users_manager_is_reached_without_the_tasks_environment(host: set[str]) -> None:
    host.update(REACHED)
    manager = systemd.manager_of(USER)
    assert manager is not None
    assert manager.systemctl == ("systemctl", "--user")
    assert manager.extra == {
        "XDG_RUNTIME_DIR": "/run/user/4711",
        "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/user/4711/bus",
    }


@pytest.mark.parametrize(("version", "kept"), [(0, False), (246, False), (247, True), (257, True)])
def test_a_systemd_that_is_too_old(host: set[str], monkeypatch: pytest.MonkeyPatch, version: int, kept: bool) -> None:
    """It would take the unit, ignore half of it, and power guests off at a restart."""
    host.update(REACHED)
    monkeypatch.setattr(systemd, "_version", lambda: version)
    assert (systemd.manager_of(USER) is not None) is kept
