# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy file on disk: from whose hands it is believed, and when it is read again."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import time
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard import policy_file
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import BUILTIN, Layer, Policy
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy_file import PolicySource, VmPolicySource
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy_schema import ALL_CLASSES
from ansible_collections.maqet.qemu.plugins.module_utils.guard.roles import Role
from ansible_collections.maqet.qemu.plugins.module_utils.host import yaml_strict

GOOD = "version: 1\nconsent: false\n"
OLD = 1_000_000_000 * 10**9  # a time of 2001, in nanoseconds


class File:
    """A policy file, who reads it, and how often its text was read."""

    def __init__(self, folder: pathlib.Path) -> None:
        folder.mkdir(mode=0o755)
        self.folder = folder
        self.path = folder / "policy.yml"
        self.reads = 0
        self.told: list[Policy] = []
        self.source = PolicySource(str(self.path), self._load, self.told.append)

    def _load(self, data: bytes) -> t.Any:
        self.reads += 1
        return yaml_strict.load(data)

    def write(self, text: t.Union[str, bytes] = GOOD, mode: int = 0o644) -> pathlib.Path:
        self.path.write_bytes(text if isinstance(text, bytes) else text.encode())
        self.path.chmod(mode)
        return self.path

    @property
    def now(self) -> Policy:
        return self.source.current()


@pytest.fixture
def file(tmp_path: pathlib.Path) -> File:
    return File(tmp_path / "etc")


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as old at once: their times are those of the kernel, which nobody can set back."""
    monkeypatch.setattr(policy_file, "_SETTLED", -(10**12))


def unusable(policy: Policy, path: t.Union[str, pathlib.Path]) -> str:
    """The problem, of a policy that leaves nobody but root a role, and no consent."""
    assert policy.problem is not None
    assert policy.problem.startswith(
        f"the policy file {path} cannot be used, so nothing but the class read is allowed: "
    )
    assert (policy.sha256, policy.layer("x").consent, policy.role_of(4242, [0])) == (None, False, None)
    assert policy.role_of(0, []) == Role("admin")
    return policy.problem


def test_no_file_no_folder(file: File) -> None:
    assert file.now == BUILTIN.owned_by(os.geteuid())
    file.folder.rmdir()
    assert file.now == BUILTIN.owned_by(os.geteuid())
    assert file.reads == 0


def test_a_good_file(file: File) -> None:
    file.write()
    assert (file.now.problem, file.now.id, file.now.layer("x").consent) == (None, str(file.path), False)
    assert file.now.sha256 == hashlib.sha256(GOOD.encode()).hexdigest()


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666, 0o622, 0o602])
def test_a_file_that_others_may_write(file: File, mode: int) -> None:
    path = file.write(mode=mode)
    problem = unusable(file.now, path)
    assert f"{path} has the mode {mode:04o}: others may write to it. Close it: chmod go-w {path}" in problem
    path.chmod(0o600)
    assert file.now.problem is None


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
def test_a_folder_that_others_may_write(file: File, mode: int) -> None:
    """With it anybody could put another file there, also where the sticky bit keeps this one."""
    path = file.write()
    file.folder.chmod(mode)
    problem = unusable(file.now, path)
    assert f"{file.folder} has the mode {mode:04o}" in problem
    file.folder.chmod(0o755)
    assert file.now.problem is None


def test_a_folder_that_others_may_write_is_bad_also_without_a_file(file: File) -> None:
    file.folder.chmod(0o777)
    assert "chmod go-w" in unusable(file.now, file.path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("which", ["file", "folder"])
def test_of_a_wrong_owner(file: File, which: str) -> None:
    path = file.write()
    whose = path if which == "file" else file.folder
    os.chown(whose, 4242, 0)
    problem = unusable(file.now, path)
    assert f"{whose} belongs to user 4242. It must belong to root: chown 0 {whose}" in problem
    os.chown(whose, 0, 4242)  # a group that may not write does no harm
    assert file.now.problem is None


def test_a_plain_users_own_file_is_believed(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file.write()
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid)
    policy = file.now
    assert policy.problem is None
    assert policy.role_of(path.stat().st_uid, []) == Role("admin")


@pytest.mark.parametrize("to", ["good.yml", "/etc/passwd", "nowhere"])
def test_a_symbolic_link(file: File, to: str) -> None:
    (file.folder / "good.yml").write_text(GOOD)
    file.path.symlink_to(to)
    assert f"{file.path} is a symbolic link. Put the file itself there" in unusable(file.now, file.path)


def test_a_folder_by_a_symbolic_link(file: File, tmp_path: pathlib.Path) -> None:
    file.write()
    link = tmp_path / "link"
    link.symlink_to(file.folder)
    problem = unusable(PolicySource(f"{link}/policy.yml", yaml_strict.load).current(), f"{link}/policy.yml")
    assert f"{link} is no folder, or a symbolic link" in problem


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file(file: File, make: t.Callable[[str], None]) -> None:
    """It neither waits for the writer of a FIFO nor keeps a folder open."""
    make(str(file.path))
    before = len(os.listdir("/proc/self/fd"))
    assert f"{file.path} is no regular file" in unusable(file.now, file.path)
    assert len(os.listdir("/proc/self/fd")) == before


BAD: list[tuple[bytes, str]] = [
    (b"#" * (policy_file.MAX_SIZE + 1), f"it has more than {policy_file.MAX_SIZE} bytes. Make it smaller"),
    (b"version: 1\n# caf\xe9\n", "byte 16 is not UTF-8; save the file as UTF-8"),
    (b"", "policy: None is no dictionary"),
    (b"version: 1\nversion: 1\n", "line 2: the key 'version' stands there a second time"),
    (b"version: 1\nroots: &a [/srv]\nvms: {x: {roots: *a}}\n", "line 3: it has an alias (*a)"),
    (b"version: 1\nroots: [\n", "it is not YAML"),
    (b"version: 1\nconsent: maybe\n", "consent: 'maybe' is no boolean"),
    (b"version: 1\non: {}\n", "line 2: the key 'on' is no plain text; write it in quotes"),
    (b"version: !!int ''\n", "line 1: it has a tag"),
    (b"version: 2001-01-01\n", "a value that YAML makes a date of"),
]


@pytest.mark.parametrize(("text", "problem"), BAD, ids=lambda part: str(part[:20]))
def test_what_cannot_be_read(file: File, text: bytes, problem: str) -> None:
    file.write(text)
    assert problem in unusable(file.now, file.path)


def test_the_largest_file(file: File) -> None:
    file.write(GOOD + "#" * (policy_file.MAX_SIZE - len(GOOD)))
    assert file.now.problem is None


def test_one_that_may_not_be_opened(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write()
    real = os.open

    def refusing(path: str, *rest: t.Any, **more: t.Any) -> int:
        if path == "policy.yml":
            raise PermissionError(13, "Permission denied")
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", refusing)
    assert "it cannot be read: Permission denied" in unusable(file.now, file.path)


def test_a_reader_that_fails(file: File) -> None:
    def broken(_data: bytes) -> t.Any:
        raise RecursionError("too deep")

    file.write()
    assert "too deep" in unusable(PolicySource(str(file.path), broken).current(), file.path)


def test_it_is_read_once_while_it_does_not_change(file: File, settled: None) -> None:
    file.write()
    assert file.now is file.now and file.reads == 1
    (file.folder / "something else").touch()
    assert file.now is file.now and file.reads == 1


def test_a_young_file_is_read_again_and_an_old_one_is_not(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_file, "_SETTLED", 10**18)
    file.write()
    assert file.now == file.now and file.reads == 2
    monkeypatch.setattr(policy_file, "_SETTLED", -(10**12))
    assert file.now == file.now and file.reads == 3


def test_how_old_it_is_counts_from_the_look_not_from_the_end_of_a_slow_read(
    file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a second change within the kernel's tick would never be seen."""
    changed = file.write().stat().st_ctime_ns
    clock = iter([changed + 1, changed + 10**12])
    monkeypatch.setattr(time, "time_ns", lambda: next(clock))
    assert file.now == file.now and file.reads == 2


@pytest.mark.parametrize("how", ["in place", "replaced"])
def test_a_change_in_the_same_second_of_the_same_size(file: File, settled: None, how: str) -> None:
    """The times of the content are set to what they were, as rsync and tar do."""
    path = file.write("version: 1\nconsent: false\n")
    os.utime(path, ns=(OLD, OLD))
    assert file.now.layer("x").consent is False
    if how == "in place":
        file.write("version: 1\nconsent: true #\n"[:26])
    else:
        new = file.folder / "new"
        new.write_text("version: 1\nconsent: true \n")
        new.replace(path)
    os.utime(path, ns=(OLD, OLD))
    assert path.stat().st_size == len(GOOD)
    assert file.now.layer("x").consent is True


def test_it_comes_and_goes(file: File, settled: None) -> None:
    assert file.now.id == "builtin"
    file.write()
    assert file.now.id == str(file.path)
    file.path.unlink()
    assert file.now.id == "builtin"
    file.write("version: 2\n")
    assert "Give 1" in str(file.now.problem)
    file.write()
    assert file.now.problem is None
    assert [policy.id for policy in file.told] == ["builtin", str(file.path), "builtin", *[str(file.path)] * 2]


def test_who_listens_hears_of_each_policy_once(file: File) -> None:
    file.write()
    for _attempt in range(3):
        assert file.now.problem is None
    file.path.touch()
    assert file.now.problem is None
    assert len(file.told) == 1


def test_names_are_looked_up_again_when_accounts_change(
    file: File, settled: None, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users: dict[str, int] = {}
    accounts = tmp_path / "passwd"
    monkeypatch.setattr(policy_file, "_ACCOUNTS", (str(accounts),))
    monkeypatch.setattr(policy_file, "_user", users.get)
    file.write("version: 1\nroles: {viewer: {users: [ann]}}\n")
    assert file.now.role_of(1000, []) is None
    users["ann"] = 1000
    accounts.touch()
    assert file.now.role_of(1000, []) == Role("viewer")
    del users["ann"]  # what was hers may become somebody else's
    accounts.write_text("changed")
    assert file.now.role_of(1000, []) is None


def test_unknown_names_are_looked_up_again_after_a_while(
    file: File, settled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An account that no file tells of may come late: at boot the directory's service is not up."""
    users: dict[str, int] = {}
    clock = [100.0]
    monkeypatch.setattr(policy_file, "_user", users.get)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    file.write("version: 1\nroles: {viewer: {users: [ann]}}\n")
    assert file.now.role_of(1000, []) is None
    users["ann"] = 1000
    clock[0] += 1
    assert file.now.role_of(1000, []) is None and file.reads == 1
    clock[0] += policy_file._UNKNOWN_NAMES
    assert file.now.role_of(1000, []) == Role("viewer") and file.reads == 2
    clock[0] += 1e6
    assert file.now.role_of(1000, []) == Role("viewer") and file.reads == 2


CLOSED = {klass: "deny" for klass in ALL_CLASSES if klass != "read"}


def definition(path: pathlib.Path, policy: t.Any) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"intent": {} if policy is None else {"policy": policy}}))
    new.replace(path)


def test_a_vms_own_policy(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "definition.json"
    source = VmPolicySource(str(path))
    assert source.current() is None
    definition(path, None)
    assert source.current() is None
    definition(path, {"consent": False})
    assert source.current() == Layer("vm", consent=False)
    definition(path, {})
    assert source.current() == Layer("vm")


@pytest.mark.parametrize("young", [True, False])
def test_a_definition_that_is_gone_widens_nothing(
    tmp_path: pathlib.Path, young: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_file, "_SETTLED", 10**18 if young else -(10**12))
    path = tmp_path / "definition.json"
    source = VmPolicySource(str(path))
    definition(path, {"consent": False})
    assert source.current() == Layer("vm", consent=False)
    path.unlink()
    assert source.current() == source.current() == Layer("vm", consent=False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"intent": 1}',
        '{"intent": {"policy": {"mode": "permissive"}}}',
        "[" * 100_000,
        "\xff",
    ],
    ids=lambda text: text[:20],
)
def test_a_damaged_definition_leaves_nothing_but_read(tmp_path: pathlib.Path, text: str) -> None:
    """Nor of the guest agent's classes."""
    path = tmp_path / "definition.json"
    path.write_bytes(text.encode("latin-1"))
    source = VmPolicySource(str(path))
    layer = source.current()
    assert layer is not None
    assert (layer.classes, layer.consent) == (CLOSED, False)
    assert layer.class_rule("guest-exec") == layer.class_rule("unstable") == "deny"
    definition(path, None)
    assert source.current() is None


def test_a_definition_that_is_a_folder(tmp_path: pathlib.Path) -> None:
    layer = VmPolicySource(str(tmp_path)).current()
    assert layer is not None and layer.classes == CLOSED
