# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of VMs and labels."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.names import check_vm_name, labels


@pytest.mark.parametrize("name", ["a", "Z", "0", "web-1", "db.prod_2", "a" * 63, "1.2.3", "vm--"])
def test_vm_names(name: str) -> None:
    assert check_vm_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "-a", ".hidden", "_a", "a/b", "../a", "a b", "a\n", "\na", "a\x00", "ä", "a" * 64, "a" * 200]
    + ["a@b", "a%i", "a:b", "a,b", "$(id)", "a;b", None, 5, True, ["a"], {}],
)
def test_vm_names_refused(name: t.Any, refused: t.Any) -> None:
    refused("name", check_vm_name, name)


def test_labels_are_sorted_strings() -> None:
    result = labels("labels", {"tier": "web", "example.org/rank": 1, "empty": ""})
    assert list(result.items()) == [("empty", ""), ("example.org/rank", "1"), ("tier", "web")]


def test_as_many_labels_as_there_may_be() -> None:
    most = {str(number): "x" * 256 for number in range(64)}
    assert labels("labels", most) == most


@pytest.mark.parametrize(
    ("value", "option"),
    [
        ("tier=web", "labels"),
        (["a"], "labels"),
        ({"": "x"}, "labels"),
        ({1: "x"}, "labels"),
        ({"a b": "x"}, "labels"),
        ({"a\n": "x"}, "labels"),
        ({str(n): "x" for n in range(65)}, "labels"),
        ({"a": True}, "labels.a"),
        ({"a": 1.10}, "labels.a"),
        ({"a": None}, "labels.a"),
        ({"a": ["x"]}, "labels.a"),
        ({"a": "two\nlines"}, "labels.a"),
        ({"a": "x" * 257}, "labels.a"),
    ],
)
def test_labels_refused(value: t.Any, option: str, refused: t.Any) -> None:
    refused(option, labels, "labels", value)
