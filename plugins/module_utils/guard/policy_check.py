# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checking a policy against its table of keys. Every error names the key, the value and the remedy."""

from __future__ import annotations

import difflib
import posixpath
import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard import agent_commands
from ansible_collections.maqet.qemu.plugins.module_utils.guard.addresses import parse_address
from ansible_collections.maqet.qemu.plugins.module_utils.guard.commands import CLASS_OF
from ansible_collections.maqet.qemu.plugins.module_utils.guard.names import shown
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy_schema import ALL_CLASSES, KINDS, Key

#: Items of a list and keys of a map at most: every command is measured against all of them.
MAX_ITEMS = 4096
#: Characters of one text.
MAX_TEXT = 4096
#: The highest user or group id; the one above stands for "none" in chown(2).
MAX_ID = 2**32 - 2

_CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_INTERFACE = re.compile(r"[A-Za-z0-9_.*@-]{1,15}")
_ACCOUNT = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.@\\-]{0,254}\$?")
_ARGUMENT = re.compile(r"[A-Za-z0-9_-]+(?:\[\])*(?:\.[A-Za-z0-9_-]+(?:\[\])*)*")
_GLOB = re.compile(r"[A-Za-z0-9_.*?!\[\]-]{1,128}")
# Not one folder but the whole host, its processes or its kernel.
_TOO_WIDE = ("/", "/dev")
_NO_FILES = ("/proc", "/sys")


def wrong(where: str, value: t.Any, problem: str, remedy: str) -> MaqetError:
    """``invalid_option`` for any value that YAML or JSON can hold."""
    plain = isinstance(value, bool) or value is None or (isinstance(value, int) and abs(value) < 2**64)
    words = repr(value) if plain else shown(value, 120)
    return MaqetError(f"{where}: {words} {problem}. {remedy}", "invalid_option", option=where, value=words)


def check(key: Key, where: str, value: t.Any, host: bool) -> t.Any:
    """``value`` in its normal form: of objects the keys that were given, of short forms the long one.

    ``host``: it is the host's own policy, which may also widen what is built in.
    """
    if key.kind == "object":
        return _object(key, where, value, host)
    if key.kind == "map":
        return _map(key, where, value, host)
    if key.kind == "list":
        if not isinstance(value, (list, tuple)):
            raise wrong(where, value, "is no list", f"Give a list, even for a single one{_of(key.item)}.")
        _few(where, value)
        return tuple(check(_item(key), f"{where}[{index}]", one, host) for index, one in enumerate(value))
    if key.kind == "word":
        return _word(key, where, value, host)
    if key.kind == "number":
        if isinstance(value, bool) or not isinstance(value, int) or not key.lowest <= value <= key.highest:
            amount = str(key.lowest) if key.lowest == key.highest else f"a whole number, {key.lowest} to {key.highest}"
            raise wrong(where, value, "is not possible here", f"Give {amount}.")
        return value
    return CHECKS[key.kind](where, value)


def _item(key: Key) -> Key:
    if key.item is None:  # the table's own promise for lists and maps, see its test
        raise AssertionError(key.name)
    return key.item


def _of(item: Key | None) -> str:
    return f" of {KINDS[item.kind]}" if item is not None and item.kind in KINDS else ""


def _few(where: str, value: t.Sized) -> None:
    if len(value) > MAX_ITEMS:
        raise wrong(where, value, f"has {len(value)} entries", f"Give at most {MAX_ITEMS}.")


def _object(key: Key, where: str, value: t.Any, host: bool) -> dict[str, t.Any]:
    known = [inner.name for inner in key.keys]
    if key.short and isinstance(value, (str, bool)):
        value = {key.short: value}
    if not isinstance(value, t.Mapping):
        raise wrong(where or "policy", value, "is no dictionary", f"Give a dictionary of: {', '.join(known)}.")
    for name in value:
        if name not in known:
            remedy = f"{_did_you_mean(name, known)}Known here: {', '.join(known)}."
            raise wrong(_below(where, name), value[name], "is under a key that is unknown here", remedy)
    out = {}
    for inner in key.keys:
        if inner.name in value:
            out[inner.name] = check(inner, _below(where, inner.name), value[inner.name], host)
        elif inner.required:
            raise wrong(_below(where, inner.name), None, "will not do: the key is missing", f"Add '{inner.name}:'.")
    return out


def _map(key: Key, where: str, value: t.Any, host: bool) -> dict[str, t.Any]:
    if not isinstance(value, t.Mapping):
        raise wrong(where, value, "is no dictionary", f"Give a dictionary whose keys are each {KINDS[key.names]}.")
    _few(where, value)
    return {
        CHECKS[key.names](_below(where, name), name): check(_item(key), _below(where, name), inner, host)
        for name, inner in value.items()
    }


def _word(key: Key, where: str, value: t.Any, host: bool) -> str:
    remedy = f"Choose one of: {', '.join(key.choices)}."
    if isinstance(value, bool):
        raise wrong(where, value, "is a boolean", f"{remedy} YAML reads on, off, yes and no as booleans: quote words.")
    if not isinstance(value, str) or value not in key.choices:
        raise wrong(where, value, "is not known", _did_you_mean(value, key.choices) + remedy)
    if not host and value in key.widening:
        left = ", ".join(choice for choice in key.choices if choice not in key.widening)
        raise wrong(
            where,
            value,
            "would have no effect: this policy can only tighten the host's",
            f"Leave it out, or choose one of: {left}. The host's policy file is where more is allowed.",
        )
    return value


def _below(where: str, name: t.Any) -> str:
    part = name if isinstance(name, str) and _ARGUMENT.fullmatch(name) and len(name) < 100 else shown(name)
    return f"{where}.{part}" if where else part


def _did_you_mean(name: t.Any, known: t.Iterable[str]) -> str:
    if not isinstance(name, str):
        return ""
    close = difflib.get_close_matches(name[:100], sorted(known), n=1, cutoff=0.6)
    return f"Did you mean {close[0]}? " if close else ""


def text(where: str, value: t.Any, what: str) -> str:
    """A text of one line."""
    if isinstance(value, bool):
        raise wrong(where, value, "is a boolean", f"Give {what}. YAML reads on, off, yes and no as booleans: quote it.")
    if not isinstance(value, str):
        raise wrong(where, value, "is no text", f"Give {what}.")
    if not value or len(value) > MAX_TEXT or _CONTROL.search(value):
        raise wrong(where, value, "is empty, too long or has control characters", f"Give {what}.")
    return value


def _flag(where: str, value: t.Any) -> bool:
    if not isinstance(value, bool):
        raise wrong(where, value, "is no boolean", "Write true or false, without quotes.")
    return value


def path(where: str, value: t.Any) -> str:
    """An absolute path in its shortest spelling; whether it exists is not asked."""
    name = text(where, value, KINDS["path"])
    if not name.startswith("/"):
        raise wrong(where, value, "is not an absolute path", "Begin it with '/'.")
    if ".." in name.split("/"):
        raise wrong(where, value, "contains '..'", "Write the path that is meant, without detours.")
    name = "/" + posixpath.normpath(name).lstrip("/")
    if name in _TOO_WIDE or any(name == top or name.startswith(f"{top}/") for top in _NO_FILES):
        raise wrong(where, value, "would open the host itself to QEMU", "Name the folders or files that it needs.")
    return name


def _address(where: str, value: t.Any) -> str:
    parse_address(where, text(where, value, KINDS["address"]))
    return str(value)


def _device(where: str, value: t.Any) -> str:
    name = text(where, value, KINDS["device"])
    if "/" in name:
        return path(where, value)
    if not _INTERFACE.fullmatch(name) or not name.strip("*."):
        raise wrong(where, value, "is no name of an interface and no absolute path", f"Give {KINDS['device']}.")
    return name


def _account(what: str) -> t.Callable[[str, t.Any], t.Union[str, int]]:
    def checked(where: str, value: t.Any) -> str | int:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,10}", value):
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            if not 0 <= value <= MAX_ID:
                raise wrong(where, value, "is no id", f"Give a name, or a number from 0 to {MAX_ID}.")
            return value
        if not _ACCOUNT.fullmatch(text(where, value, KINDS[what])):
            raise wrong(where, value, f"is no name of a {what}", f"Give {KINDS[what]}.")
        return str(value)

    return checked


def _command(where: str, value: t.Any) -> str:
    name = text(where, value, KINDS["command"])
    known = {**CLASS_OF, **agent_commands.CLASS_OF}
    if name not in known:
        raise wrong(
            where,
            value,
            "is no command that this release has classified",
            f"{_did_you_mean(name, known)}Commands without a class are denied, whatever a policy says.",
        )
    return name


def _class(where: str, value: t.Any) -> str:
    name = text(where, value, KINDS["class"])
    if name not in ALL_CLASSES:
        hint = _did_you_mean(name, ALL_CLASSES)
        raise wrong(where, value, "is no class", f"{hint}Known are: {', '.join(ALL_CLASSES)}.")
    return name


def _matching(kind: str, pattern: t.Pattern[str]) -> t.Callable[[str, t.Any], str]:
    def checked(where: str, value: t.Any) -> str:
        if not pattern.fullmatch(text(where, value, KINDS[kind])):
            raise wrong(where, value, "is not possible here", f"Give {KINDS[kind]}.")
        return str(value)

    return checked


def _value(where: str, value: t.Any) -> t.Any:
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int):
        if abs(value) >= 2**64:
            raise wrong(where, value, "is out of range", "QEMU's integers have 64 bits.")
        return value
    if isinstance(value, str) and len(value) <= MAX_TEXT and not re.search("[\x00\ud800-\udfff]", value):
        return value
    raise wrong(where, value, "is no value of an argument", f"Give {KINDS['value']}.")


#: A function for each of KINDS that is not checked by the table alone.
CHECKS: t.Final[dict[str, t.Callable[[str, t.Any], t.Any]]] = {
    "flag": _flag,
    "path": path,
    "address": _address,
    "device": _device,
    "user": _account("user"),
    "group": _account("group"),
    "command": _command,
    "class": _class,
    "glob": _matching("glob", _GLOB),
    "argument": _matching("argument", _ARGUMENT),
    "value": _value,
}
