# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Arguments of QEMU's command line as a log may hold them. Pure.

QEMU's own processes list shows them to every user of the host, so that a secret in them is lost already; a log
keeps it for longer and for others. What is called like a secret goes, be it one or not.
"""

from __future__ import annotations

import json
import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.guard.redact import scrub

_NAMES = r"[A-Za-z0-9_.-]*(?:pass|secret|token|cookie|credential|osk)[A-Za-z0-9_.-]*|data|key|string|value"
_KEY = re.compile(rf"(?:{_NAMES})", re.IGNORECASE)
# A value ends at a comma; two of them are one that belongs to it (QEMU manual, "Device and object syntax").
_PAIR = re.compile(rf"(?P<key>(?:^|(?<=,))(?:{_NAMES}))=(?P<value>(?:,,|[^,])*)", re.IGNORECASE)


def redact_words(words: t.Iterable[str]) -> list[str]:
    """A copy in which values that may be secret, in either of QEMU's forms, and credentials in URLs are removed."""
    return [_word(str(word)) for word in words]


def _word(word: str) -> str:
    if word.startswith("{"):
        try:
            return scrub(json.dumps(_member(json.loads(word)), ensure_ascii=True))
        except (ValueError, RecursionError):
            return _mark(word)  # QEMU will not take it either
    return scrub(_PAIR.sub(lambda found: f"{found['key']}={_mark(found['value'])}", word))


def _member(value: t.Any) -> t.Any:
    if isinstance(value, dict):
        return {key: _mark(str(item)) if _KEY.fullmatch(key) else _member(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_member(item) for item in value]
    return value


def _mark(value: str) -> str:
    return f"<redacted:{len(value)}>"
