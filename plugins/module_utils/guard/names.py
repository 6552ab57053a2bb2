# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be the name of a QMP command, by QEMU's own rule for names in its schema.

The check needs no VM, so it runs before one is looked up. It is anchored at both ends with
``fullmatch``: ``$`` would let a trailing newline through.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError

#: QEMU's ``valid_name`` (scripts/qapi/expr.py): optional vendor prefix, optional ``x-``, then lower case.
NAME = re.compile(r"(?:__[a-z0-9.-]+_)?(?:x-)?[a-z][a-z0-9_-]*")

#: Characters. QEMU sets no limit; its longest name has 43.
MAX_LENGTH = 128

#: Characters of a refused value that a message repeats.
MAX_SHOWN = 60

REMEDY = (
    "A command is one name such as query-status: lower-case letters, digits, '-' and '_', beginning with a letter, "
    f"at most {MAX_LENGTH} characters, nothing before or after it. Arguments go into the option arguments."
)


def shown(value: object, limit: int = MAX_SHOWN) -> str:
    """``value`` as ASCII that is safe on a terminal and in a log: escaped, quoted and at most ``limit`` long."""
    if isinstance(value, str):
        # Cut first: escaping a megabyte to show sixty characters is work that the sender chooses.
        text = ascii(str(value[: limit + 1]))
        cut = len(value) > limit or len(text) > limit
    else:
        text = f"a value of type {type(value).__name__}"
        cut = len(text) > limit
    return text[: limit - 3] + "..." if cut else text


def is_name(value: object) -> bool:
    """True when ``value`` is a string that QEMU could know as a command."""
    return isinstance(value, str) and len(value) <= MAX_LENGTH and NAME.fullmatch(value) is not None


def check_name(value: object) -> str:
    """Return ``value`` when it is a well-formed command name.

    Raises MaqetError ``invalid_command`` otherwise; its text never holds the raw value.
    """
    if is_name(value):
        return t.cast(str, value)
    size = f" ({len(value)} characters)" if isinstance(value, str) and len(value) > MAX_LENGTH else ""
    raise MaqetError(
        f"command: {shown(value)}{size} is not the name of a QMP command. {REMEDY}",
        "invalid_command",
        command=shown(value),
        remedy=REMEDY,
    )
