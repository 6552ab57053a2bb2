# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a host program to its end: an argument list, never a shell, never our stdin."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError


def run(
    argv: t.Sequence[str],
    seconds: float = 60,
    user: t.Optional[int] = None,
    extra: t.Optional[t.Mapping[str, str]] = None,
) -> str:
    """The stdout of ``argv``; ``command_failed`` with the program's last words if it fails or takes too long.

    What takes too long is ended; the error's detail ``broken_off`` says so, for nobody knows how far it was.

    ``user``: root can have it run with the rights of this user, and the group of the same number, alone.
    ``extra``: variables that its environment has beside ours.
    """
    rights: dict[str, t.Any] = {} if user is None else {"user": user, "group": user, "extra_groups": [], "cwd": "/"}
    try:
        done = subprocess.run(  # pylint: disable=ansible-bad-function  # the runner calls this too, and is no module
            list(argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(extra or {})},
            **rights,
        )
    except FileNotFoundError:
        raise MaqetError(f"{argv[0]} is not installed on this host.", "command_failed", command=list(argv)) from None
    except subprocess.TimeoutExpired:
        words = f"{argv[0]} did not end within {seconds:g} s."
        raise MaqetError(words, "command_failed", command=list(argv), broken_off=True) from None
    if done.returncode != 0:
        raise _failed(argv, done.returncode, done.stderr)
    return str(done.stdout.decode("utf-8", "replace"))


def run_long(argv: t.Sequence[str], heard: t.Callable[[bytes], None], user: t.Optional[int] = None) -> None:
    """Run a program that may take hours; what it says on stdout goes to ``heard`` as it comes.

    It does not outlive us: setpriv(1) of util-linux has the kernel kill it when we are killed.
    """
    guardian = shutil.which("setpriv")
    whole = [guardian, "--pdeathsig", "KILL", "--", *argv] if guardian else list(argv)
    rights: dict[str, t.Any] = {} if user is None else {"user": user, "group": user, "extra_groups": [], "cwd": "/"}
    with tempfile.TemporaryFile() as errors:
        try:
            child = subprocess.Popen(  # pylint: disable=ansible-bad-function  # run_command() waits for the end
                whole,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "LC_ALL": "C.UTF-8"},
                **rights,
            )
        except FileNotFoundError:
            message = f"{argv[0]} is not installed on this host."
            raise MaqetError(message, "command_failed", command=list(argv)) from None
        output = t.cast(t.IO[bytes], child.stdout)
        try:
            while True:
                data = os.read(output.fileno(), 4096)
                if not data:
                    break
                heard(data)
            status = child.wait()
        except BaseException:
            child.kill()
            child.wait()
            raise
        finally:
            output.close()
        if status != 0:
            errors.seek(0)
            raise _failed(argv, status, errors.read())


def _failed(argv: t.Sequence[str], status: int, stderr: bytes) -> MaqetError:
    words = stderr.decode("utf-8", "replace").strip()[-1000:]
    return MaqetError(
        f"{argv[0]} failed with status {status}: {words or 'it said nothing'}",
        "command_failed",
        command=list(argv),
        stderr=words,
    )


def plain_environment() -> dict[str, str]:
    """What a process that outlives us gets of our environment: enough to find programs, none of a task's secrets."""
    kept = ("PATH", "HOME", "LANG", "XDG_RUNTIME_DIR", "TMPDIR")
    return {key: os.environ[key] for key in kept if key in os.environ}


def detached(argv: t.Sequence[str], passed: int, output: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """A process in a session of its own with / as folder. It has ``passed``, and nothing else that holds the task."""
    return subprocess.Popen(  # pylint: disable=ansible-bad-function  # run_command waits for the end
        argv,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        cwd="/",
        env=plain_environment(),
        start_new_session=True,
        pass_fds=(passed,),
    )
