# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the firmware tries to boot from, and in which order (QEMU: docs/system/bootindex).

Without an order disks come first, as they are listed. With one, what it names comes before all other disks, and a card
boots only if it is named.
"""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition import values
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_board import booted
from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option

FIELDS = ("order", "menu")

_REMEDY = "Name disks, single cards as nic0, nic1 and so on, or all of them as networks."


def boot(option: str, value: t.Any) -> dict[str, t.Any]:
    """Normal form: only what was given; an empty dictionary takes a stored one back."""
    given = values.fields(option, value, FIELDS)
    result: dict[str, t.Any] = {}
    if "order" in given:
        names = values.list_of(f"{option}.order", given["order"], "names")
        result["order"] = [values.text(f"{option}.order[{index}]", name, _REMEDY) for index, name in enumerate(names)]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise invalid_option(f"{option}.order[{index}]", name, "is named twice", "Remove one of them.")
    if "menu" in given:
        result["menu"] = values.yes_or_no(f"{option}.menu", given["menu"])
    return result


def check(intent: t.Mapping[str, t.Any]) -> None:
    """Each name in the order is one of the VM's, once, and nothing else says where it stands."""
    order = intent.get("boot", {}).get("order")
    if not order:
        return
    disks, cards = intent.get("disks", []), intent.get("networks", [])
    seen: list[str] = []
    for index, name in enumerate(order):
        option, found = f"boot.order[{index}]", booted(name, disks, cards)
        if not found:
            known = [disk["name"] for disk in disks] + [f"nic{number}" for number in range(len(cards))]
            problem = "is no disk or card of this VM" + (f", which has {', '.join(known)}" if known else "")
            raise invalid_option(option, name, problem, _REMEDY)
        for device in found:
            if device in seen:
                raise invalid_option(option, name, f"names {device} again", "Remove one of them.")
        seen += found
    for kind, items in (("disks", disks), ("networks", cards)):
        for index, item in enumerate(items):
            if item.get("bootindex") is not None:
                raise invalid_option(
                    f"{kind}[{index}].bootindex",
                    item["bootindex"],
                    "cannot come with boot.order, which is the order",
                    "Remove one of the two.",
                )
