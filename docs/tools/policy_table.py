# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference of the policy file, from the data that the file is checked against."""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.docs.tools import rst
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy_schema import HOST, KINDS, Key

#: Keys that repeat the top of the file: a VM's section says what the file says.
_REPEATED: t.Final = "vms"


def table() -> list[str]:
    """A row for each key of the file."""
    rows = [
        [f"``{where}``", _form(key), _default(key), rst.words(_meaning(key))]
        for where, key in _rows(HOST, "")
        if key.meaning
    ]
    return rst.table(["Key", "Value", "Default", "Meaning"], rows, [22, 24, 12, 42])


def kinds() -> list[str]:
    """What the names of kinds in the table stand for."""
    lines = []
    for kind, meaning in KINDS.items():
        if kind not in ("flag", "number", "word"):
            lines += [f"*{kind}*", *(f"    {line}" for line in rst.wrapped(rst.words(meaning) + "."))]
    return lines


def _rows(key: Key, path: str) -> t.Iterator[tuple[str, Key]]:
    """As the data's own walk, but nothing twice: not what keys side by side have in common, nor the sections of VMs."""
    alike = len(key.keys) > 1 and key.keys[0].keys and all(inner.keys == key.keys[0].keys for inner in key.keys)
    for inner in key.keys:
        where = f"{path}.{inner.name}" if path else inner.name
        yield where, inner
        if inner.name != _REPEATED and not alike:
            yield from _rows(inner, where)
    if alike:
        yield from _rows(key.keys[0], f"{path}.<{key.name.rstrip('s')}>")
    if key.item is not None:
        yield from _rows(key.item, f"{path}.<{key.names}>" if key.kind == "map" else f"{path}[]")


def _form(key: Key) -> str:
    if key.choices:
        return ", ".join(f"``{choice}``" for choice in key.choices)
    if key.kind == "number":
        return str(key.lowest) if key.lowest == key.highest else f"{key.lowest} to {key.highest}"
    if key.kind == "flag":
        return "``true``, ``false``"
    if key.kind == "object":
        return "dictionary"
    if key.item is None:
        return f"*{key.kind}*"
    inner = _form(key.item)
    if key.item.short:  # one value may stand for the whole dictionary
        inner = f"{_form(next(one for one in key.item.keys if one.name == key.item.short))}, or dictionary"
    if key.kind == "map":
        return f"dictionary: *{key.names}* to {inner}"
    return f"list of {inner}"


def _default(key: Key) -> str:
    if key.required:
        return "required"
    if key.default is None or key.kind == "object":
        return ""
    if key.default == []:
        return "none"
    return f"``{str(key.default).lower() if isinstance(key.default, bool) else key.default}``"


def _meaning(key: Key) -> str:
    only = ", ".join(f"`{choice}`" for choice in key.widening)
    return key.meaning + (f" Only the host's file may say {only}." if only else "")
