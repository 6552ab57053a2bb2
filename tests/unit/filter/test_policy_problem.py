# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter says what the runners would say of a policy file."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.maqet.qemu.plugins.filter.policy_problem import FilterModule

policy_problem = FilterModule().filters()["policy_problem"]


@pytest.mark.parametrize(
    "text", ["version: 1\n", '{"version": 1}', "version: 1\nroles: {viewer: {groups: [nobody-has-it]}}"]
)
def test_a_policy_that_would_do(text: str) -> None:
    assert policy_problem(text) == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "policy: None is no dictionary"),
        ("version: 2", "version: 2 is not possible here"),
        ("version: 1\nmoode: enforce", "Did you mean mode?"),
        ("version: 1\nclasses: {host-exec: off}", "classes.host-exec: False is a boolean"),
        ("version: 1\nversion: 1", "the key 'version' stands there a second time"),
        ("version: 1\nnet: {listen: &a [x], connect: *a}", "it has an alias"),
        ("version: [", "it is not YAML"),
        ("version: 1\n#" + "x" * 262144, "more than 262144 are not read"),
    ],
)
def test_a_policy_that_would_not(text: str, words: str) -> None:
    problem = policy_problem(text)
    assert words in problem and problem.endswith(".") and not problem.endswith(".."), problem


def test_only_text_is_taken() -> None:
    with pytest.raises(AnsibleFilterError, match="takes the text of a policy file, not a dict"):
        policy_problem({"version": 1})
