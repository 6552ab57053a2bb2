# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML without surprises, read here or by another Python."""

from __future__ import annotations

import builtins
import contextlib
import json
import pathlib
import subprocess
import sys
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host import yaml_strict
from ansible_collections.maqet.qemu.plugins.module_utils.host.yaml_reader import reader
from hypothesis import given, settings
from hypothesis import strategies as st

GOOD = b"a: 1\nb: [x, 2.5, true, null]\nc: {d: '\xc3\xa4', 'on': off}\n"
VALUE = {"a": 1, "b": ["x", 2.5, True, None], "c": {"d": "ä", "on": False}}

BAD = {
    b"a: 1\na: 2": "line 2: the key 'a' stands there a second time",
    b"x:\n  a: 1\n  b: {c: 1, c: 1}": "line 3: the key 'c'",
    b"on: 1": "line 1: the key 'on' is no plain text",
    b"1: 1": "line 1: the key '1' is no plain text",
    b"? [a]\n: 1": "line 1: the key",
    b"a: &x 1\nb: *x": "line 2: it has an alias",
    b"<<: {a: 1}": "line 1: the key '<<'",
    b"a: 2001-01-01": "makes a date of",
    b"a: !!binary aGk=": "has a tag",
    b"a: !!set {b}": "has a tag",
    b"a: .nan": "not JSON compliant",
    b"a: [": "it is not YAML",
    b"\xff": "byte 0 is not UTF-8",
    b"a: \x01": "it is not YAML",
    b"[" * 100: "32 levels",
    b"[" * 100_000: "it is not YAML|32 levels",  # newer libyaml has a limit of its own
    b"- 1\n" * 60_000: "50000 parts",
}


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> t.Callable[[bytes], t.Any]:
    """A reader in a Python without PyYAML, that asks this one."""
    real = builtins.__import__

    def without_yaml(name: str, *rest: t.Any, **more: t.Any) -> t.Any:
        if name == "yaml":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_yaml)
    return reader(sys.executable)


def test_values(elsewhere: t.Callable[[bytes], t.Any]) -> None:
    assert elsewhere(GOOD) == VALUE


def test_values_read_here() -> None:
    assert reader("/nonexistent")(GOOD) == VALUE
    assert reader("/nonexistent")(b"") is None


@pytest.mark.parametrize("data", BAD, ids=lambda data: repr(data[:12]))
def test_what_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=BAD[data].replace("[", r"\[").replace("<", r"\<")):
        yaml_strict.load(data)


@pytest.mark.parametrize("data", [b"a: 1\na: 2", b"\xff", b"a: ["])
def test_it_is_refused_elsewhere_in_the_same_words(elsewhere: t.Callable[[bytes], t.Any], data: bytes) -> None:
    with pytest.raises(ValueError, match=BAD[data].replace("[", r"\[")):
        elsewhere(data)


def test_no_python_that_can(elsewhere: t.Callable[[bytes], t.Any], tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match=r"no Python here can read YAML.*maqet\.qemu\.hypervisor"):
        reader(str(tmp_path / "python"))(GOOD)
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no >&2\nexit 3\n", "utf-8")
    broken.chmod(0o755)
    with pytest.raises(ValueError, match="did not read it: no"):
        reader(str(broken))(GOOD)


def test_the_reader_is_a_whole_program() -> None:
    source = pathlib.Path(yaml_strict.__file__).read_text("utf-8")
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"{source}\nmain()"], input=b"a: *x", capture_output=True, check=True, timeout=60
    )
    assert json.loads(done.stdout) == {"error": "line 1: it has an alias (*x); write the values out"}


@settings(deadline=None)
@given(st.one_of(st.binary(max_size=60), st.text("ab:-[]{}&*!?'\"\n #<1", max_size=60).map(str.encode)))
def test_whatever_it_is_only_valueerror_is_raised(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        json.dumps(yaml_strict.load(data), allow_nan=False)
