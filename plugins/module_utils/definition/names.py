# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names: of VMs, of disks and of labels."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition import values
from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option

# A VM's name becomes part of a systemd unit, of file names, and of socket paths, for which the
# kernel has 107 bytes in all. It never starts with a dot or a dash.
_VM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,62}")


def check_vm_name(name: t.Any) -> str:
    """The name itself, or ``invalid_option``."""
    return values.matching(
        "name",
        name,
        _VM_NAME,
        "is not a name for a VM",
        "Use 1 to 63 ASCII letters, digits, '_', '.' and '-', beginning with a letter or a digit.",
    )


def labels(option: str, value: t.Any) -> dict[str, str]:
    """Labels sorted by key, at most 64.

    Whole numbers become strings. Booleans and fractions are refused: YAML made them of unquoted words
    (``no``, ``1.10``), and the user meant the words.
    """
    if not isinstance(value, t.Mapping):
        raise invalid_option(option, value, "is not a dictionary", "Give a dictionary of strings.")
    if len(value) > 64:
        raise invalid_option(option, sorted(map(str, value)), "has more than 64 labels", "Keep longer data elsewhere.")
    result = {}
    for key, content in value.items():
        values.matching(
            option,
            key,
            _LABEL,
            "is not a key for a label",
            "Use 1 to 63 ASCII letters, digits, '_', '.', '/' and '-', beginning with a letter or a digit.",
        )
        path = f"{option}.{key}"
        if isinstance(content, int) and not isinstance(content, bool):
            content = str(content)
        result[key] = values.text(
            path, content, "Give a string of one line, in quotes, of at most 256 characters.", 256
        )
    return dict(sorted(result.items()))
