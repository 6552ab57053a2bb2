# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each type of network has of its own."""

from __future__ import annotations

import hashlib
import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition import names, values
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, invalid_option

PROTOCOLS = ("tcp", "udp")
FORWARD_FIELDS = ("protocol", "host_address", "host_port", "guest_address", "guest_port")
#: How the macvtaps of one link see each other (ip-link(8), macvlan modes).
MACVTAP_MODES = ("bridge", "vepa", "private")
#: Types whose back end is an interface of the host, and the option that names one.
ON_HOST = {"bridge": "bridge", "tap": "tap", "macvtap": "link"}
#: QEMU's own network if nobody says otherwise.
USER_NETWORK = "10.0.2.0/24"

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
# QEMU's user network forwards IPv4 only.
_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")
_ENDPOINT = re.compile(rf"({_OCTET}(?:\.{_OCTET}){{3}}):([0-9]{{1,5}})")
# QEMU puts its own addresses at 2 and 3 and gives guests those from 15 on, so that 28 bits are too many.
_CIDR = re.compile(rf"({_OCTET}(?:\.{_OCTET}){{3}})/([89]|1[0-9]|2[0-7])")
# dev_valid_name() of the kernel, within ASCII: up to 15 characters, no blank, slash or colon.
_INTERFACE = re.compile(r"(?!\.{1,2}$)[!-.0-9;-~]{1,15}")
_HOST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,61}[A-Za-z0-9])?")


def interface_name(vm: str, index: int) -> str:
    """At most 15 characters: the beginning of the VM's name for people, 30 bits of its digest, the card's number."""
    digest = int.from_bytes(hashlib.sha256(vm.encode("ascii")).digest()[:4], "big")
    letters = "abcdefghijklmnopqrstuvwxyz234567"
    word = "".join(letters[digest >> shift & 31] for shift in range(0, 30, 5))
    return f"{vm[:5]}-{word}-{index}"


def check_together(option: str, network: t.Mapping[str, t.Any]) -> None:
    """What a type needs, and what its options mean for each other."""
    kind = network["type"]
    needed = ON_HOST.get(kind)
    if needed and needed not in network:
        raise invalid_option(option, kind, f"has no {needed}", f"Give {needed}, {_EXAMPLES[needed]}.")
    if kind == "socket":
        _check_socket(option, network)
    if "dns" in network and not _within(network["dns"], network.get("network", USER_NETWORK)):
        raise invalid_option(
            f"{option}.dns",
            network["dns"],
            f"is not in the guest's network {network.get('network', USER_NETWORK)}, where QEMU answers for the host's",
            "Give an address of that network, or leave dns out.",
        )


def _check_socket(option: str, network: t.Mapping[str, t.Any]) -> None:
    both = [key for key in ("local", "remote") if key in network]
    if "peer" in network and both:
        raise invalid_option(
            f"{option}.{both[0]}", network[both[0]], "is given beside peer", "Give peer, or local and remote."
        )
    if "peer" not in network and len(both) < 2:
        raise invalid_option(option, "socket", "does not say where it leads", "Give peer, or local and remote.")


def _interface(option: str, value: t.Any) -> str:
    remedy = "Give the name of an interface of the host, of at most 15 characters, as 'ip link' shows it."
    return values.matching(option, value, _INTERFACE, "is not a name of an interface", remedy)


def _mode(option: str, value: t.Any) -> str:
    return values.choice(option, value, MACVTAP_MODES)


def _peer(option: str, value: t.Any) -> str:
    try:
        return names.check_vm_name(value)
    except MaqetError:
        raise invalid_option(option, value, "is not a name for a VM", "Give the name of the other VM.") from None


def _endpoint(option: str, value: t.Any) -> str:
    remedy = "Give an IPv4 address and a port, such as 127.0.0.1:5001."
    endpoint = values.matching(option, value, _ENDPOINT, "is not an address and a port", remedy)
    address, _colon, port = endpoint.partition(":")
    return f"{address}:{values.whole_number(option, port, 1, 65535)}"


def _address(option: str, value: t.Any) -> str:
    remedy = "Give an IPv4 address of four numbers, such as 127.0.0.1."
    return values.matching(option, value, _IPV4, "is not an IPv4 address", remedy)


def _cidr(option: str, value: t.Any) -> str:
    remedy = "Give an IPv4 network with 8 to 27 bits, such as 10.0.5.0/24."
    network = values.matching(option, value, _CIDR, "is not a network for guests", remedy)
    address, _slash, bits = network.partition("/")
    if _number(address) & (0xFFFFFFFF >> int(bits)):
        raise invalid_option(option, value, f"has more than {bits} bits that are not zero", remedy)
    return network


def _host_name(option: str, value: t.Any) -> str:
    remedy = "Give letters, digits, '.' and '-', such as web1 or example.com."
    return values.matching(option, value, _HOST_NAME, "is not a name for DHCP", remedy)


def _forwards(option: str, value: t.Any) -> list[dict[str, t.Any]]:
    rules = values.list_of(option, value, "port forwardings")
    return [_forward(f"{option}[{index}]", rule) for index, rule in enumerate(rules)]


def _forward(option: str, value: t.Any) -> dict[str, t.Any]:
    given = values.fields(option, value, FORWARD_FIELDS)
    rule: dict[str, t.Any] = {}
    if "protocol" in given:
        rule["protocol"] = values.choice(f"{option}.protocol", given["protocol"], PROTOCOLS)
    for side in ("host", "guest"):
        address, port = f"{side}_address", f"{side}_port"
        if address in given:
            rule[address] = _address(f"{option}.{address}", given[address])
        if port not in given:
            raise invalid_option(option, value, f"has no {port}", "Give both host_port and guest_port.")
        rule[port] = values.whole_number(f"{option}.{port}", given[port], 1, 65535)
    return rule


def _number(address: str) -> int:
    return int.from_bytes(bytes(map(int, address.split("."))), "big")


def _within(address: str, network: str) -> bool:
    base, _slash, bits = network.partition("/")
    return _number(address) >> (32 - int(bits)) == _number(base) >> (32 - int(bits))


#: Option → check, for each type.
CHECKS: dict[str, dict[str, t.Callable[[str, t.Any], t.Any]]] = {
    "user": {
        "hostfwd": _forwards,
        "restrict": values.yes_or_no,
        "network": _cidr,
        "dns": _address,
        "domain": _host_name,
        "hostname": _host_name,
        "ipv6": values.yes_or_no,
    },
    "bridge": {"bridge": _interface},
    "tap": {"tap": _interface},
    "macvtap": {"link": _interface, "mode": _mode},
    "socket": {"peer": _peer, "local": _endpoint, "remote": _endpoint},
}
_EXAMPLES = {
    "bridge": "the name of a bridge of the host, such as br0",
    "tap": "the name of a tap of the host, such as tap0",
    "link": "the name of a network interface of the host, such as eth0",
}
