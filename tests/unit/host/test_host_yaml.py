# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Strict YAML, and YAML by another Python where ours has none."""

from __future__ import annotations

import importlib
import json
import os
import pathlib
import subprocess
import sys
import typing as t
import zipfile

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.host import yaml_reader, yaml_strict
from hypothesis import given, settings
from hypothesis import strategies as st

GOOD: list[tuple[str, t.Any]] = [
    ("a: 1", {"a": 1}),
    ("a: {b: [x, 'y', 1.5, true, null, ~]}", {"a": {"b": ["x", "y", 1.5, True, None, None]}}),
    ("", None),
    ("# nothing\n", None),
    ("--- \na: b\n...\n", {"a": "b"}),
    ("a: on", {"a": True}),
    ("'on': x", {"on": "x"}),
    ("a: |\n  text\n", {"a": "text\n"}),
    ("\ufeffa: \u00e9", {"a": "\u00e9"}),
    ("[" * yaml_strict.MAX_DEPTH + "]" * yaml_strict.MAX_DEPTH, None),
]


@pytest.mark.parametrize(("text", "value"), GOOD)
def test_what_it_reads(text: str, value: t.Any) -> None:
    read = yaml_strict.load(text.encode())
    assert value is None or read == value


BAD: list[tuple[bytes, str]] = [
    (b"a: 1\nb: 2\na: 3\n", "line 3: the key 'a' stands there a second time; keep one of them"),
    (b"x:\n  a: 1\n  'a': 1\n", "line 3: the key 'a' stands there a second time"),
    (b"{a: {b: 1, b: 2}}", "line 1: the key 'b' stands there a second time"),
    (b"on: 1\n", "line 1: the key 'on' is no plain text; write it in quotes"),
    (b"a: 1\nno: 1\n", "line 2: the key 'no' is no plain text"),
    (b"1: a\n", "the key '1' is no plain text"),
    (b"~: a\n", "the key '~' is no plain text"),
    (b"? [a]\n: b\n", "is no plain text"),
    (b"a: {<<: {b: 1}}\n", "the key '<<' is no plain text"),
    (b"a: &x 1\nb: *x\n", "line 2: it has an alias (*x); write the values out"),
    (b"a: &a [*a]\n", "it has an alias"),
    (b"a: !!int ''\n", "line 1: it has a tag ('tag:yaml.org,2002:int'); leave tags out, and quote texts"),
    (b"a: 1\nb: !!float ''\n", "line 2: it has a tag"),
    (b"!!bool x", "it has a tag"),
    (b"!!timestamp x", "it has a tag"),
    (b"!!map [a]", "it has a tag"),
    (b"!!set {a}", "it has a tag"),
    (b"! x", "it has a tag"),
    (b"!!python/object/apply:os.system [id]", "it has a tag"),
    (b"a: 2001-01-01", "it holds a value that YAML makes a date of; write it in quotes"),
    (b"a: 2001-99-99", "month must be in 1..12"),
    (b"a: 1" + b":59" * 300 + b".5", "a date or a number that cannot be"),
    (b"a: .inf", "JSON compliant"),
    (b"a: .nan", "JSON compliant"),
    (b"a: b\n---\nc: d\n", "it is not YAML: expected a single document"),
    (b"a: [\n", "it is not YAML: while parsing a flow"),
    (b"a:\n\t- b\n", "it is not YAML"),
    (b"a: 'b\n", "it is not YAML"),
    (b"\x00", "it is not YAML"),
    (b"a: \xff", "byte 3 is not UTF-8; save the file as UTF-8"),
    ("a: b".encode("utf-16"), "byte 0 is not UTF-8"),
    (b"[" * 33 + b"]" * 33, "50000 parts, or 32 levels; make it smaller"),
    (b"[" * 100_000, "line 1: it "),
    (b"{a: " * 5000, "or 32 levels"),
    (b"- a\n" * 50_001, "50000 parts"),
]


@pytest.mark.parametrize(("data", "words"), BAD, ids=lambda part: repr(part[:24]))
def test_what_it_refuses_in_words(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        yaml_strict.load(data)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "data", [b"a: 'hunter2\n", b"hunter2: [\n", b"a: hunter2: b\n", b"a: [hunter2}\n", b"@hunter2"]
)
def test_what_is_no_yaml_is_not_quoted(data: bytes) -> None:
    """The sentence reaches callers who may not read the file."""
    with pytest.raises(ValueError, match=r"^line [12]: it is not YAML: ") as caught:
        yaml_strict.load(data)
    assert "hunter2" not in str(caught.value)


PIECES = "a b on 1 : - , [ ] { } ? | > & * ! % @ # ' \" \n \t << ~ .inf 0x_ 0b_ 1:59 2001-01-01 = !!int --- ...".split(
    " "
)


@given(st.one_of(st.binary(max_size=40), st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join).map(str.encode)))
@settings(deadline=None)
def test_nothing_comes_out_but_json_or_words(data: bytes) -> None:
    try:
        value = yaml_strict.load(data)
    except ValueError as error:
        assert str(error)
    else:
        assert json.loads(json.dumps(value, allow_nan=False)) == value


@pytest.fixture
def no_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    """This Python has no PyYAML."""
    monkeypatch.setitem(sys.modules, "yaml", None)


def test_here_if_it_can(tmp_path: pathlib.Path) -> None:
    assert yaml_reader.reader(str(tmp_path / "none"))(b"a: 1") == {"a": 1}


def test_elsewhere_if_not(no_yaml: None) -> None:
    read = yaml_reader.reader(sys.executable)
    assert read("a: [\u00e9]".encode()) == {"a": ["\u00e9"]}
    assert read(b"") is None
    with pytest.raises(ValueError, match="line 2: the key 'a' stands there a second time"):
        read(b"a: 1\na: 2\n")


def test_nobody_can(no_yaml: None, tmp_path: pathlib.Path) -> None:
    python = tmp_path / "python"
    with pytest.raises(ValueError, match=f"no Python here can read YAML.* there is no {python}. Apply the role"):
        yaml_reader.reader(str(python))(b"a: 1")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo nonsense", "did not read it: Expecting value"),
        ("echo '[]'", "did not read it"),
        ("echo '{}'", "did not read it"),
        ("echo 'No module named yaml' >&2; exit 1", "did not read it: No module named yaml"),
        ('echo \'{"error": "why"}\'', "^why$"),
    ],
)
def test_one_that_does_something_else(no_yaml: None, tmp_path: pathlib.Path, script: str, words: str) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\ncat >/dev/null\n{script}\n")
    python.chmod(0o755)
    with pytest.raises(ValueError, match=words):
        yaml_reader.reader(str(python))(b"a: 1")


def test_from_inside_an_archive(tmp_path: pathlib.Path) -> None:
    """As Ansible sends it: the strict reader's source is in a zip, and is given to another Python."""
    package = "ansible_collections/maqet/qemu/plugins/module_utils/host"
    folder = pathlib.Path(yaml_reader.__file__).parent
    archive = tmp_path / "payload.zip"
    with zipfile.ZipFile(archive, "w") as made:
        for depth in range(1, len(package.split("/")) + 1):
            made.writestr("/".join([*package.split("/")[:depth], "__init__.py"]), "")
        for name in ("yaml_reader.py", "yaml_strict.py"):
            made.write(folder / name, f"{package}/{name}")
    probe = (
        f"import sys; sys.path.insert(0, {str(archive)!r}); sys.modules['yaml'] = None\n"
        f"from {package.replace('/', '.')} import yaml_reader\n"
        f"assert {str(archive)!r} in yaml_reader.__file__\n"
        f"print(yaml_reader.reader({sys.executable!r})(b'a: 1'))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", probe], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("{'a': 1}\n", 0), done.stderr


def test_the_strict_reader_imports_nothing_of_the_project() -> None:
    source = importlib.import_module(yaml_strict.__name__).__file__
    assert source is not None and os.path.exists(source)
    assert "ansible_collections" not in pathlib.Path(source).read_text(encoding="utf-8")
