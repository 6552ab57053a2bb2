# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verdicts: what is allowed by class, by consent, by role, by a policy, and what nothing opens."""

from __future__ import annotations

import collections
import dataclasses
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard import commands
from ansible_collections.maqet.qemu.plugins.module_utils.guard.judge import judge
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import parse, tighten, unusable
from ansible_collections.maqet.qemu.plugins.module_utils.guard.roles import Role
from ansible_collections.maqet.qemu.plugins.module_utils.guard.schema import Schema
from ansible_collections.maqet.qemu.plugins.module_utils.guard.scope import Rights, Scope
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Request, Verdict
from hypothesis import given
from hypothesis import strategies as st

Arguments = t.Dict[str, t.Any]


def under(policy: Arguments | None = None, role: str = "admin", *tighter: Arguments) -> Rights:
    """The rights of a caller with this role under this host's policy, less what ``tighter`` takes away."""
    host = parse({"version": 1, **(policy or {})}, "/etc/maqet/policy.yml")
    layers = tuple(tighten("task", data) for data in tighter)
    return Rights(host, host.layer("web1"), layers, Role(role))


@pytest.mark.parametrize(
    ("name", "klass", "level"),
    [
        ("query-status", "read", "info"),
        ("query-version", "introspect", "info"),
        ("cont", "guest", "info"),
        ("quit", "availability", "warning"),
        ("system_reset", "availability", "warning"),
        ("system_powerdown", "availability", "warning"),
    ],
)
@pytest.mark.parametrize("consent", [False, True])
def test_allowed_by_class(scope: Scope, name: str, klass: str, level: str, consent: bool) -> None:
    verdict = judge(Request(name, {}, consent), scope)
    assert (verdict.decision, verdict.command_class, verdict.rule, verdict.level) == (
        "allow",
        klass,
        f"class-{klass}",
        level,
    )
    assert {"decision", "class", "rule", "reason", "level", "role"} == set(verdict.as_dict())


CONSENT: list[tuple[str, Arguments]] = [
    ("human-monitor-command", {"command-line": "info version"}),
    ("inject-nmi", {}),
    ("device-list-properties", {"typename": "VGA"}),
    ("qom-list-properties", {"typename": "VGA"}),
    ("x-query-roms", {}),
    ("set_password", {"protocol": "vnc", "password": "x"}),
    ("blockdev-mirror", {"job-id": "j", "device": "a", "target": "b", "sync": "full"}),
    ("ringbuf-read", {"device": "c", "size": 1}),
    ("block_resize", {"node-name": "a", "size": 1}),
    ("balloon", {"value": 1024}),
]


@pytest.mark.parametrize(("name", "arguments"), CONSENT)
def test_by_consent_only(scope: Scope, name: str, arguments: Arguments) -> None:
    refused = judge(Request(name, arguments), scope)
    assert (refused.decision, refused.rule, refused.allow_with) == ("deny", "consent", {"allow_dangerous": True})
    assert "allow_dangerous: true" in str(refused.remedy)
    allowed = judge(Request(name, arguments, True), scope)
    assert (allowed.decision, allowed.rule, allowed.level) == ("allow", "consent", "warning")
    for closed in (under({"consent": False}), under(None, "admin", {"consent": False})):
        verdict = judge(Request(name, arguments, True), scope, closed)
        assert (verdict.decision, verdict.rule) == (
            "deny",
            "consent",
        ) and "does not let consent count" in verdict.reason


@pytest.mark.parametrize("consent", [1, "true", "yes", [True], None])
def test_only_true_is_consent(scope: Scope, consent: t.Any) -> None:
    assert not judge(Request("inject-nmi", {}, consent), scope).allowed


# Denied with and without consent, and what a policy would have to say to allow it.
DENIED: list[tuple[str, Arguments, str, Arguments | None]] = [
    ("migrate", {"uri": "exec:id"}, "field-uri-exec", {"commands": {"migrate": {"arguments": {"uri": ["exec:id"]}}}}),
    ("migrate", {"uri": "tcp:192.0.2.1:4444"}, "field-net-connect", {"net": {"connect": ["192.0.2.1:4444"]}}),
    ("migrate", {"uri": "unix:/run/x"}, "field-uri-exec", {"net": {"connect": ["unix:/run/x"]}}),
    ("migrate-incoming", {"uri": "tcp:0.0.0.0:4"}, "field-net-listen", {"net": {"listen": ["0.0.0.0:4"]}}),
    ("migrate", {"uri": "fd:3"}, "field-uri-exec", {"commands": {"migrate": {"arguments": {"uri": ["fd:3"]}}}}),
    (
        "screendump",
        {"filename": "/etc/cron.d/x"},
        "field-path-write",
        {"roots": [{"path": "/etc/cron.d", "access": "write"}]},
    ),
    ("memsave", {"val": 0, "size": 1, "filename": "../x"}, "field-path-write", None),
    ("dump-guest-memory", {"paging": False, "protocol": "fd:x"}, "field-uri-file", None),
    (
        "dump-guest-memory",
        {"paging": False, "protocol": "file:/etc/x"},
        "field-uri-file",
        {"roots": [{"path": "/etc", "access": "write"}]},
    ),
    (
        "chardev-add",
        {"id": "c", "backend": {"type": "null", "data": {"logfile": "/etc/x"}}},
        "field-path-write",
        {"roots": [{"path": "/etc", "access": "write"}]},
    ),
    (
        "chardev-add",
        {
            "id": "c",
            "backend": {
                "type": "socket",
                "data": {"addr": {"type": "inet", "data": {"host": "127.0.0.1", "port": "9"}}},
            },
        },
        "field-net-listen",
        {"net": {"listen": ["127.0.0.1:9"]}},
    ),
    ("chardev-add", {"id": "c", "backend": {"type": "stdio", "data": {}}}, "flag", None),
    (
        "netdev_add",
        {"type": "user", "id": "n", "hostfwd": [{"str": "tcp::22-:22"}]},
        "field-net-listen",
        {"net": {"listen": [":22"]}},
    ),
    (
        "netdev_add",
        {"type": "user", "id": "n", "guestfwd": [{"str": "tcp:10.0.2.9:80-cmd:id"}]},
        "field-exec",
        {"commands": {"netdev_add": {"arguments": {"guestfwd[].str": ["tcp:10.0.2.9:80-cmd:id"]}}}},
    ),
    ("netdev_add", {"type": "tap", "id": "n"}, "field-exec", None),
    (
        "netdev_add",
        {"type": "tap", "id": "n", "ifname": "tap0", "script": "/x"},
        "field-host-device",
        {"devices": ["tap0"]},
    ),
    (
        "netdev_add",
        {"type": "tap", "id": "n", "fd": "7"},
        "field-fd",
        {"commands": {"netdev_add": {"arguments": {"fd": ["7"]}}}},
    ),
    (
        "netdev_add",
        {"type": "bridge", "id": "n", "helper": "id"},
        "field-exec",
        {"commands": {"netdev_add": {"arguments": {"helper": ["id"]}}}},
    ),
    (
        "object-add",
        {"qom-type": "secret", "id": "s", "file": "/etc/shadow"},
        "field-path-read",
        {"roots": [{"path": "/etc", "access": "read"}]},
    ),
    ("object-add", {"qom-type": "authz-list", "id": "s"}, "flag", None),
    (
        "object-add",
        {"qom-type": "qtest", "id": "s", "chardev": "c"},
        "field-monitor",
        {"commands": {"object-add": {"arguments": {"chardev": ["c"]}}}},
    ),
    (
        "qom-get",
        {"path": "/objects/s", "property": "data"},
        "field-qom",
        {"commands": {"qom-get": {"arguments": {"path": ["/objects/s"], "property": ["data"]}}}},
    ),
    (
        "qom-set",
        {"path": "/objects/a", "property": "policy", "value": "allow"},
        "field-qom",
        {"commands": {"qom-set": {"arguments": {"path": ["/objects/a"], "property": ["policy"]}}}},
    ),
    (
        "nbd-server-start",
        {"addr": {"type": "inet", "data": {"host": "127.0.0.1", "port": "10809"}}},
        "field-net-listen",
        {"net": {"listen": ["127.0.0.1:10809"]}},
    ),
    (
        "block-export-add",
        {"type": "nbd", "id": "e", "node-name": "d"},
        "class-host-net",
        {"commands": {"block-export-add": "allow"}},
    ),
    (
        "blockdev-add",
        {"driver": "raw", "file": {"driver": "file", "filename": "/etc/shadow"}},
        "field-path-rw",
        {"roots": [{"path": "/etc", "access": "write"}]},
    ),
    (
        "blockdev-add",
        {"driver": "nbd", "server": {"type": "inet", "host": "192.0.2.1", "port": "10809"}},
        "field-net-connect",
        {"net": {"connect": ["192.0.2.1:10809"]}},
    ),
    ("blockdev-add", {"driver": "qcow2", "node-name": "a", "file": "other"}, "image-header", None),
    (
        "device_add",
        {"driver": "virtio-net-pci", "romfile": "/etc/shadow"},
        "field-path-read",
        {"roots": [{"path": "/etc", "access": "read"}]},
    ),
    ("trace-event-set-state", {"name": "handle_qmp*", "enable": True}, "flag", None),
    ("chardev-remove", {"id": "maqet-monitor"}, "reserved", None),
    ("yank", {"instances": [{"type": "chardev", "id": "maqet-direct"}]}, "reserved", None),
    ("remove-fd", {"fdset-id": 1}, "reserved", None),
    ("qmp_capabilities", {}, "reserved", None),
    (
        "human-monitor-command",
        {"command-line": "logfile /etc/x"},
        "field-hmp",
        {"commands": {"human-monitor-command": {"arguments": {"command-line": ["logfile /etc/x"]}}}},
    ),
    ("query-status", {"x": 1}, "schema", None),
    ("pmemsave", {"val": "0", "size": 1, "filename": "x"}, "schema", None),
]


@pytest.mark.parametrize(("name", "arguments", "rule", "opens"), DENIED)
def test_denied_whatever_the_caller_consents_to(
    scope: Scope, name: str, arguments: Arguments, rule: str, opens: Arguments | None
) -> None:
    verdict = judge(Request(name, arguments, True), scope)
    assert (verdict.decision, verdict.rule) == ("deny", rule), verdict.reason
    assert verdict.reason and verdict.remedy
    assert verdict.allow_with == (None if opens is None else {"policy": opens})
    assert not judge(Request(name, arguments, False), scope).allowed


@pytest.mark.parametrize(
    ("name", "arguments", "opens"), [(n, a, o) for n, a, _rule, o in DENIED if o is not None and "roots" not in o]
)
def test_what_a_denial_says_would_allow_it_does(
    scope: Scope, name: str, arguments: Arguments, opens: Arguments
) -> None:
    """The policy that a verdict proposes is a valid one, and opens exactly that (unless more is closed behind it)."""
    verdict = judge(Request(name, arguments, True), scope, under(opens))
    behind = {"netdev_add": "field-exec", "object-add": "flag"}.get(name)
    assert verdict.allowed or (behind and verdict.rule == behind), verdict.reason


@pytest.mark.parametrize(
    ("name", "arguments", "opened"),
    [
        ("screendump", {"filename": "a.ppm"}, "output/a.ppm"),
        ("memsave", {"val": 0, "size": 16, "filename": "mem.bin"}, "output/mem.bin"),
        ("pmemsave", {"val": 0, "size": 16, "filename": "{home}/output/mem.bin"}, "output/mem.bin"),
        ("dump-guest-memory", {"paging": False, "protocol": "file:core.elf"}, "output/core.elf"),
        ("chardev-add", {"id": "c", "backend": {"type": "file", "data": {"out": "c.log"}}}, "output/c.log"),
        ("blockdev-add", {"driver": "raw", "file": {"driver": "file", "filename": "{home}/disks/d"}}, "disks/d"),
        ("blockdev-snapshot-sync", {"node-name": "a", "snapshot-file": "{home}/disks/s"}, "disks/s"),
        ("object-add", {"qom-type": "filter-dump", "id": "f", "netdev": "n", "file": "n.pcap"}, "output/n.pcap"),
        ("blockdev-create", {"job-id": "j", "options": {"driver": "file", "filename": "x", "size": 1}}, "output/x"),
    ],
)
def test_files_of_the_vm_itself(scope: Scope, name: str, arguments: Arguments, opened: str) -> None:
    home = str(scope.home)
    with open(f"{home}/disks/d", "wb") as file:
        file.write(b"\0" * 512)
    verdict = judge(Request(name, _filled(arguments, home)), scope)
    assert verdict.allowed, verdict.reason
    assert verdict.rule == "argument-rules"
    assert [opening.path for opening in verdict.openings] == [f"{home}/{opened}"]


def _filled(value: t.Any, home: str) -> t.Any:
    if isinstance(value, dict):
        return {key: _filled(item, home) for key, item in value.items()}
    return value.format(home=home) if isinstance(value, str) else value


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("chardev-add", {"id": "c", "backend": {"type": "null", "data": {}}}),
        ("object-add", {"qom-type": "iothread", "id": "i"}),
        ("object-add", {"qom-type": "secret", "id": "s", "data": "x"}),
        ("object-add", {"qom-type": "rng-random", "id": "r", "filename": "/dev/urandom"}),
        ("netdev_add", {"type": "user", "id": "n"}),
        ("device_add", {"driver": "virtio-blk-pci", "id": "d", "drive": "n", "serial": "x", "bootindex": 1}),
        ("device_add", {"driver": "virtio-net-pci", "netdev": "n", "mac": "52:54:00:00:00:01", "romfile": ""}),
        ("blockdev-add", {"driver": "null-co", "node-name": "z"}),
        ("qom-get", {"path": "/machine", "property": "type"}),
        ("migrate-set-parameters", {"max-bandwidth": 1000}),
        ("transaction", {"actions": [{"type": "block-dirty-bitmap-add", "data": {"node": "a", "name": "b"}}]}),
    ],
)
def test_what_reaches_nothing_of_the_host_is_allowed(scope: Scope, name: str, arguments: Arguments) -> None:
    verdict = judge(Request(name, arguments), scope)
    assert verdict.allowed, verdict.reason
    assert judge(Request(name, arguments), scope, under(None, "operator")).allowed
    assert judge(Request(name, arguments), scope, under(None, "viewer")).rule == "role"


def test_a_transaction_is_each_of_its_actions(scope: Scope) -> None:
    def transaction(*actions: tuple[str, Arguments]) -> Verdict:
        return judge(Request("transaction", {"actions": [{"type": a, "data": d} for a, d in actions]}), scope)

    good = ("blockdev-snapshot-sync", {"node-name": "a", "snapshot-file": f"{scope.home}/disks/s"})
    bad = ("blockdev-snapshot-sync", {"node-name": "a", "snapshot-file": "/etc/x"})
    backup = ("blockdev-backup", {"device": "a", "target": "b", "sync": "full"})
    assert transaction(good, ("abort", {})).allowed
    verdict = transaction(good, bad)
    assert (verdict.decision, verdict.rule) == ("deny", "field-blk-filename-write")
    assert verdict.reason.startswith("actions[1] (blockdev-snapshot-sync): ")
    assert transaction(good, backup).rule == "consent"


@pytest.mark.parametrize(
    ("name", "arguments", "least"),
    [
        ("query-status", {}, "viewer"),
        ("query-version", {}, "viewer"),
        ("cont", {}, "operator"),
        ("quit", {}, "operator"),
        ("screendump", {"filename": "x"}, "operator"),
        ("pmemsave", {"val": 0, "size": 1, "filename": "x"}, "admin"),
        ("blockdev-snapshot-sync", {"node-name": "a", "snapshot-file": "s"}, "admin"),
    ],
)
def test_roles(scope: Scope, name: str, arguments: Arguments, least: str) -> None:
    order = ["viewer", "operator", "admin"]
    for role in order:
        verdict = judge(Request(name, arguments), scope, under(None, role))
        assert verdict.allowed == (order.index(role) >= order.index(least))
        assert verdict.allowed or verdict.rule == "role"
        assert verdict.role == role


def test_a_command_added_to_a_role_is_that_command_alone(scope: Scope) -> None:
    rights = dataclasses.replace(under(), role=Role("viewer", frozenset({"quit", "transaction"})))
    assert judge(Request("quit"), scope, rights).allowed
    assert judge(Request("stop"), scope, rights).rule == "role"
    hidden = {"actions": [{"type": "blockdev-snapshot-sync", "data": {"node-name": "a", "snapshot-file": "s"}}]}
    assert judge(Request("transaction", hidden), scope, rights).rule == "role"


@pytest.mark.parametrize("name", ["device-list-properties", "qom-list-properties"])
def test_a_viewer_ends_no_vm_by_a_question(scope: Scope, name: str) -> None:
    """For some types QEMU 7.2 exits, and consent is anybody's to give."""
    asked = Request(name, {"typename": "virtio-gpu-gl-pci"}, True)
    assert judge(asked, scope, under(None, "viewer")).rule == "role"
    assert judge(asked, scope, under(None, "operator")).allowed
    added = dataclasses.replace(under(), role=Role("viewer", frozenset({name})))
    assert judge(asked, scope, added).allowed


def test_nobody(scope: Scope) -> None:
    verdict = judge(Request("query-status"), scope, dataclasses.replace(under(), role=None))
    assert (verdict.decision, verdict.rule) == ("deny", "no-role")


def test_a_policy_that_cannot_be_used_leaves_reading(scope: Scope) -> None:
    policy = unusable("/etc/maqet/policy.yml", "it is not owned by root")
    rights = Rights(policy, policy.layer("web1"), (), Role("admin"))
    assert judge(Request("query-status"), scope, rights).allowed
    verdict = judge(Request("cont", {}, True), scope, rights)
    assert verdict.rule == "policy-unsafe" and "not owned by root" in verdict.reason


POLICY: Arguments = {
    "classes": {"guest": "consent", "availability": "deny"},
    "commands": {
        "quit": "allow",
        "cont": "allow",
        "query-block": "deny",
        "send-key": {"arguments": {"hold-time": ["1..100"]}},
    },
    "vms": {"web*": {"commands": {"query-pci": "deny"}}, "db*": {"commands": {"query-status": "deny"}}},
}


@pytest.mark.parametrize(
    ("name", "arguments", "rule"),
    [
        ("quit", {}, "policy"),
        ("cont", {}, "policy"),
        ("query-status", {}, "class-read"),
    ],
)
def test_the_hosts_policy_allows(scope: Scope, name: str, arguments: Arguments, rule: str) -> None:
    verdict = judge(Request(name, arguments), scope, under(POLICY))
    assert (verdict.decision, verdict.rule) == ("allow", rule)


@pytest.mark.parametrize(
    ("name", "arguments", "rule"),
    [
        ("query-block", {}, "policy"),
        ("query-pci", {}, "policy"),
        ("stop", {}, "policy"),
        ("announce-self", {}, "schema"),
        ("system_wakeup", {}, "consent"),
        ("send-key", {"keys": [], "hold-time": 101}, "policy-arguments"),
    ],
)
def test_the_hosts_policy_denies(scope: Scope, name: str, arguments: Arguments, rule: str) -> None:
    verdict = judge(Request(name, arguments), scope, under(POLICY))
    assert (verdict.decision, verdict.rule) == ("deny", rule), verdict.reason


def test_permissive_says_what_it_would_have_denied_and_no_more(scope: Scope) -> None:
    rights = under({"mode": "permissive"})
    verdict = judge(Request("migrate", {"uri": "exec:id"}), scope, rights)
    assert (verdict.decision, verdict.mode, verdict.rule) == ("allow", "permissive", "field-uri-exec")
    assert verdict.level == "warning"
    assert verdict.reason.startswith("would be denied: ") and not verdict.openings
    assert judge(Request("query-statu"), scope, rights).rule == "unknown-command"
    assert judge(Request("chardev-remove", {"id": "maqet-monitor"}), scope, rights).rule == "reserved"
    tight = under({"mode": "permissive"}, "admin", {"commands": {"migrate": "deny"}})
    assert judge(Request("migrate", {"uri": "exec:id"}), scope, tight).decision == "deny"


def test_a_task_takes_away_and_never_adds(scope: Scope) -> None:
    plain = Request("pmemsave", {"val": 0, "size": 1, "filename": "x"})
    assert judge(plain, scope, under(None, "admin", {})).allowed
    for taken in ({"classes": {"host-file": "deny"}}, {"commands": {"pmemsave": {"arguments": {"filename": ["y"]}}}}):
        verdict = judge(plain, scope, under(None, "admin", taken))
        assert (verdict.decision, verdict.layer) == ("deny", "task")
    nbd = Request("nbd-server-start", {"addr": {"type": "inet", "data": {"host": "127.0.0.1", "port": "10809"}}})
    host = {"net": {"listen": ["127.0.0.1:10809"]}}
    assert judge(nbd, scope, under(host, "admin", {"classes": {"guest": "deny"}})).allowed
    assert not judge(nbd, scope, under(host, "admin", {"net": {"listen": []}})).allowed
    assert not judge(nbd, scope, under(None, "admin", host)).allowed


@pytest.mark.parametrize(
    ("name", "rule", "hint"),
    [
        ("query-statu", "unknown-command", "did you mean query-status?"),
        ("exec-oob", "unknown-command", "no command exec-oob"),
        ("__com.redhat_quit", "unknown-command", "no command"),
        ("quit\n", "name-syntax", r"'quit\n'"),
        ("", "name-syntax", "''"),
    ],
)
def test_unknown_means_deny(scope: Scope, name: str, rule: str, hint: str) -> None:
    for consent in (False, True):
        verdict = judge(Request(name, {}, consent), scope)
        assert (verdict.decision, verdict.rule) == ("deny", rule)
        assert hint in verdict.reason and verdict.remedy


def test_without_a_schema_nothing_with_arguments_passes() -> None:
    assert judge(Request("query-status"), Scope("web1")).allowed
    assert judge(Request("quit"), Scope("web1")).allowed
    for name, arguments in (("send-key", {"keys": []}), ("device_add", {}), ("query-block", {"x": 1})):
        assert judge(Request(name, arguments, True), Scope("web1")).rule == "no-schema"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (None, "not NoneType"),
        ([], "not list"),
        ({1: 2}, "key of type int"),
        ({"a": float("nan")}, "nan"),
        ({"a": b"x"}, "type bytes"),
        ({"a": (1, 2)}, "type tuple"),
        ({"a": "\ud800"}, "surrogate"),
    ],
)
def test_arguments_that_are_no_json(scope: Scope, arguments: t.Any, text: str) -> None:
    verdict = judge(Request("query-status", arguments), scope)
    assert (verdict.decision, verdict.rule) == ("deny", "argument-shape") and text in verdict.reason


def test_every_command_has_a_verdict_and_the_sum_is_pinned(schema: Schema, scope: Scope) -> None:
    """How far the built-in policy opens QEMU to calls without arguments: a change of it is a change of the policy."""
    found = collections.Counter(
        (verdict.decision, verdict.rule)
        for verdict in (judge(Request(name), scope) for name in sorted(schema.commands))
        if verdict.rule != "schema"
    )
    assert found == PINNED, found


PINNED: dict[tuple[str, str], int] = {
    ("allow", "class-read"): 44,
    ("allow", "class-introspect"): 15,
    ("allow", "class-guest"): 7,
    ("allow", "class-availability"): 11,
    ("allow", "argument-rules"): 1,
    ("deny", "consent"): 14,
    ("deny", "reserved"): 5,
}


@given(
    st.sampled_from(sorted(commands.CLASS_OF)), st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=4)
)
def test_consent_never_widens_what_does_not_ask_for_it(name: str, arguments: Arguments) -> None:
    without = judge(Request(name, arguments), Scope())
    if without.rule != "consent":
        assert judge(Request(name, arguments, True), Scope()) == without
