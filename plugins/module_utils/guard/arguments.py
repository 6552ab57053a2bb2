# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for the arguments of commands whose class alone says too little.

A rule looks at the arguments of one command and returns why they are not acceptable, or None.
A command in ``commands.POWERED`` that has no rule here is denied, so the table below is also the
list of what this release can judge. Rules read the file system and change nothing.
"""

from __future__ import annotations

import os
import stat
import typing as t
from dataclasses import dataclass

from ansible_collections.maqet.qemu.plugins.module_utils.guard.names import shown
from ansible_collections.maqet.qemu.plugins.module_utils.guard.redact import scrub


@dataclass(frozen=True)
class Scope:
    """Where a request is to run: what the host, not the caller, knows about this QEMU."""

    #: Absolute path of the VM's own output folder; None for a QEMU that is not ours.
    output: str | None = None
    #: Command names that this QEMU answered to query-commands; None when it was not asked.
    known: frozenset[str] | None = None


#: (arguments, scope) -> why not, or None.
Rule = t.Callable[[dict[str, t.Any], Scope], t.Optional[str]]


def output_file(field: str, others: str = "", prefix: str = "") -> Rule:
    """Rule: QEMU writes the file that ``field`` names, so it must lie in the VM's output folder.

    ``others`` are the further fields of the command (separated by blanks) that reach no host
    resource; a field that is in neither list is refused, since nobody has judged it. ``prefix`` is
    what the value must begin with before the path.
    """
    allowed = frozenset(others.split()) | {field}

    def rule(arguments: dict[str, t.Any], scope: Scope) -> str | None:
        unknown = sorted(set(arguments) - allowed)
        if unknown:
            return f"the argument {shown(unknown[0])} is unknown to the rule of this command"
        value = arguments.get(field)
        if not isinstance(value, str):
            return f"{field} is missing" if value is None else f"{field} must be a string"
        if not value.startswith(prefix):
            return f"{field} {_quoted(value)} does not begin with '{prefix}'"
        problem = outside(value[len(prefix) :], scope.output)
        return None if problem is None else f"{field} {_quoted(value)} {problem}"

    return rule


def _quoted(value: str) -> str:
    """A value as a reason may repeat it: no secrets, no control characters, not too long."""
    return shown(scrub(value), 200)


def outside(name: str, folder: str | None) -> str | None:
    """Why QEMU must not create or overwrite ``name``, or None when it lies in ``folder``.

    A relative name is relative to ``folder``, which is QEMU's working directory.
    """
    if folder is None:
        return "cannot be judged: this QEMU has no output folder that is known here"
    problem = _bad_spelling(name)
    if problem is not None:
        return problem
    try:
        root = os.path.realpath(folder)
        path = os.path.join(root, name)
        parent, base = os.path.split(path)
        real = os.path.realpath(parent)
        if real != root and not real.startswith(root.rstrip("/") + "/"):
            return f"lies outside of the VM's output folder {folder}"
        if not stat.S_ISDIR(os.stat(real).st_mode):
            return "lies in something that is not a folder"
        return _bad_target(os.path.join(real, base))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return f"cannot be resolved: {why}"


def _bad_spelling(name: str) -> str | None:
    """What is wrong with a file name before the file system is asked."""
    if not name:
        return "is empty"
    if any(ord(char) < 32 or ord(char) == 127 for char in name):
        return "holds a control character"
    parts = name.split("/")
    if ".." in parts:
        return "contains '..'"
    if ":" in parts[0]:
        # QEMU's own test (path_has_protocol): a colon before the first slash.
        return "has a protocol: prefix where only a file name may stand"
    if parts[-1] in ("", "."):
        return "names a folder, not a file"
    return None


def _bad_target(path: str) -> str | None:
    """Why the file itself must not be written over, or None (also when it does not exist yet)."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(found.st_mode):
        return "is a symbolic link"
    if not stat.S_ISREG(found.st_mode):
        return "exists and is not a regular file"
    if found.st_nlink > 1:
        return "is a hard link: the same file has another name, maybe outside of the folder"
    return None


#: Command -> its rule.
RULES: dict[str, Rule] = {
    "memsave": output_file("filename", "val size cpu-index"),
    "pmemsave": output_file("filename", "val size"),
    "screendump": output_file("filename", "device head format"),
    "dump-guest-memory": output_file("protocol", "paging detach begin length format", prefix="file:"),
}
