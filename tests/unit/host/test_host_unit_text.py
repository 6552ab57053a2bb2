# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The unit's text, and the file of each VM that it reads. Under a real systemd: tests/integration/hosts."""

from __future__ import annotations

import hashlib
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import unit_text
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import SYSTEM, Layout
from hypothesis import given
from hypothesis import strategies as st

USER = Layout("/home/u/.local/share/maqet", "/home/u/r", "/home/u/log", "user", "/home/u/.config/maqet")


def directives(text: str) -> list[tuple[str, str]]:
    """All assignments, with continued lines joined."""
    lines = text.replace("\\\n", "").splitlines()
    return [line.partition("=")[::2] for line in lines if "=" in line and not line.startswith("#")]


def test_a_changed_text_has_a_new_version() -> None:
    """Whoever changes the text raises VERSION, and puts the new digest here."""
    digest = hashlib.sha256((unit_text.unit_text(SYSTEM) + unit_text.unit_text(USER)).encode()).hexdigest()[:16]
    assert (unit_text.VERSION, digest) == (1, "b9ea4a9f4952ff6a")


@pytest.mark.parametrize(("where", "target"), [(SYSTEM, "multi-user.target"), (USER, "default.target")])
def test_what_a_unit_says(where: Layout, target: str) -> None:
    text = unit_text.unit_text(where)
    assert unit_text.version_of(text) == unit_text.VERSION
    said = dict(directives(text))
    assert said["EnvironmentFile"] == f"{where.vms}/%i/runner.env"
    assert said["StandardError"] == f"append:{where.log}/%i.runner.log"
    assert (said["Slice"], said["Type"], said["WantedBy"]) == ("maqet.slice", "notify", target)
    assert (said["KillMode"], said["KillSignal"], said["RestartKillSignal"]) == ("process", "SIGPWR", "SIGTERM")
    assert [name for name in unit_text.VARIABLES if f"${{{name}}}" not in said["ExecStart"]] == []
    assert "{" not in text.replace("${", "")


def test_a_user_is_asked_for_nothing_that_takes_root() -> None:
    """A user's manager has no capability to give up, and no targets of the system's to wait for."""
    only_root = {name for name, _value in directives(unit_text.unit_text(SYSTEM))}
    only_root -= {name for name, _value in directives(unit_text.unit_text(USER))}
    assert only_root == {"After", "RequiresMountsFor", "CapabilityBoundingSet"}


def test_paths_with_spaces_and_percent_signs() -> None:
    where = SYSTEM._replace(state="/my data/100%", log="/my log")
    said = dict(directives(unit_text.unit_text(where)))
    assert said["EnvironmentFile"] == "/my data/100%%/vms/%i/runner.env"
    assert said["StandardOutput"] == "append:/my log/%i.runner.log"
    assert said["RequiresMountsFor"] == '"/my data/100%%" "/my log"'


@pytest.mark.parametrize("state", ["/a\nExecStart=/bin/sh", '/a"b', "/a\\", "/\udcff"])
def test_paths_that_a_unit_cannot_hold(state: str) -> None:
    with pytest.raises(MaqetError) as caught:
        unit_text.unit_text(USER._replace(state=state))
    assert caught.value.error_code == "host_error"
    caught.value.as_dict()["message"].encode()


@pytest.mark.parametrize(
    ("there", "written"),
    [
        (None, True),
        ("", False),
        ("[Unit]\n", False),
        ("# maqet.qemu unit 0\n[Unit]\n", True),
        ("# maqet.qemu unit 0", True),
        ("# maqet.qemu unit 1\nof other folders", True),
        ("# maqet.qemu unit 2\n", False),
        ("# maqet.qemu unit 10\n", False),
        ("# maqet.qemu unit\n", False),
        ("# maqet.qemu unit 0 of mine\n", False),
        ("\n# maqet.qemu unit 0\n", False),
        (unit_text.unit_text(SYSTEM), False),
    ],
)
def test_what_is_replaced(there: t.Optional[str], written: bool) -> None:
    """Nothing, an older one and one for other folders; never a newer one or somebody else's."""
    assert unit_text.is_to_be_written(there, unit_text.unit_text(SYSTEM)) is written


def unquoted(line: str) -> tuple[str, str]:
    """What systemd reads: inside double quotes a backslash takes the meaning of `"`, `\\`, `` ` `` and `$` away."""
    key, _equals, rest = line.partition("=")
    assert rest[0] == rest[-1] == '"'
    result, characters = "", iter(rest[1:-1])
    for character in characters:
        assert character not in '"`$', "would end the value, or mean something"
        result += next(characters) if character == "\\" else character
    return key, result


@given(st.text(st.characters(blacklist_categories=("Cs", "Cc"))))
def test_any_value_comes_back(value: str) -> None:
    """How systemd itself reads such a file is tested on a host."""
    env = unit_text.env_file({"MAQET_STATE": value, "MAQET_RUN": "/r"})
    first, second, end = env.split("\n")
    assert (unquoted(first), unquoted(second), end) == (("MAQET_STATE", value), ("MAQET_RUN", "/r"), "")


@pytest.mark.parametrize("value", ["a\nMAQET_PYTHON=/evil", "a\0b", "\x7f", "a\rb", "\udc80"])
def test_values_that_are_refused(value: str) -> None:
    with pytest.raises(MaqetError, match="MAQET_RUN: ") as caught:
        unit_text.env_file({"MAQET_RUN": value})
    assert caught.value.error_code == "host_error"


def test_env_would_take_some_programs_for_variables() -> None:
    with pytest.raises(MaqetError, match=r"env\(1\)"):
        unit_text.env_file({"MAQET_PYTHON": "/opt/a=b/python"})
    assert unit_text.env_file({"MAQET_STATE": "/opt/a=b"}) == 'MAQET_STATE="/opt/a=b"\n'


def test_the_unit_of_a_vm() -> None:
    assert unit_text.unit_name("web-1.service") == "maqet@web-1.service.service"
