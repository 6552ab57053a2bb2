# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Marks with a key, secrets in quotations and pieces, what a caller gets of a reply, events, the agent's secrets."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard.redact import (
    mask,
    masked,
    redact,
    redact_error,
    redact_event,
    redact_reply,
    scrub,
    scrub_reply,
    secrets,
)
from hypothesis import given
from hypothesis import strategies as st

S = "hunter2-hunter2"
KEY = b"k" * 32
SSH = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHUo1mCuEqbQF9YYRPnSRP2UMHk2fJHHqMvDyYGZh8Jj ann@example"


def test_a_mark_tells_equal_from_different_and_nothing_else() -> None:
    one, two, other = (
        redact("set_password", {"password": value}, KEY)[0]["password"] for value in (S, S, "something else")
    )
    assert one == {"redacted": True, "len": len(S), "mac": hmac.new(KEY, S.encode(), hashlib.sha256).hexdigest()[:16]}
    assert one == two and one["mac"] != other["mac"]
    assert "mac" not in redact("set_password", {"password": S})[0]["password"]
    assert redact("qom-set", {"value": {"a": [1]}}, KEY)[0]["value"]["mac"]
    assert "mac" not in redact("send-key", {"keys": [{"data": "a"}]}, KEY)[0]["keys"], "typed keys: the number only"
    assert hashlib.sha256(S.encode()).hexdigest()[:16] not in json.dumps(redact("change", {"arg": S}, KEY)[0])


@pytest.mark.parametrize("secret", ["a'b\"c\\d-long", "new\nline-long", "t\u00e4b\t-long-long", "nul\0-long-long"])
@pytest.mark.parametrize("quote", [str, repr, ascii, json.dumps], ids=["plain", "repr", "ascii", "json"])
def test_a_quoted_secret_is_found(secret: str, quote: t.Callable[[str], str]) -> None:
    assert "long" not in mask(f"it said {quote(secret)}.", [secret])


def test_a_secret_that_was_cut_short_is_found() -> None:
    secret = "correct horse battery staple"
    assert mask("bad value 'correct horse bat...' and 'correct horse b", [secret]) == (
        "bad value '<redacted>...' and '<redacted>"
    )
    assert mask("that is correct", [secret]) == "that is correct"


@given(st.text(min_size=1, max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_masking_ends_and_leaves_no_secret(secret: str, before: str, after: str) -> None:
    text = mask(before + secret + after, [secret])
    assert secret not in text or secret in "<redacted>" or secret in before + "<redacted>" + after


def test_masking_everything_in_a_result() -> None:
    assert masked({"a": [{"b": f"x{S}"}], "n": 7}, [S]) == {"a": [{"b": "x<redacted>"}], "n": 7}


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("iscsi://bob%pw@h/t/0", "iscsi://<redacted:6>@h/t/0"),
        ("https://bob:p'w\"x@h/y", "https://<redacted:9>@h/y"),
        ("https://bob:p/w@h/y", "https://<redacted:7>@h/y"),
        ("https://h:8080/x@y", "https://h:8080/x@y"),
        ("https://[::1]:80/x@y", "https://[::1]:80/x@y"),
        ("https://h/x?token=abcdef&a=b", "https://h/x?token=<redacted:6>&a=b"),
        ("rbd:pool/img:id=x:key=AQBsecret==:conf=y", "rbd:pool/img:id=x:key=<redacted:11>:conf=y"),
        ("-object secret,id=s,password-secret=sec0", "-object secret,id=s,password-secret=sec0"),
    ],
)
def test_credentials_in_names(text: str, clean: str) -> None:
    assert scrub(text) == clean


def test_dotted_names_are_paths() -> None:
    assert S not in json.dumps(redact("blockdev-add", {"driver": "raw", "file.cookie": S})[0])
    assert secrets("blockdev-add", {"file.cookie": f"session={S}; a=b"}) == {f"session={S}; a=b", S}


def test_what_the_caller_gets() -> None:
    """What a command is there to read is returned; credentials that are inside by chance are not."""
    for command in ("qom-get", "ringbuf-read", "human-monitor-command"):
        assert scrub_reply(command, f"password={S} https://u:{S}@h") == f"password={S} https://u:{S}@h"
        assert S not in json.dumps(redact_reply(command, f"x {S}"))
    name = f'json:{{"driver": "raw", "file": {{"driver": "https", "url": "https://u:{S}@h/x", "cookie": "{S}"}}}}'
    shown = scrub_reply("query-block", [{"inserted": {"file": name, "password": S, "image": {"filename": name}}}])
    assert S not in json.dumps(shown)
    inside = json.loads(shown[0]["inserted"]["file"][5:])
    assert inside["driver"] == "raw" and inside["file"]["url"] == f"https://<redacted:{len(S) + 2}>@h/x"
    assert "driver" not in json.dumps(redact_reply("query-block", [{"file": name}])), "a log has nothing of it"
    assert scrub_reply("query-migrate-parameters", {"cpr-exec-command": [S]}) == {"cpr-exec-command": [S]}


def test_events() -> None:
    event = {
        "event": "BLOCK_JOB_ERROR",
        "seq": 3,
        "timestamp": {"seconds": 1},
        "data": {"device": "d", "msg": f"ftp://u:{S}@h: no", "nested": [{"cookie": S}]},
    }
    clean = redact_event(event)
    assert S not in json.dumps(clean)
    assert (clean["event"], clean["seq"], clean["data"]["device"]) == ("BLOCK_JOB_ERROR", 3, "d")
    assert redact_event({"event": "STOP"}) == {"event": "STOP"}


def test_the_agents_secrets() -> None:
    password = base64.b64encode(S.encode()).decode()
    arguments = {"username": "ann", "password": password, "crypted": False}
    clean, _paths = redact("guest-set-user-password", arguments, KEY)
    assert clean["username"] == "ann" and S not in json.dumps(clean) and password not in json.dumps(clean)
    assert secrets("guest-set-user-password", arguments) == {password, S}
    run = {"path": "/bin/sh", "arg": ["-c", S], "env": [f"X={S}"], "input-data": password}
    clean, _paths = redact("guest-exec", run)
    assert clean["path"] == "/bin/sh" and clean["arg"] == {"redacted": True, "len": 2} and S not in json.dumps(clean)
    assert redact("guest-file-open", {"path": "/etc/hosts", "mode": "r"})[0]["path"] == "/etc/hosts"
    assert redact("guest-nonsense", {"path": S})[0]["path"] == {"redacted": True, "len": len(S)}
    clean, _paths = redact("guest-ssh-add-authorized-keys", {"username": "ann", "keys": [SSH, "rubbish"]})
    blob = base64.b64decode(SSH.split()[1])
    expected = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    assert clean["keys"] == [f"SHA256:{expected}", "<redacted:7>"]
    for command, reply in (
        ("guest-file-read", {"count": 3, "buf-b64": S}),
        ("guest-exec-status", {"exited": True, "out-data": S, "err-data": S}),
    ):
        assert S not in json.dumps(redact_reply(command, reply))
        assert scrub_reply(command, reply) == reply


def test_numbers_that_are_passwords() -> None:
    assert secrets("set_password", {"password": 1234567}) == {"1234567"}
    assert "1234567" not in redact_error("no 1234567", secrets("set_password", {"password": 1234567}))
    assert secrets("qom-set", {"value": 1073741824}) == set()
