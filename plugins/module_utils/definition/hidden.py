# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets of an intent: stored for the VM alone (``definition.json`` has mode 0600), and never shown."""

from __future__ import annotations

import typing as t

HIDDEN = "(hidden)"
CHANGED = "(hidden, another one)"
# Option and field.
_SECRETS = (("vnc", "password"),)


def hide(intent: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """A copy to show to people."""
    return _marked(intent, {})


def hide_both(before: t.Mapping[str, t.Any], after: t.Mapping[str, t.Any]) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """The two sides of a diff, in which a secret that changes is still seen to change."""
    return _marked(before, {}), _marked(after, before)


def _marked(intent: t.Mapping[str, t.Any], before: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    result = dict(intent)
    for option, field in _SECRETS:
        value, old = result.get(option), before.get(option)
        if isinstance(value, t.Mapping) and field in value:
            other = isinstance(old, t.Mapping) and field in old and old[field] != value[field]
            result[option] = {**value, field: CHANGED if other else HIDDEN}
    return result
