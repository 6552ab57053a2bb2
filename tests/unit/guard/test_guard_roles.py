# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard.commands import CLASS_OF, CLASSES
from ansible_collections.maqet.qemu.plugins.module_utils.guard.roles import Members, Role, Roles, role_allows

ROLES = Roles(
    owner=900,
    members={
        "viewer": Members(frozenset({1000}), frozenset({100}), frozenset({"screendump"})),
        "operator": Members(groups=frozenset({200})),
        "admin": Members(users=frozenset({1002})),
    },
)


@pytest.mark.parametrize(
    ("uid", "gids", "expected"),
    [
        (0, (0,), "admin"),
        (900, (), "admin"),
        (1000, (), "viewer"),
        (5, (100,), "viewer"),
        (5, (7, 200), "operator"),
        (1000, (200,), "operator"),
        (1002, (100, 200), "admin"),
        (5, (0, 5, 1000), None),
        (100, (1000,), None),
        (-1, (), None),
    ],
)
def test_the_most_powerful_role_counts(uid: int, gids: tuple[int, ...], expected: str | None) -> None:
    role = ROLES.of(uid, gids)
    assert (role.name if role else None) == expected


def test_commands_of_all_roles_of_a_caller() -> None:
    assert ROLES.of(1000, (200,)) == Role("operator", frozenset({"screendump"}))
    assert ROLES.of(5, (200,)) == Role("operator")


@pytest.mark.parametrize(
    ("role", "classes"),
    [
        (None, ()),
        (Role("viewer"), ("read", "introspect")),
        (Role("operator"), ("read", "introspect", "guest", "availability")),
        (Role("admin"), CLASSES),
        (Role("nonesuch"), ()),
    ],
)
def test_classes_of_a_role(role: Role | None, classes: tuple[str, ...]) -> None:
    assert [klass for klass in CLASSES if role_allows(role, "some-command", klass)] == list(classes)
    assert role_allows(role, "some-command", None) is (role == Role("admin"))


def test_commands_beyond_the_classes() -> None:
    assert role_allows(Role("operator"), "screendump", CLASS_OF["screendump"])
    assert not role_allows(Role("viewer"), "screendump", CLASS_OF["screendump"])
    assert role_allows(Role("viewer", frozenset({"quit"})), "quit", "availability")
    assert not role_allows(Role("viewer", frozenset({"quit"})), "stop", "availability")
