# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts the inventory plugin is to read, as its option ``hypervisors`` says."""

from __future__ import annotations

import fnmatch
import typing as t

Variables = t.Dict[str, t.Any]

#: As Ansible itself has it: this machine, which needs to be in no inventory.
LOCALHOST = "localhost"


def chosen(
    given: t.Sequence[t.Any], hosts: t.Collection[str], groups: t.Mapping[str, t.Collection[str]]
) -> dict[str, Variables]:
    """The hosts by name, in the order of the option, each with the variables that were given with it.

    ``hosts`` and ``groups`` are what stands in the inventory so far. ValueError, in words, for what is neither.
    """
    found: dict[str, Variables] = {}
    for index, item in enumerate(given):
        option = f"hypervisors[{index}]"
        if isinstance(item, t.Mapping):
            name, variables = _inline(option, item)
            found[name] = {**found.get(name, {}), **variables}
            continue
        if not isinstance(item, str) or not item:
            raise ValueError(
                f"{option}: {item!r} is neither a pattern nor a dictionary. Write a host, a group, or {{name: HOST, "
                "ansible_host: ADDRESS}."
            )
        if item.startswith("!"):
            for name in _matching(option, item[1:], hosts, groups):
                found.pop(name, None)
            continue
        for name in _matching(option, item, hosts, groups):
            found.setdefault(name, {})
    return found


def _inline(option: str, item: t.Mapping[str, t.Any]) -> tuple[str, Variables]:
    name = item.get("name")
    if not isinstance(name, str) or not name:
        raise ValueError(f"{option}: has no name. Give name, by which groups and variables will call this host.")
    others = [key for key in item if key != "name" and not str(key).startswith("ansible_")]
    if others:
        raise ValueError(
            f"{option}: {', '.join(map(repr, others))} says nothing of a connection. Beside name only variables that "
            "begin with ansible_ are of use here."
        )
    return name, {key: value for key, value in item.items() if key != "name"}


def _matching(
    option: str, pattern: str, hosts: t.Collection[str], groups: t.Mapping[str, t.Collection[str]]
) -> list[str]:
    """Hosts of a group, a host, or all of both whose names match; in the order of the inventory."""
    if pattern == "all":
        names = set(hosts)
    elif pattern in groups:
        names = set(groups[pattern])
    elif pattern in hosts or pattern == LOCALHOST:
        return [pattern]
    else:
        names = set(fnmatch.filter(hosts, pattern))
        for group in fnmatch.filter(groups, pattern):
            names |= set(groups[group])
        if not names:
            there = ", ".join(sorted({*hosts, *groups} - {"all", "ungrouped"})) or "nothing"
            raise ValueError(
                f"{option}: {pattern!r} is no host and no group of the sources before this one, which have: {there}. "
                "Name the source that has it before this file (-i hosts.yml -i lab.maqet.yml; in a folder the order is "
                "that of the file names), or give the host here: {name: HOST, ansible_host: ADDRESS}."
            )
    return [name for name in hosts if name in names]
