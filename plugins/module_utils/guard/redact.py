# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What no log may hold: secrets are cut out of arguments, replies, events and error texts. Pure functions.

A removed value becomes ``{"redacted": true, "len": N, "mac": M}`` (N: characters of a string, items
of a list, else bytes of its JSON form), a removed part of a string ``<redacted:N>``. ``mac`` is the
beginning of an HMAC-SHA256 with a key that never leaves the host, so that an auditor there can tell
whether two values were the same; without a key (results, on the controller) it is left out. A bare
hash is never left: short secrets are guessable.

Where secrets are is said in ``redact_rules.py``. Nets hang under that table: credentials in a URL,
``json:`` pseudo file names and fields that are called password are removed wherever they stand, and
of a command that nobody has classified (a misspelt ``set_password``, say) every string is removed.
"""

from __future__ import annotations

import json
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.guard.redact_rules import EVERYWHERE, REPLIES
from ansible_collections.maqet.qemu.plugins.module_utils.guard.sweep import Sweep, split

#: Bytes of an error text that a record keeps.
MAX_ERROR = 1024

#: Characters of a secret by which a piece of it is known: messages cut long values short.
_HEAD = 12


def redact(command: str, arguments: t.Any, key: bytes | None = None) -> tuple[t.Any, list[str]]:
    """A copy of ``arguments`` that may be logged, and the paths where something was removed.

    With ``key``, the host's, removed values carry a ``mac``.
    """
    return swept(command, arguments, key)[:2]


def swept(command: str, arguments: t.Any, key: bytes | None = None) -> tuple[t.Any, list[str], set[str]]:
    """What :func:`redact` and :func:`secrets` return, in one pass."""
    sweep = Sweep(key)
    return sweep.arguments(command, arguments, ""), sweep.paths, sweep.secrets


def secrets(command: str, arguments: t.Any) -> set[str]:
    """The texts that :func:`redact` removes, for masking them wherever else they turn up.

    Typed keys are not among them: each is a letter, and masking it would mask every text.
    """
    return swept(command, arguments)[2]


def redact_reply(command: str, reply: t.Any, key: bytes | None = None) -> t.Any:
    """A copy of ``reply`` (what QEMU sent under "return") that may be logged.

    Whole replies are removed where the command asks for memory, console output or a property's
    value. The caller gets these: see :func:`scrub_reply`.
    """
    return Sweep(key).value(reply, (), split(REPLIES.get(command, ()) + EVERYWHERE), "")


def scrub_reply(command: str, reply: t.Any) -> t.Any:
    """A copy of ``reply`` for the caller, who asked for it and whom the guard let ask.

    Only credentials that are inside by chance are removed: in URLs, in ``json:`` file names, in
    fields called password or cookie. What the command is there to read (``qom-get``,
    ``ringbuf-read``, the human monitor) is returned as it is, and never logged.
    """
    if any(path == "" for path, _how in REPLIES.get(command, ())):
        return reply
    return Sweep(inside=True).value(reply, (), split(EVERYWHERE), "")


def redact_event(event: dict[str, t.Any]) -> dict[str, t.Any]:
    """A copy of an event that may be logged or returned: events quote file names, and texts of the guest's."""
    return {
        key: Sweep(inside=True).value(value, (), split(EVERYWHERE), "") if key == "data" else value
        for key, value in event.items()
    }


def redact_error(text: str, hidden: t.Iterable[str] = ()) -> str:
    """An error text that may be logged: without ``hidden``, printable, at most ``MAX_ERROR`` bytes.

    QEMU's texts quote arguments, host paths and now and then the content of a file.
    """
    text = "".join(char if char.isprintable() else " " for char in scrub(mask(text, hidden)))
    raw = text.encode("utf-8", "backslashreplace")
    return text if len(raw) <= MAX_ERROR else raw[: MAX_ERROR - 3].decode("utf-8", "ignore") + "..."


def mask(text: str, hidden: t.Iterable[str]) -> str:
    """``text`` without the secrets in ``hidden``: as they are, escaped as in a quotation, or cut short."""
    forms = {form for secret in hidden if secret for form in _forms(secret)}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, "<redacted>")
    for form in forms:
        head = form[:_HEAD]
        while len(form) > _HEAD and head in text:
            start = end = text.index(head)
            while end < len(text) and end - start < len(form) and text[end] == form[end - start]:
                end += 1
            text = f"{text[:start]}<redacted>{text[end:]}"
    return text


def masked(value: t.Any, hidden: t.Collection[str]) -> t.Any:
    """A copy of ``value`` with :func:`mask` applied to each string in it."""
    if isinstance(value, str):
        return mask(value, hidden)
    if isinstance(value, dict):
        return {key: masked(item, hidden) for key, item in value.items()}
    if isinstance(value, list):
        return [masked(item, hidden) for item in value]
    return value


def _forms(secret: str) -> set[str]:
    """How a text looks where it is quoted: by Python, by JSON."""
    return {secret, repr(secret)[1:-1], ascii(secret)[1:-1], json.dumps(secret)[1:-1]}


def scrub(text: str) -> str:
    """``text`` without credentials in URLs and without the content of a ``json:`` file name."""
    return Sweep().text(text)
