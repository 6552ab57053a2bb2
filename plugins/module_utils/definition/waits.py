# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task may wait for after its actions: the ``wait_for`` option."""

from __future__ import annotations

import ipaddress
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.maqet.qemu.plugins.module_utils.definition import values
from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option

WORDS = ("running", "exit", "agent", "ip", "ssh", "cloud_init")
FAMILIES = ("any", "ipv4", "ipv6")
SSH_PORT = 22
# Of each kind the field that a value without a dictionary stands for, and all that it may have beside ``timeout``.
_MAIN = {"serial": "regex", "event": "name", "port": "port", "ssh": "port", "ip": "family"}
_FIELDS = {
    "serial": ("regex",),
    "event": ("name",),
    "port": ("port", "address"),
    "ssh": ("port", "address"),
    "ip": ("family",),
}
_NEEDED = ("serial", "event", "port")
# A day and more; in seconds.
_MAX_TIMEOUT = 1e6
_EVENT = re.compile(r"[A-Z][A-Z0-9_]*")
_REMEDY = f"Write {', '.join(WORDS)}, {{serial: REGEX}}, {{event: NAME}} or {{port: NUMBER}}."


@dataclass(frozen=True)
class Wait:
    """One thing to wait for: ``kind`` is a word of :data:`WORDS`, serial, event or port.

    ``value`` is the regex, the event's name or the family of addresses. ``timeout`` is in seconds, None where the
    task's holds. ``port`` is one of the guest, or of ``address`` where that is given.
    """

    kind: str
    value: str = ""
    timeout: t.Optional[float] = None
    port: int = 0
    address: str = ""

    def __str__(self) -> str:
        if self.kind in ("ssh", "port"):
            where = f"{self.address} port {self.port}" if self.address else f"{self.port}"
            return self.kind if where == str(SSH_PORT) and self.kind == "ssh" else f"{self.kind}: {where}"
        if self.kind == "ip" and self.value == "any":
            return self.kind
        return f"{self.kind}: {self.value}" if self.value else self.kind


def wait_for(value: t.Any, option: str = "wait_for") -> list[Wait]:
    """The list in its order. None is an empty list, and a single item needs no brackets."""
    if value is None:
        return []
    items = list(value) if isinstance(value, (list, tuple)) else [value]
    return [_wait(f"{option}[{index}]", item) for index, item in enumerate(items)]


def _wait(option: str, item: t.Any) -> Wait:
    if isinstance(item, str) and item in WORDS:
        return _of_fields(option, item, {})
    if not isinstance(item, t.Mapping) or len(item) != 1:
        raise invalid_option(option, item, "is nothing to wait for", _REMEDY)
    kind, value = next(iter(item.items()))
    if kind not in WORDS and kind not in _NEEDED:
        raise invalid_option(option, item, "is nothing to wait for", _REMEDY)
    if isinstance(value, t.Mapping):
        given = values.fields(f"{option}.{kind}", value, (*_FIELDS.get(kind, ()), "timeout"))
        return _of_fields(f"{option}.{kind}", kind, given)
    if kind not in _MAIN:
        raise invalid_option(option, item, "is nothing to wait for", f"Write {kind}, or {{{kind}: {{timeout: 60}}}}.")
    return _of_fields(f"{option}.{kind}", kind, {_MAIN[kind]: value}, short=True)


def _of_fields(option: str, kind: str, given: t.Mapping[str, t.Any], short: bool = False) -> Wait:
    """``short``: the value stood there without a dictionary, so ``option`` names it."""

    def name(field: str) -> str:
        return option if short else f"{option}.{field}"

    if kind in _NEEDED and _MAIN[kind] not in given:
        raise invalid_option(option, dict(given), f"has no {_MAIN[kind]}", f"Give {_MAIN[kind]}.")
    timeout = _timeout(name("timeout"), given["timeout"]) if "timeout" in given else None
    if kind == "event":
        remedy = "Give the name of a QMP event, such as SHUTDOWN."
        problem = "is not the name of an event"
        return Wait(kind, values.matching(name("name"), given["name"], _EVENT, problem, remedy), timeout)
    if kind == "serial":
        return Wait(kind, _regex(name("regex"), given["regex"]), timeout)
    if kind == "ip":
        return Wait(kind, values.choice(name("family"), given.get("family", "any"), FAMILIES), timeout)
    if kind in ("port", "ssh"):
        port = values.whole_number(name("port"), given.get("port", SSH_PORT), 1, 65535)
        address = _address(name("address"), given["address"]) if "address" in given else ""
        return Wait(kind, timeout=timeout, port=port, address=address)
    return Wait(kind, timeout=timeout)


def _timeout(option: str, value: t.Any) -> float:
    remedy = f"Give a number of seconds, more than 0 and at most {_MAX_TIMEOUT:g}."
    try:
        seconds = -1.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 < seconds <= _MAX_TIMEOUT:
        raise invalid_option(option, value, "is no time to wait", remedy)
    return seconds


def _address(option: str, value: t.Any) -> str:
    """An IP address: a name could mean another machine at every look."""
    try:
        return str(ipaddress.ip_address(value if isinstance(value, str) else ""))
    except ValueError:
        remedy = "Give an IPv4 or IPv6 address, such as 192.0.2.10."
        raise invalid_option(option, value, "is not an IP address", remedy) from None


def _regex(option: str, value: t.Any) -> str:
    remedy = "Give a regular expression of Python that cannot match nothing, in quotes, such as 'login: '."
    if not isinstance(value, str):
        raise invalid_option(option, value, "is not a string", remedy)
    try:
        pattern = re.compile(value)
    except (re.error, OverflowError, RecursionError) as error:
        raise invalid_option(option, value, f"is not a regular expression: {error}", remedy) from error
    if pattern.search(""):
        raise invalid_option(option, value, "matches an empty text, so there is nothing to wait for", remedy)
    return value


def check_possible(waits: t.Sequence[Wait], intent: t.Mapping[str, t.Any]) -> None:
    """``invalid_option`` for what this VM has no means to tell; ``intent`` as it will be stored.

    What a task says of its VM may not hold for one that runs with older options: that is seen when it is asked.
    """
    for index, wait in enumerate(waits):
        problem = _impossible(wait, intent)
        if problem is not None:
            raise invalid_option(f"wait_for[{index}]", str(wait), *problem)


def _impossible(wait: Wait, intent: t.Mapping[str, t.Any]) -> t.Optional[tuple[str, str]]:
    networks = intent.get("networks", ())
    agent, bridged = bool(intent.get("agent")), bool(bridges(networks))
    if wait.kind == "agent" and not agent:
        return "cannot come: the VM has no port for an agent", "Give the VM agent: true."
    if wait.kind in ("serial", "cloud_init") and intent.get("serial") == "none":
        return "cannot come: the VM has no serial port", "Give the VM serial: file."
    if wait.kind == "cloud_init" and _own_last_words(intent):
        return (
            "cannot be known: user-data has a final_message of its own, and cloud-init's is what is waited for",
            "Wait for yours instead, {serial: PATTERN}, or remove it.",
        )
    if wait.kind == "ip" and not agent and not bridged:
        return (
            "cannot be known: the VM has neither an agent nor a card on a bridge",
            "Give the VM agent: true, and the agent to its guest.",
        )
    if wait.kind in ("ssh", "port") and not wait.address and forward(networks, wait.port) is None:
        if all(network.get("type") == "user" for network in networks):
            remedy = f"Forward it by networks[].hostfwd (guest_port: {wait.port}), or give an address."
            return f"cannot be reached: no card forwards a port of the host to {wait.port}/tcp of the guest", remedy
        if not agent and not bridged:
            return "cannot be reached: nothing tells the guest's address", "Give an address, or the VM agent: true."
    return None


def _own_last_words(intent: t.Mapping[str, t.Any]) -> bool:
    """Whether the guest is told to end cloud-init with other words than cloud-init's own."""
    parts = [(intent.get("cloud_init") or {}).get(part) for part in ("user_data", "vendor_data")]
    return any(
        "final_message" in part if isinstance(part, dict) else re.search(r"^final_message\s*:", part, re.MULTILINE)
        for part in parts
        if part
    )


def forward(networks: t.Sequence[t.Mapping[str, t.Any]], port: int) -> t.Optional[tuple[str, int]]:
    """Address and port of the host that lead to a TCP port of the guest; None if none do."""
    for network in networks:
        for rule in network.get("hostfwd", ()):
            if rule.get("protocol", "tcp") == "tcp" and rule["guest_port"] == port:
                address = rule.get("host_address", "127.0.0.1")
                return ("127.0.0.1" if address == "0.0.0.0" else address, rule["host_port"])
    return None


def is_forwarded(networks: t.Sequence[t.Mapping[str, t.Any]], address: str, port: int) -> bool:
    """Whether QEMU itself listens there, which takes every call, whoever listens in the guest."""
    return any(
        rule.get("protocol", "tcp") == "tcp"
        and rule["host_port"] == port
        and rule.get("host_address", "127.0.0.1") in (address, "0.0.0.0")
        for network in networks
        for rule in network.get("hostfwd", ())
    )


def bridges(networks: t.Sequence[t.Mapping[str, t.Any]]) -> dict[int, str]:
    """The bridge of each card that is on one, by the card's place in the list."""
    return {index: network["bridge"] for index, network in enumerate(networks) if network.get("bridge")}
