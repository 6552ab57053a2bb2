# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiled code that is kept: only for the source that was sent, only from a file of who runs the task."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
import zipfile
import zlib
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils import code_cache
from ansible_collections.maqet.qemu.plugins.module_utils.code_cache import CodeCache
from ansible_collections.maqet.qemu.plugins.module_utils.host import paths

REPOSITORY = Path(__file__).resolve().parents[2]
NAME = "ansible_collections.maqet.qemu.plugins.module_utils.thing"
# A payload as Ansible makes it: the module is run out of an archive, whose helpers it imports.
MODULE = """
import sys
from ansible_collections.maqet.qemu.plugins.module_utils import code_cache
from ansible_collections.maqet.qemu.plugins.module_utils import thing
import json, builtins, traceback
try:
    thing.fail()
except ValueError:
    trace = traceback.format_exc()
print(json.dumps({"value": thing.VALUE, "file": thing.__file__, "trace": trace,
                  "loader": type(thing.__loader__).__name__, "package": thing.__package__}))
"""
THING = "VALUE = {value}\n\ndef fail():\n    raise ValueError('here')\n"
# Counts what Python compiles of our names, which an environment cannot be asked for.
DRIVER = """
import builtins, runpy, sys
real, names = builtins.compile, []
def counting(source, filename, *args, **more):
    names.append(str(filename))
    return real(source, filename, *args, **more)
builtins.compile = counting
sys.path.insert(0, sys.argv[1])
runpy.run_module("ansible_collections.maqet.qemu.plugins.modules.maqet_thing", run_name="__main__", alter_sys=True)
print(sum("thing" in name and "maqet_thing" not in name for name in names), file=sys.stderr)
"""


def payload(path: Path, value: int) -> Path:
    base = "ansible_collections/maqet/qemu/plugins"
    cache = (REPOSITORY / "plugins/module_utils/code_cache.py").read_text("utf-8")
    shared = REPOSITORY / "plugins/module_utils"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{base}/modules/maqet_thing.py", MODULE)
        archive.writestr(f"{base}/module_utils/code_cache.py", cache)
        archive.writestr(f"{base}/module_utils/thing.py", THING.format(value=value))
        for name in ("errors.py", "host/files.py"):
            archive.write(shared / name, f"{base}/module_utils/{name}")
        folders = ["", "/module_utils", "/modules", "/module_utils/host"]
        for folder in (*(base + one for one in folders), "ansible_collections", "ansible_collections/maqet"):
            archive.writestr(f"{folder}/__init__.py", "")
        archive.writestr("ansible_collections/maqet/qemu/__init__.py", "")
    return path


class Ran(t.NamedTuple):
    said: dict[str, t.Any]
    compiled: int


def run(archive: Path, data: Path) -> Ran:
    """The payload as an ordinary user's task: what it said, and how often Python compiled its ``thing``."""
    environment = {"XDG_DATA_HOME": str(data), "PATH": os.environ["PATH"]}
    # Root's folder is the system's, which is no test's to write to: root is somebody else meanwhile.
    alias = ["unshare", "--user", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []
    argv = [*alias, sys.executable, "-I", "-c", DRIVER, str(archive)]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Ran(json.loads(done.stdout), int(done.stderr))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data" / "maqet").mkdir(parents=True)
    return tmp_path / "data"


def kept(data: Path) -> Path:
    return data / "maqet/cache/code" / f"maqet_thing.{sys.implementation.cache_tag}"


def test_the_second_task_compiles_nothing(tmp_path: Path, data: Path) -> None:
    archive = payload(tmp_path / "one.zip", 1)
    first, second = run(archive, data), run(archive, data)
    assert (first.compiled, second.compiled) == (1, 0)
    assert first.said == second.said
    assert first.said["value"] == 1 and first.said["package"] == NAME.rpartition(".")[0]
    assert "raise ValueError('here')" in first.said["trace"], "the lines of a traceback are found"
    assert kept(data).stat().st_mode & 0o777 == 0o600


def test_another_source_is_compiled_and_kept_in_its_place(tmp_path: Path, data: Path) -> None:
    old, new = payload(tmp_path / "old.zip", 1), payload(tmp_path / "new.zip", 2)
    found = [(ran.said["value"], ran.compiled) for ran in (run(path, data) for path in (old, old, new, new, old))]
    assert found == [(1, 1), (1, 0), (2, 1), (2, 0), (1, 1)]


def test_nothing_is_kept_where_we_have_no_folder(tmp_path: Path) -> None:
    archive = payload(tmp_path / "one.zip", 1)
    assert run(archive, tmp_path / "none").said["value"] == 1
    assert not (tmp_path / "none").exists()


def spoil_mode(path: Path) -> None:
    path.chmod(0o620)


def spoil_link(path: Path) -> None:
    other = path.with_name("other")
    path.rename(other)
    path.symlink_to(other)


def spoil_half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def spoil_empty(path: Path) -> None:
    path.write_bytes(b"")


def spoil_owner(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    os.chown(path, 12345, 12345)


@pytest.mark.parametrize("spoil", [spoil_mode, spoil_link, spoil_half, spoil_empty, spoil_owner])
def test_a_file_that_is_not_ours_alone_is_not_read(tmp_path: Path, data: Path, spoil: t.Callable[[Path], None]) -> None:
    archive = payload(tmp_path / "one.zip", 1)
    run(archive, data)
    spoil(kept(data))
    again = run(archive, data)
    assert (again.compiled, again.said["value"]) == (1, 1)
    assert run(archive, data).compiled == 0, "it is written anew"


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path, data: Path) -> None:
    (data / "maqet/cache").write_text("a file where a folder should be")
    assert run(payload(tmp_path / "one.zip", 1), data).said["value"] == 1


def test_code_of_another_source_with_the_same_name_is_never_taken(tmp_path: Path) -> None:
    path = str(tmp_path / "kept")
    first = CodeCache(path)
    first.code(NAME, b"VALUE = 1")
    first.save()
    names: dict[str, t.Any] = {}
    exec(CodeCache(path).code(NAME, b"VALUE = 2"), names)  # noqa: S102  # what an import does
    assert names["VALUE"] == 2


def test_only_what_is_new_is_written(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    first = CodeCache(str(path))
    first.code(NAME, b"VALUE = 1")
    first.save()
    before = path.stat().st_ino
    second = CodeCache(str(path))
    second.code(NAME, b"VALUE = 1")
    second.save()
    assert path.stat().st_ino == before
    checksum, content = path.read_bytes()[:4], path.read_bytes()[4:]
    assert int.from_bytes(checksum, "big") == zlib.crc32(content)


@pytest.mark.parametrize("where", [{}, {"XDG_DATA_HOME": "/elsewhere"}])
def test_the_folder_is_the_layouts(monkeypatch: pytest.MonkeyPatch, where: dict[str, str]) -> None:
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    for key, value in where.items():
        monkeypatch.setenv(key, value)
    for uid in (0, 1000):
        monkeypatch.setattr(os, "geteuid", lambda uid=uid: uid)
        assert code_cache.state_folder() == paths.layout().state
