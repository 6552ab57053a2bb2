# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine of ``redact.py``: one pass over one value by the rules of ``redact_rules.py``. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.guard.agent_commands import CLASS_OF as AGENT
from ansible_collections.maqet.qemu.plugins.module_utils.guard.canonical import MAX_DEPTH, canonical
from ansible_collections.maqet.qemu.plugins.module_utils.guard.commands import CLASS_OF
from ansible_collections.maqet.qemu.plugins.module_utils.guard.names import is_name
from ansible_collections.maqet.qemu.plugins.module_utils.guard.redact_rules import (
    ARGUMENTS,
    EVERY_STRING,
    EVERYWHERE,
    HMP_PASSWORD,
    HMP_PLAIN,
    OBJECT_TYPES,
    PLAIN,
    Rules,
)

#: Characters below which a removed value that is not a secret by its kind is no use to a no_log
#: list: masking every "on" in a result hides the result and no secret.
MIN_INCIDENTAL = 6

#: ``scheme://user:password@``; the group is what stands before the last ``@`` of the authority.
_USERINFO = re.compile(r"(?<![a-z0-9+.-])([a-z][a-z0-9+.-]*://)([^/?#\s\"']*)@", re.IGNORECASE)
#: A text that is a URL as a whole. Its userinfo may hold anything: nothing else is in the way.
_URL = re.compile(r"(\s*[a-z][a-z0-9+.-]*://)(.*)", re.IGNORECASE | re.DOTALL)
_JSON_NAME = re.compile(r"(?<![a-z0-9])(json:)(.+)", re.IGNORECASE | re.DOTALL)
_EXEC = re.compile(r"(\s*exec:)(.+)", re.IGNORECASE | re.DOTALL)
_HMP_SECRET = re.compile(r"\b(?:data|password|passwd|secret)=([^,\s]+)")
#: ``password=...`` and its like in options and in the query of a URL.
_NAMED = re.compile(
    r"(?<![\w-])((?:password|passwd|secret|cookie|token|access_token|sig|signature|key)=)([^&,:;\s\"'<]+)",
    re.IGNORECASE,
)


Split = list[tuple[tuple[str, ...], str]]


def split(rules: Rules) -> Split:
    return [(tuple(path.split(".")) if path else (), how) for path, how in rules]


def _match(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(_match(pattern[1:], path[start:]) for start in range(len(path) + 1))
    return bool(path) and path[0] == pattern[0] and _match(pattern[1:], path[1:])


class Sweep:
    """One pass over one value; gathers what it removed."""

    def __init__(self, key: bytes | None = None, inside: bool = False) -> None:
        """``inside``: of a ``json:`` file name only the secrets go, not all of it."""
        self.paths: list[str] = []
        self.secrets: set[str] = set()
        self._key = key
        self._inside = inside

    def arguments(self, command: str, arguments: t.Any, where: str) -> t.Any:
        """Sweep the arguments of one command that stand at the path ``where``."""
        rules = EVERYWHERE
        kind = arguments.get("qom-type") if isinstance(arguments, dict) else None
        if not isinstance(arguments, dict) or not isinstance(command, str):
            rules = EVERY_STRING  # malformed: no table says where a secret may be
        elif command == "transaction" and not where:
            return self._transaction(arguments)
        elif command == "object-add" and kind == "secret":
            return self._only("object-add secret", arguments, (("**.data", "secret"), *rules), where)
        elif command == "object-add" and not (isinstance(kind, str) and kind in OBJECT_TYPES):
            return self._only(command, arguments, rules, where)  # of a type that nobody has looked at
        elif command in ARGUMENTS:
            rules = ARGUMENTS[command] + rules
            if command in PLAIN:
                return self._only(command, arguments, rules, where)
        elif (command not in CLASS_OF and command not in AGENT) or command == "transaction":
            rules = EVERY_STRING
        return self.value(arguments, (), split(rules), where)

    def _transaction(self, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        """Each action by the rules of the command that it is; a transaction holds no transactions."""
        rest = split(EVERY_STRING)
        clean: dict[str, t.Any] = {}
        for key, value in arguments.items():
            if key != "actions" or not isinstance(value, list):
                clean[key] = self.value(value, (), rest, str(key))
                continue
            clean[key] = []
            for index, action in enumerate(value):
                where = f"actions[{index}]"
                if isinstance(action, dict) and set(action) == {"type", "data"}:
                    data = self.arguments(action["type"], action["data"], where + ".data")
                    kind = action["type"]
                    if not is_name(kind):
                        kind = self.value(kind, (), rest, where + ".type")
                    clean[key].append({"type": kind, "data": data})
                else:
                    clean[key].append(self.value(action, (), rest, where))
        return clean

    def _only(self, what: str, arguments: dict[str, t.Any], rules: Rules, where: str) -> dict[str, t.Any]:
        """What ``rules`` or ``PLAIN`` name goes by ``rules``; of all the rest every string goes."""
        known = PLAIN[what] | {path.split(".")[0] for path, _how in rules}
        clean: dict[str, t.Any] = {}
        for key, value in arguments.items():
            by = split(rules if key in known else rules + EVERY_STRING)
            clean[key] = self.value(value, tuple(str(key).split(".")), by, _join(where, key))
        return clean

    def value(self, value: t.Any, path: tuple[str, ...], rules: Split, where: str) -> t.Any:
        """A clean copy of ``value``, which stands at ``path`` for the rules and at ``where`` for people."""
        for pattern, how in rules:
            if _match(pattern, path) and value is not None:
                done, clean = self._cut(value, how)
                if done:
                    self.paths.append(where)
                    return clean
        if len(path) > MAX_DEPTH:
            self.paths.append(where)
            return {"redacted": True, "len": 0}
        if isinstance(value, dict):
            # QEMU takes "file.cookie" for a cookie in file.
            return {k: self.value(v, (*path, *str(k).split(".")), rules, _join(where, k)) for k, v in value.items()}
        if isinstance(value, list):
            return [self.value(v, (*path, "[]"), rules, f"{where}[{i}]") for i, v in enumerate(value)]
        if isinstance(value, str):
            clean = self.text(value)
            if clean != value:
                self.paths.append(where)
            return clean
        return value

    def _cut(self, value: t.Any, how: str) -> tuple[bool, t.Any]:
        """Apply one treatment; False when it does not concern this value."""
        if how == "string" and not isinstance(value, str):
            return False, value
        if how == "words" and isinstance(value, str):
            return self._command_line(value)
        if how == "exec" and isinstance(value, str):
            found = _EXEC.match(value)
            if found is None:
                return False, value
            self._hide([found.group(2), *found.group(2).split()], MIN_INCIDENTAL)
            return True, f"{found.group(1)}<redacted:{len(found.group(2))}>"
        if how == "fingerprint" and isinstance(value, str):
            return True, _fingerprint(value)
        if how == "secret64" and isinstance(value, str):
            self._hide(_decoded(value), MIN_INCIDENTAL)
        if how in ("secret", "secret64"):
            self._hide(str(value) if isinstance(value, int) and not isinstance(value, bool) else value, 1)
            for part in re.split(r";\s*", value) if isinstance(value, str) else ():
                self._hide(part.partition("=")[2], MIN_INCIDENTAL)  # a cookie: its name is known to all
        elif how != "tally":
            self._hide(value, MIN_INCIDENTAL)
        return True, self._mark(value, how not in ("count", "tally"))

    def _mark(self, value: t.Any, with_mac: bool = True) -> dict[str, t.Any]:
        """What stands in the place of a removed value."""
        form = value.encode("utf-8", "backslashreplace") if isinstance(value, str) else _canonical(value)
        made: dict[str, t.Any] = {"redacted": True, "len": len(value) if isinstance(value, (str, list)) else len(form)}
        if self._key and with_mac:
            made["mac"] = hmac.new(self._key, form, hashlib.sha256).hexdigest()[:16]
        return made

    def _command_line(self, line: str) -> tuple[bool, t.Any]:
        """The human monitor's line: the first word stays."""
        words = line.split(None, 1)
        if len(words) < 2:
            return False, line
        first, rest = words[0], words[1].rstrip()
        if first in HMP_PASSWORD:
            self._hide(rest.split()[-1], 1)
        for found in _HMP_SECRET.finditer(rest):
            self._hide(found.group(1), 1)
        if first not in HMP_PLAIN:
            self._hide(rest, MIN_INCIDENTAL)
        return True, f"{first} <redacted:{len(rest)}>"

    def _hide(self, value: t.Any, least: int, depth: int = 0) -> None:
        """Remember the strings in ``value`` that have at least ``least`` characters."""
        if isinstance(value, str):
            if len(value) >= least:
                self.secrets.add(str(value))
        elif depth <= MAX_DEPTH and isinstance(value, (dict, list)):
            for item in value.values() if isinstance(value, dict) else value:
                self._hide(item, least, depth + 1)

    def text(self, text: str) -> str:
        """One string without URL credentials and without what follows ``json:``."""

        def userinfo(found: re.Match[str]) -> str:
            if re.fullmatch(r"<redacted:[0-9]+>", found.group(2)):
                return found.group()
            return f"{found.group(1)}{self._userinfo(found.group(2))}@"

        def named(found: re.Match[str]) -> str:
            self._hide(found.group(2), MIN_INCIDENTAL)
            return f"{found.group(1)}<redacted:{len(found.group(2))}>"

        def pseudo(found: re.Match[str]) -> str:
            inside = self._parsed(found.group(2))
            if self._inside and inside is not None:
                return found.group(1) + inside
            _USERINFO.sub(userinfo, found.group(2))  # for the passwords inside it
            if inside is None:  # no JSON, so nobody knows what in it is a password
                self._hide(re.split(r"[\"'{}:,\s]+", found.group(2)), MIN_INCIDENTAL)
            self._hide(found.group(2), MIN_INCIDENTAL)
            return f"{found.group(1)}<redacted:{len(found.group(2))}>"

        text = _JSON_NAME.sub(pseudo, text)
        whole = _URL.match(text)
        end = _userinfo_end(whole.group(2)) if whole else 0
        if whole and end:
            text = f"{whole.group(1)}{self._userinfo(whole.group(2)[:end])}{whole.group(2)[end:]}"
        return _NAMED.sub(named, _USERINFO.sub(userinfo, text))

    def _userinfo(self, text: str) -> str:
        """What is left of ``user:password``."""
        user, mark, password = text.partition(":")
        if not mark:
            user, mark, password = user.partition("%")  # iscsi://user%password@host
        self._hide(password if mark else user, 1 if mark else MIN_INCIDENTAL)
        return f"<redacted:{len(text)}>"

    def _parsed(self, text: str) -> str | None:
        """The JSON in a ``json:`` file name without its secrets, which are remembered; None when it is none."""
        inner = Sweep(inside=True)
        try:
            clean = inner.value(json.loads(text), (), split(EVERYWHERE), "")
        except (ValueError, RecursionError):
            return None
        self.secrets |= inner.secrets
        return json.dumps(clean)


def _userinfo_end(rest: str) -> int:
    """Where the ``@`` behind the userinfo is in a URL without its scheme; 0 when it has none.

    A password with a ``/`` in it is against RFC 3986, and yet a password: what stands before the
    slash then is no host, for its port is no number.
    """
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        return authority.rindex("@")
    port = authority.rpartition(":")[2] if ":" in authority else ""
    return rest.rindex("@") if port and not port.isdigit() and "]" not in port and "@" in rest else 0


def _join(where: str, key: t.Any) -> str:
    return f"{where}.{key}" if where else str(key)


def _canonical(value: t.Any) -> bytes:
    try:
        return canonical(value)
    except ValueError:
        return b""


def _decoded(text: str) -> str:
    """What a text in base64 stands for, if it is text."""
    try:
        return base64.b64decode(text, validate=True).decode("utf-8").rstrip("\n")
    except (binascii.Error, ValueError):
        return ""


def _fingerprint(key: str) -> str:
    """The fingerprint of an ssh public key, as ``ssh-keygen -l`` shows it."""
    for word in key.split():
        try:
            blob = base64.b64decode(word, validate=True)
        except (binascii.Error, ValueError):
            continue
        if len(blob) > 16:  # the type's name in front of it may be base64 too
            return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode("ascii").rstrip("=")
    return f"<redacted:{len(key)}>"
