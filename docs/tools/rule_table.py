# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words that a verdict has under ``rule``. The words are read from the guard's source; here is what they mean."""

from __future__ import annotations

import ast
import typing as t
from pathlib import Path

from ansible_collections.maqet.qemu.docs.tools import rst
from ansible_collections.maqet.qemu.plugins.module_utils.guard import judge, rules, rules_values

_GUARD = Path(judge.__file__).parent
#: Which argument of a call is the rule.
_POSITION: t.Final = {"Refusal": 0, "Verdict": 2}

_FINAL: t.Final = "nothing opens it"
_CONSENT: t.Final = "``allow_dangerous: true``"

#: Word -> what it means, and what opens the way where it has refused. In the order in which they are asked.
_MEANINGS: t.Final[dict[str, tuple[str, str]]] = {
    "name-syntax": ("The name is none that QEMU could know.", "the right name"),
    "no-role": ("The host's policy gives this caller no role.", "``roles``"),
    "unknown-command": ("This QEMU has no such command.", "the right name"),
    "unclassified": ("Nobody has classified the command, or the action of a transaction.", _FINAL),
    "policy-unsafe": ("The policy file cannot be used, so only the class read is left.", "a correct file"),
    "argument-shape": ("The arguments are no dictionary, or nothing that JSON can hold.", "right arguments"),
    "reserved": ("It belongs to the runner: its session, its descriptors, its monitors.", _FINAL),
    "no-schema": ("Arguments of a QEMU whose schema is not at hand.", "a running VM"),
    "schema": ("The arguments do not fit the schema of this QEMU.", "right arguments"),
    "unclassified-field": ("Nobody has classified the field.", _FINAL),
    "role": ("The caller's role does not include the command, or what its arguments reach.", "``roles``"),
    "class-*": ("The default of the class.", "``commands``"),
    "policy": ("A policy says so, of the command or of its class.", "that policy"),
    "policy-arguments": ("A policy names this argument, and not with this value.", "one of its values"),
    "argument-rules": ("Allowed: the arguments reach nothing that is closed.", ""),
    "consent": ("It needs the caller's consent, which is there, is missing, or does not count here.", _CONSENT),
    "flag": ("A switch, a number or a type with a power of its own.", "``commands.NAME.arguments``"),
    "image-header": (
        "The header of an image names a file that is closed, or cannot be judged.",
        "``roots``, or naming the file yourself",
    ),
    "runner": ("Allowed: a step of a migration, which the runner makes itself; no caller's wish is judged so.", ""),
    "field-*": ("One field names something that is closed; see below.", "see below"),
}
_ADDRESS: t.Final = "``net``"
_VALUE: t.Final = "``commands.NAME.arguments``"
_ROOTS: t.Final = "``roots``"
#: Kind of field -> the same; the rule's word is ``field-KIND``.
_KINDS: t.Final[dict[str, tuple[str, str]]] = {
    "path-read": ("a file that QEMU reads", _ROOTS),
    "path-rw": ("a file that QEMU reads or writes", _ROOTS),
    "path-write": ("a new file that QEMU writes", _ROOTS),
    "path-listen": ("a unix socket that QEMU makes", f"{_ADDRESS}, {_ROOTS}"),
    "path-connect": ("a unix socket that QEMU connects to", _ADDRESS),
    "path-mount": ("a mount point of the host", _VALUE),
    "blk-filename": ("a medium to insert", _ROOTS),
    "blk-filename-write": ("a new image", _ROOTS),
    "blk-filename-stored": ("a name for the header of an image", _ROOTS),
    "uri-file": ("the target of a dump", _ROOTS),
    "uri-net": ("a URL", f"{_ADDRESS}, {_VALUE}"),
    "uri-exec": ("the target or source of a migration", f"{_ADDRESS}, {_VALUE}"),
    "net-listen": ("an address to listen on", _ADDRESS),
    "net-connect": ("an address to connect to", _ADDRESS),
    "net-target": ("a server's user, pool or path, where no rule knows the server", _VALUE),
    "host-device": ("a device or a network interface of the host", "``devices``"),
    "exec": ("a program or script that QEMU would run", _VALUE),
    "hmp": ("a line for the human monitor beyond a few harmless words", _VALUE),
    "fd": ("a descriptor", _VALUE),
    "qom": ("a property of an object inside QEMU", _VALUE),
    "flag": ("a property of a device with a power of its own", _VALUE),
    "monitor": ("a control channel past the guard", _VALUE),
    "policy": ("who has access to what", _VALUE),
}


def table() -> list[str]:
    """All words, then the kinds of fields. ValueError when the guard has one that is not here, or the reverse."""
    _same("rules", used(), set(_MEANINGS))
    _same("kinds of fields", {k for k, kind in rules.KINDS.items() if kind.rule is not rules_values.plain}, set(_KINDS))
    words = [[f"``{word}``", *said] for word, said in _MEANINGS.items()]
    kinds = [[f"``field-{kind}``", *said] for kind, said in _KINDS.items()]
    return [
        *rst.table(["Rule", "Meaning", "Opened by"], words, [22, 52, 26]),
        "",
        *rst.table(["Rule", "The field names", "Opened by"], kinds, [22, 52, 26]),
    ]


def used() -> set[str]:
    """The rules in the guard's source; ``class-*`` and ``field-*`` stand for all that begin so."""
    found: set[str] = set()
    for file in _GUARD.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _POSITION:
                position = _POSITION[node.func.id]
                found.update(_texts(node.args[position]) if len(node.args) > position else ())
    return found


def _texts(node: ast.expr) -> t.Iterator[str]:
    """Texts that an expression can have, as far as the source shows."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield "field-*" if node.value.startswith("field-") else node.value
    elif isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
        yield str(node.values[0].value).partition("-")[0] + "-*"
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body)
        yield from _texts(node.orelse)


def _same(what: str, code: t.Set[str], here: t.Set[str]) -> None:
    if code != here:
        raise ValueError(f"{what}: without a meaning {sorted(code - here)}, gone from the code {sorted(here - code)}")
