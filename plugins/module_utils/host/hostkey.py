# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A key of this host that nobody else has: audit records mark what was removed from them with it."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import tempfile
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.host import files

#: Bytes: as long as SHA-256, with which it is used (RFC 2104, section 3).
LENGTH = 32


def host_key(path: str) -> t.Optional[bytes]:
    """The key in ``path``, made on first use; None when it cannot be made, or is not only ours to read.

    A command is not refused for want of it: records are then without marks.
    """
    try:
        key = _read(path)
        if key is None and not os.path.lexists(path):
            _make(path)
            key = _read(path)
        return key
    except OSError:
        return None


def _read(path: str) -> t.Optional[bytes]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        found = os.fstat(fd)
        ours = stat.S_ISREG(found.st_mode) and found.st_uid in (0, os.geteuid()) and not found.st_mode & 0o077
        key = os.read(fd, LENGTH + 1) if ours else b""
    finally:
        os.close(fd)
    return key if len(key) == LENGTH else None


def _make(path: str) -> None:
    """Whole or not there, and never in the place of another: of several who make it, one does."""
    folder = os.path.dirname(path)
    files.make_folder(folder)
    fd, temporary = tempfile.mkstemp(dir=folder, prefix=".audit.key.")  # 0600
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(secrets.token_bytes(LENGTH))
            file.flush()
            os.fsync(fd)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        os.unlink(temporary)
    files.sync_folder(folder)
