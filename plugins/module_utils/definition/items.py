# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One item more or less in the lists of a definition."""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.devices import devices
from ansible_collections.maqet.qemu.plugins.module_utils.definition.disks import disks
from ansible_collections.maqet.qemu.plugins.module_utils.definition.networks import networks
from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option

Item = t.Mapping[str, t.Any]
Items = t.Sequence[Item]

#: What an item is called, and the option that lists such items.
FORMS = {"disk": "disks", "network": "networks", "device": "devices"}
# What tells one from others; cards have nothing.
_KEYS = {"disk": "name", "device": "id"}
_NORMAL: dict[str, t.Callable[[str, t.Any], list[dict[str, t.Any]]]] = {
    "disk": disks,
    "network": networks,
    "device": devices,
}


def with_item(form: str, item: Item, items: Items) -> list[Item]:
    """The list with this one in it: in the place of one with its name, or at the end. The item is checked alone."""
    key = _key(form, item)
    (wanted,) = _NORMAL[form](form, [item]) or (None,)
    if wanted is None:
        raise invalid_option(form, item, "is no card", "Give a type of network, such as user; or state: absent")
    for index, other in enumerate(items):
        if other == wanted or (key is not None and other.get(key) == wanted[key]):
            return [*items[:index], wanted, *items[index + 1 :]]
    return [*items, wanted]


def without_item(form: str, item: Item, items: Items) -> list[Item]:
    """The list without the one of this name; without the last card that has all that ``item`` says."""
    key = _key(form, item)
    if key is not None:
        return [other for other in items if other.get(key) != item[key]]
    given = {name: value for name, value in item.items() if value is not None}
    if not given:
        raise invalid_option(form, item, "says nothing of the card", "Give its mac, or its type")
    if "mac" in given:
        given["mac"] = str(given["mac"]).lower().replace("-", ":")
    for index in reversed(range(len(items))):
        if given.items() <= items[index].items():
            return [*items[:index], *items[index + 1 :]]
    return list(items)


def _key(form: str, item: Item) -> t.Optional[str]:
    key = _KEYS.get(form)
    if key is not None and item.get(key) is None:
        raise invalid_option(f"{form}.{key}", None, "is missing", f"Say which one: give it a {key}")
    return key
