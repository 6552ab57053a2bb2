# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that lead through a folder of some VM's QEMU, which may have put anything there: links to other files too."""

from __future__ import annotations

import errno
import os
import stat

from ansible_collections.maqet.qemu.plugins.module_utils.host import identity

# As many links as the kernel follows (path_resolution(7)).
_MOST = 40


class Misled(OSError):
    """What a QEMU can have put in the way: a link, or a second name of a file; ``filename`` is where."""


def look(path: str) -> os.stat_result:
    """What stat(2) says of the file ``path``, an absolute one; OSError as there, :class:`Misled` if a QEMU could say.

    Links that stand elsewhere are the word of whoever made them.
    """
    at, left, links = "/", path.split("/")[::-1], 0
    status = os.stat(at)
    while left:
        part = left.pop()
        if part in ("", "."):
            continue
        theirs = identity.is_vms(status.st_uid)
        found = os.path.join(at, part)
        status = os.lstat(found)
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if theirs:
                raise Misled(errno.ELOOP, "the QEMU of a VM can have made that link", found)
            if links > _MOST:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            target = os.readlink(found)
            at = "/" if target.startswith("/") else at
            left += target.split("/")[::-1]
            status = os.stat(at)
        elif theirs and stat.S_ISREG(status.st_mode) and status.st_nlink != 1:
            raise Misled(errno.EMLINK, "the QEMU of a VM can have made that second name of a file", found)
        else:
            at = found
    return status
