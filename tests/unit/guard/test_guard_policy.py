# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a policy may say, how each mistake is answered, and what the sections and options make of it."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard import policy_check, policy_schema
from ansible_collections.maqet.qemu.plugins.module_utils.guard.judge import judge
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import (
    BUILTIN,
    CommandRule,
    Layer,
    Policy,
    Root,
    parse,
    tighten,
    unusable,
)
from ansible_collections.maqet.qemu.plugins.module_utils.guard.roles import Role
from ansible_collections.maqet.qemu.plugins.module_utils.guard.schema import Schema
from ansible_collections.maqet.qemu.plugins.module_utils.guard.scope import Rights, Scope
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Request, Verdict
from hypothesis import given
from hypothesis import strategies as st

FILE = "/etc/maqet/policy.yml"
ROOMY = "x" * (policy_check.MAX_TEXT + 1)
WHOLE: dict[str, t.Any] = {
    "version": 1,
    "mode": "enforce",
    "consent": True,
    "roots": ["/srv/iso", {"path": "/srv/out/", "access": "write"}],
    "net": {"listen": ["127.0.0.1:10809", "unix:/run/x/y.sock"], "connect": ["[::1]:*", "backup:4444-4448", ":22"]},
    "devices": ["tap*", "/dev/ttyS0"],
    "classes": {"disclosure": "allow", "guest-exec": "deny"},
    "commands": {
        "migrate": {"arguments": {"channels[].addr.host": ["10.0.0.1"]}},
        "quit": "deny",
        "guest-exec": {"decision": "allow", "arguments": {"path": ["/bin/true"]}},
    },
    "roles": {
        "viewer": {"users": ["ann", 1001], "groups": ["watchers"], "commands": ["screendump"]},
        "operator": {"groups": [2000]},
        "admin": {"users": ["1003"]},
    },
    "vms": {"web*": {"consent": False, "net": {"listen": []}}, "web1": {"mode": "permissive"}},
}


def host(**said: t.Any) -> Policy:
    return parse({"version": 1, **said}, FILE)


# Each: what is said, which key the error names, what it repeats of the value, and what of the remedy.
BAD: list[tuple[t.Any, str, str, str]] = [
    (None, "policy", "None", "Give a dictionary of: version"),
    ([], "policy", "type list", "Give a dictionary"),
    ({}, "version", "None", "Add 'version:'"),
    ({"version": 2}, "version", "2", "Give 1."),
    ({"version": True}, "version", "True", "Give 1."),
    ({"version": "1"}, "version", "'1'", "Give 1."),
    ({"moed": "enforce"}, "moed", "'enforce'", "Did you mean mode?"),
    ({"Consent": True}, "Consent", "True", "Did you mean consent?"),
    ({"hosts": 1}, "hosts", "1", "Known here: version, mode"),
    ({1: 2}, "a value of type int", "2", "Known here"),
    ({True: "x"}, "a value of type bool", "'x'", "Known here"),
    ({"a\nb": 1}, r"'a\nb'", "1", "Known here"),
    ({"mode": True}, "mode", "True", "YAML reads on, off, yes and no as booleans"),
    ({"mode": "Enforce"}, "mode", "'Enforce'", "Did you mean enforce? Choose one of: enforce, permissive"),
    ({"mode": None}, "mode", "None", "Choose one of"),
    ({"consent": "no"}, "consent", "'no'", "Write true or false, without quotes"),
    ({"consent": 1}, "consent", "1", "Write true or false"),
    ({"roots": "/srv"}, "roots", "'/srv'", "Give a list"),
    ({"roots": None}, "roots", "None", "Give a list"),
    ({"roots": ["srv/iso"]}, "roots[0].path", "'srv/iso'", "Begin it with '/'"),
    ({"roots": ["~/iso"]}, "roots[0].path", "'~/iso'", "Begin it with '/'"),
    ({"roots": ["/srv", "/srv/../etc"]}, "roots[1].path", "'/srv/../etc'", "without detours"),
    ({"roots": [True]}, "roots[0].path", "True", "quote it"),
    ({"roots": [{"access": "write"}]}, "roots[0].path", "None", "Add 'path:'"),
    ({"roots": [{"path": "/srv", "access": "rw"}]}, "roots[0].access", "'rw'", "Choose one of: read, write"),
    ({"roots": [{"path": "/srv", "acces": "read"}]}, "roots[0].acces", "'read'", "Did you mean access?"),
    *(
        ({"roots": [wide]}, "roots[0].path", repr(wide), "Name the folders or files")
        for wide in ("/", "//", "/.", "/dev", "/dev/", "/proc", "/proc/1/fd", "//proc/self", "/sys/kernel", "/./sys")
    ),
    ({"roots": ["/a\x00b"]}, "roots[0].path", r"'/a\x00b'", "an absolute path"),
    ({"roots": ["/a\ud800"]}, "roots[0].path", r"'/a\ud800'", "an absolute path"),
    ({"roots": [f"/{ROOMY}"]}, "roots[0].path", "...", "an absolute path"),
    ({"roots": ["/srv"] * (policy_check.MAX_ITEMS + 1)}, "roots", "type list", "at most 4096"),
    ({"net": []}, "net", "type list", "a dictionary of: listen, connect"),
    ({"net": {"lisen": []}}, "net.lisen", "type list", "Did you mean listen?"),
    ({"net": {"listen": "127.0.0.1:1"}}, "net.listen", "'127.0.0.1:1'", "Give a list"),
    ({"net": {"listen": ["127.0.0.1"]}}, "net.listen[0]", "'127.0.0.1'", "HOST:PORT"),
    ({"net": {"listen": ["127.0.0.1:70000"]}}, "net.listen[0]", "'127.0.0.1:70000'", "Ports are 1 to 65535"),
    ({"net": {"connect": ["::1:80"]}}, "net.connect[0]", "'::1:80'", "in brackets"),
    ({"net": {"connect": [4444]}}, "net.connect[0]", "4444", "HOST:PORT"),
    ({"net": {"connect": ["unix:x.sock"]}}, "net.connect[0]", "'unix:x.sock'", "unix:/run/app/app.sock"),
    ({"devices": ["eth0:1"]}, "devices[0]", "'eth0:1'", "the name of a network interface"),
    ({"devices": ["*"]}, "devices[0]", "'*'", "the name of a network interface"),
    ({"devices": ["a-name-of-16-chars"]}, "devices[0]", "'a-name-of-16-chars'", "the name of a network interface"),
    ({"devices": ["dev/kvm"]}, "devices[0]", "'dev/kvm'", "Begin it with '/'"),
    ({"devices": ["/dev"]}, "devices[0]", "'/dev'", "Name the folders or files"),
    ({"devices": [False]}, "devices[0]", "False", "quote it"),
    ({"classes": ["read"]}, "classes", "type list", "one of the classes read, introspect"),
    ({"classes": {"host_file": "deny"}}, "classes.host_file", "'host_file'", "Did you mean host-file?"),
    ({"classes": {"files": "deny"}}, "classes.files", "'files'", "Known are: read"),
    ({"classes": {"read": False}}, "classes.read", "False", "YAML reads on, off"),
    ({"classes": {"read": "ask"}}, "classes.read", "'ask'", "Choose one of: allow, consent, deny"),
    ({"commands": {"migrat": "allow"}}, "commands.migrat", "'migrat'", "Did you mean migrate?"),
    ({"commands": {"frobnicate": "allow"}}, "commands.frobnicate", "'frobnicate'", "denied, whatever a policy says"),
    ({"commands": {"quit": True}}, "commands.quit.decision", "True", "YAML reads on, off"),
    ({"commands": {"quit": None}}, "commands.quit", "None", "a dictionary of: decision, arguments"),
    ({"commands": {"quit": {"decison": "deny"}}}, "commands.quit.decison", "'deny'", "Did you mean decision?"),
    (
        {"commands": {"migrate": {"arguments": {"uri": "tcp:a:1"}}}},
        "commands.migrate.arguments.uri",
        "'tcp:a:1'",
        "list",
    ),
    ({"commands": {"migrate": {"arguments": {"a[0].b": [1]}}}}, "a[0].b", "'a[0].b'", "with `[]` for the items"),
    ({"commands": {"migrate": {"arguments": {"uri": [["x"]]}}}}, "arguments.uri[0]", "type list", "a text"),
    ({"commands": {"migrate": {"arguments": {"uri": [2**64]}}}}, "arguments.uri[0]", "type int", "64 bits"),
    ({"commands": {"migrate": {"arguments": {"uri": ["a\x00"]}}}}, "arguments.uri[0]", r"'a\x00'", "a text"),
    ({"roles": {"viewr": {}}}, "roles.viewr", "type dict", "Did you mean viewer?"),
    ({"roles": {"root": {}}}, "roles.root", "type dict", "Known here: viewer, operator, admin"),
    ({"roles": {"viewer": ["ann"]}}, "roles.viewer", "type list", "a dictionary of: users, groups, commands"),
    ({"roles": {"viewer": {"users": "ann"}}}, "roles.viewer.users", "'ann'", "Give a list"),
    ({"roles": {"viewer": {"users": [True]}}}, "roles.viewer.users[0]", "True", "quote it"),
    ({"roles": {"viewer": {"users": [-1]}}}, "roles.viewer.users[0]", "-1", "a number from 0 to 4294967294"),
    ({"roles": {"viewer": {"users": [2**32 - 1]}}}, "users[0]", "4294967295", "a number from 0 to 4294967294"),
    ({"roles": {"viewer": {"users": ["4294967295"]}}}, "users[0]", "4294967295", "a number from 0"),
    ({"roles": {"viewer": {"users": ["ann b"]}}}, "roles.viewer.users[0]", "'ann b'", "a user's name or number"),
    ({"roles": {"viewer": {"groups": ["*"]}}}, "roles.viewer.groups[0]", "'*'", "a group's name or number"),
    ({"roles": {"viewer": {"commands": ["quti"]}}}, "roles.viewer.commands[0]", "'quti'", "Did you mean quit?"),
    ({"vms": {"web/1": {}}}, "vms.'web/1'", "'web/1'", "a VM's name"),
    ({"vms": {"": {}}}, "vms", "''", "a VM's name"),
    ({"vms": {"web": {"roles": {}}}}, "vms.web.roles", "type dict", "Known here: mode, consent"),
    ({"vms": {"web": {"roots": [".."]}}}, "vms.web.roots[0].path", "'..'", "Begin it with '/'"),
    ({"vms": {"web": None}}, "vms.web", "None", "Give a dictionary"),
]


@pytest.mark.parametrize(("said", "key", "value", "remedy"), BAD, ids=lambda part: str(part)[:40])
def test_each_mistake_is_named_with_its_remedy(said: t.Any, key: str, value: str, remedy: str) -> None:
    whole = {"version": 1, **said} if isinstance(said, dict) and said and "version" not in said else said
    with pytest.raises(MaqetError) as caught:
        parse(whole, FILE)
    error = caught.value
    assert error.error_code == "invalid_option"
    assert key in error.details["option"]
    assert value in error.details["value"]
    assert str(error).startswith(f"{error.details['option']}: {error.details['value']} ")
    assert remedy in str(error)
    assert str(error).isprintable() and len(str(error)) < 1500


# What only the host's policy may say, and what is no part of a VM's or a task's.
WIDENING: list[tuple[t.Any, str, str]] = [
    ({"mode": "permissive"}, "policy.mode", "Leave it out, or choose one of: enforce"),
    ({"classes": {"guest": "allow"}}, "policy.classes.guest", "choose one of: consent, deny"),
    ({"commands": {"quit": "allow"}}, "policy.commands.quit.decision", "choose one of: consent, deny"),
    ({"commands": {"quit": {"decision": "allow"}}}, "policy.commands.quit.decision", "The host's policy file is where"),
    ({"roles": {}}, "policy.roles", "Known here: mode, consent, roots, net, devices, classes, commands"),
    ({"vms": {}}, "policy.vms", "Known here"),
    ({"audit": {}}, "policy.audit", "Known here"),
    ({"version": 1}, "policy.version", "Known here"),
    ("deny", "policy", "Give a dictionary"),
    ([], "policy", "Give a dictionary"),
]


@pytest.mark.parametrize(("said", "key", "remedy"), WIDENING)
def test_an_option_can_only_tighten(said: t.Any, key: str, remedy: str) -> None:
    with pytest.raises(MaqetError) as caught:
        tighten("vm", said)
    assert (caught.value.error_code, caught.value.details["option"]) == ("invalid_option", key)
    assert remedy in str(caught.value)


def test_the_whole_of_it() -> None:
    users, groups = {"ann": 1000}, {"watchers": 3000}
    policy = parse(WHOLE, FILE, "ab" * 32, users.get, groups.get)
    assert (policy.id, policy.sha256, policy.problem, policy.warnings) == (FILE, "ab" * 32, None, ())
    layer = policy.layer(None)
    assert layer.name == "host"
    assert layer.roots == (Root("/srv/iso", "read"), Root("/srv/out", "write"))
    assert layer.listen == ("127.0.0.1:10809", "unix:/run/x/y.sock")
    assert layer.connect == ("[::1]:*", "backup:4444-4448", ":22")
    assert layer.devices == ("tap*", "/dev/ttyS0")
    assert layer.class_rule("disclosure") == "allow" and layer.class_rule("read") is None
    assert layer.command_rule("quit") == CommandRule("deny")
    assert layer.command_rule("migrate") == CommandRule(None, {"channels[].addr.host": ("10.0.0.1",)})
    assert layer.command_rule("cont") is None
    assert policy.role_of(1000, [1]) == Role("viewer", frozenset({"screendump"}))
    assert policy.role_of(1001, [1]) == Role("viewer", frozenset({"screendump"}))
    assert policy.role_of(1002, [1, 2000]) == Role("operator")
    assert policy.role_of(1003, []) == Role("admin")
    assert policy.role_of(1004, [3000]) == Role("viewer", frozenset({"screendump"}))
    assert policy.role_of(1004, [1004]) is None


def test_accounts_that_the_host_does_not_have_are_warned_about_and_match_nobody() -> None:
    policy = host(roles={"viewer": {"users": ["nobody-such"], "groups": ["neither"]}})
    assert policy.warnings == (
        "roles.viewer.users: this host has no user 'nobody-such'",
        "roles.viewer.groups: this host has no group 'neither'",
    )
    for uid in (-1, 1, 2**32 - 1):
        assert policy.role_of(uid, [uid]) is None


def test_root_and_the_owner_are_admins_whatever_the_file_says() -> None:
    policy = host(roles={"viewer": {"users": [0, 1000]}}).owned_by(1000)
    assert policy.role_of(0, []) == Role("admin")
    assert policy.role_of(1000, []) == Role("admin")
    assert policy.role_of(1001, []) is None


def test_no_file() -> None:
    assert (BUILTIN.id, BUILTIN.problem, BUILTIN.layer("web1").name) == ("builtin", None, "host")
    assert BUILTIN.layer("web1") == Layer("host", roots=(), listen=(), connect=(), devices=())
    assert BUILTIN.role_of(0, []) == Role("admin") and BUILTIN.role_of(1000, [0]) is None
    assert parse({"version": 1}, "builtin") == BUILTIN


def test_an_unusable_file_leaves_root_as_admin_and_no_consent() -> None:
    policy = unusable(FILE, "why")
    assert (policy.problem, policy.layer("x").consent) == ("why", False)
    assert policy.role_of(1000, [0]) is None and policy.role_of(0, []) == Role("admin")


def test_sections_are_laid_over_the_rest_in_the_order_of_the_file() -> None:
    policy = host(
        roots=["/srv/iso"],
        net={"listen": ["127.0.0.1:1"], "connect": ["127.0.0.1:2"]},
        classes={"disclosure": "deny", "availability": "consent"},
        commands={"quit": {"decision": "allow", "arguments": {}}, "stop": "deny"},
        vms={
            "web*": {"net": {"listen": []}, "classes": {"disclosure": "consent"}, "commands": {"quit": "consent"}},
            "web1": {"roots": ["/srv/web1"], "commands": {"quit": "deny"}, "mode": "permissive"},
            "?b[12]": {"devices": ["tap0"]},
        },
    )
    other, web2, web1, db1 = (policy.layer(name) for name in ("mail", "web2", "web1", "db1"))
    assert other == policy.base == policy.layer(None) == policy.layer("WEB1") == policy.layer("xweb1")
    assert (web2.listen, web2.connect, web2.roots) == ((), ("127.0.0.1:2",), (Root("/srv/iso", "read"),))
    assert web2.classes == {"disclosure": "consent", "availability": "consent"}
    assert {name: rule.decision for name, rule in web2.commands.items()} == {"quit": "consent", "stop": "deny"}
    assert (web1.mode, web1.roots) == ("permissive", (Root("/srv/web1", "read"),))
    assert web1.commands["quit"].decision == "deny" and web1.listen == ()
    assert (db1.devices, db1.mode) == (("tap0",), "enforce")


def test_what_a_tightening_policy_leaves_out_it_does_not_speak_of() -> None:
    assert tighten("task", {}) == Layer("task")
    layer = tighten("task", {"roots": [], "net": {"connect": []}, "consent": False, "commands": {"quit": "deny"}})
    assert (layer.roots, layer.listen, layer.connect, layer.devices) == ((), None, (), None)
    assert (layer.consent, layer.mode, layer.commands) == (False, "enforce", {"quit": CommandRule("deny")})


def test_a_roots_access() -> None:
    assert [Root("/x", "write").grants(access) for access in ("read", "write")] == [True, True]
    assert [Root("/x", "read").grants(access) for access in ("read", "write")] == [True, False]


def test_the_table_of_keys_is_whole() -> None:
    """Lists and maps have an item, every kind has a check, and every key a meaning."""
    found = dict(policy_schema.rows())
    assert {"vms.<glob>.net.listen", "commands.<command>.arguments", "roles.viewer.users", "roots[].path"} <= set(found)
    for where, key in found.items():
        assert key.meaning, where
        if key.kind in ("list", "map"):
            assert key.item is not None, where
        inner = key.item if key.kind in ("list", "map") else key
        assert inner is not None
        assert inner.kind in {"object", "list", "map", "word", "number", *policy_check.CHECKS}, where
        assert not key.names or key.names in policy_check.CHECKS, where
        assert key.widening == () or set(key.widening) < set(key.choices), where
    assert set(policy_check.CHECKS) <= set(policy_schema.KINDS)


JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.sampled_from(["/srv", "deny", "1..5"])
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=12,
)


def mostly(*good: t.Any) -> st.SearchStrategy[t.Any]:
    """Now and then anything; else what fits."""
    return st.one_of(*(one if isinstance(one, st.SearchStrategy) else st.just(one) for one in good), JSON)


NAMES = ("quit", "query-status", "blockdev-add", "migrate", "screendump", "human-monitor-command", "nonesuch")
DECISIONS = mostly("allow", "consent", "deny")
CONDITIONS = st.dictionaries(
    st.sampled_from(["uri", "filename", "device", "a[].b", "bad path"]), st.lists(JSON, max_size=2)
)
RULE = st.one_of(DECISIONS, st.fixed_dictionaries({}, optional={"decision": DECISIONS, "arguments": CONDITIONS}))
SECTION: dict[str, st.SearchStrategy[t.Any]] = {
    "mode": mostly("enforce", "permissive"),
    "consent": mostly(True, False),
    "roots": mostly(st.lists(mostly("/srv", "/a/../b", {"path": "/out", "access": "write"}), max_size=2)),
    "net": mostly(
        st.fixed_dictionaries({}, optional={"listen": mostly(["127.0.0.1:1-9"], []), "connect": mostly([":*"])})
    ),
    "devices": mostly(["tap*"], ["/dev/sda"]),
    "classes": mostly(st.dictionaries(st.sampled_from(["read", "guest", "host-file", "none"]), DECISIONS, max_size=2)),
    "commands": mostly(st.dictionaries(st.sampled_from(NAMES), RULE, max_size=2)),
}
FILES = st.fixed_dictionaries(
    {"version": st.just(1)},
    optional={
        **SECTION,
        "vms": st.dictionaries(
            st.sampled_from(["*", "web?", "x"]), st.fixed_dictionaries({}, optional=SECTION), max_size=2
        ),
    },
)
REQUESTS = (
    Request("query-status"),
    Request("quit"),
    Request("nonesuch"),
    Request("migrate", {"uri": "exec:id"}),
    Request("screendump", {"filename": "/srv/x"}, True),
    Request("blockdev-add", {"driver": "file", "filename": "/srv/x", "node-name": "n"}),
)


def judged(rights: Rights, schema: Schema) -> None:
    for request in REQUESTS:
        assert isinstance(judge(request, Scope("web1", "/nonexistent", schema), rights), Verdict)


@given(FILES)
def test_whatever_parses_can_be_judged_by(schema: Schema, said: t.Any) -> None:
    try:
        policy = parse(said, FILE)
    except MaqetError as error:
        assert error.error_code == "invalid_option" and "option" in error.details
        return
    judged(Rights(policy, policy.layer("web1")), schema)


@given(st.fixed_dictionaries({}, optional=SECTION))
def test_whatever_tightens_only_tightens(schema: Schema, said: t.Any) -> None:
    try:
        layer = tighten("task", said)
    except MaqetError as error:
        assert error.error_code == "invalid_option"
        return
    rights = Rights()
    for request in REQUESTS:
        scope = Scope("web1", "/nonexistent", schema)
        before, after = judge(request, scope, rights), judge(request, scope, rights.tightened(layer))
        assert before.allowed or not after.allowed


@given(JSON)
def test_random_data_raises_nothing_but_our_error(said: t.Any) -> None:
    for read in (
        lambda: parse(said, FILE),
        lambda: tighten("task", said),
        lambda: parse({"version": 1, "vms": said}, FILE),
    ):
        try:
            read()
        except MaqetError as error:
            assert error.error_code == "invalid_option"
