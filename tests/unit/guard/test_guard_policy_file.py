# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy file in good and in bad hands, and both files while they change."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import time
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard import policy_file
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import BUILTIN, Policy, tighten
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy_file import MAX_SIZE, PolicySource, VmPolicySource
from ansible_collections.maqet.qemu.plugins.module_utils.host.yaml_reader import reader

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="gives a file away")


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "maqet"
    folder.mkdir(mode=0o755)
    return folder / "policy.yml"


@pytest.fixture
def source(path: pathlib.Path) -> PolicySource:
    return PolicySource(str(path), reader("/nonexistent/python"))


def write(path: pathlib.Path, text: str = "version: 1\nconsent: false\n") -> None:
    path.write_text(text, "utf-8")
    path.chmod(0o644)


def test_a_file_that_is_missing_is_the_builtin_policy(source: PolicySource, path: pathlib.Path) -> None:
    assert source.current().id == "builtin"
    assert source.current() == BUILTIN.owned_by(os.geteuid())
    path.parent.rmdir()
    assert source.current().problem is None


def test_a_good_file(source: PolicySource, path: pathlib.Path) -> None:
    write(path)
    found = source.current()
    assert (found.id, found.problem, found.layer("web").consent) == (str(path), None, False)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    role = found.role_of(os.geteuid(), ())
    assert role is not None and role.name == "admin"


def test_it_is_read_when_it_has_changed_and_only_then(path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[bytes] = []
    told: list[Policy] = []

    def load(data: bytes) -> t.Any:
        reads.append(data)
        return reader("")(data)

    source = PolicySource(str(path), load, told.append)
    write(path)
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + 1_000_000_000)  # a second later
    assert source.current() is source.current()
    assert len(reads) == 1
    write(path, "version: 1\nconsent: true\n")
    assert source.current().layer("web").consent is True
    path.chmod(0o600)
    assert source.current().problem is None
    assert len(reads) == 3
    path.unlink()
    assert source.current().id == "builtin"
    assert [policy.base.consent for policy in told] == [False, True, True]


def test_changes_within_one_tick_of_the_clock_are_seen(source: PolicySource, path: pathlib.Path) -> None:
    """Same size, same inode, maybe the same time: a young file is read at every look."""
    for _round in range(20):
        for consent in ("false", "true "):
            write(path, f"version: 1\nconsent: {consent}\n")
            assert source.current().layer("web").consent is (consent != "false")


def nothing_but_read(source: PolicySource, *words: str) -> None:
    found = source.current()
    assert found.problem is not None
    assert found.problem.startswith(f"the policy file {source.path} cannot be used, so nothing but the class read")
    for word in words:
        assert word in found.problem
    assert found.layer("web").consent is False
    assert found.role_of(4242, (4242,)) is None


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666, 0o777])
def test_a_file_that_others_may_write(source: PolicySource, path: pathlib.Path, mode: int) -> None:
    write(path)
    path.chmod(mode)
    nothing_but_read(source, f"has the mode {mode:04o}", f"chmod go-w {path}")
    path.chmod(0o644)
    assert source.current().problem is None


def test_a_folder_that_others_may_write(source: PolicySource, path: pathlib.Path) -> None:
    write(path)
    path.parent.chmod(0o777)
    nothing_but_read(source, f"chmod go-w {path.parent}")
    path.parent.chmod(0o755)
    assert source.current().problem is None


@ROOT_ONLY
@pytest.mark.parametrize("what", ["file", "folder"])
def test_of_a_stranger(source: PolicySource, path: pathlib.Path, what: str) -> None:
    write(path)
    os.chown(path if what == "file" else path.parent, 4242, 0)
    nothing_but_read(source, "belongs to user 4242", "chown 0")


@ROOT_ONLY
def test_a_user_may_own_its_own(source: PolicySource, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path)
    os.chown(path, 4242, 0)
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    assert source.current().problem is None


@pytest.mark.parametrize("kind", ["link", "folder link", "fifo", "folder", "dangling"])
def test_what_is_no_file(source: PolicySource, path: pathlib.Path, tmp_path: pathlib.Path, kind: str) -> None:
    if kind == "link":
        write(tmp_path / "other.yml")
        path.symlink_to(tmp_path / "other.yml")
    elif kind == "dangling":
        path.symlink_to("/nonexistent/file")
    elif kind == "folder link":
        write(path)
        path.parent.rename(tmp_path / "elsewhere")
        path.parent.symlink_to(tmp_path / "elsewhere")
    elif kind == "fifo":
        os.mkfifo(path, 0o600)
    else:
        path.mkdir()
    nothing_but_read(source)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "Give a dictionary"),
        (b"version: 1\nconsent: maybe\n", "consent: 'maybe' is no boolean"),
        (b"version: 1\nconsent: true\nconsent: false\n", "line 3: the key 'consent' stands there a second time"),
        (b"version: 1\nmode: on\n", "mode: True is a boolean"),
        (b"version: [1\n", "it is not YAML"),
        (b"version: 1\nconsent: \xff\n", "is not UTF-8"),
        (b"a: &a [1]\nb: *a\n", "line 2: it has an alias"),
        (b"version: 1\n---\nversion: 1\n", "it is not YAML"),
        (b"version: !!python/object/apply:os.system [id]\n", "it is not YAML"),
        (b"#" * (MAX_SIZE + 1), f"more than {MAX_SIZE} bytes"),
    ],
)
def test_bad_content(source: PolicySource, path: pathlib.Path, content: bytes, words: str) -> None:
    path.write_bytes(content)
    path.chmod(0o644)
    nothing_but_read(source, words)


def test_names_become_numbers(source: PolicySource, path: pathlib.Path) -> None:
    write(path, "version: 1\nroles: {viewer: {users: [root, no-such-user], groups: [no-such-group]}}\n")
    found = source.current()
    assert found.roles.members["viewer"].users == {0}
    assert [warning.rpartition(" ")[2] for warning in found.warnings] == ["'no-such-user'", "'no-such-group'"]


def test_a_loader_that_fails_in_any_way(path: pathlib.Path) -> None:
    write(path)

    def failing(_data: bytes) -> t.Any:
        raise RecursionError("too deep")

    nothing_but_read(PolicySource(str(path), failing), "too deep")


# --- a VM's own policy -------------------------------------------------------------------------------------------


def define(path: pathlib.Path, policy: t.Any) -> None:
    path.write_text(json.dumps({"intent": {} if policy is None else {"policy": policy}}), "utf-8")


def test_the_policy_of_a_definition_as_it_changes(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "definition.json"
    source = VmPolicySource(str(path))
    assert source.current() is None
    define(path, {"consent": False})
    layer = source.current()
    assert layer is not None and (layer.name, layer.consent) == ("vm", False)
    define(path, {"commands": {"quit": "deny"}})
    layer = source.current()
    assert layer is not None and layer.commands["quit"].decision == "deny"
    define(path, None)
    assert source.current() is None


def test_a_definition_that_goes_takes_nothing_back(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "definition.json"
    define(path, {"consent": False})
    monkeypatch.setattr(policy_file, "_SETTLED", -(10**12))
    source = VmPolicySource(str(path))
    before = source.current()
    path.unlink()
    assert before is not None and source.current() is before


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"intent": 1}', '{"intent": {"policy": {"mode": "permissive"}}}'])
def test_a_damaged_definition_leaves_nothing_but_read(tmp_path: pathlib.Path, text: str) -> None:
    path = tmp_path / "definition.json"
    path.write_text(text, "utf-8")
    layer = VmPolicySource(str(path)).current()
    assert layer is not None and layer.consent is False
    assert layer.class_rule("read") is None and layer.class_rule("introspect") == "deny"


def test_errors_are_sentences() -> None:
    """What a policy's problem is made of says its remedy; see test_guard_policy for the rest."""
    with pytest.raises(MaqetError, match=r"\. [A-Z].*\.$"):
        tighten("vm", {"mode": "permissive"})
