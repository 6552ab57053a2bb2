# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A descriptor that the guard opened, on its way to QEMU.

QEMU is handed the open file instead of a name that could mean another file a moment later, and
needs no right of its own to open it (QEMU QMP reference: add-fd, getfd).
"""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass

#: How QEMU is to refer to the file: ``procfd`` opens ``/proc/self/fd/N`` (for commands that open a plain file
#: name), ``fdset`` is ``/dev/fdset/N`` (for block nodes and others that QEMU opens by its own rules), ``getfd`` is
#: a name that the monitor knows.
How = t.Literal["procfd", "fdset", "getfd"]


@dataclass
class Passed:
    """One open file. Whoever sends the command takes it over, and closes it whatever happens."""

    fd: int
    how: How
    #: Called with what QEMU shall read in place of the caller's words; rewrites the arguments.
    put: t.Callable[[str], None]

    def release(self) -> int:
        """The descriptor, which is the caller's to close from now on; -1 if somebody else has it."""
        fd, self.fd = self.fd, -1
        return fd

    def close(self) -> None:
        """Close our end; a second time does nothing."""
        fd = self.release()
        if fd >= 0:
            os.close(fd)
