# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting what outlives the runner: QEMU and its helpers, each with a log that it holds a lock on."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.commands import plain_environment


def locked_log(path: str, stack: contextlib.ExitStack) -> int:
    """A log for a process to inherit. As long as it lives, the kernel says so: the lock is the open file's."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    stack.callback(os.close, fd)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def spawn(
    argv: t.Sequence[str], log_fd: int, passed: tuple[int, ...], folder: str, rights: t.Mapping[str, t.Any]
) -> subprocess.Popen[bytes]:
    """A process of a session of its own in ``folder``. ``rights`` are Popen's: user, groups, environment."""
    try:
        return subprocess.Popen(  # pylint: disable=ansible-bad-function  # the runner is no module
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log_fd,
            stderr=log_fd,
            pass_fds=passed,
            cwd=folder,
            start_new_session=True,
            **{"env": plain_environment(), **rights},
        )
    except (OSError, subprocess.SubprocessError) as error:
        whom = f" as uid {rights['user']}" if "user" in rights else ""
        raise MaqetError(f"{argv[0]} could not be started{whom}: {error}.", "qemu_failed") from None
