# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting a runner that outlives the module: as a systemd unit where there is one, else in a session of its own.

Both wait for the runner's word and for nothing else: the end of a pipe, or systemd's verdict on the unit.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import shutil
import subprocess
import sys
import typing as t
import uuid

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import files
from ansible_collections.maqet.qemu.plugins.module_utils.host.commands import plain_environment, run
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout, VmPaths
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import of_pid, wait_readable
from ansible_collections.maqet.qemu.plugins.module_utils.runner import bundle

SLICE = "maqet.slice"
# How long a runner that was asked to end may take, in seconds.
_END_SECONDS = 10.0


@dataclasses.dataclass(frozen=True)
class _Launch:
    """One attempt: ``word`` tells its status from older ones."""

    paths: VmPaths
    argv: list[str]
    word: str
    seconds: float


def unit(name: str) -> str:
    """The systemd unit of a VM's runner."""
    return f"maqet-{name}.service"


def launch(where: Layout, name: str, seconds: float) -> dict[str, t.Any]:
    """Start the runner of ``name`` and return its status; MaqetError with the runner's own reason if it fails.

    ``seconds`` is the longest that a start may take; a runner that is not ready by then is ended.
    """
    paths = where.vm(name)
    for folder in (paths.run, paths.log, paths.output):
        files.make_folder(folder)
    if where.scope == "system":  # others may come as far as the runner's socket, and are asked there who they are
        for folder in (where.run, paths.run):
            files.make_passable(folder)
    archive, digest = bundle.install(where.runners)
    word = uuid.uuid4().hex
    argv = [_python(where), archive, "--vm", name]
    argv += ["--state", where.state, "--run", where.run, "--log", where.log, "--scope", where.scope]
    argv += ["--config", where.config]
    argv += ["--launch", word, "--digest", digest]
    attempt = _Launch(paths, argv, word, seconds)
    files.remove(paths.status)
    if _has_systemd(where):
        return _as_unit(attempt)
    return _as_session(attempt)


def _python(where: Layout) -> str:
    """The Python of the role's virtual environment, else the one that runs this module."""
    return where.venv_python if os.access(where.venv_python, os.X_OK) else sys.executable


def _has_systemd(where: Layout) -> bool:
    """sd_booted(3), for root: a user's manager may end with the login."""
    return where.scope == "system" and os.path.isdir("/run/systemd/system") and bool(shutil.which("systemd-run"))


def _as_unit(attempt: _Launch) -> dict[str, t.Any]:
    """systemd-run waits until ``Type=notify`` is satisfied or the unit has failed. KillMode: QEMU stays."""
    name = attempt.paths.name
    log = attempt.paths.runner_log
    argv = ["systemd-run", "--quiet", "--collect", f"--unit={unit(name)}", f"--slice={SLICE}"]
    argv += ["--service-type=notify", f"--description=QEMU virtual machine {name}"]
    properties = {
        "KillMode": "process",
        "NotifyAccess": "main",
        "TimeoutStartSec": f"{max(1, math.ceil(attempt.seconds))}s",  # 0 would mean for ever
        "StandardOutput": f"append:{log}",
        "StandardError": f"append:{log}",
        "UMask": "0077",
        "OOMPolicy": "continue",
    }
    argv += [f"--property={key}={value}" for key, value in properties.items()]
    try:
        run([*argv, "--", *attempt.argv], attempt.seconds + 10)
    except MaqetError as error:
        with contextlib.suppress(MaqetError):  # mostly it is gone already
            run(["systemctl", "stop", "--quiet", unit(name)])
        raise _failure(attempt, str(error)) from None
    return _outcome(attempt)


def _as_session(attempt: _Launch) -> dict[str, t.Any]:
    """A new session with / as folder. Only the readiness pipe is passed on, so that nothing holds the task."""
    reader, writer = os.pipe()
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        log = os.open(attempt.paths.runner_log, flags, 0o600)
        try:
            child = subprocess.Popen(  # pylint: disable=ansible-bad-function  # run_command waits for the end
                [*attempt.argv, "--ready-fd", str(writer)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=plain_environment(),
                start_new_session=True,
                pass_fds=(writer,),
            )
        finally:
            os.close(log)
            os.close(writer)
        if not wait_readable([reader], attempt.seconds):
            _end(child)
            raise _failure(attempt, f"it was not ready within {attempt.seconds:g} s")
    finally:
        os.close(reader)
    return _outcome(attempt)


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a runner that is not ready; it takes its QEMU, which has not run yet, with it."""
    process = of_pid(child.pid)
    child.terminate()
    if process is not None and not process.wait_gone(_END_SECONDS):
        child.kill()
    child.wait()


def _outcome(attempt: _Launch) -> dict[str, t.Any]:
    status = files.read_json(attempt.paths.status)
    if status and status.get("launch") == attempt.word and status.get("phase") == "ready":
        return dict(status)
    raise _failure(attempt, "it ended without a word")


def _failure(attempt: _Launch, why: str) -> MaqetError:
    """The runner's own reason if it gave one, else what we saw and the end of its log."""
    status = files.read_json(attempt.paths.status)
    if status and status.get("launch") == attempt.word and "error" in status:
        return MaqetError.from_dict(status["error"])
    log = files.tail(attempt.paths.runner_log)
    return MaqetError(
        f"The runner of VM {attempt.paths.name} did not start: {why}. The end of {attempt.paths.runner_log}:\n{log}",
        "runner_failed",
        log=log,
    )
