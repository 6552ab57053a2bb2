# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fields that are neither files nor addresses: programs, descriptors, devices, objects, the human monitor."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.guard import hmp
from ansible_collections.maqet.qemu.plugins.module_utils.guard.case import Case
from ansible_collections.maqet.qemu.plugins.module_utils.guard.conditions import value_matches
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Opening, Refusal
from ansible_collections.maqet.qemu.plugins.module_utils.guard.walk import Leaf

_EXACT = "Have the host's policy say commands: {COMMAND: {arguments: {FIELD: [VALUE]}}}, if you mean it."

#: What a policy can name under ``devices``: an interface, or a device by its path.
_DEVICE = re.compile(r"/[^\0*]+|[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")

#: Chardevs and other parts that the collection itself needs to keep hold of a VM.
RESERVED = frozenset({"maqet-monitor", "maqet-direct", "maqet-agent", "maqet-serial"})

#: What may be read by qom-get without a word in the policy: (path, property), each matched as a whole.
_READABLE: tuple[tuple[str, str], ...] = (
    (r"/machine", "type|accel|acpi|boot|firmware-version|graphics|usb|memory-encryption|hpet|smm|vmport"),
    (
        r"/machine/peripheral(-anon)?/[^/]+",
        "type|realized|hotplugged|hotpluggable|guest-stats|bootindex|addr|serial|mac",
    ),
    (r"/machine/peripheral(-anon)?/[^/]+", "guest-stats-polling-interval|free-page-reporting|num-queues|queue-size"),
    (r"/machine/unattached/device\[[0-9]+\]", "type|realized|hotplugged|hotpluggable|thread-id|core-id|socket-id"),
    (
        r"/objects/[^/]+",
        "type|size|share|prealloc|merge|dump|policy|host-nodes|thread-id|poll-max-ns|poll-grow|poll-shrink",
    ),
    (r"/objects/[^/]+", "limits|max-bytes|period"),
    (r"/machine/rtc|/machine", "rtc-time|date"),
)
#: What may be written by qom-set.
_WRITABLE: tuple[tuple[str, str], ...] = (
    (r"/machine/peripheral/[^/]+", "guest-stats-polling-interval"),
    (r"/objects/[^/]+", "poll-max-ns|poll-grow|poll-shrink|limits"),
)


def program(leaf: Leaf, case: Case) -> Refusal | None:
    """Something that QEMU would run."""
    if not case.base:
        return None
    return case.refuse(leaf, "would be run on the host", _EXACT, case.by_name(leaf))


def descriptor(leaf: Leaf, case: Case) -> Refusal | None:
    """A name or number of a descriptor: the runner hands descriptors over, callers have none to give."""
    if not case.base:
        return None
    remedy = "Name the file, socket or interface itself: where it is allowed, the runner opens it and passes it on."
    return case.refuse(leaf, "is a descriptor", remedy, case.by_name(leaf))


def host_device(leaf: Leaf, case: Case) -> Refusal | None:
    """A device or network interface of the host."""
    allowed = case.layer.devices
    if (allowed is None and not case.base) or leaf.value in case.scope.granted.devices:
        return None
    if isinstance(leaf.value, str) and any(value_matches(one, leaf.value) for one in allowed or ()):
        return None
    remedy = "Have the host's policy name it under 'devices'."
    plain = isinstance(leaf.value, str) and _DEVICE.fullmatch(leaf.value) is not None
    opens = {"devices": [leaf.value]} if plain else case.by_name(leaf)
    return case.refuse(leaf, "is a device of the host that no policy names", remedy, opens)


def closed(leaf: Leaf, case: Case) -> Refusal | None:
    """Control channels, access rules, mounts: opened only by name."""
    if not case.base:
        return None
    what = {
        "monitor": "would be a control channel past the guard",
        "policy": "changes who has access to what",
        "path-mount": "would be mounted over",
    }.get(str(leaf.kind), "has a power that no rule can judge")
    return case.refuse(leaf, what, _EXACT, case.by_name(leaf))


def human_monitor(leaf: Leaf, case: Case) -> Refusal | None:
    """A line for the human monitor."""
    if not case.base:
        return None
    problem = hmp.problem(leaf.value)
    if problem is None:
        return None
    remedy = "Use the QMP command that does the same, whose arguments can be judged. Or: " + _EXACT
    return case.refuse(leaf, problem, remedy, case.by_name(leaf))


def qom(leaf: Leaf, case: Case) -> Refusal | None:
    """qom-get and qom-set: only properties that are known to be harmless. Judged once, at the property."""
    if not case.base:
        return None
    holder = leaf.holders[-1]
    path, name = str(holder.get("path", leaf.value)), str(holder.get("property", ""))
    table = _WRITABLE if case.command == "qom-set" else _READABLE
    if case.command in ("qom-get", "qom-set") and any(_whole(p, path) and _whole(n, name) for p, n in table):
        return None
    if leaf.key == "value":
        return None  # what may be set is decided by the two others
    verb = "written" if case.command == "qom-set" else "read"
    remedy = "Have the host's policy name path and property for this command."
    opens = case.by_name(leaf)
    if case.command in ("qom-get", "qom-set"):
        opens["commands"][case.command]["arguments"] = {"path": [path], "property": [name]}
    return case.refuse(leaf, f"and property {name!r}: not on the list of those that may be {verb}", remedy, opens)


def tap(leaf: Leaf, case: Case) -> Refusal | None:
    """``ifname`` of a tap: the runner opens the interface, and QEMU gets its descriptor and runs no script."""
    refusal = host_device(leaf, case)
    if refusal is not None:
        return refusal
    options = leaf.holders[-1]

    def put(text: str) -> None:
        for key in ("ifname", "script", "downscript"):
            options.pop(key, None)
        options["fd"] = text

    mode = "any-tap" if leaf.value in case.scope.granted.devices else "tap"
    case.opens(Opening(leaf.where, str(leaf.value), "", (), mode, "getfd", put))
    return None


def tap_without_name(options: t.Mapping[str, t.Any]) -> Refusal | None:
    """A tap that names no interface makes QEMU open one itself and run its default script."""
    if options.get("type") != "tap" or options.get("ifname") is not None:
        return None
    remedy = "Name an interface that exists and that the host's policy names: ifname: tap0."
    return Refusal("field-exec", "ifname is missing: QEMU would make a tap and run /etc/qemu-ifup", remedy)


def reserved(leaf: Leaf) -> Refusal | None:
    """The collection's own plumbing, under whatever field it is named."""
    value = leaf.value
    names = RESERVED - {"maqet-serial"} if leaf.key in ("device",) else RESERVED
    named = isinstance(value, str) and (value in names or any(value.endswith(f"/{name}") for name in RESERVED))
    if not named or leaf.kind in ("guest-data", "secret", "opaque", "hmp"):
        return None
    remedy = "Change the VM with maqet_vm instead."
    return Refusal("reserved", f"{leaf.where} {value!r} belongs to the runner", remedy, final=True)


def plain(leaf: Leaf, case: Case) -> Refusal | None:
    """A name or text without power over the host."""
    return None


def _whole(pattern: str, text: str) -> bool:
    return re.fullmatch(pattern, text) is not None
