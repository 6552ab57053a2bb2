# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files copied byte by byte, holes left holes, the host's file system doing what it can of it; and their digests."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import typing as t

# ioctl_ficlone(2): share the blocks of another file, on Btrfs, XFS and their like.
_FICLONE = 0x40049409
# Bytes at a time: often enough for a sign of life, seldom enough to cost nothing.
_STEP = 8 << 20
# What copy_file_range(2) says where it cannot be used, between file systems or on an old kernel.
_UNABLE = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EIO)

Heard = t.Callable[[float], None]


def sha256(fd: int, heard: Heard) -> str:
    """The digest of a whole file, as hexadecimal digits; ``heard`` gets the bytes read so far."""
    digest = hashlib.sha256()
    at = 0
    while True:
        data = os.pread(fd, _STEP, at)
        if not data:
            return digest.hexdigest()
        digest.update(data)
        at += len(data)
        heard(at)


def reflink(source: int, target: int) -> bool:
    """Make ``target`` share the blocks of ``source``: at once, and without taking room. False if that cannot be."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def copy(source: int, target: int, heard: Heard) -> None:
    """Copy a file into an empty one, its data only: where it has holes, so will the copy. Durable at the end."""
    size = os.fstat(source).st_size
    at = 0
    while at < size:
        start = _data(source, at, size)
        if start == size:
            break
        end = os.lseek(source, start, os.SEEK_HOLE)
        at = start
        while at < end:
            done = _part(source, target, at, min(_STEP, end - at))
            if done == 0:  # the file has become shorter
                end = size = at
            at += done
            heard(at)
    os.ftruncate(target, size)
    os.fsync(target)
    heard(size)


def _data(fd: int, at: int, size: int) -> int:
    """Where data begin, at or behind ``at``; ``size`` if there are no more."""
    try:
        return os.lseek(fd, at, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return size


def _part(source: int, target: int, at: int, count: int) -> int:
    try:
        return os.copy_file_range(source, target, count, at, at)
    except OSError as error:
        if error.errno not in _UNABLE:
            raise
    data = os.pread(source, count, at)
    written = 0
    while written < len(data):
        written += os.pwrite(target, data[written:], at + written)
    return written
