# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verdicts on the guest agent's commands: every command, every role, every layer of policy, and bad arguments."""

from __future__ import annotations

import base64
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard import agent
from ansible_collections.maqet.qemu.plugins.module_utils.guard import agent_commands as data
from ansible_collections.maqet.qemu.plugins.module_utils.guard.agent import bad_arguments
from ansible_collections.maqet.qemu.plugins.module_utils.guard.commands import CLASS_OF as QMP
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import BUILTIN, CommandRule, Layer
from ansible_collections.maqet.qemu.plugins.module_utils.guard.redact import redact, redact_reply, secrets
from ansible_collections.maqet.qemu.plugins.module_utils.guard.roles import Role
from ansible_collections.maqet.qemu.plugins.module_utils.guard.scope import Rights
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Request, Verdict

CODED = base64.b64encode(b"Tr0ub4dor").decode()
# The form of a key, with the bytes 0 to 31 for the key itself; its fingerprint is what `ssh-keygen -lf` says.
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ann@example.org"
FINGERPRINT = "SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA"

# Arguments that each command takes; those that need none are left out.
WHOLE: dict[str, dict[str, t.Any]] = {
    "guest-sync": {"id": 1},
    "guest-sync-delimited": {"id": -(2**63)},
    "guest-set-time": {"time": 1},
    "guest-shutdown": {"mode": "reboot"},
    "guest-file-open": {"path": "/etc/passwd", "mode": "w"},
    "guest-file-close": {"handle": 1},
    "guest-file-read": {"handle": 1, "count": 9},
    "guest-file-write": {"handle": 1, "buf-b64": CODED, "count": 1},
    "guest-file-seek": {"handle": 1, "offset": -1, "whence": "cur"},
    "guest-file-flush": {"handle": 1},
    "guest-fsfreeze-freeze-list": {"mountpoints": ["/"]},
    "guest-fstrim": {"minimum": 0},
    "guest-set-vcpus": {"vcpus": [{"logical-id": 0, "online": True, "can-offline": False}]},
    "guest-set-user-password": {"username": "root", "password": CODED, "crypted": False},
    "guest-set-memory-blocks": {"mem-blks": [{"phys-index": 2**64 - 1, "online": True}]},
    "guest-exec": {"path": "/bin/sh", "arg": ["-c", "id"], "env": ["A=b"], "input-data": CODED, "capture-output": True},
    "guest-exec-status": {"pid": 1},
    "guest-ssh-get-authorized-keys": {"username": "root"},
    "guest-ssh-add-authorized-keys": {"username": "root", "keys": [KEY], "reset": True},
    "guest-ssh-remove-authorized-keys": {"username": "root", "keys": [KEY]},
}
# Class -> who may by default: v(iewer), o(perator), a(dmin); small: only with consent.
TABLE = {
    "introspect": "VOA",
    "read": "VOA",
    "guest": "OA",
    "availability": "OA",
    "disclosure": "a",
    "guest-file": "a",
    "guest-auth": "a",
    "guest-exec": "a",
}


def judge_guest(
    command: t.Any,
    arguments: t.Any,
    consent: t.Any = False,
    layers: t.Sequence[Layer] = (),
    role: Role = Role("admin"),  # noqa: B008
) -> Verdict:
    """The verdict under these policies, the host's first."""
    host, *others = layers or [Layer("host")]
    return agent.judge_guest(Request(command, arguments, consent, "guest"), Rights(BUILTIN, host, tuple(others), role))


def test_the_data_is_whole() -> None:
    assert len(data.CLASS_OF) == 44 and set(data.CLASSES) == set(TABLE) == set(data.CLASS_OF.values())
    assert set(data.ARGUMENTS) == set(WHOLE)
    assert not set(QMP) & set(data.CLASS_OF), "redaction goes by the name alone"
    for table in (data.ARGUMENTS, dict.fromkeys(data.SILENT)):
        assert set(table) <= set(data.CLASS_OF)
    assert set(data.WHY_CONSENT) == {klass for klass, who in TABLE.items() if who == "a"}


@pytest.mark.parametrize("command", sorted(data.CLASS_OF))
def test_every_command_for_every_role(command: str) -> None:
    klass, arguments = data.CLASS_OF[command], WHOLE.get(command, {})
    for letter, name in zip("voa", ("viewer", "operator", "admin")):
        for consent in (False, True):
            verdict = judge_guest(command, arguments, consent, role=Role(name))
            may = letter.upper() in TABLE[klass] or (letter in TABLE[klass] and consent)
            assert verdict.allowed is may, (name, consent, verdict)
            assert verdict.command_class == klass
            assert (verdict.remedy is None) is may
    assert judge_guest(command, arguments, True) == judge_guest(command, arguments, True, role=Role("admin"))
    quiet = klass in ("read", "introspect", "guest")
    assert judge_guest(command, arguments, True).level == ("info" if quiet else "warning")


def test_a_role_may_have_commands_of_its_own() -> None:
    assert judge_guest("guest-fstrim", {}, role=Role("viewer", frozenset({"guest-fstrim"}))).allowed
    more = Role("operator", frozenset({"guest-exec"}))
    assert not judge_guest("guest-exec", WHOLE["guest-exec"], role=more).allowed, "consent is still needed"
    assert judge_guest("guest-exec", WHOLE["guest-exec"], True, role=more).allowed


@pytest.mark.parametrize("consent", ["yes", 1, None, [True]])
def test_only_true_is_consent(consent: t.Any) -> None:
    assert judge_guest("guest-exec", WHOLE["guest-exec"], consent).rule == "consent"
    assert not judge_guest("guest-exec", WHOLE["guest-exec"], consent).allowed


ALLOW, DENY = {"guest-exec": "allow"}, {"guest-exec": "deny"}


@pytest.mark.parametrize(
    ("layers", "consent", "allowed", "rule"),
    [
        ([Layer("host", classes=ALLOW)], False, True, "policy"),
        ([Layer("host", commands={"guest-exec": CommandRule("allow")})], False, True, "policy"),
        ([Layer("host", classes=DENY, commands={"guest-exec": CommandRule("allow")})], False, True, "policy"),
        ([Layer("host", classes=DENY)], True, False, "policy"),
        ([Layer("host"), Layer("task", classes=ALLOW)], False, False, "consent"),
        ([Layer("host"), Layer("task", classes=DENY)], True, False, "policy"),
        ([Layer("host", classes=ALLOW), Layer("vm", classes={"guest-exec": "consent"})], False, False, "consent"),
        ([Layer("host", classes=DENY), Layer("vm", classes=ALLOW)], True, False, "policy"),
        ([Layer("host", consent=False)], True, False, "consent"),
        ([Layer("host"), Layer("task", consent=False)], True, False, "consent"),
        ([Layer("host", consent=False, classes=ALLOW)], False, True, "policy"),
        ([Layer("host", commands={"guest-exec": CommandRule(None, {"path": ("/bin/sh",)})})], True, True, "consent"),
        ([Layer("host", commands={"guest-exec": CommandRule("allow", {"path": ("/bin/sh",)})})], False, True, "policy"),
        (
            [Layer("host", commands={"guest-exec": CommandRule("allow", {"path": ("/ls",)})})],
            True,
            False,
            "policy-arguments",
        ),
    ],
)
def test_policies(layers: list[Layer], consent: bool, allowed: bool, rule: str) -> None:
    verdict = judge_guest("guest-exec", WHOLE["guest-exec"], consent, layers)
    assert (verdict.allowed, verdict.rule) == (allowed, rule), verdict


@pytest.mark.parametrize(
    ("command", "rule", "hint"),
    [
        ("guest-pong", "unclassified", "did you mean guest-ping?"),
        ("guest-run-anything", "unclassified", "nobody has classified"),
        ("query-status", "unclassified", "nobody has classified"),
        ("guest-ping\n", "name-syntax", "no name"),
        ("", "name-syntax", "no name"),
        (None, "name-syntax", "no name"),
        (["guest-ping"], "name-syntax", "no name"),
    ],
)
def test_unknown_commands(command: t.Any, rule: str, hint: str) -> None:
    verdict = judge_guest(command, {}, True)
    assert (verdict.allowed, verdict.rule) == (False, rule)
    assert hint in verdict.reason


@pytest.mark.parametrize(
    ("command", "arguments", "problem"),
    [
        ("guest-ping", [], "must be a dictionary"),
        ("guest-ping", {"id": 1}, "it takes none"),
        ("guest-exec", {}, "path is missing"),
        ("guest-exec", {"path": 1}, "path must be a string"),
        ("guest-exec", {"path": "/bin/ls", "args": []}, "did you mean arg?"),
        ("guest-exec", {"path": "/bin/ls", "arg": "-l"}, "arg must be a list of strings"),
        ("guest-exec", {"path": "/bin/ls", "arg": ["-l", 1]}, "arg must be a list of strings"),
        ("guest-exec", {"path": "/bin/ls\0x"}, "holds a NUL"),
        ("guest-exec", {"path": "/bin/ls", "arg": ["a\0b"]}, "holds a NUL"),
        ("guest-exec", {"path": "/bin/ls", "input-data": "plain text!"}, "base64"),
        ("guest-exec", {"path": "/bin/ls", "input-data": "YQ"}, "base64"),
        ("guest-exec", {"path": "/bin/ls", "input-data": "grün"}, "base64"),
        ("guest-exec", {"path": "/bin/ls", "capture-output": "all"}, "must be one of: true, false, none, stdout"),
        ("guest-exec", {"path": "/bin/ls", "capture-output": 1}, "must be one of"),
        ("guest-exec", {"path": "/bin/\ud800"}, "cannot be written as JSON"),
        ("guest-exec-status", {"pid": True}, "pid must be an integer"),
        ("guest-exec-status", {"pid": 1.0}, "pid must be an integer"),
        ("guest-file-seek", {"handle": 1, "offset": 1, "whence": "end "}, "must be one of: an integer, set, cur, end"),
        ("guest-file-seek", {"handle": 1, "offset": 1, "whence": False}, "must be one of"),
        ("guest-shutdown", {"mode": "off"}, "halt, powerdown, reboot"),
        ("guest-set-vcpus", {"vcpus": [1]}, "list of dictionaries"),
        ("guest-set-vcpus", {"vcpus": [{"logical-id": 0}]}, "vcpus[0].online is missing"),
        ("guest-set-vcpus", {"vcpus": [{"logical-id": 0, "online": 1}]}, "vcpus[0].online must be true or false"),
        ("guest-set-user-password", {"username": "a", "password": "secret-word!", "crypted": True}, "base64"),
    ],
)
def test_bad_arguments(command: str, arguments: t.Any, problem: str) -> None:
    verdict = judge_guest(command, arguments, True)
    assert (verdict.allowed, verdict.rule) == (False, "argument-shape")
    assert problem in verdict.reason and verdict.reason == bad_arguments(command, arguments)
    assert "secret-word" not in verdict.reason


@pytest.mark.parametrize("value", [True, False, "none", "stdout", "stderr", "separated", "merged"])
def test_what_may_be_captured(value: t.Any) -> None:
    assert bad_arguments("guest-exec", {"path": "/bin/ls", "capture-output": value}) is None


def test_of_a_program_the_path_and_the_number_of_its_arguments_are_logged() -> None:
    clean, paths = redact("guest-exec", WHOLE["guest-exec"])
    assert clean == {
        "path": "/bin/sh",
        "arg": {"redacted": True, "len": 2},
        "env": {"redacted": True, "len": 1},
        "input-data": {"redacted": True, "len": len(CODED)},
        "capture-output": True,
    }
    assert paths == ["arg", "env", "input-data"]
    assert secrets("guest-exec", WHOLE["guest-exec"]) == set(), "or every result that holds a word of them is masked"


def test_passwords_buffers_and_keys_in_logs() -> None:
    clean, _paths = redact("guest-set-user-password", WHOLE["guest-set-user-password"])
    assert clean["password"] == {"redacted": True, "len": len(CODED)} and clean["username"] == "root"
    assert secrets("guest-set-user-password", WHOLE["guest-set-user-password"]) == {CODED}
    assert redact("guest-file-write", WHOLE["guest-file-write"])[0]["buf-b64"]["redacted"] is True
    keys = {"username": "root", "keys": [f'command="/bin/id" {KEY}', "no key at all"]}
    first, second = redact("guest-ssh-add-authorized-keys", keys)[0]["keys"]
    assert first == FINGERPRINT
    assert second == "<redacted:13>"
    assert redact("guest-set-user-pasword", {"password": "x"})[0] == {"password": {"redacted": True, "len": 1}}
    assert redact("guest-set-user-pasword", {"pass": "x"})[0] == {"pass": {"redacted": True, "len": 1}}


def test_replies_in_logs() -> None:
    status = {"exited": True, "exitcode": 0, "out-data": CODED, "err-data": CODED}
    assert redact_reply("guest-exec-status", status)["out-data"] == {"redacted": True, "len": len(CODED)}
    assert redact_reply("guest-file-read", {"count": 1, "buf-b64": CODED})["buf-b64"]["redacted"] is True
    assert redact_reply("guest-ssh-get-authorized-keys", {"keys": [KEY]})["keys"] == [FINGERPRINT]
