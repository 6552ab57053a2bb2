# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""QEMU's schemas, kept by build: asking for one takes QEMU 35 ms and 200 kB, a build never changes its answer.

A schema decides what the guard looks at, so only what one's own QEMU answered may be stored: another user's could
have answered anything under the name of the same program. Loading is safe for every QEMU of that build.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.host.files import make_folder, write_atomic

#: Files that stay in the folder: builds of a host with several emulators, before and after an upgrade.
KEPT = 8

#: Bytes. A schema of QEMU 11 takes 40 kB here; more than this is not one.
MAX_SIZE = 4 * 1024 * 1024

_PREFIX, _SUFFIX = "qmp-schema-", ".json"


def key_of(binary: str, version: str) -> str | None:
    """Name of a build: the program's file, and what QEMU's greeting says of version and package.

    ``binary`` may be ``/proc/PID/exe``, also of a program that has been replaced since. None if it cannot be looked
    at; then there is nothing to load or store by.
    """
    try:
        found = os.stat(binary)
        path = os.path.realpath(binary)
    except (OSError, ValueError):
        return None
    parts = [path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns // 1_000_000, version]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def load(folder: str, key: str) -> t.Any | None:
    """What was stored under ``key``; None if nothing was, or if it is damaged or not ours."""
    try:
        fd = os.open(_path(folder, key), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            if not _ours(os.fstat(fd)):
                return None
            digest, _newline, data = file.read(MAX_SIZE + 1).partition(b"\n")
        if hashlib.sha256(data).hexdigest().encode() != digest:
            return None
        return json.loads(data)
    except (OSError, ValueError, RecursionError):
        return None


def store(folder: str, key: str, value: t.Any) -> None:
    """Keep a plain JSON value under ``key``. A host that cannot be written to does without: no error."""
    data = json.dumps(value, separators=(",", ":")).encode()
    digest = hashlib.sha256(data).hexdigest().encode()
    with contextlib.suppress(OSError):
        make_folder(folder)
        write_atomic(_path(folder, key), digest + b"\n" + data)
        _forget_oldest(folder)


def _path(folder: str, key: str) -> str:
    return os.path.join(folder, f"{_PREFIX}{key}{_SUFFIX}")


def _ours(found: os.stat_result) -> bool:
    """A file that nobody else can have written."""
    return stat.S_ISREG(found.st_mode) and found.st_uid in (0, os.geteuid()) and not found.st_mode & 0o022


def _forget_oldest(folder: str) -> None:
    names = [name for name in os.listdir(folder) if name.startswith(_PREFIX) and name.endswith(_SUFFIX)]
    paths = [os.path.join(folder, name) for name in names]
    for path in sorted(paths, key=lambda path: os.stat(path).st_mtime_ns)[:-KEPT]:
        os.unlink(path)
