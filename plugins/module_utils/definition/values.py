# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of single values, shared by all subjects of a definition.

Every function takes the option's path as users write it (``disks[1].size``) and the value, and
returns the value in its normal form or raises ``invalid_option``.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_DIGITS = re.compile(r"[0-9]{1,18}")
# Linux refuses longer paths with ENAMETOOLONG; saying it here names the option.
_PATH_MAX = 4095


def text(option: str, value: t.Any, remedy: str, limit: int = 4096) -> str:
    """A string of one line, at most ``limit`` characters, valid UTF-8 without control characters."""
    if not isinstance(value, str):
        raise invalid_option(option, value, "is not a string", remedy)
    found = _CONTROL.search(value)
    if found:
        raise invalid_option(option, value, f"holds the control character {found.group()!r}", remedy)
    if _SURROGATE.search(value):  # bytes that were no UTF-8 when Python read them; QEMU's JSON cannot carry them
        raise invalid_option(option, value, "is not valid UTF-8", remedy)
    if len(value) > limit:
        raise invalid_option(option, value, f"has {len(value)} characters, more than {limit}", remedy)
    return value


def matching(option: str, value: t.Any, pattern: t.Pattern[str], problem: str, remedy: str) -> str:
    """A string that ``pattern`` matches as a whole (so no trailing newline slips through)."""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise invalid_option(option, value, problem, remedy)
    return value


def whole_number(option: str, value: t.Any, lowest: int, highest: int) -> int:
    """An integer between two bounds, both included; digits in a string count, booleans do not."""
    remedy = f"Give a whole number from {lowest} to {highest}."
    if isinstance(value, str) and _DIGITS.fullmatch(value.strip()):
        number = int(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        raise invalid_option(option, value, "is not a whole number", remedy)
    if not lowest <= number <= highest:
        raise invalid_option(option, value, "is out of range", remedy)
    return number


def choice(option: str, value: t.Any, choices: t.Sequence[str]) -> str:
    """One of a few words."""
    if not isinstance(value, str) or value not in choices:
        raise invalid_option(option, value, "is not known", f"Choose one of: {', '.join(choices)}.")
    return value


def yes_or_no(option: str, value: t.Any) -> bool:
    """A boolean, already converted by YAML or by Ansible."""
    if not isinstance(value, bool):
        raise invalid_option(option, value, "is not a boolean", "Write true or false.")
    return value


def absolute_path(option: str, value: t.Any) -> str:
    """A path on the managed host. Whether it exists is not asked here."""
    remedy = "Give an absolute path on the managed host, such as /srv/images/file."
    path = text(option, value, remedy, _PATH_MAX)
    if not path.startswith("/"):
        raise invalid_option(option, value, "is not an absolute path", remedy)
    if path.endswith("/"):
        raise invalid_option(option, value, "names a folder", remedy)
    return path


def list_of(option: str, value: t.Any, what: str) -> list[t.Any]:
    """A list; the elements are for the caller to check."""
    if not isinstance(value, (list, tuple)):
        raise invalid_option(option, value, "is not a list", f"Give a list of {what}, even for a single one.")
    return list(value)


def fields(option: str, value: t.Any, known: t.Sequence[str]) -> dict[str, t.Any]:
    """A dictionary with known keys only; keys whose value is None count as left out."""
    if not isinstance(value, t.Mapping):
        raise invalid_option(option, value, "is not a dictionary", f"Give a dictionary of: {', '.join(known)}.")
    given = {key: content for key, content in value.items() if content is not None}
    for key in given:
        if key not in known:
            raise invalid_option(
                f"{option}.{key}", given[key], "is not an option here", f"Known are: {', '.join(known)}."
            )
    return given
