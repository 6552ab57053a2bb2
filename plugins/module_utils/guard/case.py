# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One command before one policy: what the rules for fields look at, and what they leave behind."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from ansible_collections.maqet.qemu.plugins.module_utils.guard.names import shown
from ansible_collections.maqet.qemu.plugins.module_utils.guard.paths import Place
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import Layer
from ansible_collections.maqet.qemu.plugins.module_utils.guard.redact import scrub
from ansible_collections.maqet.qemu.plugins.module_utils.guard.scope import Scope
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Opening, Refusal
from ansible_collections.maqet.qemu.plugins.module_utils.guard.walk import Leaf, Node

_INDEX = re.compile(r"\[\d+\]")


@dataclass
class Case:
    """``base``: this is the host's policy, where what is not named is closed. Another one only takes away, and
    where it says nothing of a matter it takes nothing."""

    command: str
    scope: Scope
    layer: Layer
    base: bool
    nodes: t.Sequence[Node] = ()
    openings: list[Opening] = field(default_factory=list)

    @property
    def places(self) -> tuple[Place, ...]:
        """Where files may be: the VM's own folders, what its definition names, and the policy's roots."""
        roots = self.layer.roots or ()
        return (*self.scope.own, *self.scope.granted.places, *(Place(root.path, root.access) for root in roots))

    @property
    def no_word_on_files(self) -> bool:
        """True of a policy that only takes away and says nothing of files."""
        return not self.base and self.layer.roots is None

    def node_of(self, leaf: Leaf) -> Node | None:
        """The block node that ``leaf`` is an option of."""
        return next((node for node in self.nodes if any(node.options is holder for holder in leaf.holders[-1:])), None)

    def opens(self, opening: Opening) -> None:
        """Note a file that must be opened before the command is sent."""
        if self.base:
            self.openings.append(opening)

    def dotted(self, leaf: Leaf) -> str:
        """The field as policies write it: no numbers in lists."""
        return self.plain(leaf.where)

    @staticmethod
    def plain(where: str) -> str:
        """``options[0].driver`` as policies write it: ``options[].driver``."""
        return _INDEX.sub("[]", where)

    def refuse(self, leaf: Leaf, problem: str, remedy: str, opens: dict[str, t.Any] | None = None) -> Refusal:
        """A refusal of one field; ``opens`` is what to add to the host's policy to allow it."""
        reason = f"{leaf.where} {quoted(leaf.value)} {problem}"
        return Refusal(f"field-{leaf.kind}", reason, remedy, {"policy": opens} if opens else None)

    def by_name(self, leaf: Leaf) -> dict[str, t.Any]:
        """The policy's words that allow exactly this value of this field of this command."""
        return {"commands": {self.command: {"arguments": {self.dotted(leaf): [leaf.value]}}}}


def quoted(value: t.Any) -> str:
    """A value as a reason may repeat it: no secrets, no control characters, not too long."""
    return shown(scrub(value), 200) if isinstance(value, str) else shown(str(value), 60)


def replace_value(leaf: Leaf, text: str) -> None:
    """Put ``text`` where the leaf's value stands, in the arguments that are sent."""
    holder = leaf.holders[-1]
    if leaf.index is None:
        holder[leaf.key] = text
    else:
        holder[leaf.key][leaf.index] = text
