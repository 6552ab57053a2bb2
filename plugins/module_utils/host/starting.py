# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting a runner that outlives the module: as a systemd unit where there is one, else in a session of its own.

Both wait for the runner's word and for nothing else: the end of a pipe, or systemd's verdict on the unit.
What is started is an archive on this host, so a module that only needs a runner again need not carry one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import sys
import typing as t
import uuid

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import files
from ansible_collections.maqet.qemu.plugins.module_utils.host.commands import detached
from ansible_collections.maqet.qemu.plugins.module_utils.host.locks import locked
from ansible_collections.maqet.qemu.plugins.module_utils.host.nursery import Nursery, pid_of
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import START, Layout, VmPaths, layout
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import Process, of_pid, wait_readable
from ansible_collections.maqet.qemu.plugins.module_utils.host.systemd import manager_of
from ansible_collections.maqet.qemu.plugins.module_utils.host.unit_text import env_file

# How long a runner that was asked to end may take, in seconds; and one that has clients to answer before it leaves.
_END_SECONDS = 10.0
_LEAVE_SECONDS = 25.0


@dataclasses.dataclass(frozen=True)
class Start:
    """One attempt. ``purpose``: START or ADOPT; ``word`` tells its status from older ones."""

    where: Layout
    paths: VmPaths
    archive: str
    purpose: str
    seconds: float
    word: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def python(self) -> str:
        """The interpreter of the runner."""
        return python_of(self.where)

    @property
    def options(self) -> dict[str, str]:
        """Where the runner finds its trees."""
        where = self.where
        return {
            "state": where.state,
            "run": where.run,
            "log": where.log,
            "scope": where.scope,
            "config": where.config,
        }


# The nursery of this task, by its archive.
_nurseries: dict[str, Nursery] = {}


@contextlib.contextmanager
def several(where: Layout, archive: str) -> t.Iterator[None]:
    """While VMs are started with ``archive``: their runners come from one process, unless systemd keeps them."""
    if manager_of(where) is not None:
        yield
        return
    _nurseries[archive] = nursery = Nursery(python_of(where), archive)
    try:
        yield
    finally:
        del _nurseries[archive]
        nursery.close()


def python_of(where: Layout) -> str:
    """The Python of the role's virtual environment, else the one that runs this module."""
    own = where.python
    return own if os.access(own, os.X_OK) else sys.executable


@contextlib.contextmanager
def alone(paths: VmPaths, seconds: float) -> t.Iterator[None]:
    """Be the only one who starts or replaces this VM's runner; waits at most ``seconds`` for whoever does."""
    with locked(paths.launch_lock, seconds, "a task that starts it", f"The runner of VM {paths.name}"):
        yield


def begin(start: Start) -> dict[str, t.Any]:
    """Start a runner and return its status; MaqetError with its own reason if it fails. To be called :func:`alone`.

    ``start.seconds`` is the longest that it may take; a runner that is not ready by then is ended.
    """
    _prepare(start)
    manager = manager_of(start.where)
    return _as_session(start) if manager is None else _as_unit(manager.start, start)


def replace(start: Start, runner: t.Optional[Process]) -> dict[str, t.Any]:
    """The same for a VM that runs and whose ``runner`` leaves, once it has answered what it was asked."""
    _prepare(start)
    manager = manager_of(start.where)
    if manager is not None:
        return _as_unit(manager.restart, start)
    if runner is not None:
        runner.kill(signal.SIGTERM)
        if not runner.wait_gone(_LEAVE_SECONDS):
            runner.kill()  # it hangs; QEMU does not mind
            runner.wait_gone(_END_SECONDS)
    return _as_session(start)


def _prepare(start: Start) -> None:
    paths = start.paths
    for folder in (paths.run, paths.log, paths.output):
        files.make_folder(folder)
    values = {"python": start.python, "runner": start.archive, **start.options}
    variables = {f"MAQET_{key.upper()}": value for key, value in values.items()}
    files.write_atomic(paths.runner_env, env_file(variables).encode())
    if start.purpose == START:
        files.remove(paths.status)
    files.write_json(paths.order, {"word": start.word, "purpose": start.purpose})


def _as_unit(act: t.Callable[[VmPaths, float], None], start: Start) -> dict[str, t.Any]:
    try:
        act(start.paths, start.seconds)
    except MaqetError as error:
        raise _failure(start, str(error)) from None
    return _outcome(start)


def _as_session(start: Start) -> dict[str, t.Any]:
    """A new session with / as folder. Only the readiness pipe is passed on, so that nothing holds the task."""
    reader, writer = os.pipe()
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        log = os.open(start.paths.runner_log, flags, 0o600)
        try:
            pid = None if _ordered(start, writer, log) else _spawned(start, writer, log)
        finally:
            os.close(log)
            os.close(writer)
        if pid is None:
            if not wait_readable([reader], start.seconds):
                raise _failure(start, f"it was not begun within {start.seconds:g} s")
            pid = pid_of(reader)
        # One that is gone already cannot be told from another that has its number now, so nothing is done to it.
        runner = of_pid(pid) or Process(pid, -1)
        if not wait_readable([reader], start.seconds):
            _end(runner)
            raise _failure(start, f"it was not ready within {start.seconds:g} s")
        try:
            return _outcome(start)
        except MaqetError:  # it has said why, and is on its way out: nothing of it is to be left behind us
            runner.wait_gone(_END_SECONDS)
            raise
    finally:
        os.close(reader)


def _ordered(start: Start, writer: int, log: int) -> bool:
    """Whether the task has a nursery, which forks the runner then."""
    nursery = _nurseries.get(start.archive)
    return nursery is not None and nursery.order({"vm": start.paths.name, **start.options}, writer, log)


def _spawned(start: Start, writer: int, log: int) -> int:
    argv = [start.python, start.archive, "--vm", start.paths.name]
    argv += [word for key, value in start.options.items() for word in (f"--{key}", value)]
    child = detached([*argv, "--ready-fd", str(writer)], writer, log)
    child.returncode = 0  # it outlives us, of which Popen would complain
    return child.pid


def _end(runner: Process) -> None:
    """End a runner that is not ready; it takes a QEMU that has not run yet with it."""
    runner.kill(signal.SIGTERM)
    if not runner.wait_gone(_END_SECONDS):
        runner.kill()
        runner.wait_gone(_END_SECONDS)


def _outcome(start: Start) -> dict[str, t.Any]:
    status = files.read_json(start.paths.status)
    if _is_answer(status, start) and status.get("phase") == "ready" and "error" not in status:
        return dict(status)
    raise _failure(start, "it ended without a word")


def _is_answer(status: t.Any, start: Start) -> bool:
    return isinstance(status, dict) and status.get("launch") == start.word


def _failure(start: Start, why: str) -> MaqetError:
    """The runner's own reason if it gave one, else what we saw and the end of its log."""
    status = files.read_json(start.paths.status)
    if _is_answer(status, start) and "error" in status:
        return MaqetError.from_dict(status["error"])
    log = files.tail(start.paths.runner_log)
    return MaqetError(
        f"The runner of VM {start.paths.name} did not start: {why}. The end of {start.paths.runner_log}:\n{log}",
        "runner_failed",
        log=log,
    )


def forbid_restart(paths: VmPaths) -> None:
    """Before a runner is killed: no systemd shall start it again for that."""
    manager = manager_of(layout())
    if manager is not None:
        with contextlib.suppress(MaqetError):
            manager.forbid_restart(paths)


def archive_of(where: Layout, paths: VmPaths) -> t.Optional[str]:
    """The archive with which this VM's runner was started last, if it is still there."""
    try:
        with open(paths.runner_env, encoding="utf-8") as file:
            text = file.read()
    except OSError:
        return None
    for name in runners(where):
        if name in text:
            return os.path.join(where.runners, name)
    return None


def runners(where: Layout) -> list[str]:
    """The names of the archives on this host."""
    try:
        return sorted(name for name in os.listdir(where.runners) if name.startswith("runner-"))
    except FileNotFoundError:
        return []
