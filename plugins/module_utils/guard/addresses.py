# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses that a policy names, and whether one that QEMU would use is among them.

Nothing is looked up: what a name means may change between the look and QEMU's own.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.names import shown

MAX_PORT = 65535

_FORMS = "Write HOST:PORT, HOST:FIRST-LAST, HOST:* or unix:/PATH, an IPv6 address in brackets, such as [::1]:4444."
# RFC 1123, with the underscore that people use. A last label of digits, or 0x..., would be read as a number by
# inet_aton(3): "127.1" and "0x7f000001" are spellings of 127.0.0.1.
_NAME = re.compile(
    r"(?!.{254})(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z_](?:[A-Za-z0-9_-]{0,62})?"
)
_PORT = re.compile(r"0|[1-9][0-9]{0,4}")


@dataclass(frozen=True)
class Address:
    """A pattern: ``unix`` is a path, or ``host`` (without brackets) and the ports ``first`` to ``last``."""

    host: str = ""
    first: int = 0
    last: int = MAX_PORT
    unix: str | None = None

    @property
    def any_port(self) -> bool:
        """Whether it was written with ``*``."""
        return self.first == 0


def parse_address(where: str, pattern: str) -> Address:
    """Read one pattern. ``where`` names it in the error, ``invalid_option``."""
    if pattern.startswith("unix:"):
        path = pattern[len("unix:") :]
        if not path.startswith("/") or ".." in path.split("/") or path.endswith("/"):
            raise _wrong(where, pattern, "does not name a socket by its absolute path", "Write unix:/run/app/app.sock.")
        return Address(unix=path)
    host, colon, ports = pattern.rpartition(":")
    if not colon:
        raise _wrong(where, pattern, "has no port", _FORMS)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if not isinstance(_ip(host), ipaddress.IPv6Address):
            raise _wrong(where, pattern, "has no IPv6 address in its brackets", _FORMS)
    elif host and not isinstance(_ip(host), ipaddress.IPv4Address) and not _NAME.fullmatch(host):
        raise _wrong(where, pattern, "has neither an address nor a name before its port", _FORMS)
    if ports == "*":
        return Address(host)
    first, dash, last = ports.partition("-")
    numbers = [_port(first), _port(last) if dash else _port(first)]
    if not 1 <= numbers[0] <= numbers[1] <= MAX_PORT:
        raise _wrong(where, pattern, "has no such port", f"Ports are 1 to {MAX_PORT}, the lower one first, or *.")
    return Address(host, numbers[0], numbers[1])


def address_matches(
    patterns: t.Iterable[str], host: str, port: t.Union[int, str], to: t.Union[int, str, None] = None
) -> bool:
    """Whether one pattern covers ``host`` and ``port``, and all ports up to ``to`` where QEMU may take one of those.

    ``host`` stands without brackets; "" is what QEMU takes for all interfaces. A service's name for a port, or port
    0 (any), is covered by ``*`` alone.
    """
    first, last = _port(port), _port(port if to is None else to)
    for pattern in map(_parsed, patterns):
        if pattern is None or pattern.unix is not None or not _same_host(pattern.host, host):
            continue
        if pattern.any_port or pattern.first <= first <= last <= pattern.last:
            return True
    return False


def unix_matches(patterns: t.Iterable[str], path: str) -> bool:
    """Whether a pattern names exactly this unix socket. Links are the caller's to see through."""
    return any(pattern is not None and pattern.unix == path for pattern in map(_parsed, patterns))


def _parsed(pattern: str) -> Address | None:
    try:
        return parse_address("address", pattern)
    except MaqetError:  # no checked policy holds one, and one that is not understood opens nothing
        return None


def _same_host(pattern: str, host: str) -> bool:
    if pattern == host:
        return True
    ours, theirs = _ip(pattern), _ip(host)
    if ours is None or theirs is None or ours.is_unspecified:
        return False
    return ours == theirs


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return None
    # "127.0.0.010" is 127.0.0.8 to inet_aton(3), and 127.0.0.10 to Python before 3.9.5.
    return None if found.version == 4 and str(found) != host else found


def _port(port: t.Union[int, str, None]) -> int:
    """The number, or -1 for what is none; only the plain spelling counts, QEMU's parser knows more."""
    if isinstance(port, bool):
        return -1
    if isinstance(port, int):
        return port if 0 <= port <= MAX_PORT else -1
    return int(port) if isinstance(port, str) and _PORT.fullmatch(port) and int(port) <= MAX_PORT else -1


def _wrong(where: str, pattern: str, problem: str, remedy: str) -> MaqetError:
    return MaqetError(
        f"{where}: {shown(pattern)} {problem}. {remedy}", "invalid_option", option=where, value=shown(pattern)
    )
