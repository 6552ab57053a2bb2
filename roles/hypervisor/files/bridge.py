# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at a host's network before the role makes a bridge, and says whether that may be done.

``python bridge.py OPTIONS BACKEND [remove]``, OPTIONS as JSON. Answers with JSON: ``refusal`` (empty: go on),
``backend``, ``moves`` (the connection or the default route goes over to the bridge), ``mac`` of the port, and what it
takes to go back: ``before`` (path -> content or null), ``new`` (the bridge is not there yet).

Linux' own answers are asked for: ``ip -json``, ``/sys/class/net`` for what lies on what, and ``/proc`` for the ssh
connection, since ``become`` takes SSH_CONNECTION out of the environment.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import typing as t

NETWORKD, MANAGER = "systemd-networkd", "NetworkManager"
#: The files of a bridge; by the first the role knows its own.
FILES = {
    NETWORKD: tuple(f"/etc/systemd/network/05-maqet-{{}}{end}" for end in (".netdev", ".network", "-port.network")),
    MANAGER: tuple(f"/etc/NetworkManager/system-connections/maqet-{{}}{end}.nmconnection" for end in ("", "-port")),
}
# dev_valid_name() of the kernel, less what would have to be escaped in a file.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")


@dataclasses.dataclass(frozen=True)
class Seen:
    """What the host's network is."""

    links: t.Mapping[str, str]  # interface -> its MAC address
    masters: t.Mapping[str, str]  # port -> its bridge or bond
    lower: t.Mapping[str, frozenset[str]]  # interface -> all that it lies on: ports, parents
    bridges: frozenset[str]
    addresses: t.Mapping[str, str]  # address -> interface
    default: frozenset[str]  # interfaces of default routes
    connection: str  # the host's address of the ssh connection, or ""
    backends: frozenset[str]  # services that run
    own: frozenset[str]  # bridges that have the role's files
    taps: frozenset[str]  # ports of VMs


def decide(options: t.Mapping[str, t.Any], backend: str, seen: Seen) -> dict[str, t.Any]:
    """What the role has to know; with a ``refusal`` nothing may be done."""
    chosen = _backend(backend, seen)
    name, port = str(options.get("name") or ""), str(options.get("port") or "")
    answer = {"refusal": "", "backend": chosen, "moves": False, "mac": seen.links.get(port, "")}
    answer["refusal"] = _impossible(name, port, seen) or ("" if chosen else _no_backend(backend, seen))
    if answer["refusal"]:
        return answer
    over = {what: interface for what, interface in _ways(seen).items() if _carries(interface, name, port, seen)}
    answer["moves"] = any(interface != name for interface in over.values())
    answer["refusal"] = _cut(options, over, seen)
    return answer


def may_go(name: str, backend: str, seen: Seen) -> dict[str, t.Any]:
    """The same for taking the bridge ``name`` away."""
    ways = _ways(seen)
    over = [what for what in ways if name in {ways[what], *seen.lower.get(ways[what], ())}]
    refusal = (
        f"hypervisor_bridge: {name} carries {' and '.join(over)}, which would be cut if it were removed. "
        f"Connect another way, or take {name} away by hand."
        if over
        else ""
    )
    return {"refusal": refusal, "backend": _backend(backend, seen), "moves": False, "mac": ""}


def _ways(seen: Seen) -> dict[str, str]:
    """What must not be cut, in words, and the interface over which it goes."""
    ways = {f"the default route over {interface}": interface for interface in sorted(seen.default)}
    interface = seen.addresses.get(seen.connection)
    if interface:
        ways[f"Ansible's own connection to {seen.connection}"] = interface
    return ways


def _carries(interface: str, name: str, port: str, seen: Seen) -> bool:
    """Whether what goes over ``interface`` is touched by a bridge ``name`` with this port."""
    if interface == name:
        return True
    return bool(port) and port in {interface, *seen.lower.get(interface, ())}


def _cut(options: t.Mapping[str, t.Any], over: t.Mapping[str, str], seen: Seen) -> str:
    name, port = str(options["name"]), str(options.get("port") or "")
    own = {str(address).partition("/")[0] for address in options.get("addresses") or ()}
    held = [inner for inner, master in seen.masters.items() if master == name and inner not in {port, *seen.taps}]
    for what, interface in over.items():
        if interface == name and held:
            return (
                f"hypervisor_bridge.port: {port or 'none'} is wanted, but {name} has the port {held[0]} and carries "
                f"{what}, which would be cut. Keep {held[0]}, or change it by hand."
            )
        if interface not in (name, port):
            return (
                f"hypervisor_bridge.port: {port} carries {what}, by way of {interface}, which lies on it. A role "
                "cannot move that without cutting it; choose another port, or make the bridge by hand."
            )
        if interface == port and not options.get("move_connection"):
            return (
                f"hypervisor_bridge.port: {port} carries {what}, which would be cut. Choose another port; or give the "
                f"bridge what {port} has (addresses and gateways, or dhcp: true) and consent: move_connection: true."
            )
        if options.get("dhcp"):
            continue
        if what.startswith("the default") and not options.get("gateways"):
            return (
                f"hypervisor_bridge.gateways: empty, so {what} would be cut. Give the bridge a gateway, or dhcp: true."
            )
        if seen.addresses.get(seen.connection) == interface and seen.connection not in own:
            return (
                f"hypervisor_bridge.addresses: {sorted(own)} does not hold {seen.connection}, to which Ansible is "
                "connected and which would be cut. Add it, or set dhcp: true."
            )
    return ""


def _impossible(name: str, port: str, seen: Seen) -> str:
    if not _NAME.fullmatch(name):
        return (
            f"hypervisor_bridge.name: {name!r} is no name of an interface. Give 1 to 15 letters, digits, '-', '_', '.'."
        )
    if name in seen.links and name not in seen.own:
        kind = "a bridge" if name in seen.bridges else "an interface"
        return (
            f"hypervisor_bridge.name: {name} is there already, {kind} that this role did not make. Choose another "
            "name; VMs can use a bridge of any origin."
        )
    if not port:
        return ""
    if port not in seen.links or port in ("lo", name):
        known = ", ".join(sorted(set(seen.links) - {"lo", name}))
        return f"hypervisor_bridge.port: {port} cannot be a port of {name} on this host, which has {known or 'none'}."
    master = seen.masters.get(port, name)
    if master != name:
        return f"hypervisor_bridge.port: {port} belongs to {master}. Free it first, or choose another one."
    return ""


def _backend(wanted: str, seen: Seen) -> str:
    if wanted != "auto":
        return wanted if wanted in seen.backends else ""
    return next(iter(seen.backends)) if len(seen.backends) == 1 else ""


def _no_backend(wanted: str, seen: Seen) -> str:
    if wanted != "auto":
        return f"hypervisor_network_backend: {wanted} does not run on this host. Start it, or choose 'auto'."
    if seen.backends:
        return (
            f"hypervisor_network_backend: {NETWORKD} and {MANAGER} both run on this host. Name the one that shall have "
            "the bridge."
        )
    return (
        f"hypervisor_bridge: neither {NETWORKD} nor {MANAGER} runs on this host, and nobody else is known to make the "
        "bridge at boot. Make it with what this host has, and leave hypervisor_bridge out."
    )


def look() -> Seen:
    """The host as it is."""
    links = _ip("link", "show")
    addresses = {
        found["local"]: link["ifname"] for link in _ip("address", "show") for found in link.get("addr_info", ())
    }
    routes = [route for family in ("-4", "-6") for route in _ip(family, "route", "show", "default")]
    hops = [hop.get("dev") for route in routes for hop in (route, *route.get("nexthops", ()))]
    names = [link["ifname"] for link in links]
    return Seen(
        links={link["ifname"]: link.get("address", "") for link in links},
        masters={link["ifname"]: link["master"] for link in links if "master" in link},
        lower={name: frozenset(_below(name)) for name in names},
        bridges=frozenset(name for name in names if os.path.isdir(f"/sys/class/net/{name}/bridge")),
        addresses=addresses,
        default=frozenset(hop for hop in hops if hop),
        connection=_connection(),
        backends=frozenset(service for service in FILES if _active(service)),
        own=frozenset(name for name in names for file in FILES.values() if os.path.exists(file[0].format(name))),
        taps=frozenset(name for name in names if os.path.exists(f"/sys/class/net/{name}/tun_flags")),
    )


def before(name: str, backend: str) -> dict[str, t.Optional[str]]:
    """The files of this bridge as they are."""
    found: dict[str, t.Optional[str]] = {}
    for pattern in FILES.get(backend, ()):
        path = pattern.format(name)
        found[path] = None
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                found[path] = file.read()
    return found


def _below(name: str) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        folder = f"/sys/class/net/{waiting.pop()}"
        entries = os.listdir(folder) if os.path.isdir(folder) else []
        new = {entry[len("lower_") :] for entry in entries if entry.startswith("lower_")} - found
        found |= new
        waiting += new
    return found


def _connection() -> str:
    """The third word of the nearest SSH_CONNECTION among our ancestors (ssh(1)); sudo and su keep it for themselves."""
    pid = os.getpid()
    while pid > 1:
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                words = [word for word in file.read().split(b"\0") if word.startswith(b"SSH_CONNECTION=")]
            if words:
                return words[0].partition(b"=")[2].split()[2].decode().partition("%")[0]
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
                pid = int(stat.read().rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            return ""
    return ""


def _ip(*words: str) -> list[dict[str, t.Any]]:
    done = subprocess.run(["ip", "-json", *words], check=True, capture_output=True)
    return [entry for entry in json.loads(done.stdout or b"[]") if entry]


def _active(service: str) -> bool:
    return subprocess.run(["systemctl", "is-active", "--quiet", service], check=False).returncode == 0


if __name__ == "__main__":
    _options, _wanted, _seen = json.loads(sys.argv[1]), sys.argv[2], look()
    _answer = may_go(_options["name"], _wanted, _seen) if sys.argv[3:] else decide(_options, _wanted, _seen)
    if not _answer["refusal"]:
        _answer["before"] = before(_options["name"], _answer["backend"])
        _answer["new"] = _options["name"] not in _seen.links
    json.dump(_answer, sys.stdout)
