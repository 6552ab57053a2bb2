# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a file name leads, found out by opening it folder by folder, never by comparing texts alone.

Each component is opened below the one before with ``O_NOFOLLOW`` (openat(2)): no ``..``, no symbolic
link and no race leads out of the folder where the walk began. Nothing is created or changed here.
"""

from __future__ import annotations

import contextlib
import os
import stat
import typing as t
from dataclasses import dataclass

#: Bytes: PATH_MAX and NAME_MAX of Linux, without the NUL.
_PATH_MAX, _NAME_MAX = 4095, 255

#: Trees of the kernel, where a name is a door and no file; no policy opens them as a folder.
_KERNEL = ("/proc", "/sys", "/dev/fd", "/dev/fdset")


@dataclass(frozen=True)
class Place:
    """A folder, or one file, in which names may be used. ``access`` is "read" or "write"."""

    path: str
    access: str
    #: The VM's own: a second name (hard link) of what is in there is nothing that we made.
    own: bool = False


@dataclass(frozen=True)
class Found:
    """Where a name leads. ``kind``: missing, file, folder, block, char, socket or other."""

    path: str
    base: str
    parts: tuple[str, ...]
    place: Place
    kind: str
    status: os.stat_result | None = None

    @property
    def identity(self) -> tuple[int, int] | None:
        """Device and inode; None of what does not exist."""
        return (self.status.st_dev, self.status.st_ino) if self.status else None


class Misleading(Exception):
    """A name that may not be used; the text says why, and reads on after the quoted name."""


def check_spelling(name: str) -> None:
    """Raise Misleading for a name that is suspect before the file system is asked."""
    if not name:
        raise Misleading("is empty")
    if any(ord(char) < 32 or ord(char) == 127 for char in name):
        raise Misleading("holds a control character")
    try:
        raw = os.fsencode(name)
    except UnicodeEncodeError:
        raise Misleading("holds half of a surrogate pair, which no file name can") from None
    parts = name.split("/")
    if ".." in parts:
        raise Misleading("contains '..'")
    if ":" in parts[0]:
        # QEMU's own test for a protocol (path_has_protocol): a colon before the first slash.
        raise Misleading("has a protocol: prefix where only a file name may stand")
    if "," in name:
        # Harmless in JSON, but QEMU copies names into option strings of its own, where a comma begins an option.
        raise Misleading("contains a comma")
    if len(raw) > _PATH_MAX or any(len(os.fsencode(part)) > _NAME_MAX for part in parts):
        raise Misleading("is longer than a file name can be")
    if parts[-1] in ("", "."):
        raise Misleading("names a folder, not a file")


def locate(name: str, places: t.Sequence[Place], relative_to: str | None) -> Found:
    """Find ``name`` in the first of ``places`` that holds it.

    A relative name is one in the folder ``relative_to``. Raises Misleading when it lies in none, or
    when something on its way is not what it seems.
    """
    check_spelling(name)
    if not name.startswith("/"):
        if relative_to is None:
            raise Misleading("is relative, and nothing here says to which folder; give it in full")
        name = f"{relative_to}/{name}"
    path = "/" + "/".join(part for part in name.split("/") if part not in ("", "."))
    if any(path == tree or path.startswith(f"{tree}/") for tree in _KERNEL):
        raise Misleading("lies in /proc, /sys or /dev/fd, where names are no files")
    outside = Misleading("lies outside of the VM's own folder and of every root that the host's policy names")
    for place in places:
        for prefix in dict.fromkeys((place.path.rstrip("/"), _real(place.path))):
            if path == prefix:
                return _single(path, place)
            if path.startswith(f"{prefix}/"):
                return _walk(path, prefix, path[len(prefix) + 1 :], place)
    raise outside


def reopen(base: str, parts: t.Sequence[str], flags: int, mode: int = 0o600) -> int:
    """Open what :func:`locate` found, again component by component; OSError, or Misleading, if it changed."""
    if not parts:
        return os.open(base, flags | os.O_CLOEXEC | os.O_NOFOLLOW)
    folder = _folder(base)
    try:
        for part in parts[:-1]:
            folder = _below(folder, part)
        return os.open(parts[-1], flags | os.O_CLOEXEC | os.O_NOFOLLOW, mode, dir_fd=folder)
    finally:
        os.close(folder)


def _real(path: str) -> str:
    """The name that an administrator's own symbolic links lead to."""
    with contextlib.suppress(OSError, ValueError):
        return os.path.realpath(path).rstrip("/")
    return path.rstrip("/")


def _single(path: str, place: Place) -> Found:
    """A place that is the very file; links in the policy's own words are the administrator's."""
    base = _real(place.path)
    try:
        status = os.lstat(base)
    except OSError as error:
        raise Misleading(f"cannot be looked at: {error.strerror}") from None
    return Found(path, base, (), place, _kind(status), status)


def _walk(path: str, prefix: str, rest: str, place: Place) -> Found:
    base, parts = _real(prefix), tuple(rest.split("/"))
    try:
        folder = _folder(base)
        try:
            for part in parts[:-1]:
                folder = _below(folder, part)
            status = _look(folder, parts[-1])
        finally:
            os.close(folder)
    except FileNotFoundError:
        raise Misleading("lies in a folder that does not exist") from None
    except OSError as error:
        raise Misleading(f"cannot be resolved: {error.strerror or error}") from None
    real = "/".join((base, *parts))
    if status is None:
        return Found(real, base, parts, place, "missing")
    if stat.S_ISLNK(status.st_mode):
        raise Misleading("is a symbolic link")
    if status.st_nlink > 1 and stat.S_ISREG(status.st_mode) and (place.own or place.access == "write"):
        raise Misleading("is a hard link: the same file has another name, maybe outside of the folder")
    return Found(real, base, parts, place, _kind(status), status)


def _folder(path: str) -> int:
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)


def _below(folder: int, part: str) -> int:
    """Step into ``part`` and close ``folder``, which stays open when that fails: the caller closes it then."""
    status = os.stat(part, dir_fd=folder, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        raise Misleading(f"leads through {part!r}, a symbolic link")
    inner = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder)
    os.close(folder)
    return inner


def _look(folder: int, part: str) -> os.stat_result | None:
    try:
        return os.stat(part, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


_KINDS: tuple[tuple[t.Callable[[int], bool], str], ...] = (
    (stat.S_ISREG, "file"),
    (stat.S_ISDIR, "folder"),
    (stat.S_ISBLK, "block"),
    (stat.S_ISCHR, "char"),
    (stat.S_ISSOCK, "socket"),
)


def _kind(status: os.stat_result) -> str:
    return next((kind for test, kind in _KINDS if test(status.st_mode)), "other")
