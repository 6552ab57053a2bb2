# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runner's archive: complete, the same for the same sources, and it runs on its own."""

from __future__ import annotations

import io
import json
import os
import pathlib
import stat
import subprocess
import sys
import typing as t
import zipfile

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.runner import bundle
from ansible_collections.maqet.qemu.tests.unit.test_architecture import UTILS, reached, read_project

DAEMON = f"{UTILS}.runner.daemon"


def test_the_list_of_sources_is_what_the_daemon_imports() -> None:
    sources, packages = read_project()
    needed = {name for name in reached(DAEMON, sources, packages) if name in sources and name not in packages}
    assert sorted(f"{UTILS}.{name}" for name in bundle.SOURCES) == sorted({*needed, f"{UTILS}.code_cache"})


def test_what_can_start_a_runner_carries_all_of_it() -> None:
    """Ansible ships what a static scan of a module's imports finds; so must we."""
    sources, packages = read_project()
    carried = reached("ansible_collections.maqet.qemu.plugins.modules.maqet_vm", sources, packages)
    assert {f"{UTILS}.{name}" for name in bundle.SOURCES} <= set(carried)


def test_the_same_sources_make_the_same_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = bundle.sources()
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    again = dict(reversed(list(bundle.sources().items())))
    assert bundle.digest(texts) == bundle.digest(again)
    assert bundle.archive(texts) == bundle.archive(again)


@pytest.mark.parametrize(
    "other", [{"a": "1", "b": "2"}, {"a": "12", "b": ""}, {"ab": "12"}, {"a": "1", "c": "2"}, {"a": "1"}, {}]
)
def test_other_sources_have_another_name(other: dict[str, str]) -> None:
    assert bundle.digest(other) != bundle.digest({"a": "1", "b": "3"})
    assert bundle.digest(other) == bundle.digest(dict(other))


def test_no_two_of_them_are_alike() -> None:
    variants = [{"a": "1", "b": "2"}, {"a": "12", "b": ""}, {"ab": "12"}, {"a": "1b2"}, {"a1": "b2"}]
    assert len({bundle.digest(variant) for variant in variants}) == len(variants)


def test_what_is_in_the_archive() -> None:
    with zipfile.ZipFile(io.BytesIO(bundle.archive(bundle.sources()))) as file:
        names = file.namelist()
        assert {info.date_time for info in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        daemon = file.read(f"{DAEMON.replace('.', '/')}.py").decode()
    assert daemon == (read_project()[0][DAEMON])
    for name in names:
        for parent in list(pathlib.PurePath(name).parents)[:-1]:
            assert f"{parent}/__init__.py" in names


def run(path: str, *arguments: str, flags: t.Sequence[str] = ("-I",)) -> subprocess.CompletedProcess[str]:
    """Run the archive with nothing of ours in sight."""
    command = [sys.executable, *flags, path, *arguments]
    return subprocess.run(command, cwd="/", capture_output=True, text=True, check=False, env={"LC_ALL": "C.UTF-8"})


def test_it_runs(tmp_path: pathlib.Path) -> None:
    path, _digest = bundle.install(str(tmp_path))
    done = run(path, "--vm", "web")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "This runs one QEMU and owns its monitor. It needs the options vm, state, run, log, scope, config.\n"
    )


def test_its_code_is_loaded_once(tmp_path: pathlib.Path) -> None:
    """Where the Python is another one than ours, the sources are."""
    path, _digest = bundle.install(str(tmp_path))
    code = f"""
import sys, types, zipimport
sys.path.insert(0, sys.argv[1])
from {UTILS} import code_cache
real, ours, theirs = code_cache.marshal.loads, [], []
code_cache.marshal = types.SimpleNamespace(loads=lambda data: (ours.append(1), real(data))[1])
zipimport.marshal = types.SimpleNamespace(loads=lambda data: (theirs.append(1), real(data))[1])
if sys.argv[2:]:
    code_cache.MAGIC_NUMBER = b"none"
code_cache.use_compiled()
from {UTILS}.runner import daemon
loaded = [one for one in sys.modules.values() if type(getattr(one, "__loader__", 0)).__name__ == "_Loader"]
print(len(loaded), len(ours), len(theirs), daemon.__file__, daemon.__spec__.loader.get_source(daemon.__name__)[:7])
"""
    for other in ([], ["another Python"]):
        argv = [sys.executable, "-I", "-c", code, path, *other]
        said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split(maxsplit=4)
        assert int(said[0]) > 100 and said[1:3] == ["0" if other else said[0], "0"]
        assert said[3:] == [f"{path}/{DAEMON.replace('.', '/')}.py", "# SPDX-\n"]


@pytest.mark.parametrize("start", ["without libraries", "without a definition"])
def test_it_says_why_it_does_not_start(tmp_path: pathlib.Path, start: str) -> None:
    path, _digest = bundle.install(str(tmp_path))
    for folder in ("s/vms/web", "r/web", "l"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "r" / "web" / "order.json").write_text('{"word": "word", "purpose": "start"}')
    arguments = ["--vm", "web", "--state", f"{tmp_path}/s", "--run", f"{tmp_path}/r", "--log", f"{tmp_path}/l"]
    arguments += ["--config", f"{tmp_path}/c", "--scope", "user"]
    done = run(path, *arguments, flags=("-I", "-S") if start == "without libraries" else ("-I",))
    assert done.returncode == 1
    status = json.loads((tmp_path / "r" / "web" / "status.json").read_text())
    assert (status["launch"], status["phase"]) == ("word", "failed")
    if start == "without libraries":
        assert status["error"]["error_code"] == "libraries_missing"
        assert status["error"]["missing"] == ["qemu.qmp", "psutil", "PyYAML"]
        assert "maqet.qemu.hypervisor" in status["error"]["message"]
    else:
        assert status["error"]["error_code"] == "state_unsafe"
    assert status["error"]["message"] in done.stderr


def test_installing(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "state" / "runner"
    path, digest = bundle.install(str(folder))
    name = f"runner-{digest}.{sys.implementation.cache_tag}.pyz"
    assert path == str(folder / name)
    assert digest == bundle.own_digest()
    assert os.listdir(folder) == [name]
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o644


def test_what_is_installed_is_never_written_again(tmp_path: pathlib.Path) -> None:
    """A process may be running from it: rewriting a zip under it breaks its next import."""
    path, digest = bundle.install(str(tmp_path))
    pathlib.Path(path).write_bytes(b"somebody runs from this")
    before = os.stat(path)
    assert bundle.install(str(tmp_path)) == (path, digest)
    after = os.stat(path)
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert pathlib.Path(path).read_bytes() == b"somebody runs from this"


def test_a_part_that_did_not_come_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "SOURCES", ("runner.missing",))
    with pytest.raises(MaqetError, match=r"came without .*runner\.missing") as caught:
        bundle.sources()
    assert caught.value.error_code == "runner_failed"
