# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which commands of a list may have their intents on disk together."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Opening, Request, Verdict
from ansible_collections.maqet.qemu.plugins.module_utils.runner.batch import groups

OPENING = Opening("filename", "/x", "/", ("x",), "read", "fd", lambda _text: None)


def verdict(command_class: str, **more: t.Any) -> Verdict:
    return Verdict("allow", command_class, "rule", "reason", **more)


@pytest.mark.parametrize(
    ("classes", "sizes"),
    [
        ([], []),
        (["read"], [1]),
        (["read", "introspect", "read"], [3]),
        (["guest", "guest"], [1, 1]),
        (["read", "guest", "read", "read"], [1, 1, 2]),
        (["read", "unstable", "disclosure"], [1, 1, 1]),
        (["read"] * 130, [64, 64, 2]),
    ],
)
def test_only_those_that_look(classes: list[str], sizes: list[int]) -> None:
    asked = [Request(f"command-{number}") for number in range(len(classes))]
    found = groups(asked, [verdict(name) for name in classes])
    assert [len(group) for group in found] == sizes
    assert [request for group in found for request in group] == asked


@pytest.mark.parametrize(
    ("request_", "about"),
    [
        (Request("b", {"text": "x" * 300}), {}),
        (Request("b"), {"also": ("host-file",)}),
        (Request("b"), {"openings": (OPENING,)}),
    ],
)
def test_not_what_is_large_or_reaches_further(request_: Request, about: dict[str, t.Any]) -> None:
    asked = [Request("a"), request_, Request("c")]
    verdicts = [verdict("read"), verdict("read", **about), verdict("read")]
    assert groups(asked, verdicts) == [[one] for one in asked]
