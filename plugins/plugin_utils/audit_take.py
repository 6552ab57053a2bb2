# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit records in what Ansible hands to callbacks. Pure."""

from __future__ import annotations

import typing as t

Record = t.Dict[str, t.Any]

#: Ansible's marker of a result that ``no_log`` hides.
_CENSORED = "censored"


def records_in(result: t.Any) -> list[Record]:
    """The audit records of a task's result, also of the items of a loop, in the order in which they stand there.

    Anything that is not the ``audit`` of one of our modules is passed over: other modules may use that word too.
    """
    if not isinstance(result, dict):
        return []
    found = result.get("audit")
    own = [record for record in found if is_record(record)] if isinstance(found, list) else []
    items = result.get("results")
    if isinstance(items, list):
        own += [record for item in items for record in records_in(item)]
    return own


def is_record(value: t.Any) -> bool:
    """Whether this looks like a record of our chain, true or forged."""
    if not isinstance(value, dict) or isinstance(value.get("seq"), bool):
        return False
    return (
        isinstance(value.get("seq"), int)
        and isinstance(value.get("hash"), str)
        and isinstance(value.get("prev"), str)
        and isinstance(value.get("phase"), str)
    )


def is_hidden(result: t.Any) -> bool:
    """Whether ``no_log`` keeps the records of this result, or of an item of it, from us."""
    if not isinstance(result, dict):
        return False
    if _CENSORED in result and "audit" not in result:
        return True
    items = result.get("results")
    return isinstance(items, list) and any(map(is_hidden, items))
