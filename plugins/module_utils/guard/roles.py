# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a unix user may ask of a running VM, by the role that the host's policy gives to user or group."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy_schema import ROLES

#: Role -> the classes that it may use. An admin may use what the policy allows, of whatever class.
CLASSES_OF: t.Final[dict[str, frozenset[str]]] = {
    "viewer": frozenset({"read", "introspect"}),
    "operator": frozenset({"read", "introspect", "guest", "availability"}),
}
#: Role -> commands that it may use besides. A picture of the screen is part of operating a machine.
COMMANDS_OF: t.Final[dict[str, frozenset[str]]] = {
    "viewer": frozenset(),
    "operator": frozenset({"screendump"}),
}
_ADMIN: t.Final = ROLES[-1]


@dataclass(frozen=True)
class Role:
    """The role of one caller. ``commands``: those that the policy adds to what it may."""

    name: str
    commands: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Members:
    """Who has a role, by the kernel's numbers, and what the role may besides its classes."""

    users: frozenset[int] = frozenset()
    groups: frozenset[int] = frozenset()
    commands: frozenset[str] = frozenset()

    def has(self, uid: int, gids: t.Collection[int]) -> bool:
        """Whether a process of this user and these groups is one of them."""
        return uid in self.users or not self.groups.isdisjoint(gids)


@dataclass(frozen=True)
class Roles:
    """All roles of a policy. ``owner``: whose the VMs are; who owns the runner could do without it anyway."""

    owner: int = 0
    members: t.Mapping[str, Members] = field(default_factory=dict)

    def of(self, uid: int, gids: t.Iterable[int]) -> Role | None:
        """The most powerful role of a caller, with the commands that any of its roles adds; None: it has none."""
        groups = frozenset(gids)
        mine = [name for name in ROLES if name in self.members and self.members[name].has(uid, groups)]
        if uid in (0, self.owner):
            mine.append(_ADMIN)
        if not mine:
            return None
        extra = [self.members[name].commands for name in mine if name in self.members]
        return Role(mine[-1], frozenset().union(*extra))


def role_allows(role: Role | None, command: str, klass: str | None) -> bool:
    """Whether a caller with ``role`` may ask for the command at all; the policy decides afterwards."""
    if role is None:
        return False
    if role.name == _ADMIN:
        return True
    allowed = COMMANDS_OF.get(role.name, frozenset()) | role.commands
    return klass in CLASSES_OF.get(role.name, ()) or command in allowed
