# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of a scenario is read from what Molecule prints, in either of its forms."""

from __future__ import annotations

import pytest
from ansible_collections.maqet.qemu.tests.hosts import scenarios

PLAIN = """\
INFO     default scenario test matrix: destroy, create
INFO     [default > create] Executing

PLAY [Boot the hosts] **********************************************************
INFO     [default > verify] Executed: Successful, says a task
INFO     [default > create] Executed: Successful
INFO     [default > prepare] Executing
WARNING  [default > prepare] Executed: Missing playbook (Remove from test_sequence to suppress)
INFO     [default > converge] Executing
CRITICAL [default > converge] Executed: Failed
"""
COLOURED = """\
\x1b[36mINFO    \x1b[0m \x1b[32mdefault\x1b[0m ➜ \x1b[33mcreate\x1b[0m: \x1b[36mExecuting\x1b[0m
  \x1b[2m│\x1b[0m PLAY [Boot the hosts]
\x1b[36mINFO    \x1b[0m \x1b[32mdefault\x1b[0m ➜ \x1b[33mcreate\x1b[0m: \x1b[32mExecuted: Successful\x1b[0m
"""


@pytest.mark.parametrize(("text", "names"), [(PLAIN, ["create", "prepare", "converge"]), (COLOURED, ["create"])])
def test_steps_are_timed(text: str, names: list[str]) -> None:
    """A step counts from its beginning to its own end; each line here comes a second after the one before."""
    steps = scenarios.Steps()
    for now, line in enumerate(text.splitlines(keepends=True)):
        steps.hear(line, float(now))
    assert [name for name, _seconds in steps.seconds] == names
    assert steps.told().startswith("create 4" if text is PLAIN else "create 2")


def test_a_line_says_name_verdict_and_time() -> None:
    line = scenarios.Verdict("fleet", False, 61.4, "create 20").line()
    assert line.split() == ["fleet", "FAILED", "61", "s", "create", "20"]


def test_all_scenarios_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    """A folder with a molecule.yml is one; another name is refused with those that there are."""
    assert "default" in scenarios.known() and "resources" not in scenarios.known()
    with pytest.raises(SystemExit):
        scenarios.main(["nonesuch"])
    assert "there is no scenario nonesuch; there are default, example-vm" in capsys.readouterr().err


def test_nothing_of_the_users_configuration_gets_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSIBLE_CONFIG", "/home/ada/ansible.cfg")
    monkeypatch.setenv("MOLECULE_EPHEMERAL_DIRECTORY", "/home/ada/molecule")
    given = scenarios.environment("/tmp/control")
    assert "ANSIBLE_CONFIG" not in given and "MOLECULE_EPHEMERAL_DIRECTORY" not in given
    assert given["ANSIBLE_HOME"].endswith("/.dev/molecule") and given["ANSIBLE_SSH_CONTROL_PATH_DIR"] == "/tmp/control"
