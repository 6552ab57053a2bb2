# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network interfaces of this host: looked at, changed, made and removed by the kernel's own protocol.

rtnetlink(7) and include/uapi/linux/if_link.h, of which this is what concerns interfaces. Errors are OSError with the
kernel's number.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import struct
import typing as t

_NEWLINK, _DELLINK, _GETLINK = 16, 17, 18
_ERROR, _DONE = 2, 3
_REQUEST, _ACK, _EXCL, _DUMP, _CREATE, _INTERRUPTED = 0x1, 0x4, 0x200, 0x300, 0x400, 0x10
_ADDRESS, _NAME, _MTU, _LINK, _MASTER, _LINKINFO, _ALIAS, _EXT_MASK = 1, 3, 4, 5, 10, 18, 20, 29
_INFO_KIND, _INFO_DATA, _MACVLAN_MODE = 1, 2, 1
_SKIP_STATS = 8
_UP = 1
_MODES = {"private": 1, "vepa": 2, "bridge": 4}
_TYPE_MASK = 0x3FFF  # the upper two bits of an attribute's type are flags
_HEADER = struct.Struct("=IHHII")
_INTERFACE = struct.Struct("=BxHiII")
_ATTRIBUTE = struct.Struct("=HH")
# As large as the kernel makes the parts of a dump.
_BUFFER = 1 << 16


@dataclasses.dataclass(frozen=True)
class Link:
    """One interface. ``kind``: bridge, tun, macvtap, veth, ..., or '' of hardware; ``data``: what its kind has more."""

    index: int
    name: str
    kind: str
    mtu: int
    up: bool
    master: int
    alias: str
    data: t.Mapping[int, bytes]


def links() -> dict[str, Link]:
    """All interfaces that are visible to us, by name."""
    request = _INTERFACE.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + _number(_EXT_MASK, _SKIP_STATS)
    with _socket() as kernel:
        while True:
            found, complete = _dump(kernel, request)
            if complete:
                return {link.name: link for link in found}


def add_macvtap(name: str, link: Link, mode: str, mac: str, mtu: t.Optional[int], alias: str) -> None:
    """Make a macvtap over ``link``, and set it up. It stays until it, or what is below it, is removed."""
    info = _text(_INFO_KIND, "macvtap") + _attribute(_INFO_DATA, _number(_MACVLAN_MODE, _MODES[mode]))
    attributes = _text(_NAME, name) + _number(_LINK, link.index) + _address(mac) + _attribute(_LINKINFO, info)
    if mtu is not None:
        attributes += _number(_MTU, mtu)
    _call(_NEWLINK, _CREATE | _EXCL, _INTERFACE.pack(0, 0, 0, _UP, _UP) + attributes)
    change(socket.if_nametoindex(name), alias=alias)  # it cannot be given at once


def change(index: int, mac: str = "", mtu: int = 0, master: int = 0, alias: str = "") -> None:
    """Set what is given of one interface; with a ``master`` it becomes a port of that bridge. It is up afterwards."""
    attributes = _address(mac) if mac else b""
    attributes += _number(_MTU, mtu) if mtu else b""
    attributes += _text(_ALIAS, alias) if alias else b""
    attributes += _number(_MASTER, master) if master else b""
    _call(_NEWLINK, 0, _INTERFACE.pack(0, 0, index, _UP, _UP) + attributes)


def remove(index: int) -> None:
    """Remove an interface that is made of nothing but software."""
    _call(_DELLINK, 0, _INTERFACE.pack(0, 0, index, 0, 0))


def _socket() -> socket.socket:
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    try:
        kernel.bind((0, 0))
    except BaseException:
        kernel.close()
        raise
    return kernel


def _call(kind: int, flags: int, body: bytes) -> None:
    with _socket() as kernel:
        kernel.sendall(_HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | _ACK | flags, 1, 0) + body)
        for answer, content, _flags in _messages(kernel.recv(_BUFFER)):
            if answer == _ERROR:
                _demand(content)


def _dump(kernel: socket.socket, request: bytes) -> tuple[list[Link], bool]:
    """Every interface, and whether none came or went meanwhile."""
    found: list[Link] = []
    complete = True
    kernel.sendall(_HEADER.pack(_HEADER.size + len(request), _GETLINK, _REQUEST | _DUMP, 1, 0) + request)
    while True:
        for answer, content, flags in _messages(kernel.recv(_BUFFER)):
            complete = complete and not flags & _INTERRUPTED
            if answer == _ERROR:
                _demand(content)
            if answer == _DONE:
                return found, complete
            if answer == _NEWLINK:
                found.append(_link(content))


def _messages(data: bytes) -> t.Iterator[tuple[int, bytes, int]]:
    """(type, content, flags) of each message in what was received."""
    while len(data) >= _HEADER.size:
        length, kind, flags, _sequence, _port = _HEADER.unpack_from(data)
        if not _HEADER.size <= length <= len(data):
            raise OSError("the kernel's answer is cut off")
        yield kind, data[_HEADER.size : length], flags
        data = data[_aligned(length) :]


def _demand(content: bytes) -> None:
    (number,) = struct.unpack_from("=i", content)
    if number:
        raise OSError(-number, os.strerror(-number))


def _link(content: bytes) -> Link:
    _family, _type, index, flags, _change = _INTERFACE.unpack_from(content)
    attributes = _attributes(content[_INTERFACE.size :])
    info = _attributes(attributes.get(_LINKINFO, b""))
    return Link(
        index,
        _string(attributes[_NAME]),
        _string(info.get(_INFO_KIND, b"")),
        _integer(attributes.get(_MTU)),
        bool(flags & _UP),
        _integer(attributes.get(_MASTER)),
        _string(attributes.get(_ALIAS, b"")),
        _attributes(info.get(_INFO_DATA, b"")),
    )


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if not _ATTRIBUTE.size <= length <= len(data):
            break  # what some kinds have is no list of attributes
        found[kind & _TYPE_MASK] = data[_ATTRIBUTE.size : length]
        data = data[_aligned(length) :]
    return found


def _attribute(kind: int, value: bytes) -> bytes:
    whole = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value
    return whole.ljust(_aligned(len(whole)), b"\0")


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("=I", value))


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _address(mac: str) -> bytes:
    return _attribute(_ADDRESS, bytes.fromhex(mac.replace(":", "")))


def _string(value: bytes) -> str:
    return value.rstrip(b"\0").decode("utf-8", "replace")


def _integer(value: t.Optional[bytes]) -> int:
    with contextlib.suppress(struct.error):
        return int(struct.unpack("=I", value or b"")[0])
    return 0


def _aligned(length: int) -> int:
    return (length + 3) & ~3
