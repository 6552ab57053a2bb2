# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What no log may hold: secrets are cut out of arguments, replies and error texts. Pure functions.

A removed value becomes ``{"redacted": true, "len": N}`` (N: characters of a string, items of a
list, else bytes of its JSON form), a removed part of a string ``<redacted:N>``. A bare hash is
never left: short secrets are guessable. Nets hang under the table: credentials in a URL, ``json:``
pseudo file names and fields that are called password are removed wherever they stand, and of a
command that nobody has classified (a misspelt ``set_password``, say) every string is removed.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.guard import agent_commands
from ansible_collections.maqet.qemu.plugins.module_utils.guard.canonical import MAX_DEPTH, canonical
from ansible_collections.maqet.qemu.plugins.module_utils.guard.commands import CLASS_OF
from ansible_collections.maqet.qemu.plugins.module_utils.guard.names import is_name

_OBJECT_TYPES = """
    acpi-generic-initiator acpi-generic-port authz-list authz-listfile authz-pam authz-simple can-bus
    can-host-socketcan colo-compare cryptodev-backend cryptodev-backend-builtin cryptodev-backend-lkcf
    cryptodev-vhost-user dbus-vmstate filter-buffer filter-dump filter-mirror filter-redirector filter-replay
    filter-rewriter input-barrier input-linux iommufd iothread main-loop memory-backend-epc memory-backend-file
    memory-backend-memfd memory-backend-ram memory-backend-shm monitor-hmp monitor-qmp pef-guest
    pr-manager-helper qtest rng-builtin rng-egd rng-random s390-pv-guest secret secret_keyring sev-guest
    sev-snp-guest tdx-guest thread-context throttle-group tls-cipher-suites tls-creds-anon tls-creds-psk
    tls-creds-x509 x-remote-object x-vfio-user-server
"""

#: Bytes of an error text that a record keeps.
MAX_ERROR = 1024

#: Characters below which a removed value that is not a secret by its kind is no use to a no_log
#: list: masking every "on" in a result hides the result and no secret.
MIN_INCIDENTAL = 6

#: ``scheme://user:password@``; the group is what stands before the last ``@`` of the authority.
_USERINFO = re.compile(r"(?<![a-z0-9+.-])([a-z][a-z0-9+.-]*://)([^/?#\s\"']*)@", re.IGNORECASE)
_JSON_NAME = re.compile(r"(?<![a-z0-9])(json:)(.+)", re.IGNORECASE | re.DOTALL)
_EXEC = re.compile(r"(\s*exec:)(.+)", re.IGNORECASE | re.DOTALL)
_HMP_SECRET = re.compile(r"\b(?:data|password|passwd|secret)=([^,\s]+)")

#: HMP commands whose last word is a password.
_HMP_PASSWORD = frozenset({"set_password", "change", "change_vnc_password", "block_passwd"})

# How a matching value is treated: "secret" and "value" remove it whole (a secret is also fed to
# no_log however short it is), "string" does so if it is a string and goes on inside it if not,
# "count" leaves the number of items or characters, "key" a public key's fingerprint, "exec" what is before
# exec:, "words" the first word.
_Rules = tuple[tuple[str, str], ...]

_URI: _Rules = (("uri", "exec"), ("channels.[].addr.args.[]", "value"))

#: Command -> rules. A path is dotted; [] is any item of a list, ** any number of levels.
ARGUMENTS: dict[str, _Rules] = {
    "set_password": (("password", "secret"),),
    "change-vnc-password": (("password", "secret"),),
    "block_passwd": (("password", "secret"),),
    "change": (("arg", "secret"),),
    "sev-inject-launch-secret": (("secret", "secret"), ("packet-header", "secret")),
    "device_add": (("**.osk", "secret"), ("**.auth-key", "secret"), ("**.vf-token", "secret")),
    "migrate": _URI,
    "migrate-incoming": _URI,
    "migrate-recover": (("uri", "exec"),),
    "migrate-set-parameters": (("cpr-exec-command.[]", "value"),),
    "netdev_add": (("guestfwd.**", "string"), ("helper", "value"), ("param.**", "string")),
    "human-monitor-command": (("command-line", "words"),),
    "qom-set": (("value", "value"),),
    "send-key": (("keys", "count"),),
    "input-send-event": (("events", "count"),),
    "ringbuf-write": (("data", "value"),),
    "inject-ghes-v2-error": (("cper", "value"),),
    **agent_commands.REDACT,
}

_EVERYWHERE: _Rules = (("**.password", "secret"), ("**.cookie", "secret"))
_EVERY_STRING: _Rules = (*_EVERYWHERE, ("**", "string"))

#: Command -> rules for what its reply holds under "return"; an empty path is all of it.
REPLIES: dict[str, _Rules] = {
    "qom-get": (("", "value"),),
    "qom-list-get": (("", "value"),),
    "ringbuf-read": (("", "value"),),
    "human-monitor-command": (("", "value"),),
    "query-firmware-log": (("", "value"),),
    "query-migrate-parameters": (("cpr-exec-command", "value"),),
    "query-sev-launch-measure": (("data", "value"),),
    "query-sev-attestation-report": (("data", "value"),),
    **agent_commands.REDACT_REPLY,
}

#: Types of object-add whose fields are known to hold no secret (``secret`` itself: its data).
OBJECT_TYPES: t.Final = frozenset(_OBJECT_TYPES.split())


def redact(command: str, arguments: t.Any) -> tuple[t.Any, list[str]]:
    """A copy of ``arguments`` that may be logged, and the paths where something was removed."""
    sweep = _Sweep()
    return sweep.arguments(command, arguments, ""), sweep.paths


def secrets(command: str, arguments: t.Any) -> set[str]:
    """The texts that :func:`redact` removes, for masking them wherever else they turn up.

    Typed keys are not among them: each is a letter, and masking it would mask every text.
    """
    sweep = _Sweep()
    sweep.arguments(command, arguments, "")
    return sweep.secrets


def redact_reply(command: str, reply: t.Any) -> t.Any:
    """A copy of ``reply`` (what QEMU sent under "return") that may be logged."""
    return _Sweep().value(reply, (), _split(REPLIES.get(command, ()) + _EVERYWHERE), "")


def redact_error(text: str, hidden: t.Iterable[str] = ()) -> str:
    """An error text that may be logged: without ``hidden``, printable, at most ``MAX_ERROR`` bytes.

    QEMU's texts quote arguments, host paths and now and then the content of a file.
    """
    for secret in sorted(filter(None, hidden), key=len, reverse=True):
        text = text.replace(secret, "<redacted>")
    text = "".join(char if char.isprintable() else " " for char in scrub(text))
    raw = text.encode("utf-8", "backslashreplace")
    return text if len(raw) <= MAX_ERROR else raw[: MAX_ERROR - 3].decode("utf-8", "ignore") + "..."


def scrub(text: str) -> str:
    """``text`` without credentials in URLs and without the content of a ``json:`` file name."""
    return _Sweep().text(text)


_Split = list[tuple[tuple[str, ...], str]]


def _split(rules: _Rules) -> _Split:
    return [(tuple(path.split(".")) if path else (), how) for path, how in rules]


def _match(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(_match(pattern[1:], path[start:]) for start in range(len(path) + 1))
    return bool(path) and path[0] == pattern[0] and _match(pattern[1:], path[1:])


class _Sweep:
    """One pass over one value; gathers what it removed."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.secrets: set[str] = set()

    def arguments(self, command: str, arguments: t.Any, where: str) -> t.Any:
        """Sweep the arguments of one command that stand at the path ``where``."""
        rules = _EVERYWHERE
        kind = arguments.get("qom-type") if isinstance(arguments, dict) else None
        if not isinstance(arguments, dict) or not isinstance(command, str):
            rules = _EVERY_STRING  # malformed: no table says where a secret may be
        elif command == "transaction" and not where:
            return self._transaction(arguments)
        elif command == "object-add" and kind == "secret":
            rules += (("**.data", "secret"),)
        elif command == "object-add" and not (isinstance(kind, str) and kind in OBJECT_TYPES):
            return self._unknown_object(arguments, where)
        elif command in ARGUMENTS:
            rules += ARGUMENTS[command]
        elif command == "transaction" or not (command in CLASS_OF or command in agent_commands.CLASS_OF):
            rules = _EVERY_STRING
        return self.value(arguments, (), _split(rules), where)

    def _transaction(self, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        """Each action by the rules of the command that it is; a transaction holds no transactions."""
        rest = _split(_EVERY_STRING)
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

    def _unknown_object(self, arguments: dict[str, t.Any], where: str) -> dict[str, t.Any]:
        """object-add of a type that nobody has looked at: all strings go but its name and type."""
        kept, other = _split(_EVERYWHERE), _split(_EVERY_STRING)
        return {
            key: self.value(value, (), kept if key in ("id", "qom-type") else other, _join(where, key))
            for key, value in arguments.items()
        }

    def value(self, value: t.Any, path: tuple[str, ...], rules: _Split, where: str) -> t.Any:
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
            return {k: self.value(v, (*path, str(k)), rules, _join(where, k)) for k, v in value.items()}
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
        if how == "key" and agent_commands.fingerprint(value) is not None:
            return True, agent_commands.fingerprint(value)
        if how == "words" and isinstance(value, str):
            return self._command_line(value)
        if how == "exec" and isinstance(value, str):
            found = _EXEC.match(value)
            if found is None:
                return False, value
            self._hide(found.group(2), MIN_INCIDENTAL)
            return True, f"{found.group(1)}<redacted:{len(found.group(2))}>"
        if how != "count":
            self._hide(value, 1 if how == "secret" else MIN_INCIDENTAL)
        return True, {"redacted": True, "len": _length(value)}

    def _command_line(self, line: str) -> tuple[bool, t.Any]:
        """The human monitor's line: the first word stays."""
        words = line.split(None, 1)
        if len(words) < 2:
            return False, line
        first, rest = words[0], words[1].rstrip()
        if first in _HMP_PASSWORD:
            self._hide(rest.split()[-1], 1)
        for found in _HMP_SECRET.finditer(rest):
            self._hide(found.group(1), 1)
        if first not in ("info", "help", "?"):
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
            user, colon, password = found.group(2).partition(":")
            if colon:
                self._hide(password, 1)
            else:
                self._hide(user, MIN_INCIDENTAL)
            return f"{found.group(1)}<redacted:{len(found.group(2))}>@"

        def pseudo(found: re.Match[str]) -> str:
            _USERINFO.sub(userinfo, found.group(2))  # for the passwords inside it
            self._hide(found.group(2), MIN_INCIDENTAL)
            return f"{found.group(1)}<redacted:{len(found.group(2))}>"

        return _USERINFO.sub(userinfo, _JSON_NAME.sub(pseudo, text))


def _join(where: str, key: t.Any) -> str:
    return f"{where}.{key}" if where else str(key)


def _length(value: t.Any) -> int:
    """How long a removed value was: characters, items, or bytes as JSON."""
    if isinstance(value, (str, list)):
        return len(value)
    try:
        return len(canonical(value))
    except ValueError:
        return 0
