# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory makes of the facts of a VM: a record that may be kept, variables, groups, and a name.

A hypervisor may send anything, and a guest may say anything of itself: what has not the form of a fact is left out.
"""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.names import check_vm_name
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError

Record = t.Dict[str, t.Any]

GROUPINGS = ("state", "labels", "hypervisor")
# Facts that are taken as they are, by their type.
_SIMPLE = {"uuid": str, "qemu_version": str, "accel": str, "restarts": int, "error": str}
_DEFINED = {"memory": int, "cpus": int, "arch": str, "autostart": bool}
_CARD = {"id": str, "type": str, "mac": str}
_ADDRESS = {"interface": str, "mac": str, "family": str, "address": str, "source": str}
_FORWARD = {"protocol": str, "host_address": str, "host_port": int, "guest_port": int}
# QEMU has a word of its own for a VM that was started paused.
_STATES = {"prelaunch": "paused"}
_FORWARD_DEFAULTS = {"protocol": "tcp", "host_address": "127.0.0.1"}


def records(vms: t.Any) -> list[Record]:
    """The record of each VM in the answer of ``maqet_vm_info``, by name; no secret and no path is in them.

    ValueError if it is no such answer.
    """
    if not isinstance(vms, list):
        raise ValueError("what it answered is no list of VMs")
    return [_record(vm) for vm in vms]


def _record(vm: t.Any) -> Record:
    vm = _mapping(vm)
    try:
        name = check_vm_name(vm.get("name"))
    except MaqetError as error:
        raise ValueError(f"it names a VM that cannot be: {error}") from None
    definition, details = _mapping(vm.get("definition")), _mapping(vm.get("details"))
    defined = _mappings(definition.get("networks"))
    cards = [
        {**_fields(card, _CARD), **_fields(own, {"bridge": str})}
        for card, own in zip(_mappings(vm.get("networks")), [*defined, *[{}] * 1000])
    ]
    rules = [rule for own in defined for rule in _mappings(own.get("hostfwd"))]
    return {
        "name": name,
        "state": str(vm.get("status") or "unknown"),
        **dict.fromkeys((*_SIMPLE, *_DEFINED)),
        **_fields(vm, _SIMPLE),
        **_fields(definition, _DEFINED),
        "labels": {str(key): str(value) for key, value in _mapping(definition.get("labels")).items()},
        "networks": cards,
        "forwards": [{**_FORWARD_DEFAULTS, **_fields(rule, _FORWARD)} for rule in rules],
        "addresses": [_fields(address, _ADDRESS) for address in _mappings(details.get("addresses"))],
    }


def variables(record: Record, hypervisor: str, stale: bool) -> dict[str, t.Any]:
    """The variables of a VM as an inventory host, but for those by which Ansible reaches it."""
    found = {f"maqet_{key}": value for key, value in record.items()}
    return {**found, "maqet_hypervisor": hypervisor, "maqet_stale": stale}


def groups(record: Record, hypervisor: str, prefix: str, by: t.Collection[str]) -> list[str]:
    """The groups of a VM, which are still to be made names that Ansible takes."""
    found = [f"{prefix}vms"]
    if "state" in by:
        found.append(f"{prefix}{_STATES.get(record['state'], record['state'])}")
    if "labels" in by:
        found += [
            f"{prefix}label_{key}_{value}" if value else f"{prefix}label_{key}"
            for key, value in record["labels"].items()
        ]
    return [*found, f"{prefix}on_{hypervisor}"] if "hypervisor" in by else found


class Names(t.NamedTuple):
    """``final``: a name for each VM, in their order. ``met``: names that could not be used, and whose they were."""

    final: list[str]
    met: dict[str, list[str]]


def settle(wanted: t.Sequence[tuple[str, str]], taken: t.Container[str]) -> Names:
    """Names for VMs that want a name and are on a hypervisor; one that two want, or that is taken, is nobody's.

    All that want it get ``NAME.HYPERVISOR``, whatever their order. ValueError if that is not enough.
    """
    counts = collections.Counter(name for name, _hypervisor in wanted)
    met: dict[str, list[str]] = {}
    final = []
    for name, hypervisor in wanted:
        if counts[name] > 1 or name in taken:
            met.setdefault(name, []).append(hypervisor)
            name = f"{name}.{hypervisor}"
        final.append(name)
    still = sorted(name for name, count in collections.Counter(final).items() if count > 1 or name in taken)
    if still:
        raise ValueError(
            f"hostname: {', '.join(still)} would be the name of two hosts, even with the hypervisor's name. Choose an "
            "expression that tells them apart, such as maqet_uuid."
        )
    return Names(final, met)


def _mapping(value: t.Any) -> t.Mapping[str, t.Any]:
    return value if isinstance(value, t.Mapping) else {}


def _mappings(value: t.Any) -> list[t.Mapping[str, t.Any]]:
    return [item for item in value if isinstance(item, t.Mapping)] if isinstance(value, list) else []


def _fields(given: t.Mapping[str, t.Any], types: t.Mapping[str, type]) -> Record:
    """Those of ``types`` that are there with their type; True is no number."""
    return {
        key: given[key]
        for key, kind in types.items()
        if isinstance(given.get(key), kind) and (kind is bool or not isinstance(given[key], bool))
    }
