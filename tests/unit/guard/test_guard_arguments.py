# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard.arguments import RULES, Scope, output_file, outside


@pytest.fixture
def furnished(output: pathlib.Path) -> pathlib.Path:
    """The folder with everything in it that a name could be a trick for."""
    (output / "old.bin").write_bytes(b"old")
    (output / "sub").mkdir()
    (output.parent / "secret").write_bytes(b"secret")
    (output / "link").symlink_to(output.parent / "secret")
    (output / "inner-link").symlink_to(output / "old.bin")
    (output / "dangling").symlink_to(output.parent / "new")
    (output / "out").symlink_to(output.parent)
    (output / "round").symlink_to(output / "sub")
    os.mkfifo(output / "fifo")
    os.link(output.parent / "secret", output / "hard")
    output.with_name("output-twin").mkdir()
    return output


@pytest.mark.parametrize(
    "name",
    [
        "new.bin",
        "./new.bin",
        "sub/new.bin",
        "round/new.bin",
        "old.bin",
        ".hidden",
        "sub//new",
        "a..b",
        "sub/a:b",
        "\u00e9",
    ],
)
@pytest.mark.parametrize("absolute", [False, True])
def test_inside(furnished: pathlib.Path, name: str, absolute: bool) -> None:
    assert outside(f"{furnished}/{name}" if absolute else name, str(furnished)) is None


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "is empty"),
        ("/etc/shadow", "outside"),
        ("//etc/shadow", "outside"),
        ("{root}/../secret", "'..'"),
        ("../secret", "'..'"),
        ("sub/../new", "'..'"),
        ("..", "'..'"),
        ("{root}-twin/x", "outside"),
        ("link", "symbolic link"),
        ("inner-link", "symbolic link"),
        ("dangling", "symbolic link"),
        ("out/secret", "outside"),
        ("{root}/out/new", "outside"),
        ("fifo", "not a regular file"),
        ("hard", "hard link"),
        ("sub", "not a regular file"),
        ("sub/", "names a folder"),
        (".", "names a folder"),
        ("{root}", "outside"),
        ("{root}/", "names a folder"),
        ("old.bin/x", "not a folder"),
        ("missing/x", "cannot be resolved: No such file"),
        ("x" * 300, "cannot be resolved"),
        ("x/" * 3000 + "x", "cannot be resolved"),
        ("a\x00b", "control character"),
        ("a\nb", "control character"),
        ("json:{}", "protocol: prefix"),
        ("file:x", "protocol: prefix"),
        ("fd:3", "protocol: prefix"),
        ("nbd://h/x", "protocol: prefix"),
        ("fat:rw:sub", "protocol: prefix"),
        (":x", "protocol: prefix"),
        ("/dev/fdset/1", "outside"),
        ("/proc/self/fd/3", "outside"),
        ("/proc/self/cwd/x", "outside"),
    ],
)
def test_outside(furnished: pathlib.Path, name: str, why: str) -> None:
    problem = outside(name.replace("{root}", str(furnished)), str(furnished))
    assert problem is not None and why in problem


def test_folder_that_is_itself_reached_by_a_link(furnished: pathlib.Path, tmp_path: pathlib.Path) -> None:
    alias = tmp_path / "alias"
    alias.symlink_to(furnished)
    assert outside("new", str(alias)) is None
    assert outside(f"{alias}/new", str(alias)) is None
    assert outside(f"{furnished}/new", str(alias)) is None


def test_folder_that_does_not_exist(tmp_path: pathlib.Path) -> None:
    assert "cannot be resolved" in str(outside("x", str(tmp_path / "gone")))


def test_qemu_that_is_not_ours() -> None:
    assert "no output folder" in str(outside("x", None))


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({}, "filename is missing"),
        ({"filename": None}, "filename is missing"),
        ({"filename": 7}, "filename must be a string"),
        ({"filename": ["a"]}, "filename must be a string"),
        ({"filename": "a", "logfile": "/etc/x"}, "'logfile' is unknown"),
        ({"filename": "a", "Filename": "/etc/x"}, "'Filename' is unknown"),
        ({"filename": "/etc/x"}, "filename '/etc/x' lies outside"),
        ({"filename": "https://bob:hunter2@h/x"}, "<redacted:11>@h/x"),
    ],
)
def test_reasons_name_field_and_value(scope: Scope, arguments: dict[str, t.Any], why: str) -> None:
    problem = output_file("filename", "val")(arguments, scope)
    assert problem is not None and why in problem
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    ("protocol", "why"),
    [
        ("core", "does not begin with 'file:'"),
        ("fd:core", "does not begin with 'file:'"),
        ("FILE:core", "does not begin with 'file:'"),
        (" file:core", "does not begin with 'file:'"),
        ("file:", "is empty"),
        ("file:file:core", "protocol: prefix"),
        ("file:///etc/x", "outside"),
        ("file:/etc/x", "outside"),
        ("file:../x", "'..'"),
    ],
)
def test_dump_protocol(scope: Scope, protocol: str, why: str) -> None:
    problem = RULES["dump-guest-memory"]({"paging": False, "protocol": protocol}, scope)
    assert problem is not None and why in problem
    assert RULES["dump-guest-memory"]({"paging": False, "protocol": "file:core"}, scope) is None


def test_judging_creates_nothing(scope: Scope, output: pathlib.Path) -> None:
    assert RULES["screendump"]({"filename": "new.png"}, scope) is None
    assert list(output.iterdir()) == []
