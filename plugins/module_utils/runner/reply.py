# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an agent sends is the word of a guest, which may be anybody's: one line of it becomes a value, or an error.

Parsing costs no more than the line's length suggests: the number of values, their nesting and the digits
of a number are bounded. No text of the guest gets into an error but the agent's own, printable and short.
"""

from __future__ import annotations

import json
import math
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.redact import redact_error
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.refusal import QmpError

# Values in one reply. A value that takes two bytes in the line takes a hundred in memory.
_MAX_VALUES = 250_000
# The deepest reply of the reference, guest-get-fsinfo, has six levels.
_MAX_DEPTH = 32
# A number of 64 bits has 20 digits and a sign; Python's time for longer ones grows with their square.
_MAX_DIGITS = 32


def too_large(command: str, why: str) -> MaqetError:
    """An answer that we do not take in."""
    return MaqetError(
        f"The guest's answer to {command} is too large: {why}. The command has run; its answer is lost. "
        "Raise 'max_reply', or ask for less.",
        "guest_reply_too_large",
        command=command,
    )


def value_of(command: str, line: bytes) -> t.Any:
    """What is under ``return`` in the answer to ``command``; bytes that are no UTF-8 become U+FFFD.

    Raises QmpError for an agent's refusal, MaqetError ``guest_reply_too_large`` for one with too many values,
    and ``guest_unreachable`` for what is no answer.
    """
    if sum(line.count(mark) for mark in b"[{,") > _MAX_VALUES:
        raise too_large(command, f"it has more than {_MAX_VALUES} values")
    try:
        message = _tidy(_parsed(line.lstrip(b"\xff")), 0)
    except ValueError as error:
        raise _no_answer(command, str(error)) from None
    if "return" in message:
        return message["return"]
    refusal = message.get("error")
    if isinstance(refusal, dict) and isinstance(refusal.get("desc"), str):
        raise QmpError(redact_error(str(refusal.get("class", "GenericError")))[:64], redact_error(refusal["desc"]))
    raise _no_answer(command, "it has neither 'return' nor 'error'")


def _no_answer(command: str, why: str) -> MaqetError:
    return MaqetError(
        f"What the guest sent after {command} is no answer of an agent ({why}); whether the command has run is "
        "unknown. Look at what opens the agent's port in the guest.",
        "guest_unreachable",
        command=command,
    )


def _parsed(line: bytes) -> dict[str, t.Any]:
    text = line.decode("utf-8", "replace")
    try:
        message = json.loads(text, parse_int=_integer, parse_float=_float, parse_constant=_constant)
    except RecursionError:
        raise ValueError("nested too deep") from None
    except json.JSONDecodeError as error:  # whose text would quote nothing, but whose doc attribute holds all of it
        raise ValueError(f"no JSON from character {error.pos} on") from None
    if not isinstance(message, dict):
        raise ValueError("not a JSON object")
    return message


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError("a number with too many digits")
    return int(digits)


def _float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number that is out of range")
    return number


def _constant(_word: str) -> t.NoReturn:
    raise ValueError("a number that is none")


def _tidy(value: t.Any, depth: int) -> t.Any:
    """The same value, its strings fit for UTF-8: JSON can spell halves of surrogate pairs."""
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deep")
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_tidy(key, depth): _tidy(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_tidy(item, depth + 1) for item in value]
    return value
