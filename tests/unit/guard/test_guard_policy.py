# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard import policy_schema
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
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy_check import CHECKS
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy_schema import HOST, KINDS, TIGHTENING, Key, rows
from hypothesis import given
from hypothesis import strategies as st

WHOLE: dict[str, t.Any] = {
    "version": 1,
    "mode": "permissive",
    "consent": False,
    "roots": ["/srv//iso/", {"path": "/srv/scratch", "access": "write"}],
    "net": {"listen": ["127.0.0.1:10809"], "connect": ["[::1]:*", "unix:/run/x"]},
    "devices": ["tap*", "/dev/ttyS0"],
    "classes": {"availability": "consent"},
    "commands": {
        "quit": "deny",
        "migrate": {"decision": "allow", "arguments": {"channels[].addr.host": ["10.0.0.7", 7, True, None]}},
    },
    "roles": {
        "viewer": {"users": ["ann", 1001, "1002"], "groups": ["ops"], "commands": ["screendump"]},
        "operator": {"users": ["nobody-here"]},
    },
    "vms": {
        "web*": {"consent": True, "roots": [], "commands": {"quit": "consent"}},
        "web1": {"net": {"listen": []}, "classes": {"guest": "deny"}, "mode": "enforce"},
    },
    "audit": {"segments": 3},
}


def policy(**keys: t.Any) -> Policy:
    return parse({"version": 1, **keys}, "test")


def whole() -> Policy:
    return parse(WHOLE, "/etc/maqet/policy.yml", "ab", {"ann": 1000}.get, {"ops": 100}.get)


def test_the_base() -> None:
    assert whole().layer(None) == Layer(
        "host",
        "permissive",
        False,
        (Root("/srv/iso", "read"), Root("/srv/scratch", "write")),
        ("127.0.0.1:10809",),
        ("[::1]:*", "unix:/run/x"),
        ("tap*", "/dev/ttyS0"),
        {"availability": "consent"},
        {
            "quit": CommandRule("deny"),
            "migrate": CommandRule("allow", {"channels[].addr.host": ("10.0.0.7", 7, True, None)}),
        },
    )
    assert whole().layer("db") == whole().layer(None)


def test_sections_are_laid_over_it_in_their_order() -> None:
    web2, web1 = whole().layer("web2"), whole().layer("web1")
    assert (web2.consent, web2.roots, web2.mode) == (True, (), "permissive")
    assert web2.commands["quit"] == CommandRule("consent")
    assert web2.commands["migrate"] == whole().base.commands["migrate"]
    assert (web1.consent, web1.listen, web1.connect, web1.mode) == (True, (), ("[::1]:*", "unix:/run/x"), "enforce")
    assert web1.classes == {"availability": "consent", "guest": "deny"}
    turned = {**WHOLE, "vms": {"*": {"consent": True}, "w*": {"consent": False}}}
    assert parse(turned, "x").layer("web").consent is False
    assert parse({**turned, "vms": dict(reversed(list(turned["vms"].items())))}, "x").layer("web").consent is True


def test_names_of_vms_match_with_their_case() -> None:
    assert policy(vms={"Web": {"consent": False}}).layer("web").consent is True
    assert policy(vms={"[ab]?": {"consent": False}}).layer("a1").consent is False


def test_roles_by_number() -> None:
    found = whole()
    assert [found.role_of(uid, ()) is not None for uid in (1000, 1001, 1002, 1003)] == [True, True, True, False]
    viewer = found.role_of(5, (100,))
    assert viewer is not None and (viewer.name, viewer.commands) == ("viewer", frozenset({"screendump"}))
    assert found.warnings == ("roles.operator.users: this host has no user 'nobody-here'",)
    assert found.role_of(900, ()) is None
    owner = found.owned_by(900).role_of(900, ())
    assert owner is not None and owner.name == "admin"


def test_the_rest_of_a_policy() -> None:
    assert whole().audit == {"journald": True, "segment_mib": 16, "segments": 3}
    assert (whole().id, whole().sha256, whole().problem) == ("/etc/maqet/policy.yml", "ab", None)


def test_no_policy_at_all() -> None:
    layer = BUILTIN.layer("web")
    assert (layer.mode, layer.consent, layer.roots, layer.listen, layer.devices) == ("enforce", True, (), (), ())
    assert layer.command_rule("quit") is None and layer.class_rule("read") is None
    assert BUILTIN.role_of(1000, (0,)) is None
    assert parse({"version": 1}, "builtin") == BUILTIN


def test_an_unusable_one_opens_nothing() -> None:
    found = unusable("/etc/maqet/policy.yml", "it is bad")
    assert found.problem == "it is bad"
    assert (found.layer("web").consent, found.layer("web").roots) == (False, ())
    root, other = found.role_of(0, ()), found.role_of(1000, (0,))
    assert root is not None and other is None


def test_a_tightening_policy_says_only_what_it_says() -> None:
    assert tighten("task", {}) == Layer("task")
    layer = tighten("vm", {"consent": False, "devices": [], "net": {"connect": ["h:1"]}, "commands": {"quit": "deny"}})
    assert layer == Layer("vm", consent=False, devices=(), connect=("h:1",), commands={"quit": CommandRule("deny")})
    assert (layer.roots, layer.listen) == (None, None)


@pytest.mark.parametrize(
    ("data", "where", "words"),
    [
        (None, "policy", "Give a dictionary of: version"),
        ([], "policy", "Give a dictionary of"),
        ({}, "version", "Add 'version:'"),
        ({"version": 2}, "version", "Give 1."),
        ({"version": True}, "version", "Give 1."),
        ({"version": 1, "mod": "x"}, "mod", "Did you mean mode?"),
        ({"version": 1, True: "x"}, "a value of type bool", "Known here"),
        ({"version": 1, "mode": True}, "mode", "quote words"),
        ({"version": 1, "mode": "enforcing"}, "mode", "Did you mean enforce?"),
        ({"version": 1, "consent": "yes"}, "consent", "Write true or false"),
        ({"version": 1, "roots": "/srv"}, "roots", "Give a list"),
        ({"version": 1, "roots": ["srv"]}, "roots[0].path", "is not an absolute path"),
        ({"version": 1, "roots": ["/a/../b"]}, "roots[0].path", "contains '..'"),
        ({"version": 1, "roots": ["/"]}, "roots[0].path", "would open the host"),
        ({"version": 1, "roots": ["//"]}, "roots[0].path", "would open the host"),
        ({"version": 1, "roots": ["/proc/self/fd"]}, "roots[0].path", "would open the host"),
        ({"version": 1, "roots": [{"access": "read"}]}, "roots[0].path", "the key is missing"),
        ({"version": 1, "roots": [{"path": "/a", "access": "all"}]}, "roots[0].access", "read, write"),
        ({"version": 1, "roots": ["/a\n"]}, "roots[0].path", "control characters"),
        ({"version": 1, "net": ["h:1"]}, "net", "Give a dictionary of: listen, connect"),
        ({"version": 1, "net": {"listen": ["1.2.3.4"]}}, "net.listen[0]", "has no port"),
        ({"version": 1, "net": {"listen": [630]}}, "net.listen[0]", "is no text"),
        ({"version": 1, "devices": ["a b"]}, "devices[0]", "is no name of an interface"),
        ({"version": 1, "devices": ["*"]}, "devices[0]", "is no name of an interface"),
        ({"version": 1, "devices": ["dev/x"]}, "devices[0]", "is not an absolute path"),
        ({"version": 1, "classes": {"host-fil": "deny"}}, "classes.host-fil", "Did you mean host-file?"),
        ({"version": 1, "classes": {"read": "no"}}, "classes.read", "Choose one of"),
        ({"version": 1, "commands": {"quitt": "deny"}}, "commands.quitt", "Did you mean quit?"),
        ({"version": 1, "commands": {"quit": None}}, "commands.quit", "Give a dictionary of: decision"),
        ({"version": 1, "commands": {"quit": False}}, "commands.quit.decision", "is a boolean"),
        ({"version": 1, "commands": {"stop": {"arguments": {"a..b": [1]}}}}, "commands.stop.arguments.'a..b'", "[]"),
        ({"version": 1, "commands": {"stop": {"arguments": {"a": 1}}}}, "commands.stop.arguments.a", "Give a list"),
        ({"version": 1, "commands": {"stop": {"arguments": {"a": [[1]]}}}}, "commands.stop.arguments.a[0]", "no value"),
        ({"version": 1, "roles": {"view": {}}}, "roles.view", "Did you mean viewer?"),
        ({"version": 1, "roles": {"viewer": {"users": [True]}}}, "roles.viewer.users[0]", "quote it"),
        ({"version": 1, "roles": {"viewer": {"users": [-1]}}}, "roles.viewer.users[0]", "is no id"),
        ({"version": 1, "roles": {"viewer": {"groups": ["4294967295"]}}}, "roles.viewer.groups[0]", "is no id"),
        ({"version": 1, "roles": {"viewer": {"groups": ["a:b"]}}}, "roles.viewer.groups[0]", "is no name of a group"),
        ({"version": 1, "vms": {"a/b": {}}}, "vms.'a/b'", "a VM's name"),
        ({"version": 1, "vms": {"a": {"roles": {}}}}, "vms.a.roles", "Known here"),
        ({"version": 1, "audit": {"segments": -1}}, "audit.segments", "a whole number"),
        ({"version": 1, "roots": ["/a"] * 5000}, "roots", "at most"),
    ],
)
def test_what_is_refused(data: t.Any, where: str, words: str) -> None:
    with pytest.raises(MaqetError) as caught:
        parse(data, "test")
    assert caught.value.error_code == "invalid_option"
    assert str(caught.value).startswith(f"{where}: "), str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("data", "where"),
    [
        ({"mode": "permissive"}, "policy.mode"),
        ({"commands": {"quit": "allow"}}, "policy.commands.quit.decision"),
        ({"commands": {"quit": {"decision": "allow"}}}, "policy.commands.quit.decision"),
        ({"classes": {"read": "allow"}}, "policy.classes.read"),
        ({"version": 1}, "policy.version"),
        ({"roles": {}}, "policy.roles"),
        ({"vms": {}}, "policy.vms"),
        ([], "policy"),
        ("deny", "policy"),
    ],
)
def test_a_tightening_policy_cannot_read_as_if_it_widened(data: t.Any, where: str) -> None:
    with pytest.raises(MaqetError) as caught:
        tighten("task", data)
    assert str(caught.value).startswith(f"{where}: ")


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.binary(max_size=4), st.dates(),
    st.text(st.characters(), max_size=12),
    st.sampled_from(["read", "deny", "allow", "quit", "/srv", "web*", "h:1", "tap0", "enforce", "viewer", "\ud800"]),
)  # fmt: skip
NAMES = st.one_of(
    st.sampled_from([where.rpartition(".")[2].strip("[]") for where, _key in rows()] + ["quit", "read", "w*", "a[]"]),
    SCALARS,
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=20,
)


@given(ANYTHING)
def test_whatever_it_is_only_our_error_is_raised(data: t.Any) -> None:
    for attempt in (lambda: parse(data, "x"), lambda: tighten("task", data)):
        try:
            assert attempt()
        except MaqetError as error:
            assert error.error_code == "invalid_option"
            str(error).encode("ascii")


@given(st.dictionaries(st.sampled_from([key.name for key in HOST.keys]), ANYTHING, max_size=4))
def test_the_same_below_the_known_keys(data: dict[str, t.Any]) -> None:
    test_whatever_it_is_only_our_error_is_raised.hypothesis.inner_test({"version": 1, **data})  # type: ignore[attr-defined]


def all_keys(key: Key) -> t.Iterator[Key]:
    yield key
    for inner in (*key.keys, *([key.item] if key.item else [])):
        yield from all_keys(inner)


def test_the_table_keeps_its_promises() -> None:
    for key in (*all_keys(HOST), *all_keys(TIGHTENING)):
        assert key.kind in (*KINDS, "object", "map", "list")
        assert bool(key.keys) == (key.kind == "object")
        assert (key.item is not None) == (key.kind in ("map", "list"))
        assert (key.names in CHECKS) == (key.kind == "map")
        assert bool(key.choices) == (key.kind == "word")
        assert set(key.widening) <= set(key.choices)
    assert set(CHECKS) | {"word", "number"} == set(KINDS)
    assert all(key.meaning.endswith(".") for where, key in rows() if not where.endswith("[]") and "<" not in where)


def test_the_reference_names_every_key_once() -> None:
    paths = [where for where, _key in rows()]
    assert len(paths) == len(set(paths))
    assert {"version", "net.listen", "roots[].access", "vms.<glob>.commands.<command>.decision"} <= set(paths)
    assert policy_schema.VERSION == 1
