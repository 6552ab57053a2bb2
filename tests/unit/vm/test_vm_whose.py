# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose VM a name means."""

from __future__ import annotations

import pathlib
import socket
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.vm.whose import of_system, out_of_reach, refuse_direct


class Two:
    """A plain user's folders and the system's, short enough for a socket's name."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.mine = Layout(str(folder / "us"), str(folder / "ur"), str(folder / "ul"), "user")
        self.system = Layout(str(folder / "ss"), str(folder / "sr"), str(folder / "sl"), "system")

    def define(self, where: Layout, name: str = "web") -> None:
        path = pathlib.Path(where.vm(name).definition)
        path.parent.mkdir(parents=True)
        path.write_text("{}")

    def serve(self, where: Layout, name: str = "web") -> None:
        path = pathlib.Path(where.vm(name).runner_socket)
        path.parent.mkdir(parents=True)
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))


@pytest.fixture
def two(tmp_path: pathlib.Path) -> Two:
    return Two(tmp_path)


def test_nobodys(two: Two) -> None:
    assert of_system(two.mine, "web", two.system) is None


def test_the_systems_that_runs(two: Two) -> None:
    two.define(two.system)
    assert of_system(two.mine, "web", two.system) is None, "it does not run"
    two.serve(two.system)
    assert of_system(two.mine, "web", two.system) == two.system.vm("web")
    assert of_system(two.mine, "mail", two.system) is None


@pytest.mark.parametrize("runs", [True, False])
def test_ones_own_goes_first_whether_it_runs_or_not(two: Two, runs: bool) -> None:
    two.serve(two.system)
    two.define(two.mine)
    if runs:
        two.serve(two.mine)
    assert of_system(two.mine, "web", two.system) is None


def test_root_has_no_others(two: Two) -> None:
    two.serve(two.system)
    assert of_system(two.system, "web", two.system) is None


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (
            lambda: refuse_direct("web"),
            "invalid_option",
            "mode: 'direct' is not for web, a VM of the system. Leave mode out",
        ),
        (
            lambda: out_of_reach("web", MaqetError("refused", "runner_unreachable")),
            "runner_unreachable",
            "The runner of web, a VM of the system, cannot be reached by this user. Use become",
        ),
    ],
)
def test_what_is_said(error: t.Callable[[], MaqetError], code: str, words: str) -> None:
    made = error()
    assert made.error_code == code
    assert str(made).startswith(words)
