# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The built-in policy: may this QEMU be sent this command? No verdict is changed once it is made.

Deny wins and unknown means deny. Consent (``allow_dangerous``) opens the rows that ask for it and
no others. Apart from looking up the file names that a rule judges, nothing here touches the host.
"""

from __future__ import annotations

import difflib
import typing as t
from dataclasses import dataclass, field

from ansible_collections.maqet.qemu.plugins.module_utils.guard import commands
from ansible_collections.maqet.qemu.plugins.module_utils.guard.arguments import RULES, Scope
from ansible_collections.maqet.qemu.plugins.module_utils.guard.canonical import canonical
from ansible_collections.maqet.qemu.plugins.module_utils.guard.names import REMEDY, is_name, shown

#: Classes that need nothing but their class, with the level at which they are audited.
_LEVELS: t.Final = {"read": "info", "introspect": "info", "guest": "info", "availability": "warning"}


@dataclass(frozen=True)
class Request:
    """One command as the caller asked for it."""

    command: str
    arguments: dict[str, t.Any] = field(default_factory=dict)
    #: The caller's consent. It widens nothing but the rows that ask for consent.
    allow_dangerous: bool = False
    #: Whom it is for: "qmp" is QEMU itself, "guest" the agent in its guest.
    channel: str = "qmp"


@dataclass(frozen=True)
class Verdict:
    """What was decided, by which rule, and why."""

    decision: str  # "allow" or "deny"
    command_class: str  # one of commands.CLASSES, or "unknown"
    rule: str
    reason: str
    level: str = "info"  # "info" or "warning"
    remedy: str | None = None  # only of a denial: what the caller can do

    @property
    def allowed(self) -> bool:
        """True when the command may be sent."""
        return self.decision == "allow"

    def as_dict(self) -> dict[str, t.Any]:
        """The form in which results, errors and records carry it."""
        out = {
            "decision": self.decision,
            "class": self.command_class,
            "rule": self.rule,
            "reason": self.reason,
            "level": self.level,
        }
        if self.remedy is not None:
            out["remedy"] = self.remedy
        return out


def judge(request: Request, scope: Scope) -> Verdict:
    """Decide about one command. Never raises for anything that a caller can put into a request."""
    refused = _unacceptable(request, scope)
    if refused is not None:
        return refused
    name = request.command
    klass = t.cast(str, commands.class_of(name))
    if name in commands.CONSENT:
        return _by_consent(request, klass, commands.CONSENT[name])
    if name in RULES:
        return _by_rule(request, scope, klass)
    if name in commands.POWERED or (klass not in _LEVELS and klass != "unstable"):
        return _no_rule(request, klass)
    if klass == "unstable" or name in commands.UNSTABLE:
        return _by_consent(request, klass, "QEMU marks it as unstable: a debugging aid that may change or misbehave")
    return Verdict("allow", klass, f"class-{klass}", f"the class {klass} is allowed", _LEVELS[klass])


def _unacceptable(request: Request, scope: Scope) -> Verdict | None:
    """What is wrong with a request whatever its class: name, existence, shape of the arguments."""
    name = request.command
    if not is_name(name):
        return Verdict("deny", "unknown", "name-syntax", f"{shown(name)} is no name of a command", remedy=REMEDY)
    klass = commands.class_of(name)
    if scope.known is not None and name not in scope.known:
        reason = f"this QEMU has no command {name}{_did_you_mean(name, scope.known)}"
        remedy = "query-commands lists what this QEMU knows."
        return Verdict("deny", klass or "unknown", "unknown-command", reason, remedy=remedy)
    if klass is None:
        hint = _did_you_mean(name, commands.CLASS_OF if scope.known is None else scope.known)
        reason = f"nobody has classified the command {name}, so its powers are not known{hint}"
        remedy = "Correct the name; a command that is new in QEMU needs a release of this collection that knows it."
        return Verdict("deny", "unknown", "unclassified", reason, remedy=remedy)
    problem = _bad_shape(request.arguments)
    if problem is not None:
        remedy = "Give the arguments as a dictionary of what the QMP reference names for this command."
        return Verdict("deny", klass, "argument-shape", problem, remedy=remedy)
    return None


def _bad_shape(arguments: object) -> str | None:
    """Why ``arguments`` cannot be the arguments of any command, or None."""
    if not isinstance(arguments, dict):
        return f"arguments must be a dictionary, not {type(arguments).__name__}"
    try:
        canonical(arguments)
    except ValueError as error:
        return f"arguments cannot be written as JSON: {error}"
    return None


def _did_you_mean(name: str, known: t.Iterable[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.75)
    return f" (did you mean {close[0]}?)" if close else ""


def _by_consent(request: Request, klass: str, why: str) -> Verdict:
    if request.allow_dangerous is True:
        return Verdict("allow", klass, "consent", f"{why}; allowed by allow_dangerous", "warning")
    remedy = "Set allow_dangerous: true for this task if you accept that."
    return Verdict("deny", klass, "consent", f"{request.command} needs consent: {why}", remedy=remedy)


def _by_rule(request: Request, scope: Scope, klass: str) -> Verdict:
    problem = RULES[request.command](request.arguments, scope)
    if problem is None:
        return Verdict("allow", klass, "argument-rules", "its arguments reach nothing but the VM's own output folder")
    remedy = "Name a new or regular file inside the VM's own output folder, such as NAME.img."
    return Verdict("deny", klass, "argument-rules", problem, remedy=remedy)


def _no_rule(request: Request, klass: str) -> Verdict:
    what = "its arguments reach beyond the guest" if request.command in commands.POWERED else "it reaches the host"
    reason = f"{request.command} has the class {klass} and {what}, and this release has no rule to judge it"
    remedy = "Consent does not help. Use an option or module that does the same under the guard, where there is one."
    return Verdict("deny", klass, "argument-rules", reason, remedy=remedy)
