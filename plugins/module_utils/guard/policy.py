# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A policy: what the host's file, a VM's option or a task's option says. Built from plain data, touches nothing."""

from __future__ import annotations

import fnmatch
import typing as t
from dataclasses import dataclass, field, replace

from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy_check import check
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy_schema import HOST, TIGHTENING
from ansible_collections.maqet.qemu.plugins.module_utils.guard.roles import Members, Role, Roles

#: A name of a user or group -> its number, or None if the host has none such.
Lookup = t.Callable[[str], t.Optional[int]]


@dataclass(frozen=True)
class Root:
    """A folder (all below it) or one file that QEMU may be given."""

    path: str
    access: str  # "read" or "write", which includes reading

    def grants(self, access: str) -> bool:
        """Whether this access is included."""
        return self.access == "write" or access == "read"


@dataclass(frozen=True)
class CommandRule:
    """What is said of one command. ``arguments``: see ``conditions.py``."""

    decision: str | None = None  # "allow", "consent" or "deny"; None: what class and built-in rules say
    arguments: t.Mapping[str, tuple[t.Any, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Layer:
    """What one policy says about one VM. None means that it says nothing; an empty tuple says "nothing at all"."""

    name: str  # "host", "vm" or "task", as verdicts show it
    mode: str = "enforce"  # only the host's may be "permissive"
    consent: bool = True  # whether allow_dangerous counts
    roots: tuple[Root, ...] | None = None
    listen: tuple[str, ...] | None = None
    connect: tuple[str, ...] | None = None
    devices: tuple[str, ...] | None = None
    classes: t.Mapping[str, str] = field(default_factory=dict)
    commands: t.Mapping[str, CommandRule] = field(default_factory=dict)

    def command_rule(self, command: str) -> CommandRule | None:
        """What is said of this very command, or None."""
        return self.commands.get(command)

    def class_rule(self, klass: str) -> str | None:
        """The decision for a whole class, or None."""
        return self.classes.get(klass)


#: What the host's policy says where there is no file: the built-in rules alone, and consent counts.
_BASE: t.Final = Layer("host", roots=(), listen=(), connect=(), devices=())


@dataclass(frozen=True)
class Policy:
    """The host's policy. With a ``problem`` nothing but the class read is allowed, for those who still have a role."""

    id: str = "builtin"  # or the file's path
    sha256: str | None = None  # of the file
    problem: str | None = None  # what is wrong with the file, and the remedy
    base: Layer = _BASE
    #: (glob, what that section says, as checked), in the order of the file.
    sections: tuple[tuple[str, t.Mapping[str, t.Any]], ...] = ()
    roles: Roles = field(default_factory=Roles)
    #: What works, but not as it seems to be meant.
    warnings: tuple[str, ...] = ()

    def layer(self, vm: str | None) -> Layer:
        """What holds for the VM of this name; None: for a QEMU that has none of our names."""
        layer = self.base
        for glob, section in self.sections if vm is not None else ():
            if fnmatch.fnmatchcase(str(vm), glob):
                layer = _laid_over(layer, section)
        return layer

    def role_of(self, uid: int, gids: t.Iterable[int]) -> Role | None:
        """The role of a user with these groups, its primary one included; None: it has none."""
        return self.roles.of(uid, gids)

    def owned_by(self, uid: int) -> Policy:
        """The same policy on VMs of this user, who is always their admin."""
        return replace(self, roles=replace(self.roles, owner=uid))


def nobody(_name: str) -> int | None:
    """The lookup of a host without users or groups."""
    return None


def parse(data: t.Any, id: str, sha256: str | None = None, user: Lookup = nobody, group: Lookup = nobody) -> Policy:  # pylint: disable=redefined-builtin
    """The policy that the file's content says. MaqetError ``invalid_option`` names key, value and remedy."""
    checked = check(HOST, "", data, host=True)
    roles, warnings = _roles(checked.get("roles", {}), user, group)
    return Policy(
        id,
        sha256,
        base=_laid_over(_BASE, checked),
        sections=tuple(checked.get("vms", {}).items()),
        roles=roles,
        warnings=warnings,
    )


def unusable(id: str, problem: str) -> Policy:  # pylint: disable=redefined-builtin
    """The policy of a host whose file cannot be trusted or read."""
    return Policy(id, problem=problem, base=replace(_BASE, consent=False))


def tighten(name: str, data: t.Any) -> Layer:
    """The option ``policy`` of a VM or a task: it narrows what the host allows.

    Raises MaqetError ``invalid_option``, also for what reads as if it could widen that.
    """
    checked = check(TIGHTENING, "policy", data, host=False)
    return _laid_over(Layer(name), checked)


def _laid_over(layer: Layer, section: t.Mapping[str, t.Any]) -> Layer:
    """What the section gives replaces what was there: lists as a whole, classes and commands one by one."""
    said: dict[str, t.Any] = {key: section[key] for key in ("mode", "consent", "devices") if key in section}
    said.update({key: section["net"][key] for key in ("listen", "connect") if key in section.get("net", {})})
    if "roots" in section:
        said["roots"] = tuple(Root(root["path"], root.get("access", "read")) for root in section["roots"])
    said["classes"] = {**layer.classes, **section.get("classes", {})}
    rules = {
        name: CommandRule(rule.get("decision"), rule.get("arguments", {}))
        for name, rule in section.get("commands", {}).items()
    }
    said["commands"] = {**layer.commands, **rules}
    return replace(layer, **said)


def _roles(data: t.Mapping[str, t.Mapping[str, t.Any]], user: Lookup, group: Lookup) -> tuple[Roles, tuple[str, ...]]:
    warnings: list[str] = []
    members = {}
    for role, who in data.items():
        ids = {}
        for kind, lookup in (("users", user), ("groups", group)):
            given = who.get(kind, ())
            found = {one: one if isinstance(one, int) else lookup(one) for one in given}
            warnings += [
                f"roles.{role}.{kind}: this host has no {kind[:-1]} {one!r}" for one in given if found[one] is None
            ]
            ids[kind] = frozenset(number for number in found.values() if number is not None)
        members[role] = Members(ids["users"], ids["groups"], frozenset(who.get("commands", ())))
    return Roles(members=members), tuple(warnings)


#: No file: the built-in rules, and nobody but root has a role.
BUILTIN: t.Final = Policy()
