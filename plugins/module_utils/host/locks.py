# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One task at a time for each VM: a lock that names its holder and cannot be left behind.

flock(2) belongs to the open file, so the kernel drops it when its holder dies, however it dies.
The file may be removed by its holder, hence the check after each acquisition that what was locked
is still what the name stands for.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.files import make_folder


class _TooLong(Exception):
    """Raised out of flock(2) by the alarm; never leaves this file."""


@contextlib.contextmanager
def locked(path: str, timeout: float, who: str, what: str) -> t.Iterator[None]:
    """Hold ``path`` for the length of the block; wait at most ``timeout`` seconds for it.

    ``who`` tells others who holds the lock, ``what`` is what it stands for. The file and its folder go with the lock if
    nothing else is in the folder. Main thread only: the wait is ended by SIGALRM.
    """
    fd = _acquire(path, timeout, what)
    try:
        _sign(fd, who)
        yield
    finally:
        _release(path, fd)


def _acquire(path: str, timeout: float, what: str) -> int:
    deadline = time.monotonic() + timeout
    while True:
        make_folder(os.path.dirname(path))
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:  # its last holder removed the folder between our two calls
            continue
        try:
            _flock(fd, deadline - time.monotonic())
            if _still_named(fd, path):
                return fd
        except _TooLong:
            holder = _holder(fd)
            os.close(fd)
            raise _busy(what, timeout, holder) from None
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _flock(fd: int, seconds: float, kind: int = fcntl.LOCK_EX) -> None:
    """flock(2) with an end: the alarm interrupts the call, nothing polls."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
        return
    except BlockingIOError:
        if seconds <= 0:
            raise _TooLong() from None

    def end(_signal: int, _frame: t.Any) -> None:
        raise _TooLong()

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        fcntl.flock(fd, kind)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _still_named(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _sign(fd: int, who: str) -> None:
    """Best effort: on a full file system a VM must still be stoppable."""
    with contextlib.suppress(OSError):
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps({"pid": os.getpid(), "who": who, "since": time.time()}).encode(), 0)


def _holder(fd: int) -> dict[str, t.Any]:
    try:
        return dict(json.loads(os.pread(fd, 4096, 0)))
    except ValueError:
        return {}  # it has the lock but has not signed yet


def _busy(what: str, timeout: float, holder: dict[str, t.Any]) -> MaqetError:
    held = "by another task"
    if holder:
        held = f"by {holder['who']} (pid {holder['pid']}) for {max(0, time.time() - holder['since']):.0f} s"
    return MaqetError(
        f"{what} is held {held}; waited {timeout:g} s. Run the tasks one after another, or raise 'timeout'.",
        "vm_busy",
        holder=holder,
    )


#: How long the kernel may take to close the files of a process that it says has ended, in seconds: mostly none at all.
LETTING_GO = 2.0


def is_held(path: str, seconds: float = 0.0) -> bool:
    """Whether anybody holds a lock on this file or folder; False if it is not there. Holders are not disturbed.

    If ``seconds`` are given (main thread only) whoever holds it may let it go until then.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        _flock(fd, seconds, fcntl.LOCK_SH)
    except _TooLong:
        return True
    finally:
        os.close(fd)
    return False


def discard(path: str) -> None:
    """Remove a lock, and its folder, that nobody holds; whoever holds it will remove it."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(path))
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return
    if _still_named(fd, path):
        _release(path, fd)
    else:
        os.close(fd)


def _release(path: str, fd: int) -> None:
    """Let go. A folder with nothing but our lock in it belongs to a VM that does not run: remove both."""
    try:
        if _alone(path):
            os.unlink(path)
            with contextlib.suppress(OSError):  # somebody came in between: then it is theirs
                os.rmdir(os.path.dirname(path))
        else:
            os.ftruncate(fd, 0)
    finally:
        os.close(fd)
    if _alone(path):  # what was beside it went after our look, and who removed it found the lock held
        discard(path)


def _alone(path: str) -> bool:
    try:
        return os.listdir(os.path.dirname(path)) == [os.path.basename(path)]
    except FileNotFoundError:
        return False
