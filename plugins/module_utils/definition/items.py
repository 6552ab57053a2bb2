# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One item more or less in the lists of a definition."""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition import (
    defaults,
    devices,
    disks,
    networks,
    render_devices,
    render_networks,
    values,
)
from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option

Item = t.Mapping[str, t.Any]
Items = t.Sequence[Item]

#: What an item is called, and the option that lists such items.
FORMS = {"disk": "disks", "network": "networks", "device": "devices"}
# What tells one from others; a card may have nothing.
_KEYS = {"disk": "name", "device": "id"}
_FIELDS = {"disk": disks.FIELDS, "device": devices.FIELDS}


def with_item(form: str, item: Item, items: Items, uuid: str) -> list[Item]:
    """The list with this one in it: in the place of the one that it is told by, or at the end. It is checked alone.

    ``uuid`` is the VM's, on which the addresses of its cards depend.
    """
    if form == "network":
        return _with_card(item, items, uuid)
    name = _name(form, item)
    wanted = disks.one_disk(form, item, name) if form == "disk" else devices.one_device(form, item)
    for index, other in enumerate(items):
        if _name_of(form, index, other) == name:
            return [*items[:index], wanted, *items[index + 1 :]]
    return [*items, wanted]


def without_item(form: str, item: Item, items: Items, uuid: str) -> list[Item]:
    """The list without the one of this name; without the last card that has all that ``item`` says."""
    if form == "network":
        return _without_card(item, items, uuid)
    name = _name(form, item)
    return [other for index, other in enumerate(items) if _name_of(form, index, other) != name]


def _name(form: str, item: Item) -> str:
    key = _KEYS[form]
    given = values.fields(form, item, _FIELDS[form])
    if key not in given:
        raise invalid_option(form, item, f"has no {key}", f"Say by its {key} which one it is")
    return str(given[key])


def _name_of(form: str, index: int, item: Item) -> str:
    return str(item["name"]) if form == "disk" else render_devices.device_id(item, index)


def _with_card(item: Item, items: Items, uuid: str) -> list[Item]:
    wanted = networks.one_network("network", item)
    if wanted["type"] == "none":
        raise invalid_option("network", item, "is no card", "Give a type of network, such as user; or state: absent")
    for index, other in enumerate(items):
        now = _whole(index, other, uuid)
        if now == _whole(index, wanted, uuid):
            return list(items)
        if now["mac"] == wanted.get("mac"):
            return [*items[:index], wanted, *items[index + 1 :]]
    return [*items, wanted]


def _without_card(item: Item, items: Items, uuid: str) -> list[Item]:
    given = networks.part_of_network("network", item)
    if not given:
        raise invalid_option("network", item, "says nothing of the card", "Give its mac, or its type")
    if "hostfwd" in given:
        given["hostfwd"] = [{**defaults.FORWARD_DEFAULTS, **rule} for rule in given["hostfwd"]]
    for index in reversed(range(len(items))):
        if given.items() <= _whole(index, items[index], uuid).items():
            if "mac" in given and "mac" not in items[index] and index + 1 < len(items):
                raise invalid_option(
                    "network.mac",
                    given["mac"],
                    f"is the address of nic{index} by its place, which the next card would have then",
                    "Remove the cards behind it first, or give each a mac of its own by maqet_vm",
                )
            return [*items[:index], *items[index + 1 :]]
    return list(items)


def _whole(index: int, card: Item, uuid: str) -> dict[str, t.Any]:
    """A card with its defaults and its address."""
    return {**defaults.of_network(card), "mac": card.get("mac") or render_networks.mac_address(uuid, index)}
