# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which role a caller has, and what a role may ask for."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard import agent_commands, commands
from ansible_collections.maqet.qemu.plugins.module_utils.guard.roles import Members, Role, Roles, role_allows
from hypothesis import given
from hypothesis import strategies as st

ROLES = Roles(
    500,
    {
        "viewer": Members(frozenset({1, 2}), frozenset({10}), frozenset({"stop"})),
        "operator": Members(frozenset({2, 3}), frozenset({20}), frozenset({"balloon"})),
        "admin": Members(frozenset({4}), frozenset({30})),
    },
)
STOP, BALLOON = frozenset({"stop"}), frozenset({"balloon"})


@pytest.mark.parametrize(
    ("uid", "gids", "role"),
    [
        (1, [], Role("viewer", STOP)),
        (3, [3], Role("operator", BALLOON)),
        (4, [], Role("admin")),
        (9, [9, 10], Role("viewer", STOP)),
        (9, [20, 10], Role("operator", STOP | BALLOON)),  # what any of its roles adds, it may
        (2, [], Role("operator", STOP | BALLOON)),
        (1, [30], Role("admin", STOP)),
        (9, [9], None),
        (10, [], None),  # the number of a group is no user's
        (-1, [], None),
        (0, [], Role("admin")),
        (500, [10], Role("admin", STOP)),
        (9, [0, 500], None),  # root's group is not root
    ],
)
def test_who_has_which_role(uid: int, gids: t.List[int], role: t.Optional[Role]) -> None:
    assert ROLES.of(uid, iter(gids)) == role


def test_without_a_policy_only_root_has_one() -> None:
    assert Roles().of(0, []) == Role("admin")
    assert Roles().of(1000, [0, 1000]) is None


MAY = {
    "viewer": {"read", "introspect"},
    "operator": {"read", "introspect", "guest", "availability"},
}


@pytest.mark.parametrize("role", [None, "viewer", "operator", "admin"])
def test_every_command_that_is_classified(role: t.Optional[str]) -> None:
    """Derived from the class alone, but for the picture of the screen."""
    for name, klass in {**commands.CLASS_OF, **agent_commands.CLASS_OF}.items():
        wanted = role == "admin" or klass in MAY.get(str(role), ())
        wanted = wanted or (role == "operator" and name == "screendump")
        assert role_allows(None if role is None else Role(role), name, klass) == wanted, name


def test_what_a_policy_adds_to_a_role() -> None:
    role = Role("viewer", frozenset({"quit", "guest-exec"}))
    assert role_allows(role, "quit", "availability") and role_allows(role, "guest-exec", "guest-exec")
    assert not role_allows(role, "stop", "availability")


@given(st.text(), st.one_of(st.none(), st.text()), st.sampled_from(["viewer", "operator", "", "Admin", "root"]))
def test_what_has_no_class_is_for_admins_alone(name: str, klass: t.Optional[str], role: str) -> None:
    """And for them it is the judge who denies it."""
    if klass not in MAY["operator"] and name != "screendump":
        assert not role_allows(Role(role), name, klass)
        assert role_allows(Role("admin"), name, klass)
