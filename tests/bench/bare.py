# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""QEMU without any of us: ``qemu -daemonize`` with the arguments of one of our VMs."""

from __future__ import annotations

import concurrent.futures
import contextlib
import re
import subprocess
import time
import typing as t
from pathlib import Path

from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import command_line, of_pid


def argv(ours: t.Sequence[str], folder: Path, name: str) -> list[str]:
    """The words that start a QEMU as ours, which has left its starter. Pure.

    What the runner has opened for ours it opens by itself, in ``folder``: sockets, and the log of its serial port. The
    sandbox is a little wider, since ``-daemonize`` is a fork and a session, and comes after it.
    """
    words: list[str] = []
    rest = iter(ours)
    for word in rest:
        if word == "-add-fd":
            next(rest)
            continue
        word = re.sub(r"^socket,id=([\w-]+),fd=\d+", rf"socket,id=\1,path={folder}/{name}-\1.sock", word)
        word = re.sub(r"path=/dev/fdset/\d+", f"path={folder}/{name}.serial", word)
        word = re.sub(r",(spawn|elevateprivileges)=deny", "", word) if words[-1:] == ["-sandbox"] else word
        words.append(re.sub(r"^guest=[^,]+", f"guest={name}", word))
    return [*words, "-pidfile", str(pid_file(folder, name)), "-daemonize"]


def pid_file(folder: Path, name: str) -> Path:
    """Where such a QEMU writes its pid."""
    return folder / f"{name}.pid"


@contextlib.contextmanager
def running(pid: int, folder: Path, names: t.Sequence[str], at_once: int) -> t.Iterator[float]:
    """Start QEMUs as that of ``pid``, so many at once; the seconds until all have left their starters. Ends them."""
    ours = command_line(pid)
    folder.mkdir(exist_ok=True)

    def start(name: str) -> None:
        words = argv(ours, folder, name)
        done = subprocess.run(words, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        if done.returncode != 0:
            raise RuntimeError(f"a bare QEMU ended with status {done.returncode}")

    try:
        with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
            begun = time.perf_counter()
            for _done in pool.map(start, names):
                pass
            spent = time.perf_counter() - begun
        yield spent
    finally:
        _end([pid_file(folder, name) for name in names])


def _end(files: t.Iterable[Path]) -> None:
    found = [of_pid(int(path.read_text("ascii"))) for path in files if path.exists()]
    for process in filter(None, found):
        process.kill()
    for process in filter(None, found):
        process.wait_gone(30)
