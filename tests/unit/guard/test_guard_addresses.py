# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses: what a pattern may be, and which spellings of an address it covers."""

from __future__ import annotations

import ipaddress
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard import addresses
from ansible_collections.maqet.qemu.plugins.module_utils.guard.addresses import (
    Address,
    address_matches,
    parse_address,
    unix_matches,
)
from ansible_collections.maqet.qemu.plugins.module_utils.guard.names import shown
from hypothesis import given
from hypothesis import strategies as st

GOOD = [
    ("127.0.0.1:10809", Address("127.0.0.1", 10809, 10809)),
    ("127.0.0.1:4444-4448", Address("127.0.0.1", 4444, 4448)),
    ("127.0.0.1:1-65535", Address("127.0.0.1", 1, 65535)),
    ("0.0.0.0:*", Address("0.0.0.0", 0, 65535)),
    (":4444", Address("", 4444, 4444)),
    (":*", Address("", 0, 65535)),
    ("[::1]:*", Address("::1", 0, 65535)),
    ("[fe80::1%eth0]:22", Address("fe80::1%eth0", 22, 22)),
    ("[::ffff:127.0.0.1]:22", Address("::ffff:127.0.0.1", 22, 22)),
    ("backup.example.org:22", Address("backup.example.org", 22, 22)),
    ("my_host-1:22", Address("my_host-1", 22, 22)),
    ("1host.x:22", Address("1host.x", 22, 22)),
    ("unix:/run/x.sock", Address(unix="/run/x.sock")),
    ("unix:/run/a:b", Address(unix="/run/a:b")),
]


@pytest.mark.parametrize(("pattern", "address"), GOOD)
def test_what_a_pattern_may_be(pattern: str, address: Address) -> None:
    assert parse_address("net.listen[0]", pattern) == address


BAD = [
    ("", "no port"),
    ("127.0.0.1", "no port"),
    ("localhost", "no port"),
    ("127.0.0.1:", "no such port"),
    ("127.0.0.1:0", "no such port"),
    ("127.0.0.1:0-9", "no such port"),
    ("127.0.0.1:65536", "no such port"),
    ("127.0.0.1:1-65536", "no such port"),
    ("127.0.0.1:9-8", "no such port"),
    ("127.0.0.1:-8", "no such port"),
    ("127.0.0.1:8-", "no such port"),
    ("127.0.0.1:1-2-3", "no such port"),
    ("127.0.0.1:080", "no such port"),
    ("127.0.0.1: 80", "no such port"),
    ("127.0.0.1:+80", "no such port"),
    ("127.0.0.1:8_0", "no such port"),
    ("127.0.0.1:\u0661", "no such port"),
    ("127.0.0.1:http", "no such port"),
    ("127.0.0.1:**", "no such port"),
    ("*:80", "neither an address nor a name"),
    ("127.1:80", "neither an address nor a name"),
    ("127.0.0.*:80", "neither an address nor a name"),
    ("10.0.0.0/8:80", "neither an address nor a name"),
    ("0:80", "neither an address nor a name"),
    ("2130706433:80", "neither an address nor a name"),
    ("0x7f000001:80", "neither an address nor a name"),
    ("127.0.0.010:80", "neither an address nor a name"),
    ("256.0.0.1:80", "neither an address nor a name"),
    ("a b:80", "neither an address nor a name"),
    ("-a:80", "neither an address nor a name"),
    ("a..b:80", "neither an address nor a name"),
    ("a.:80", "neither an address nor a name"),
    ("b\u00fccher.de:80", "neither an address nor a name"),
    (f"{'a' * 64}:80", "neither an address nor a name"),
    (f"{'a.' * 127}b:80", "neither an address nor a name"),
    ("::1:80", "neither an address nor a name"),
    ("vsock:3:80", "neither an address nor a name"),
    ("tcp:127.0.0.1:80", "neither an address nor a name"),
    ("[]:80", "no IPv6 address in its brackets"),
    ("[127.0.0.1]:80", "no IPv6 address in its brackets"),
    ("[::1", "neither an address nor a name"),
    ("[::1]", "neither an address nor a name"),
    ("unix:", "by its absolute path"),
    ("unix:run/x", "by its absolute path"),
    ("unix:/", "by its absolute path"),
    ("unix:/run/", "by its absolute path"),
    ("unix:/run/../x", "by its absolute path"),
    ("UNIX:/run/x", "no such port"),
]


@pytest.mark.parametrize(("pattern", "problem"), BAD)
def test_what_it_may_not_be(pattern: str, problem: str) -> None:
    with pytest.raises(MaqetError) as caught:
        parse_address("net.listen[0]", pattern)
    assert caught.value.error_code == "invalid_option"
    assert caught.value.details == {"option": "net.listen[0]", "value": shown(pattern)}
    assert problem in str(caught.value)
    assert not address_matches([pattern], pattern.rpartition(":")[0], "80") and not unix_matches([pattern], "/run/x")


# pattern, host, port, to, whether it is covered
MATCHES: list[tuple[str, str, t.Any, t.Any, bool]] = [
    ("127.0.0.1:80", "127.0.0.1", "80", None, True),
    ("127.0.0.1:80", "127.0.0.1", 80, None, True),
    ("127.0.0.1:80", "127.0.0.1", "81", None, False),
    ("127.0.0.1:80", "127.0.0.2", "80", None, False),
    # Other spellings of an address: whoever means it can write it plainly.
    *(
        ("127.0.0.1:80", host, "80", None, False)
        for host in (
            "127.1",
            "0x7f.0.0.1",
            "0x7f000001",
            "2130706433",
            "0177.0.0.1",
            "127.0.0.01",
            " 127.0.0.1",
            "127.0.0.1 ",
            "127.0.0.1.",
            "127.0.0.1%lo",
            "localhost",
            "::ffff:127.0.0.1",
            "::1",
            "",
            "0",
            "0.0.0.0",
            "::",
            "127.0.0.1,to=9",
            "127.0.0.1\n",
            "[127.0.0.1]",
        )
    ),
    # IPv6 compares by value.
    ("[::1]:80", "::1", "80", None, True),
    ("[::1]:80", "0:0:0:0:0:0:0:1", "80", None, True),
    ("[2001:DB8::1]:80", "2001:db8:0::1", "80", None, True),
    ("[::1]:80", "::1%lo", "80", None, False),
    ("[fe80::1%eth0]:80", "fe80::1%eth1", "80", None, False),
    ("[::127.0.0.1]:80", "127.0.0.1", "80", None, False),
    # All interfaces: only as they are written.
    ("0.0.0.0:80", "0.0.0.0", "80", None, True),
    ("[::]:80", "::", "80", None, True),
    (":80", "", "80", None, True),
    *(
        (pattern, host, "80", None, False)
        for pattern in ("0.0.0.0:80", "[::]:80", ":80")
        for host in ("127.0.0.1", "::1", "0", "0:0:0:0:0:0:0:0", "::0", "::%lo", "00.0.0.0", "0.0.0", "localhost")
    ),
    ("0.0.0.0:80", "", "80", None, False),
    ("0.0.0.0:80", "::", "80", None, False),
    ("[::]:80", "0.0.0.0", "80", None, False),
    ("[::]:80", "", "80", None, False),
    (":80", "::", "80", None, False),
    # Names: letter by letter.
    ("backup:80", "backup", "80", None, True),
    ("backup:80", "Backup", "80", None, False),
    ("backup:80", "backup.", "80", None, False),
    ("localhost:80", "127.0.0.1", "80", None, False),
    # Ports.
    ("a:80-90", "a", "80", None, True),
    ("a:80-90", "a", "90", None, True),
    ("a:80-90", "a", "91", None, False),
    ("a:80-90", "a", "79", None, False),
    ("a:80-90", "a", "80", "90", True),
    ("a:80-90", "a", 80, 90, True),
    ("a:80-90", "a", "80", "91", False),
    ("a:80-90", "a", "85", "84", False),
    ("a:80-90", "a", "85", "x", False),
    *(
        ("a:1-65535", "a", port, None, False)
        for port in (
            "0",
            0,
            "",
            "http",
            "080",
            "80 ",
            "+80",
            "0x50",
            "8_0",
            "65536",
            65536,
            -1,
            "-1",
            True,
            "\u0661",
            "80-81",
        )
    ),
    *(("a:*", "a", port, None, True) for port in ("0", 0, "http", "65535", "")),
    ("a:*", "b", "80", None, False),
    ("unix:/run/x", "unix", "/run/x", None, False),
]


@pytest.mark.parametrize(("pattern", "host", "port", "to", "covered"), MATCHES)
def test_what_a_pattern_covers(pattern: str, host: str, port: t.Any, to: t.Any, covered: bool) -> None:
    assert address_matches([pattern], host, port, to) is covered
    assert address_matches(("z:1", pattern), host, port, to) is covered


def test_a_range_must_lie_in_one_pattern() -> None:
    assert not address_matches(["a:80-84", "a:85-90"], "a", "80", "90")


def test_addresses_with_leading_zeros_whatever_this_python_makes_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python before 3.9.5 takes 127.0.0.010 for 127.0.0.10; inet_aton(3), and so QEMU, for 127.0.0.8."""
    real = ipaddress.ip_address

    def old(text: str) -> t.Any:
        return real(".".join(part.lstrip("0") or "0" for part in text.split(".")))

    monkeypatch.setattr(ipaddress, "ip_address", old)
    assert address_matches(["127.0.0.10:80"], "127.0.0.10", "80")
    assert not address_matches(["127.0.0.10:80"], "127.0.0.010", "80")


@pytest.mark.parametrize(
    ("pattern", "path", "covered"),
    [
        ("unix:/run/x.sock", "/run/x.sock", True),
        ("unix:/run/x.sock", "/run/./x.sock", False),
        ("unix:/run/x.sock", "/run/X.sock", False),
        ("unix:/run/*", "/run/x.sock", False),
        ("unix:/run/x", "/run/x/y", False),
        ("unix:/run/x.sock", "", False),
        ("/run/x:1", "/run/x", False),
        ("a:1", "", False),
    ],
)
def test_unix_sockets_by_their_very_name(pattern: str, path: str, covered: bool) -> None:
    assert unix_matches([pattern], path) is covered


WORDS = st.one_of(st.text(), st.text("0123456789.:[]-*%abfx/unix", max_size=24))


@given(WORDS, WORDS, st.one_of(WORDS, st.integers(), st.none()))
def test_nothing_raises_but_our_error(pattern: str, host: str, port: t.Any) -> None:
    address_matches([pattern], host, port, port)
    unix_matches([pattern], host)
    try:
        found = parse_address("x", pattern)
    except MaqetError as error:
        assert error.error_code == "invalid_option"
        assert not address_matches([pattern], host, port)
    else:
        assert (found.unix is None) == (not pattern.startswith("unix:"))
        assert 0 <= found.first <= found.last <= addresses.MAX_PORT


@given(st.ip_addresses(), st.integers(1, 65535))
def test_each_address_is_covered_by_itself(address: t.Any, port: int) -> None:
    text = f"[{address}]" if address.version == 6 else str(address)
    assert address_matches([f"{text}:{port}"], str(address), str(port))
