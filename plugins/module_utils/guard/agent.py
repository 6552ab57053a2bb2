# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict on a command for the guest's agent. Pure: the data, the caller's consent and role, the policy.

Deny wins and unknown means deny, for commands and for fields alike. The host's policy may say something
else about a class or a command; a VM's or a task's can only narrow what the host allows.
"""

from __future__ import annotations

import base64
import binascii
import typing as t
from dataclasses import replace

from ansible_collections.maqet.qemu.plugins.module_utils.guard import agent_commands as data
from ansible_collections.maqet.qemu.plugins.module_utils.guard.canonical import canonical
from ansible_collections.maqet.qemu.plugins.module_utils.guard.conditions import unmet
from ansible_collections.maqet.qemu.plugins.module_utils.guard.names import REMEDY, is_name, shown
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import Layer
from ansible_collections.maqet.qemu.plugins.module_utils.guard.preliminary import did_you_mean, unusable
from ansible_collections.maqet.qemu.plugins.module_utils.guard.roles import role_allows
from ansible_collections.maqet.qemu.plugins.module_utils.guard.scope import Rights
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Request, Verdict

_TYPES: t.Final[dict[str, tuple[type, str]]] = {
    "str": (str, "a string"),
    "int": (int, "an integer"),
    "bool": (bool, "true or false"),
    "base64": (str, "a string in base64"),
    "strings": (list, "a list of strings"),
}
# From the widest to the narrowest.
_DECISIONS: t.Final = ("allow", "consent", "deny")


def judge_guest(request: Request, rights: Rights) -> Verdict:
    """Decide about one command. Never raises for anything that a caller can put into a request."""
    command, arguments = request.command, request.arguments
    if not is_name(command):
        return Verdict("deny", "unknown", "name-syntax", f"{shown(command)} is no name of a command", remedy=REMEDY)
    klass = data.CLASS_OF.get(command)
    if klass is None:
        hint = did_you_mean(command, data.CLASS_OF)
        reason = f"nobody has classified the agent's command {command}, so its powers are not known{hint}"
        remedy = "Correct the name; a command that is new in the agent needs a release of this collection."
        return Verdict("deny", "unknown", "unclassified", reason, remedy=remedy)
    problem = bad_arguments(command, arguments)
    if problem is not None:
        remedy = "Give the arguments as the QEMU guest agent's reference names them for this command."
        return Verdict("deny", klass, "argument-shape", problem, remedy=remedy)
    refusal = unusable(rights, klass == "read")
    if refusal is not None:
        return Verdict("deny", klass, refusal.rule, refusal.reason, remedy=refusal.remedy)
    if not role_allows(rights.role, command, klass):
        name = rights.role.name if rights.role is not None else "none"
        reason = f"the role {name} may not use commands of the class {klass}"
        remedy = "Ask whoever keeps the host's policy for another role."
        return Verdict("deny", klass, "role", reason, remedy=remedy, role=name)
    verdict = _by_policy(request, klass, rights.layers)
    return replace(verdict, role=rights.role.name if rights.role is not None else None)


def _by_policy(request: Request, klass: str, layers: t.Sequence[Layer]) -> Verdict:
    """The host's policy first; the others can only narrow what it says."""
    command = request.command
    decision, rule, source = ("consent" if klass in data.WHY_CONSENT else "allow"), f"class-{klass}", "built-in"
    for layer in layers:
        said = layer.command_rule(command)
        failed = unmet(said.arguments, request.arguments) if said is not None else None
        if failed is not None:
            reason = f"the policy of the {layer.name} has conditions on {command}: {failed[1]}"
            remedy = "Give arguments that the policy allows, or have the policy changed."
            return Verdict("deny", klass, "policy-arguments", reason, remedy=remedy, layer=layer.name)
        word = (said.decision if said is not None else None) or layer.class_rule(klass)
        if word is not None and (layer.name == "host" or _DECISIONS.index(word) > _DECISIONS.index(decision)):
            decision, rule, source = word, "policy", layer.name
    level = "info" if klass in ("read", "introspect", "guest") else "warning"
    if decision == "allow":
        return Verdict("allow", klass, rule, f"the class {klass} is allowed ({source} policy)", level)
    if decision == "deny":
        remedy = "Consent does not help; whoever keeps that policy can allow it."
        return Verdict("deny", klass, rule, f"the {source} policy denies {command}", remedy=remedy, layer=source)
    return _by_consent(command, klass, request.allow_dangerous is True, layers)


def _by_consent(command: str, klass: str, consents: bool, layers: t.Sequence[Layer]) -> Verdict:
    why = data.WHY_CONSENT.get(klass, "a policy asks for consent")
    deaf = next((layer.name for layer in layers if not layer.consent), None)
    if deaf is not None:
        reason = f"{command} needs consent ({why}), and the {deaf} policy does not let consent count"
        remedy = "Consent does not help; whoever keeps that policy can allow the command."
        return Verdict("deny", klass, "consent", reason, remedy=remedy)
    if consents:
        return Verdict("allow", klass, "consent", f"{why}; allowed by allow_dangerous", "warning")
    remedy = "Set allow_dangerous: true for this task if you accept that."
    opens = {"allow_dangerous": True}
    return Verdict("deny", klass, "consent", f"{command} needs consent: {why}", remedy=remedy, allow_with=opens)


def bad_arguments(command: str, arguments: t.Any) -> str | None:
    """What is wrong with the arguments of a known command, or None. The text repeats no value."""
    if not isinstance(arguments, dict):
        return f"arguments must be a dictionary, not {type(arguments).__name__}"
    try:
        canonical(arguments)
    except ValueError as error:
        return f"arguments cannot be written as JSON: {error}"
    return _bad_object(f"{command}'s arguments", "", arguments, data.ARGUMENTS.get(command, ""))


def _bad_object(what: str, where: str, value: dict[str, t.Any], spelled: str) -> str | None:
    fields = dict(part.split(":") for part in spelled.split())
    needed = [name for name in fields if not name.endswith("?")]
    kinds = {name.rstrip("?"): kind for name, kind in fields.items()}
    for name in value:
        if name not in kinds:
            known = f"known are {', '.join(kinds)}" if kinds else "it takes none"
            return f"{where}{shown(name)} is not one of {what}{did_you_mean(name, kinds) or f' ({known})'}"
    for name in needed:
        if name not in value:
            return f"{where}{name} is missing"
    problems = (_bad_value(f"{where}{name}", item, kinds[name]) for name, item in value.items())
    return next((problem for problem in problems if problem is not None), None)


def _bad_value(where: str, value: t.Any, kind: str) -> str | None:
    if kind in data.WORDS:
        return _bad_word(where, value, data.WORDS[kind])
    if kind in data.OBJECTS:
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            return f"{where} must be a list of dictionaries"
        items = (
            _bad_object(f"the fields of {where}", f"{where}[{i}].", x, data.OBJECTS[kind]) for i, x in enumerate(value)
        )
        return next((problem for problem in items if problem is not None), None)
    wanted, words = _TYPES[kind]
    if not _is(value, wanted) or (kind == "strings" and not all(isinstance(item, str) for item in value)):
        return f"{where} must be {words}, not {type(value).__name__ if not isinstance(value, list) else 'this list'}"
    if kind == "base64" and not _is_base64(value):
        return f"{where} must be {words}"
    if any("\0" in text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)):
        return f"{where} holds a NUL, at which the agent would cut it off"
    return None


def _bad_word(where: str, value: t.Any, allowed: tuple[t.Any, ...]) -> str | None:
    if any(_is(value, one) if isinstance(one, type) else value == one for one in allowed):
        return None
    words = ", ".join("true, false" if one is bool else "an integer" if one is int else one for one in allowed)
    return f"{where} must be one of: {words}"


def _is(value: t.Any, wanted: type) -> bool:
    """Whether a value has the JSON type; true is no integer."""
    return isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))


def _is_base64(value: str) -> bool:
    try:
        base64.b64decode(value.replace("\n", "").encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        return False
    return True
