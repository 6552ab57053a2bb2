# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception that crosses rooms: a sentence for people, a stable word for programs.

This file is the alphabet of the house: every room may import it, and it imports nothing.
"""

from __future__ import annotations

import errno
import os
import sys
import typing as t

# What an older Python says of code that it does not know leads nowhere. Every module imports this file before any other
# of ours, so this is what its user reads; it has to stay readable to the Pythons that it is about.
if sys.version_info < (3, 9):  # noqa: UP036
    raise RuntimeError(
        "maqet.qemu needs Python 3.9 or later on the managed host, and {} is {}.{}.{}. Set ansible_python_interpreter "
        "to a newer one, such as /usr/bin/python3.11.".format(sys.executable, *sys.version_info[:3])
    )


class MaqetError(Exception):
    """Something that the user can act on.

    ``error_code`` is one of the stable words that playbooks may test (``vm_not_found``,
    ``policy_denied``, ...); ``details`` end up beside it in the task's result, and must be
    serialisable as JSON and free of secrets.
    """

    def __init__(self, message: str, error_code: str, **details: t.Any) -> None:
        super().__init__(message)
        self.error_code = error_code
        self.details = details

    def as_dict(self) -> dict[str, t.Any]:
        """The form in which an error travels over the runner's socket."""
        return {"error_code": self.error_code, "message": str(self), **self.details}

    @classmethod
    def from_dict(cls, data: dict[str, t.Any]) -> MaqetError:
        """The other end of :meth:`as_dict`."""
        rest = dict(data)
        return cls(rest.pop("message"), rest.pop("error_code"), **rest)


def of_host(error: OSError) -> MaqetError:
    """What the host's kernel refused, in the form that users know: ``host_error``, with the file if there is one."""
    what = error.strerror or repr(error)
    where = f"{error.filename}: " if error.filename else ""
    remedy = f" {access_remedy()}." if error.errno == errno.EACCES else ""
    return MaqetError(f"The host refused: {where}{what}.{remedy}", "host_error", errno=error.errno)


def access_remedy() -> str:
    """What to do about a file that this user may not use. Modes and owners never stand in root's way."""
    if os.geteuid() != 0:
        return "Change its mode or owner, or run the task as another user (become)"
    return (
        "Only SELinux, AppArmor or a network file system refuse something to root. What it was, the end of dmesg says, "
        "or ausearch -m avc -ts recent"
    )


def as_maqet(error: MaqetError | OSError) -> MaqetError:
    """The same error as one that a task can report."""
    return error if isinstance(error, MaqetError) else of_host(error)


def invalid_option(option: str, value: t.Any, problem: str, remedy: str) -> MaqetError:
    """An option that cannot be: names the option, the value and the remedy, in that order."""
    return MaqetError(f"{option}: {value!r} {problem}. {remedy}", "invalid_option", option=option, value=value)
