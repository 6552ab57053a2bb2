# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a request whatever a policy says: its name, its form, a caller whom nobody knows."""

from __future__ import annotations

import difflib
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.guard import commands
from ansible_collections.maqet.qemu.plugins.module_utils.guard.canonical import canonical
from ansible_collections.maqet.qemu.plugins.module_utils.guard.names import REMEDY, is_name, shown
from ansible_collections.maqet.qemu.plugins.module_utils.guard.scope import Rights, Scope
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Refusal, Request

#: Never sent for a caller: the runner's own handshake, and descriptors that only the runner has.
_OURS: t.Final[dict[str, str]] = {
    "qmp_capabilities": "the runner has negotiated the session already",
    "add-fd": "descriptors come from the runner alone",
    "getfd": "descriptors come from the runner alone",
    "closefd": "descriptors belong to the runner",
    "remove-fd": "descriptors belong to the runner",
    "get-win32-socket": "descriptors come from the runner alone",
}


def unacceptable(request: Request, scope: Scope, rights: Rights) -> Refusal | None:
    """The first thing that is wrong before anything is weighed, or None. All of it is final."""
    name = request.command
    if not is_name(name):
        return Refusal("name-syntax", f"{shown(name)} is no name of a command", REMEDY, final=True)
    if rights.role is None:
        return unusable(rights, False)
    refusal = _unknown(name, scope) or unusable(rights, commands.class_of(name) == "read")
    if refusal is not None:
        return refusal
    problem = _bad_shape(request.arguments)
    if problem is not None:
        remedy = "Give the arguments as a dictionary of what the QMP reference names for this command."
        return Refusal("argument-shape", problem, remedy, final=True)
    if name in _OURS:
        return Refusal(
            "reserved",
            f"{name} is not for callers: {_OURS[name]}",
            "Name the file itself in the command; the runner passes it on.",
            final=True,
        )
    if scope.schema is None and (request.arguments or name in commands.FIELD_JUDGED):
        reason = "QEMU's schema is not at hand, so arguments cannot be judged"
        return Refusal("no-schema", reason, "Ask while the VM runs, or start it once.", final=True)
    return None


def unusable(rights: Rights, reading: bool) -> Refusal | None:
    """Why these rights are none: no role, or a policy that cannot be used, which leaves nothing but ``reading``."""
    if rights.role is None:
        remedy = "Have the host's policy give this user or one of its groups a role."
        return Refusal("no-role", "this caller has no role on this host", remedy, final=True)
    if rights.policy.problem is not None and not reading:
        remedy = "Correct the policy file; it is read again at the next command."
        return Refusal("policy-unsafe", rights.policy.problem, remedy, final=True)
    return None


def _unknown(name: str, scope: Scope) -> Refusal | None:
    known = None if scope.schema is None else scope.schema.commands
    if known is not None and name not in known:
        reason = f"this QEMU has no command {name}{did_you_mean(name, known)}"
        return Refusal("unknown-command", reason, "query-commands lists what this QEMU knows.", final=True)
    if commands.class_of(name) is None:
        hint = did_you_mean(name, commands.CLASS_OF if known is None else known)
        reason = f"nobody has classified the command {name}, so its powers are not known{hint}"
        remedy = "Correct the name; a command that is new in QEMU needs a release of this collection that knows it."
        return Refusal("unclassified", reason, remedy, final=True)
    return None


def did_you_mean(name: str, known: t.Iterable[str]) -> str:
    """A hint behind a wrong name, or nothing."""
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.75)
    return f" (did you mean {close[0]}?)" if close else ""


def _bad_shape(arguments: object) -> str | None:
    """Why ``arguments`` cannot be the arguments of any command, or None."""
    if not isinstance(arguments, dict):
        return f"arguments must be a dictionary, not {type(arguments).__name__}"
    try:
        canonical(arguments)
    except ValueError as error:
        return f"arguments cannot be written as JSON: {error}"
    return None
