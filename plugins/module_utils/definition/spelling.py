# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How QEMU's command line is spelled."""

from __future__ import annotations

import json
import typing as t


def quote(value: str) -> str:
    """A value for an option string: commas end a value there, and two of them stand for one."""
    return value.replace(",", ",,")


def option_string(first: str, properties: t.Iterable[tuple[str, t.Any]]) -> str:
    """``first,key=value,...`` with every value quoted and booleans as on and off, in the order given."""
    parts = [quote(first)] if first else []
    parts += [f"{key}={quote(on_off(value))}" for key, value in properties]
    return ",".join(parts)


def json_object(value: t.Mapping[str, t.Any]) -> str:
    """JSON for the options that take it: no quoting of commas, nothing to guess about types."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True)


def on_off(value: t.Any) -> str:
    """A single value: booleans as on and off, anything else as text."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)
