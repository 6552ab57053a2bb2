# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are whole or not there: written beside, synced and renamed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import stat
import tempfile
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError

# What mkstemp makes of the names in write_atomic: the pid, and eight characters of its own.
_UNFINISHED = r"\..+\.([0-9]+)\.[a-z0-9_]{8}"

# As much is read at once when a file is copied, in bytes.
_BLOCK = 64 * 1024


def make_folder(path: str) -> None:
    """Make ``path`` and its parents, closed to everybody else; leave an existing folder as it is."""
    while True:
        try:
            os.makedirs(path, mode=0o700, exist_ok=True)
            return
        except FileExistsError:  # it is something else, or it was there and its last user has just removed it
            with contextlib.suppress(FileNotFoundError):
                if not stat.S_ISDIR(os.lstat(path).st_mode):
                    raise


def make_passable(path: str) -> None:
    """Make ``path``, and let everybody pass through it to names that they know; nobody else may list it."""
    make_folder(path)
    if stat.S_IMODE(os.stat(path).st_mode) != 0o711:
        os.chmod(path, 0o711)  # noqa: S103  # its purpose; not of makedirs: the umask takes part there, and an older folder may be closed


def sync_folder(path: str) -> None:
    """Make the names in a folder durable: fsync(2) of a file says nothing about its name."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomic(path: str, data: bytes, mode: int = 0o600, durable: bool = True) -> None:
    """Replace ``path`` by ``data``: a reader sees the old content or the new one, nothing between.

    With ``durable`` this also holds after the power has failed; it costs a wait for the disk.
    """
    with _replaced(path, mode, durable) as file:
        file.write(data)


def copy_atomic(source: str, path: str) -> None:
    """Replace ``path`` by a copy of ``source`` of mode 600, durable like :func:`write_atomic`; zeros become holes."""
    with open(source, "rb") as reader, _replaced(path, 0o600, True) as writer:
        while block := reader.read(_BLOCK):
            if block.count(0) == len(block):
                writer.seek(len(block), os.SEEK_CUR)
            else:
                writer.write(block)
        writer.truncate()


@contextlib.contextmanager
def _replaced(path: str, mode: int, durable: bool) -> t.Iterator[t.BinaryIO]:
    """A file that takes the place of ``path`` when the block has written it, and else leaves nothing."""
    folder = os.path.dirname(path)
    fd, temporary = tempfile.mkstemp(dir=folder, prefix=f".{os.path.basename(path)}.{os.getpid()}.")
    try:
        with os.fdopen(fd, "wb") as file:
            os.fchmod(fd, mode)
            yield file
            file.flush()
            if durable:
                os.fsync(fd)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    if durable:
        sync_folder(folder)


def forget_unfinished(folder: str) -> list[str]:
    """Remove what :func:`write_atomic` left in ``folder`` when its process was killed; the names."""
    try:
        found = [(name, re.fullmatch(_UNFINISHED, name)) for name in os.listdir(folder)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    stale = [name for name, match in found if match and not os.path.exists(f"/proc/{match.group(1)}")]
    for name in stale:
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):  # a folder is none of ours
            os.unlink(os.path.join(folder, name))
    return stale


def write_json(path: str, value: t.Any) -> None:
    """Replace ``path`` by ``value`` as JSON that a person can read."""
    write_atomic(path, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())


def read_json(path: str) -> t.Any:
    """The value in ``path``, or None if there is no such file.

    A file that is not JSON is a ``state_unsafe`` error: nothing of ours writes half a file, so
    somebody else did, and guessing would be worse than stopping.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError) as error:
        raise MaqetError(
            f"{path} is not valid JSON ({error}). It was changed by something else: restore it from a backup, "
            "or move it away and define the VM again.",
            "state_unsafe",
            path=path,
        ) from None


def rotate(path: str) -> None:
    """Keep the last content of a log as ``path.1``, so that a new start begins with an empty one."""
    with contextlib.suppress(FileNotFoundError):
        os.replace(path, f"{path}.1")


def tail(path: str, lines: int = 15, size: int = 4096) -> str:
    """The last ``lines`` lines within the last ``size`` bytes of a log, or '' if there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - size))
            text = file.read(size).decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.strip().splitlines()[-lines:])


def remove(path: str) -> None:
    """Remove a file or a whole folder that may not be there; never follows a link."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def is_block_device(path: str) -> bool:
    """Whether ``path`` leads to one; not if it leads nowhere, which others say better."""
    try:
        return stat.S_ISBLK(os.stat(path).st_mode)
    except OSError:
        return False
