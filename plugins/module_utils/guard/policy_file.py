# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's policy file and a VM's own policy: read when they have changed, and believed only from safe hands."""

from __future__ import annotations

import grp
import hashlib
import json
import math
import os
import pwd
import stat
import time
import typing as t
from dataclasses import replace

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import (
    BUILTIN,
    Layer,
    Policy,
    parse,
    tighten,
    unusable,
)
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy_schema import ALL_CLASSES

#: Bytes of a policy file.
MAX_SIZE = 256 * 1024
# Two changes within one tick of the kernel's clock leave the same times; a file that is younger than this
# when it is looked at, in nanoseconds, is looked at again.
_SETTLED = 100_000_000
# What a stat says that must be the same for the content to be the same.
_Stamp = t.Optional[t.Tuple[int, ...]]
_FILE_STAMP = 8
# Names in the policy become numbers when it is read, so it is read again when one of these has changed.
_ACCOUNTS = ("/etc/passwd", "/etc/group")
# Other sources of accounts (LDAP) have no file to look at. Names that are not known are looked up again after so
# many seconds: at boot such a source may be late.
_UNKNOWN_NAMES = 10.0


class PolicySource:
    """The host's policy as it is now. Each look costs four stats; the file is read only when they differ."""

    def __init__(
        self, path: str, load_yaml: t.Callable[[bytes], t.Any], told: t.Callable[[Policy], None] | None = None
    ) -> None:
        """``load_yaml``: bytes to a value, or ValueError in words; see ``host/yaml_reader.py``.

        ``told`` is called with each policy that differs from the one before.
        """
        self.path = path
        self._told = told
        self._last: Policy | None = None
        self._load = load_yaml
        #: What was seen, what it meant, and until when (time.monotonic).
        self._known: tuple[tuple[_Stamp, ...], Policy, float] | None = None

    def current(self) -> Policy:
        """The policy that holds now. Never raises: a file that cannot be used is a policy with a ``problem``."""
        looked = time.time_ns()
        found = (_stamp(os.path.dirname(self.path), folder=True), *map(_stamp, (self.path, *_ACCOUNTS)))
        known = self._known
        if known is not None and known[0] == found and time.monotonic() < known[2]:
            return known[1]
        policy = self._read().owned_by(os.geteuid())
        # What was read may be newer than what was looked at, never older: then the next look differs again.
        until = time.monotonic() + _UNKNOWN_NAMES if policy.warnings else math.inf
        self._known = (found, policy, until) if _settled(found, looked) else None
        if self._told is not None and policy != self._last:
            self._told(policy)
        self._last = policy
        return policy

    def _read(self) -> Policy:
        try:
            data = _trusted(self.path)
            if data is None:
                return BUILTIN
            value = self._load(data)
            return parse(value, self.path, hashlib.sha256(data).hexdigest(), _user, _group)
        except (MaqetError, ValueError, RecursionError) as error:
            return unusable(self.path, _problem(self.path, str(error)))
        except OSError as error:
            return unusable(self.path, _problem(self.path, f"it cannot be read: {error.strerror or error}"))


class VmPolicySource:
    """The option ``policy`` of one VM as its definition says it now; a change of it needs no restart."""

    def __init__(self, definition: str) -> None:
        """``definition``: path of the VM's definition.json."""
        self._path = definition
        #: What was seen (None: it may have changed since), and what it meant.
        self._known: tuple[_Stamp, Layer | None] | None = None

    def current(self) -> Layer | None:
        """The VM's layer, or None: it says nothing. A definition that is damaged leaves nothing but ``read``."""
        looked = time.time_ns()
        found = _stamp(self._path)
        known = self._known
        if known is not None and (known[0] == found or found is None):
            return known[1]  # a definition that is gone while its VM runs has not been widened by that
        try:
            layer = self._read()
        except FileNotFoundError:  # gone since we looked, or it was never there
            return known[1] if known is not None else None
        self._known = (found if _settled((found,), looked) else None, layer)
        return layer

    def _read(self) -> Layer | None:
        try:
            with open(self._path, encoding="utf-8") as file:
                policy = json.load(file)["intent"].get("policy")
            return tighten("vm", policy) if policy is not None else None
        except FileNotFoundError:
            raise
        except (OSError, MaqetError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
            closed = {klass: "deny" for klass in ALL_CLASSES if klass != "read"}
            return replace(Layer("vm"), classes=closed, consent=False)


def _problem(path: str, why: str) -> str:
    return f"the policy file {path} cannot be used, so nothing but the class read is allowed: {why.rstrip('.')}"


def _stamp(path: str, folder: bool = False) -> _Stamp:
    """What tells one state of a file from another; of a folder only what makes it safe: it has other files too."""
    try:
        found = os.lstat(path)
    except OSError as error:
        return None if isinstance(error, (FileNotFoundError, NotADirectoryError)) else (error.errno or 0,)
    safe = (found.st_dev, found.st_ino, found.st_uid, found.st_gid, found.st_mode)
    return safe if folder else (*safe, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _settled(stamps: t.Iterable[_Stamp], looked: int) -> bool:
    """Whether no change after ``looked`` (time.time_ns) can leave the same stamps; those of folders have no times."""
    return all(looked - stamp[-1] > _SETTLED for stamp in stamps if stamp is not None and len(stamp) == _FILE_STAMP)


def _trusted(path: str) -> bytes | None:
    """The content of a file that only root or we ourselves can have written; None: there is none.

    Raises ValueError for one that somebody else may have written, OSError for one that cannot be opened.
    """
    name = os.path.basename(path)
    try:
        above = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise ValueError(f"{os.path.dirname(path)} is no folder, or a symbolic link. Put the folder there") from None
    try:
        _safe(os.path.dirname(path), os.fstat(above))
        try:  # O_NONBLOCK: the open of a FIFO must not wait for a writer
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=above)
        except FileNotFoundError:
            return None
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise ValueError(f"{path} is no regular file. Put a file there")
            _safe(path, found)
            with os.fdopen(fd, "rb", closefd=False) as file:  # of a folder it would fail and leave it open
                data = file.read(MAX_SIZE + 1)
        finally:
            os.close(fd)
    except OSError as error:
        if os.path.islink(path):
            raise ValueError(f"{path} is a symbolic link. Put the file itself there") from None
        raise error
    finally:
        os.close(above)
    if len(data) > MAX_SIZE:
        raise ValueError(f"it has more than {MAX_SIZE} bytes. Make it smaller")
    return data


def _safe(path: str, found: os.stat_result) -> None:
    owners = {0, os.geteuid()}
    if found.st_uid not in owners:
        owner = "root" if owners == {0} else f"root or user {os.geteuid()}"
        raise ValueError(f"{path} belongs to user {found.st_uid}. It must belong to {owner}: chown 0 {path}")
    if found.st_mode & 0o022:
        mode = stat.S_IMODE(found.st_mode)
        raise ValueError(f"{path} has the mode {mode:04o}: others may write to it. Close it: chmod go-w {path}")


def _user(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def _group(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None
