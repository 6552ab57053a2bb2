# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Known by what nobody has by accident: real processes that look like a QEMU of ours, or nearly so."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host import emulators, files, processes
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import UUID

OTHER = UUID[:-1] + "9"


def argv(name: str = "web", uuid: str = UUID, program: str = "/usr/bin/qemu-system-x86_64") -> list[str]:
    monitor = ["-chardev", "socket,id=maqet-monitor,fd=5,server=on,wait=off"]
    return [program, "-nodefaults", "-name", f"guest={name},debug-threads=on", "-uuid", uuid, *monitor]


class Host:
    """A layout, and processes in it."""

    def __init__(self, folder: pathlib.Path, stack: contextlib.ExitStack) -> None:
        self.where = Layout(str(folder / "s"), str(folder / "r"), str(folder / "l"), "user")
        self.paths = self.where.vm("web")
        self._stack = stack

    def run(self, words: t.Optional[list[str]] = None, cwd: str = "") -> processes.Process:
        """A process with this command line: a shell that waits, for a shell does not mind what it is given."""
        folder = cwd or self.paths.output
        os.makedirs(folder, exist_ok=True)
        line = argv() if words is None else words
        # It has said that it runs: until then its command line is that of whoever started it.
        whole = [line[0], "-c", "echo; read nothing", *line[1:]]
        pipes: t.Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        child = self._stack.enter_context(subprocess.Popen(whole, executable="/bin/sh", cwd=folder, **pipes))
        self._stack.callback(child.kill)
        assert child.stdout is not None
        child.stdout.readline()
        process = processes.of_pid(child.pid)
        assert process is not None
        return process

    def define(self, name: str = "web") -> None:
        files.make_folder(self.where.vm(name).home)
        files.write_json(self.where.vm(name).definition, {"uuid": UUID})


@pytest.fixture
def host(tmp_path: pathlib.Path) -> t.Iterator[Host]:
    with contextlib.ExitStack() as stack:
        yield Host(tmp_path, stack)


def test_it_is_found(host: Host) -> None:
    assert emulators.of_vm(host.paths) is None
    process = host.run()
    found = emulators.of_vm(host.paths)
    assert found is not None
    assert (found.process, found.name, found.uuid) == (process, "web", UUID)
    assert found.words[0] == "/usr/bin/qemu-system-x86_64" and processes.argument(found.words, "-uuid") == UUID
    assert emulators.of_vm(host.paths, UUID) == found
    assert emulators.of_vm(host.paths, OTHER) is None
    assert emulators.look_at(process, host.paths) == found


@pytest.mark.parametrize(
    "words",
    [
        argv(program="/usr/bin/python3"),
        argv(program="/opt/qemu-system-x86_64/run"),
        argv(name="other"),
        argv(name="web2"),
        argv(name=""),
        [word for word in argv() if "maqet-monitor" not in word],
        [word.replace("maqet-monitor", "maqet-monitor-2") for word in argv()],
        [word for word in argv() if word not in ("-uuid", UUID)],
        [*argv()[:-4], *argv()[-2:], "-uuid"],
        [word.replace("guest=", "") for word in argv()],
        ["/usr/bin/qemu-system-x86_64"],
    ],
)
def test_what_is_nearly_one(host: Host, words: list[str]) -> None:
    process = host.run(words)
    assert emulators.of_vm(host.paths) is None
    assert emulators.look_at(process, host.paths) is None


@pytest.mark.parametrize("where", ["home", "beside", "other"])
def test_one_whose_folder_is_another(host: Host, tmp_path: pathlib.Path, where: str) -> None:
    folder = {"home": host.paths.home, "beside": str(tmp_path), "other": host.where.vm("other").output}[where]
    process = host.run(cwd=folder)
    assert emulators.of_vm(host.paths) is None
    assert emulators.look_at(process, host.paths) is None


def test_one_whose_folder_was_removed(host: Host) -> None:
    process = host.run()
    files.remove(host.paths.home)
    found = emulators.of_vm(host.paths)
    assert found is not None and found.process == process


def test_folders_behind_a_link(host: Host, tmp_path: pathlib.Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "s").symlink_to(tmp_path / "real")
    assert emulators.of_vm(host.paths) is None
    host.run()
    assert emulators.of_vm(host.paths) is not None


def test_looking_at_a_process_that_is_another_now(host: Host) -> None:
    process = host.run()
    assert emulators.look_at(processes.Process(process.pid, process.start - 1), host.paths) is None
    process.kill()
    process.wait_gone(None)
    assert emulators.look_at(process, host.paths) is None
    assert emulators.of_vm(host.paths) is None


def test_the_right_one_of_two(host: Host) -> None:
    other = host.run(argv(uuid=OTHER))
    mine = host.run()
    for uuid, process in ((UUID, mine), (OTHER, other)):
        found = emulators.of_vm(host.paths, uuid)
        assert found is not None and found.process == process


def test_orphans(host: Host) -> None:
    assert emulators.orphans(host.where) == []
    for name in ("web", "db", "alone"):
        host.run(argv(name=name), cwd=host.where.vm(name).output)
    host.run(argv(name="stranger"), cwd=str(pathlib.Path(host.where.state).parent))
    host.define("web")
    assert [found.name for found in emulators.orphans(host.where)] == ["alone", "db"]
    host.define("db")
    host.define("alone")
    assert emulators.orphans(host.where) == []


def test_the_emulator_of_rhel(host: Host) -> None:
    """It is called qemu-kvm there, and what only looks like it is nobody's."""
    host.run(argv(program="/usr/bin/qemu-kvm-spice"))
    assert emulators.of_vm(host.paths) is None
    process = host.run(argv(program="/usr/libexec/qemu-kvm"))
    found = emulators.of_vm(host.paths)
    assert found is not None and found.process == process
