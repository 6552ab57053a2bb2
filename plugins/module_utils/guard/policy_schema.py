# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every key of a policy, as data: what validates a policy, and what its reference is generated from."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from ansible_collections.maqet.qemu.plugins.module_utils.guard import agent_commands
from ansible_collections.maqet.qemu.plugins.module_utils.guard.commands import CLASSES

#: Of QMP commands, and of the guest agent's.
ALL_CLASSES: t.Final = (*CLASSES, *(name for name in agent_commands.CLASSES if name not in CLASSES))

#: The only version of the file's form so far.
VERSION: t.Final = 1

MODES: t.Final = ("enforce", "permissive")
#: From the widest to the narrowest.
DECISIONS: t.Final = ("allow", "consent", "deny")
ACCESS: t.Final = ("read", "write")
ROLES: t.Final = ("viewer", "operator", "admin")

#: Kinds of single values, for people. ``policy_check.py`` has a function for each.
KINDS: t.Final[dict[str, str]] = {
    "flag": "`true` or `false`",
    "number": "a whole number",
    "word": "one of a few words",
    "path": "an absolute path without `..`, of a folder (all below it) or of one file",
    "address": "`HOST:PORT`, `HOST:FIRST-LAST`, `HOST:*`, `[IPV6]:PORT`, or `unix:/PATH`. Addresses compare by "
    "value, names letter by letter. All interfaces (`0.0.0.0`, `[::]`, or no host at all as in `:4444`) are matched "
    "only by a pattern that names them in the same way",
    "device": "the name of a network interface, in which `*` stands for any characters, or the absolute path of one "
    "device",
    "user": "a user's name or number",
    "group": "a group's name or number",
    "command": "the name of a command of QMP or of the guest agent that this release has classified",
    "class": f"one of the classes {', '.join(ALL_CLASSES)}",
    "glob": "a VM's name, in which `*`, `?` and `[...]` match as in a shell",
    "argument": "an argument's path with `[]` for the items of a list, such as `channels[].addr.host`",
    "value": "a text (`*` stands for any characters, but never in what QEMU would run), a number, `FIRST..LAST` for a "
    "range of numbers, `true`, `false` or `null`",
}


@dataclass(frozen=True)
class Key:
    """One key, or (in a ``map``) all keys of one kind.

    ``kind``: one of KINDS, or ``object`` (the fixed ``keys``), ``map`` (any key of the kind ``names``, each with
    ``item``) or ``list`` (of ``item``). ``short``: a text may stand for the whole object, and is the value of that key.
    ``default`` is what holds where the key is left out; None: nothing is said.
    """

    name: str
    kind: str
    meaning: str
    default: t.Any = None
    keys: tuple[Key, ...] = ()
    names: str = ""
    item: Key | None = None
    choices: tuple[str, ...] = ()
    short: str = ""
    required: bool = False
    lowest: int = 0
    highest: int = 0
    #: Among ``choices``: what only the host's own policy may say.
    widening: tuple[str, ...] = ()


def _list_of(name: str, kind: str, meaning: str, default: t.Any = None) -> Key:
    return Key(name, "list", meaning, default, item=Key("", kind, ""))


_ROOT = Key(
    "",
    "object",
    "a folder or file",
    keys=(
        Key("path", "path", "The folder, or the one file.", required=True),
        Key("access", "word", "`write` includes `read`.", "read", choices=ACCESS),
    ),
    short="path",
)

_RULE = Key(
    "",
    "object",
    "what holds for one command",
    keys=(
        Key(
            "decision",
            "word",
            "`allow` sends it, `consent` sends it with `allow_dangerous`, `deny` never sends it. "
            "Left out: what its class and the built-in rules say.",
            choices=DECISIONS,
            widening=("allow",),
        ),
        Key(
            "arguments",
            "map",
            "Conditions. An argument that is named here must, where it is present, have one of the values; "
            "and it needs no further permission from the rules for addresses, devices, programs, QOM and flags. Paths "
            "are opened by `roots` alone.",
            names="argument",
            item=_list_of("", "value", ""),
        ),
    ),
    short="decision",
)

_LAYER: t.Final = (
    Key(
        "mode",
        "word",
        "`permissive` sends what the policy denies, and records that it would have been denied.",
        "enforce",
        choices=MODES,
        widening=("permissive",),
    ),
    Key("consent", "flag", "Whether a task's `allow_dangerous: true` counts.", True),
    Key("roots", "list", "Files and folders that QEMU may be given, besides the VM's own.", [], item=_ROOT),
    Key(
        "net",
        "object",
        "Network and unix sockets.",
        keys=(
            _list_of("listen", "address", "Where QEMU may be told to listen.", []),
            _list_of("connect", "address", "Where QEMU may be told to connect to.", []),
        ),
    ),
    _list_of("devices", "device", "Devices and interfaces of the host that QEMU may be given.", []),
    Key(
        "classes",
        "map",
        "A decision for all commands of a class. Arguments are judged all the same.",
        names="class",
        item=Key("", "word", "", choices=DECISIONS, widening=("allow",)),
    ),
    Key("commands", "map", "A rule for one command; it goes before that of its class.", names="command", item=_RULE),
)

_ROLE = (
    _list_of("users", "user", "Users that have it.", []),
    _list_of("groups", "group", "Groups whose members have it.", []),
    _list_of("commands", "command", "Commands that it may use beyond its classes.", []),
)

#: The host's policy file.
HOST: t.Final = Key(
    "",
    "object",
    "the policy",
    keys=(
        Key("version", "number", "Version of this form.", required=True, lowest=VERSION, highest=VERSION),
        *_LAYER,
        Key(
            "roles",
            "object",
            "Who may use running VMs besides root, who always may. One who has several has the most powerful.",
            keys=(
                Key("viewer", "object", "May use the classes read and introspect.", keys=_ROLE),
                Key("operator", "object", "Also guest and availability, and screendump.", keys=_ROLE),
                Key("admin", "object", "All that the policy allows.", keys=_ROLE),
            ),
        ),
        Key(
            "vms",
            "map",
            "Sections for some VMs. Those that match are laid over the rest in the order of the file: a list replaces "
            "the list before it; classes and commands are replaced one by one.",
            names="glob",
            item=Key("", "object", "a section", keys=_LAYER),
        ),
    ),
)


def _unsaid(key: Key) -> Key:
    """The same key without defaults: a tightening policy that leaves something out says nothing about it."""
    return replace(key, default=None, keys=tuple(_unsaid(inner) for inner in key.keys))


#: The option ``policy`` of maqet_vm and maqet_qmp: it can only tighten.
TIGHTENING: t.Final = Key("", "object", "the policy", keys=tuple(_unsaid(key) for key in _LAYER))


def rows(key: Key = HOST, path: str = "") -> t.Iterator[tuple[str, Key]]:
    """Every key with its dotted path, depth first, for the reference; ``<kind>`` stands for a map's keys."""
    for inner in key.keys:
        where = f"{path}.{inner.name}" if path else inner.name
        yield where, inner
        yield from rows(inner, where)
    if key.kind == "map" and key.item is not None:
        yield from rows(key.item, f"{path}.<{key.names}>")
    if key.kind == "list" and key.item is not None:
        yield from rows(key.item, f"{path}[]")
