# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders of the host that a guest may mount, as users ask for them."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition import values
from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option

TYPES = ("9p",)
SECURITY_MODELS = ("mapped-xattr", "none")
FIELDS = ("path", "tag", "readonly", "type", "security_model")

# virtio-9p has room for 31 characters, and the guest mounts by it.
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,30}")


def shares(option: str, value: t.Any) -> list[dict[str, t.Any]]:
    """Normal form of the list: only what was given, plus a tag for each."""
    result: list[dict[str, t.Any]] = []
    for index, item in enumerate(values.list_of(option, value, "shares")):
        share = _share(f"{option}[{index}]", item, f"share{index}")
        if any(other["tag"] == share["tag"] for other in result):
            raise invalid_option(
                f"{option}[{index}].tag", share["tag"], "is the tag of another share", "Give each its own tag."
            )
        result.append(share)
    return result


def _share(option: str, value: t.Any, default_tag: str) -> dict[str, t.Any]:
    given = values.fields(option, value, FIELDS)
    if "path" not in given:
        raise invalid_option(option, value, "has no path", "Give the path of a folder on the host.")
    share: dict[str, t.Any] = {"path": _folder(f"{option}.path", given["path"])}
    remedy = "Use 1 to 31 letters, digits, '_', '.' and '-', such as data."
    share["tag"] = values.matching(f"{option}.tag", given.get("tag", default_tag), _TAG, "is not a tag", remedy)
    if "readonly" in given:
        share["readonly"] = values.yes_or_no(f"{option}.readonly", given["readonly"])
    if "type" in given:
        share["type"] = values.choice(f"{option}.type", given["type"], TYPES)
    if "security_model" in given:
        share["security_model"] = values.choice(f"{option}.security_model", given["security_model"], SECURITY_MODELS)
    return share


def _folder(option: str, value: t.Any) -> str:
    """A path that may end with a slash, since it is a folder's."""
    if isinstance(value, str) and len(value) > 1:
        value = value.rstrip("/") or "/"
    if value == "/":
        raise invalid_option(option, value, "is the whole host", "Share a folder of it.")
    return values.absolute_path(option, value)
