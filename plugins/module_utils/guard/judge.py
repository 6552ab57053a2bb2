# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""May this QEMU be sent this command, with these arguments, for this caller? No verdict is changed once it is made.

In this order: the name, QEMU's own schema, the class of every field, the caller's role, the host's policy,
and the policies that can only take away. Deny wins and unknown means deny. Apart from looking up the
files that a request names, nothing here touches the host.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from ansible_collections.maqet.qemu.plugins.module_utils.guard import commands
from ansible_collections.maqet.qemu.plugins.module_utils.guard.case import Case, quoted
from ansible_collections.maqet.qemu.plugins.module_utils.guard.conditions import argument_matches, unmet
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import Layer
from ansible_collections.maqet.qemu.plugins.module_utils.guard.preliminary import unacceptable
from ansible_collections.maqet.qemu.plugins.module_utils.guard.roles import role_allows
from ansible_collections.maqet.qemu.plugins.module_utils.guard.rules import power_of, rule_of
from ansible_collections.maqet.qemu.plugins.module_utils.guard.rules_block import node
from ansible_collections.maqet.qemu.plugins.module_utils.guard.rules_flags import Consent, flags
from ansible_collections.maqet.qemu.plugins.module_utils.guard.rules_net import remote_node
from ansible_collections.maqet.qemu.plugins.module_utils.guard.rules_values import reserved, tap_without_name
from ansible_collections.maqet.qemu.plugins.module_utils.guard.scope import Rights, Scope
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Opening, Refusal, Request, Verdict
from ansible_collections.maqet.qemu.plugins.module_utils.guard.walk import Leaf, Walk, walk

__all__ = ["Request", "Verdict", "judge"]

#: What a class says where no policy does, of a command whose fields do not decide.
_DEFAULTS: t.Final = {
    "read": "allow",
    "introspect": "allow",
    "guest": "allow",
    "availability": "allow",
    "unstable": "consent",
    "disclosure": "consent",
    "host-net": "deny",
    "host-file": "deny",
    "host-exec": "deny",
}
#: Classes that are audited as warnings.
_WARNING: t.Final = frozenset({"availability", "host-net", "host-exec"})

#: Fields of these kinds are opened by a policy's roots alone, never by naming their text.
_ONLY_BY_ROOTS: t.Final = ("path-", "blk-filename", "uri-file")
#: Kinds in which a policy's ``*`` means nothing: a program is named letter by letter.
_NO_GLOBS: t.Final = frozenset({"exec", "uri-exec", "hmp"})


@dataclass(frozen=True)
class _Matter:
    """One command, or one action of a transaction, with all that its schema says of it."""

    command: str
    arguments: dict[str, t.Any]
    klass: str
    walk: Walk
    where: str = ""


@dataclass(frozen=True)
class _Finding:
    """What one policy says: a refusal, or whether consent is needed, and the files to open."""

    refusal: Refusal | None = None
    consent: str | None = None
    openings: tuple[Opening, ...] = ()


def judge(request: Request, scope: Scope, rights: Rights | None = None) -> Verdict:
    """Decide about one command. Never raises for anything that a caller can put into a request."""
    rights = Rights() if rights is None else rights
    klass = commands.class_of(request.command) if isinstance(request.command, str) else None
    role = rights.role.name if rights.role is not None else None
    refusal = unacceptable(request, scope, rights)
    if refusal is not None:
        return _denied(refusal, klass, role, None)
    matters = _matters(request, scope)
    if isinstance(matters, Refusal):
        return _denied(matters, klass, role, None)
    klass = t.cast(str, klass)
    refusal = _not_this_role(matters, rights)
    powers = {power for matter in matters for power in _powers(matter)}
    also = tuple(power for power in commands.CLASSES if power in powers - {klass, "guest"})
    if refusal is not None:
        return replace(_denied(refusal, klass, role, None), also=also)
    verdict = _by_policies(request, scope, rights, matters, klass, role)
    return replace(verdict, also=also)


def _matters(request: Request, scope: Scope) -> list[_Matter] | Refusal:
    """The request, and for a transaction each of its actions, against the schema and the classification."""
    if scope.schema is None:  # only what has no arguments, which `unacceptable` has made sure of
        empty = Walk([], [], [], None)
        return [_Matter(request.command, request.arguments, str(commands.class_of(request.command)), empty)]
    whole = walk(scope.schema, request.command, request.arguments)
    if whole.problem is not None:
        remedy = f"See {request.command} in QEMU's QMP reference."
        return Refusal("schema", whole.problem, remedy, final=True)
    unknown = next((leaf for leaf in whole.leaves if rule_of(leaf) is None), None)
    if unknown is not None:
        reason = f"nobody has classified the field {unknown.where} of {request.command}, so its power is not known"
        remedy = "Leave it out; a field that is new in QEMU needs a release of this collection that knows it."
        return Refusal("unclassified-field", reason, remedy, final=True)
    found = [_Matter(request.command, request.arguments, str(commands.class_of(request.command)), whole)]
    if request.command != "transaction":
        return found
    found[0] = replace(found[0], walk=Walk([], [], [], None))
    for where, action, data in whole.actions:
        if action == "abort":  # no command: it makes the transaction fail
            continue
        klass = commands.class_of(action)
        if klass is None:
            return Refusal("unclassified", f"{where}: nobody has classified the action {quoted(action)}", final=True)
        found.append(_Matter(action, data, klass, walk(scope.schema, action, data), where))
    return found


def _powers(matter: _Matter) -> tuple[str, ...]:
    """The classes of what one command really reaches, in rising power."""
    found = {power_of(leaf) for leaf in matter.walk.leaves}
    found.add("guest" if matter.command in commands.FIELD_JUDGED else matter.klass)
    if matter.command in commands.ENDING:
        found.add("availability")
    if matter.klass not in ("guest", "availability") and len(found) > 1:
        found.discard("guest")
    return tuple(name for name in commands.CLASSES if name in found)


def _not_this_role(matters: t.Sequence[_Matter], rights: Rights) -> Refusal | None:
    """Each command, and each action of a transaction, must be one that the role may use."""
    for matter in matters:
        for power in reversed(_powers(matter)):
            if rights.role is not None and not role_allows(rights.role, matter.command, power):
                named = "an" if rights.role.name[0] in "aeiou" else "a"
                reason = f"{named} {rights.role.name} may not use {matter.command} of the class {power}"
                remedy = "Ask somebody with a higher role, or have the host's policy add the command to this role."
                opens = {"policy": {"roles": {rights.role.name: {"commands": [matter.command]}}}}
                return Refusal("role", reason, remedy, opens, final=True)
    return None


def _by_policies(
    request: Request, scope: Scope, rights: Rights, matters: list[_Matter], klass: str, role: str | None
) -> Verdict:
    """The host's policy first, then what can only take away; a permissive host says what it would have denied."""
    permitted: Verdict | None = None
    consent: str | None = None
    openings: tuple[Opening, ...] = ()
    for layer in rights.layers:
        base = layer is rights.host
        found = _by_layer(matters, scope, layer, base)
        refusal = found.refusal
        if refusal is None and found.consent is not None:
            refusal = _consent(request, rights, layer, found.consent)
            consent = consent or found.consent
        if refusal is None:
            openings += found.openings
        elif base and layer.mode == "permissive" and not refusal.final:
            permitted = Verdict("allow", klass, refusal.rule, f"would be denied: {refusal.reason}", "warning")
            permitted = replace(permitted, mode="permissive", role=role, layer=layer.name)
        else:
            return _denied(refusal, klass, role, layer.name if rights.policy.id != "builtin" or not base else None)
    if permitted is not None:
        return permitted
    level = "warning" if consent is not None or klass in _WARNING else "info"
    if consent is not None:
        reason = f"{consent}; allowed by allow_dangerous"
        return Verdict("allow", klass, "consent", reason, level, role=role, openings=openings)
    said = rights.host.command_rule(request.command)
    if said is not None and said.decision == "allow":
        reason = f"the host's policy allows {request.command} by name"
        return Verdict("allow", klass, "policy", reason, level, role=role, layer=rights.host.name, openings=openings)
    if said is not None and any(path in said.arguments for path in _named(matters)):
        reason = f"the host's policy names what {request.command} may be given"
        return Verdict("allow", klass, "policy", reason, level, role=role, layer=rights.host.name, openings=openings)
    if request.command in commands.FIELD_JUDGED:
        reason = "its arguments reach nothing that is closed"
        return Verdict("allow", klass, "argument-rules", reason, level, role=role, openings=openings)
    return Verdict(
        "allow", klass, f"class-{klass}", f"the class {klass} is allowed", level, role=role, openings=openings
    )


def _named(matters: t.Sequence[_Matter]) -> t.Iterator[str]:
    """The fields of this request, as policies write them."""
    return (Case.plain(leaf.where) for matter in matters for leaf in matter.walk.leaves)


def _consent(request: Request, rights: Rights, layer: Layer, why: str) -> Refusal | None:
    """Whether the caller's consent is there and counts."""
    closed = next((one for one in rights.layers if not one.consent), None)
    if closed is not None:
        reason = (
            f"{request.command} needs consent: {why}; and the policy of the {closed.name} does not let consent count"
        )
        if closed.name != "host":
            return Refusal("consent", reason, f"Take consent: false out of the option policy of the {closed.name}.")
        opens = {"policy": {"commands": {request.command: "allow"}}}
        remedy = f"Have the host's policy say commands: {{{request.command}: allow}}, or drop its consent: false."
        return Refusal("consent", reason, remedy, opens)
    if request.allow_dangerous is True:
        return None
    remedy = "Set allow_dangerous: true for this task if you accept that."
    return Refusal("consent", f"{request.command} needs consent: {why}", remedy, {"allow_dangerous": True})


def _by_layer(matters: t.Sequence[_Matter], scope: Scope, layer: Layer, base: bool) -> _Finding:
    consent: str | None = None
    openings: list[Opening] = []
    for matter in matters:
        found = _matter_by_layer(matter, scope, layer, base)
        if found.refusal is not None:
            if not matter.where:
                return found
            reason = f"{matter.where} ({matter.command}): {found.refusal.reason}"
            return replace(found, refusal=replace(found.refusal, reason=reason))
        consent = consent or found.consent
        openings += found.openings
    return _Finding(None, consent, tuple(openings))


def _matter_by_layer(matter: _Matter, scope: Scope, layer: Layer, base: bool) -> _Finding:
    rule = layer.command_rule(matter.command)
    conditions = rule.arguments if rule is not None else {}
    decision, why = _decision(matter, layer, base)
    if decision == "deny":
        opens = {"policy": {"commands": {matter.command: "allow"}}} if base else None
        remedy = f"Have the host's policy say commands: {{{matter.command}: allow}}." if base else _take_out(layer)
        return _Finding(Refusal("policy" if layer.name != "host" else _said_by(matter, layer), why, remedy, opens))
    wrong = unmet(conditions, matter.arguments)
    if wrong is not None:
        remedy = "Use one of the values that the policy names."
        return _Finding(Refusal("policy-arguments", wrong[1], remedy))
    case = Case(matter.command, scope, layer, base, matter.walk.nodes)

    def lifted(where: str) -> bool:
        """Whether the policy names this argument, whose value has met the condition just above."""
        return base and case.plain(where) in conditions

    refusal = next(filter(None, (_field(leaf, case, conditions) for leaf in matter.walk.leaves)), None)
    refusal = refusal or next(filter(None, (node(one, case, lifted) for one in matter.walk.nodes)), None)
    refusal = refusal or next(filter(None, (remote_node(one, case, lifted) for one in matter.walk.nodes)), None)
    if refusal is None and base and matter.command == "netdev_add":
        refusal = tap_without_name(matter.arguments)
    if refusal is not None:
        return _Finding(
            refusal if base or refusal.final else replace(refusal, remedy=_take_out(layer), allow_with=None)
        )
    answer = flags(matter.command, matter.arguments, case, lifted)
    if isinstance(answer, Refusal):
        return _Finding(answer)
    consent = answer.why if isinstance(answer, Consent) else why if decision == "consent" else None
    return _Finding(None, consent, tuple(case.openings))


def _take_out(layer: Layer) -> str:
    if layer.name == "migration":
        return "The VM moves to another host: wait until that has ended, or run maqet_migrate on it again."
    return f"Take what denies it out of the option policy of the {layer.name}."


def _field(leaf: Leaf, case: Case, conditions: t.Mapping[str, t.Tuple[t.Any, ...]]) -> Refusal | None:
    """One field: the runner's own plumbing, then what the policy names, then the rule of its kind."""
    refusal = reserved(leaf)
    if refusal is not None:
        return refusal
    kind = leaf.kind or ""
    by_name = case.base and not kind.startswith(_ONLY_BY_ROOTS)
    if by_name and argument_matches(conditions, case.dotted(leaf), leaf.value, globs=kind not in _NO_GLOBS):
        return None
    rule = rule_of(leaf)
    return None if rule is None else rule(leaf, case)


def _decision(matter: _Matter, layer: Layer, base: bool) -> tuple[str, str]:
    """What the layer says of the command as such: allow, consent or deny, and why."""
    rule = layer.command_rule(matter.command)
    if rule is not None and rule.decision is not None:
        return rule.decision, f"the policy of the {layer.name} says so of {matter.command}"
    said = layer.class_rule(matter.klass)
    if not base:
        return said or "allow", f"the policy of the {layer.name} says so of the class {matter.klass}"
    if matter.command in commands.CONSENT and said != "deny":
        return "consent", commands.CONSENT[matter.command]
    unstable = matter.command in commands.UNSTABLE
    if said is None and unstable:
        said = layer.class_rule("unstable") or "consent"
        return said, "QEMU marks it as unstable: a debugging aid that may change or misbehave"
    if said is not None:
        return said, f"the policy of the {layer.name} says so of the class {matter.klass}"
    if matter.command in commands.FIELD_JUDGED:
        return "allow", ""
    default = _DEFAULTS[matter.klass]
    if default == "deny":
        return default, f"{matter.command} has the class {matter.klass} and no policy allows it"
    return default, "it gives away what the guest holds, or decides who sees it"


def _said_by(matter: _Matter, layer: Layer) -> str:
    rule = layer.command_rule(matter.command)
    named = (rule is not None and rule.decision is not None) or layer.class_rule(matter.klass) is not None
    return "policy" if named else f"class-{matter.klass}"


def _denied(refusal: Refusal, klass: str | None, role: str | None, layer: str | None) -> Verdict:
    return Verdict(
        "deny",
        klass or "unknown",
        refusal.rule,
        refusal.reason,
        remedy=refusal.remedy,
        allow_with=refusal.allow_with,
        role=role,
        layer=layer,
    )
