# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests drive this very machine: real Ansible, real QEMU under TCG, a real guest."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import types
import typing as t
import uuid
from pathlib import Path

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.maqet.qemu.plugins.module_utils import task as door
from ansible_collections.maqet.qemu.plugins.module_utils.definition.options import SPEC
from ansible_collections.maqet.qemu.plugins.module_utils.host import qemu
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import argument, command_lines, of_pid
from ansible_collections.maqet.qemu.plugins.modules import maqet_vm
from ansible_collections.maqet.qemu.tests.guest.maqet_guest.main import UNAVAILABLE
from ansible_collections.maqet.qemu.tests.hosts import cloud_guest, modules, play
from ansible_collections.maqet.qemu.tests.hosts.plugin import REQUIRED

Result = t.Dict[str, t.Any]
#: The architecture of the guests: what ``./dev integration --arch`` says, or this machine's.
ARCH = os.environ.get("MAQET_TEST_ARCH") or os.uname().machine
CONSOLES = {"x86_64": "ttyS0", "aarch64": "ttyAMA0"}
CONSOLE = CONSOLES[ARCH]
#: What must be said of a VM, so that its guest is of that architecture.
OF_ARCH: Result = {} if os.uname().machine == ARCH else {"arch": ARCH}


def _nothing() -> Result:
    """Options of a VM without an operating system, and without variables of UEFI, which would be left of it.

    A PC does nothing by itself. Arm's board has UEFI if it has no kernel, so its kernel is one that waits for ever:
    wfi; b .-4.
    """
    wanted: Result = {"accel": "tcg", "memory": "64", **OF_ARCH}
    if ARCH == "aarch64":
        kernel = play.REPOSITORY / ".dev" / "nothing-aarch64"
        if not kernel.exists():
            kernel.parent.mkdir(exist_ok=True)
            kernel.write_bytes(bytes.fromhex("7f2003d5ffffff17"))
        wanted["kernel"] = str(kernel)
    return wanted


NOTHING = _nothing()
PAGES = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")


@dataclasses.dataclass(frozen=True)
class Local:
    """This machine as a managed host."""

    inventory: Path

    def play(self, *tasks: Result, options: t.Sequence[str] = (), env: dict[str, str] | None = None) -> list[Result]:
        """Have Ansible run tasks (``{"module": {options}}``, keywords beside) in turn; each result, also of a failure.

        For tests of what Ansible makes of them: it costs ten times as much as the modules themselves.
        """
        named = [
            {"name": f"task {index}", "ignore_errors": True, **_qualified(task)} for index, task in enumerate(tasks)
        ]
        whole = [{"hosts": "all", "gather_facts": False, "tasks": named}]
        outcome = play.run_playbook(self.inventory, whole, options=options, env=env)
        if len(outcome.tasks) != len(tasks):
            raise play.PlayFailed(outcome.output)
        return [
            {**task.result, "failed": task.status not in ("ok", "skipped"), "output": outcome.output}
            for task in outcome.tasks
        ]

    def run(self, *tasks: Result) -> list[Result]:
        """The same for our modules, each in its process, without a controller. The only keyword is ``check_mode``."""
        return [_directly(**task) for task in tasks]

    def vm(self, name: str, **wanted: t.Any) -> Result:
        """One maqet_vm task, as :meth:`run` does it."""
        return _directly(maqet_vm={"name": name, **wanted})

    def qmp(self, name: str, **wanted: t.Any) -> Result:
        """One maqet_qmp task, as :meth:`run` does it."""
        return _directly(maqet_qmp={"vm": name, **wanted})


def _directly(check_mode: bool = False, **task: Result) -> Result:
    assert len(task) == 1, "check_mode is the only keyword here"
    module, options = next(iter(task.items()))
    run = modules.run_module(module, options, check=check_mode)
    return {"failed": run.status != 0, **run.result}


def _qualified(task: Result) -> Result:
    return {f"maqet.qemu.{key}" if key.startswith("maqet_") else key: value for key, value in task.items()}


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Local:
    """Ansible against localhost, with the interpreter that runs the tests."""
    inventory = tmp_path_factory.mktemp("inventory") / "hosts.json"
    variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory.write_text(json.dumps({"all": {"hosts": {"localhost": variables}}}), "utf-8")
    return Local(inventory)


@pytest.fixture(scope="session")
def guest() -> Result:
    """Kernel and initrd of the test guest, as options of maqet_vm."""
    return built()


@pytest.fixture(scope="session")
def generic_guest() -> Result:
    """The same with more drivers, such as 9p's and those of TPMs."""
    return {**(built() if ARCH == "aarch64" else built("generic", "--flavour", "generic")), "memory": "384"}


@pytest.fixture(scope="session")
def agent_guest() -> Result:
    """The same with the guest agent, and the port for it."""
    return {**built("agent", "--agent"), "agent": True}


def built(kind: str = "", *options: str, arch: str = ARCH) -> Result:
    """Options of maqet_vm for a guest that is built on first use, each kind in a folder of its own.

    Skips where the system's sources have no packages of that architecture.
    """
    words = ["guest", *([] if arch == os.uname().machine else [arch]), *([kind] if kind else [])]
    folder = play.REPOSITORY / ".dev" / "-".join(words)
    build = [sys.executable, str(play.REPOSITORY / "tests/guest/build.py"), "--output", str(folder), "--arch", arch]
    done = subprocess.run([*build, *options], check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode == UNAVAILABLE and not REQUIRED:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return {
        "kernel": str(folder / "vmlinuz"),
        "initrd": str(folder / "initramfs"),
        "cmdline": f"console={CONSOLES[arch]} quiet",
        "memory": "256",
        "accel": "tcg",
        **({} if arch == os.uname().machine else {"arch": arch}),
    }


@pytest.fixture(scope="session")
def debian() -> cloud_guest.Image:
    """A real Debian with cloud-init, built on first use (minutes). Skips where it cannot be, as hosts do."""
    missing = cloud_guest.missing_parts()
    if missing:
        reason = "the Debian guest needs " + ", ".join(missing)
        if REQUIRED:
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return cloud_guest.image()


def given(name: str, **wanted: t.Any) -> Result:
    """A VM that a test is to have, running unless it says otherwise: made by the module, without a controller."""
    return modules.must("maqet_vm", **{"name": name, "state": "running", **NOTHING, **wanted})


def needs_machine(machine: str) -> None:
    """Skip where the emulator of the guests' architecture has no such board."""
    binary = qemu.find_binary(ARCH)
    if machine not in qemu.machines(binary):
        pytest.skip(f"{binary} has no machine {machine}")


def state_of(name: str) -> str:
    """What QEMU says of a VM, asked through its runner without a controller."""
    return str(modules.must("maqet_qmp", vm=name, command="query-status")["response"]["status"])


def kill(pid: int) -> None:
    """SIGKILL, and return when the process is gone."""
    process = of_pid(pid)
    assert process is not None
    process.kill()
    assert process.wait_gone(10)


def traces(name: str) -> list[str]:
    """Processes, sockets, locks and pid files that belong to a VM: none may be left of one that is stopped."""
    found = [
        " ".join(words)
        for _pid, words in command_lines()
        if any(f"guest={name}," in word for word in words) or argument(words, "--vm") == name
    ]
    run = Path(layout().run, name)
    return found + ([str(run), *map(str, run.iterdir())] if run.exists() else [])


def remove(name: str, rubbish: bool = False) -> None:
    """Remove whatever a test has left of its VM, and see that nothing of it is left.

    It is done by the module's own code, but in this process: what a controller adds is not what tests end with. With
    ``rubbish`` the test has put files of its own into the VM's folder, which go too.
    """
    wanted = {"name": name, "state": "absent", "purge": True, "force": True, "stop_timeout": 0}
    checked = ArgumentSpecValidator({**SPEC, **door.HIDDEN}).validate(wanted)
    assert not checked.error_messages
    module = types.SimpleNamespace(_name="maqet_vm", params=checked.validated_parameters, check_mode=False)
    before = os.umask(0o077)
    try:
        maqet_vm.ensure(door.Task(module))
    finally:
        os.umask(before)
    assert traces(name) == []
    if rubbish:
        shutil.rmtree(layout().vm(name).home, ignore_errors=True)
    assert not Path(layout().vms, name).exists()
    for log in Path(layout().log).glob(f"*{name}*"):
        log.unlink()


@pytest.fixture
def name() -> t.Iterator[str]:
    """The name of a VM that the test may make; nothing of it is left afterwards."""
    chosen = f"test-{uuid.uuid4().hex[:8]}"
    yield chosen
    remove(chosen)


@pytest.fixture(scope="module")
def running() -> t.Iterator[str]:
    """A VM without an operating system that runs, shared by the tests of one file, which leave it running."""
    chosen = f"test-{uuid.uuid4().hex[:8]}"
    given(chosen)
    yield chosen
    remove(chosen)


@pytest.fixture
def huge_pages() -> t.Iterator[int]:
    """So many huge pages of 2 MiB more than there were."""
    number, file = 40, PAGES / "nr_hugepages"
    before = int(file.read_text()) if file.exists() else 0
    try:
        file.write_text(str(before + number))
    except OSError:
        pytest.skip("this host gives no huge pages")
    try:
        if int(file.read_text()) < before + number:
            pytest.skip("this host has no memory for huge pages")
        yield number
    finally:
        file.write_text(str(before))
