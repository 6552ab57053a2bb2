# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of all commands of QEMU 7.2 with what each role gets by default, as the judge itself decides it."""

from __future__ import annotations

import collections
import tempfile
import typing as t
from pathlib import Path

from ansible_collections.maqet.qemu.docs.tools import rst
from ansible_collections.maqet.qemu.docs.tools.samples import THERE, Arguments, entries, requests
from ansible_collections.maqet.qemu.plugins.module_utils.guard import commands, rules_flags
from ansible_collections.maqet.qemu.plugins.module_utils.guard.judge import judge
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import BUILTIN
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy_schema import ROLES
from ansible_collections.maqet.qemu.plugins.module_utils.guard.roles import Role
from ansible_collections.maqet.qemu.plugins.module_utils.guard.schema import Schema
from ansible_collections.maqet.qemu.plugins.module_utils.guard.scope import Rights, Scope
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Request

#: What a cell of the table can say, and in words. The first three make a command usable without a policy file.
WORDS: t.Final[dict[str, str]] = {
    "allow": "whatever its arguments",
    "arguments": "by its arguments",
    "consent": "with ``allow_dangerous: true``",
    "policy": "only where the host's policy allows it",
    "never": "kept for the runner",
}
USABLE: t.Final = ("allow", "arguments", "consent")

#: Arguments decide: the guard weighs what they name, or some switch among them.
_WEIGHED = commands.FIELD_JUDGED | rules_flags.COMMANDS

Verdicts = t.Dict[str, t.Dict[str, str]]  # command -> role -> word


def verdicts() -> Verdicts:
    """What each role gets from each command, where there is no policy file."""
    schema = entries()
    with tempfile.TemporaryDirectory() as home:
        for name in ("output", "disks"):
            Path(home, name).mkdir()
        Path(home, "output", THERE).write_bytes(bytes(512))
        scope = Scope("web1", home, Schema.of(schema))
        return {
            command: {role: _word(command, arguments, scope, role) for role in ROLES}
            for command, arguments in requests(schema, commands.FIELD_JUDGED).items()
        }


def _word(command: str, arguments: Arguments, scope: Scope, role: str) -> str:
    rights = Rights(BUILTIN, BUILTIN.layer(scope.vm), (), Role(role))
    plain, consented = (judge(Request(command, arguments, consent), scope, rights) for consent in (False, True))
    for verdict in (plain, consented):
        if verdict.rule in ("schema", "unclassified", "unclassified-field", "unknown-command"):
            raise ValueError(f"{command} {arguments}: {verdict.reason}")
    if plain.allowed:
        return "arguments" if command in _WEIGHED else "allow"
    if consented.allowed:
        return "consent"
    return "never" if plain.rule == "reserved" else "policy"


def table() -> list[str]:
    """The counts in a sentence for each role, and the table."""
    found = verdicts()
    lines = []
    for role in ROLES:
        count = collections.Counter(words[role] for words in found.values())
        usable = sum(count[word] for word in USABLE)
        parts = ", ".join(f"{count[word]} {WORDS[word]}" for word in USABLE if count[word])
        article = "An" if role[0] in "ao" else "A"
        lines.append(f"* {article} **{role}** can use **{usable}** of the {len(found)} commands: {parts}.")
    lines.append("")
    rows = [[f"``{name}``", commands.CLASS_OF[name], *words.values()] for name, words in found.items()]
    return lines + rst.table(["Command", "Class", *(role.capitalize() for role in ROLES)], rows, [36, 16, 16, 16, 16])
