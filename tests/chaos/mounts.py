# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""mount(2), which mount(8) refuses to anybody but root, also where the kernel would not: in namespaces of one's own."""

from __future__ import annotations

import ctypes
import os
import typing as t

# mount(2) and umount2(2): linux/mount.h
_RDONLY, _REMOUNT, _BIND = 0x1, 0x20, 0x1000
_DETACH = 0x2


def tmpfs(path: str, size: int | None = None, mode: int = 0o755) -> None:
    """An empty file system of ``size`` bytes over a folder."""
    options = f"mode={mode:o}" + ("" if size is None else f",size={size}")
    _mount("none", path, "tmpfs", 0, options)


def bind(source: str, path: str) -> None:
    """A file or folder at another place, too."""
    _mount(source, path, None, _BIND, None)


def read_only(path: str) -> None:
    """A file or folder over itself, where it can be read only; what is open for writing stays so."""
    bind(path, path)
    _mount("none", path, None, _BIND | _REMOUNT | _RDONLY, None)


def unmount(path: str) -> None:
    """Take the uppermost mount away, also if somebody still uses it."""
    _call("umount2", os.fsencode(path), _DETACH)


def _mount(source: str, path: str, kind: str | None, flags: int, options: str | None) -> None:
    words = [None if word is None else os.fsencode(word) for word in (source, path, kind)]
    _call("mount", *words, ctypes.c_ulong(flags), None if options is None else options.encode())


def _call(name: str, *arguments: t.Any) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}", arguments)
