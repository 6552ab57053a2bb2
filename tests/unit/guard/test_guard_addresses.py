# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.addresses import (
    Address,
    address_matches,
    parse_address,
    unix_matches,
)
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("127.0.0.1:10809", Address("127.0.0.1", 10809, 10809)),
        ("127.0.0.1:4444-4448", Address("127.0.0.1", 4444, 4448)),
        ("[::1]:*", Address("::1")),
        (":4444", Address("", 4444, 4444)),
        ("store.example.org:1-65535", Address("store.example.org", 1, 65535)),
        ("unix:/run/app.sock", Address(unix="/run/app.sock")),
        ("unix:/run/a:b", Address(unix="/run/a:b")),
    ],
)
def test_forms(pattern: str, expected: Address) -> None:
    assert parse_address("net.listen[0]", pattern) == expected


@pytest.mark.parametrize(
    "pattern",
    ["", "127.0.0.1", "::1:80", "[::1]", "[::1:80", "[127.0.0.1]:80", "[host]:80", "h:0", "h:65536", "h:5-4", "h:1-",
     "h:-5", "h:+5", "h: 5", "h:05", "h:x", "h:1-*", "*:80", "10.0.0.0/8:80", "127.1:80", "2130706433:80", "0x7f.1:80",
     "0x7f000001:80", "a b:80", "-a:80", "a..b:80", "unix:", "unix:run/x", "unix:/a/../b", "unix:/run/", "h:٤٤",
     "1.2.3.256:80", "h:99999999999999999999"],
)  # fmt: skip
def test_what_is_no_address(pattern: str) -> None:
    with pytest.raises(MaqetError, match=r"^net\.listen\[0\]: ") as caught:
        parse_address("net.listen[0]", pattern)
    assert caught.value.error_code == "invalid_option"


@pytest.mark.parametrize(
    ("patterns", "host", "port", "expected"),
    [
        (["127.0.0.1:10809"], "127.0.0.1", 10809, True),
        (["127.0.0.1:10809"], "127.0.0.1", "10809", True),
        (["127.0.0.1:10809"], "127.0.0.1", "010809", False),
        (["127.0.0.1:10809"], "127.0.0.1", " 10809", False),
        (["127.0.0.1:10809"], "127.0.0.1", True, False),
        (["127.0.0.1:10809"], "127.0.0.1", 10810, False),
        (["127.0.0.1:10809"], "127.1", 10809, False),
        (["127.0.0.1:10809"], "localhost", 10809, False),
        (["127.0.0.1:10809"], "::ffff:127.0.0.1", 10809, False),
        (["127.0.0.1:10809"], "", 10809, False),
        (["127.0.0.1:10809"], "0.0.0.0", 10809, False),
        (["[::1]:*"], "0:0:0:0:0:0:0:1", 1, True),
        (["[::1]:*"], "::1", "http", True),
        (["[::1]:80"], "::1", "http", False),
        (["[::1]:1-65535"], "::1", 0, False),
        (["[::]:80"], "::", 80, True),
        (["[::]:80"], "0:0::0", 80, False),
        (["[::]:80"], "0.0.0.0", 80, False),
        (["[::]:80"], "", 80, False),
        (["0.0.0.0:80"], "0.0.0.0", 80, True),
        (["0.0.0.0:80"], "0", 80, False),
        ([":80"], "", 80, True),
        ([":80"], "0.0.0.0", 80, False),
        (["Store:80"], "store", 80, False),
        (["unix:/run/x:80"], "/run/x", 80, False),
        (["nonsense", "store:80"], "store", 80, True),
        ([], "store", 80, False),
    ],
)
def test_matching(patterns: list[str], host: str, port: t.Any, expected: bool) -> None:
    assert address_matches(patterns, host, port) is expected


def test_all_ports_that_qemu_may_take_lie_in_one_pattern() -> None:
    assert address_matches(["h:10-20"], "h", 10, 20)
    assert not address_matches(["h:10-20"], "h", 10, "21")
    assert not address_matches(["h:10-15", "h:16-20"], "h", 10, 20)
    assert not address_matches(["h:10-20"], "h", 15, 12)


def test_unix_sockets() -> None:
    assert unix_matches(["h:1", "unix:/run/x"], "/run/x")
    for path in ("/run/x/", "/run//x", "run/x", "/run/y", "\0/run/x", ""):
        assert not unix_matches(["unix:/run/x"], path)


@given(st.text(max_size=20), st.one_of(st.text(max_size=6), st.integers()))
def test_no_other_host_is_let_in(host: str, port: t.Any) -> None:
    if host not in ("127.0.0.1", "::1") and address_matches(["127.0.0.1:*", "[::1]:*"], host, port):
        assert host.replace("0", "").replace(":", "") == "1"  # another spelling of ::1
