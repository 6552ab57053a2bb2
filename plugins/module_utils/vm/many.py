# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one list asks of each of many VMs. Decisions only, nothing here touches the host."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.vm.ensure import Desired
from ansible_collections.maqet.qemu.plugins.module_utils.vm.wish import concealed, desired

Options = t.Mapping[str, t.Any]
#: Gives options of one VM the types of its spec, and those that are missing their defaults.
Typed = t.Callable[[Options], t.Dict[str, t.Any]]

#: States in which a VM gives back what others may need: memory, ports, disks, devices.
_ENDING = ("absent", "stopped")
# Options of a task rather than of a VM: those by which a VM that is not listed goes.
_OF_THE_TASK = ("timeout", "stop_timeout", "force", "purge")


@dataclasses.dataclass(frozen=True)
class Limit:
    """How many VMs may fail before no other is begun; None for any number."""

    most: t.Optional[int]

    def exceeded(self, failed: int) -> bool:
        """Whether so many are too many."""
        return self.most is not None and failed > self.most


def limit(max_fail: t.Optional[str], listed: int) -> Limit:
    """A number, or per cent of all VMs in the task."""
    if max_fail is None:
        return Limit(None)
    found = re.fullmatch(r"([0-9]+)(%?)", max_fail.strip())
    if found is None or (found[2] and int(found[1]) > 100):
        raise invalid_option("max_fail", max_fail, "is no number of VMs", "Give one, such as 2, or per cent, as in 10%")
    return Limit(int(found[1]) * listed // 100 if found[2] else int(found[1]))


def wishes(vms: t.Sequence[t.Any], defaults: Options, typed: Typed) -> dict[str, Desired]:
    """What is asked of each VM of the list, by its name and in its order.

    ``invalid_option`` names everything that is wrong in any of them, before anything is done.
    """
    if "name" in defaults:
        raise invalid_option("defaults", {"name": defaults["name"]}, "cannot hold a name", "Give each VM its own")
    found: dict[str, Desired] = {}
    wrong: list[str] = []
    for number, entry in enumerate(vms):
        label = _label(entry, number)
        try:
            wanted = _wish(entry, defaults, typed)
            if wanted.name in found:
                raise invalid_option("name", wanted.name, "is there twice", "Give each VM one entry")
            found[wanted.name] = wanted
        except MaqetError as error:
            wrong.append(f"{label}: {error}")
    if wrong:
        raise MaqetError("; ".join(wrong), "invalid_option", option="vms", wrong=wrong)
    return found


def _wish(entry: t.Any, defaults: Options, typed: Typed) -> Desired:
    if isinstance(entry, str):
        entry = {"name": entry}
    if not isinstance(entry, t.Mapping):
        raise invalid_option("vms", entry, "is no VM", "Give a name, or options such as {name: web1, memory: 2G}")
    return desired(typed({**defaults, **entry}))


def unlisted(there: t.Iterable[str], listed: t.Container[str], defaults: Options, typed: Typed) -> dict[str, Desired]:
    """The end of each VM that is there and not listed. ``defaults`` say how, and whether its disks go too."""
    how = {key: value for key, value in defaults.items() if key in _OF_THE_TASK}
    return {name: desired(typed({**how, "name": name, "state": "absent"})) for name in there if name not in listed}


def check_purge(listed: t.Sized, there: t.Sequence[str]) -> None:
    """An empty list is more often a variable that went wrong than the wish to remove everything."""
    if there and not listed:
        names = ", ".join(there)
        raise invalid_option(
            "vms", [], f"with purge: true would remove all VMs of this host ({names})", "List them with state: absent"
        )


def waves(wanted: t.Mapping[str, Desired]) -> list[list[str]]:
    """Names of those that may be worked on at the same time: first who gives back, then who takes."""
    ending = [name for name, wish in wanted.items() if wish.state in _ENDING]
    others = [name for name in wanted if name not in set(ending)]
    return [wave for wave in (ending, others) if wave]


def will_start(state: t.Optional[str], runs: bool) -> bool:
    """Whether a VM that ``runs``, or not, is to be started for its wanted ``state``."""
    return state == "restarted" or (state in ("running", "paused") and not runs)


def leaving(wanted: t.Mapping[str, Desired], done: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, str]:
    """Which of those that are ``done`` have given back what others may need, and the state that they are in."""
    return {
        name: wanted[name].state
        for name, outcome in done.items()
        if wanted[name].state in _ENDING and not outcome.get("failed")
    }


def to_show(entries: t.Sequence[t.Any]) -> list[t.Any]:
    """The list as it may be repeated."""
    return [{**entry, **concealed(entry)} if isinstance(entry, t.Mapping) else entry for entry in entries]


def _label(entry: t.Any, number: int) -> str:
    name = entry.get("name") if isinstance(entry, t.Mapping) else entry if isinstance(entry, str) else None
    return f"vms[{number}]" if name is None else f"vms[{number}] ({name})"
