# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others use for the same: fetched as root on a Debian or Ubuntu, and run for the length of a measurement.

Packages of the system stay installed, as those of ``./dev`` do; what is for one peer alone lies in ``.dev/peers``.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import typing as t
import zipfile
from pathlib import Path

from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import wait_readable
from ansible_collections.maqet.qemu.plugins.module_utils.host.watch import Folder
from ansible_collections.maqet.qemu.tests.chaos import mounts, suite

#: Where they are kept.
PLACE: t.Final = suite.REPOSITORY / ".dev" / "peers"
#: The interpreter that has libvirt's bindings.
SYSTEM_PYTHON: t.Final = "/usr/bin/python3"
_PACKAGES = ("libvirt-daemon-system", "libvirt-clients", "python3-libvirt", "python3-lxml")
_MAQET = ("maqet==0.0.15", "typing_extensions")
# As root and without the guards that need systemd or an LSM: whatever libvirt does beyond QEMU's start is not measured.
_QEMU_CONF = """user = "root"
group = "root"
security_driver = "none"
namespaces = []
cgroup_controllers = []
"""
# Folders that libvirt writes to, which are new and empty for ours.
_LIBVIRT = ("/etc/libvirt", "/run/libvirt", "/var/lib/libvirt", "/var/log/libvirt", "/var/cache/libvirt")
# libvirtd has no word for being ready. Its socket may be there a moment before it listens, so it is tried again after
# so many seconds, if nothing else has happened in its folder.
_AGAIN = 5.0


def install() -> None:
    """Fetch what is missing. RuntimeError where that cannot be; CalledProcessError if it fails."""
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise RuntimeError("the peers are installed by apt-get, as root")
    if _quiet(["dpkg", "-s", *_PACKAGES]) != 0:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for words in (["update"], ["install", "-y", "--no-install-recommends", *_PACKAGES]):
            _must(["apt-get", "-qq", *words], environment)
    PLACE.mkdir(parents=True, exist_ok=True)
    if not _collection().is_dir():
        _community_libvirt()
    if not maqet().exists():
        python = next((path for path in pythons() if _quiet([path, "-c", _FIT_FOR_MAQET]) == 0), None)
        if python is None:
            raise RuntimeError("maqet needs Python 3.12 or newer with venv, and none is here")
        _must([python, "-m", "venv", str(PLACE / "maqet")])
        _must([str(PLACE / "maqet/bin/python"), *_PIP, "install", *_MAQET])


_FIT_FOR_MAQET = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 12))"
_PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")


def pythons() -> list[str]:
    """Interpreters that may be there, on the PATH and under pyenv, the newest first."""
    folders = [*map(Path, os.environ["PATH"].split(os.pathsep)), *Path.home().glob(".pyenv/versions/*/bin")]
    found = [
        path for folder in folders for path in folder.glob("python3.*") if re.fullmatch(r"python3\.\d+", path.name)
    ]
    return [str(path) for path in sorted(found, key=lambda path: -int(path.name.partition(".")[2]))]


def _must(words: t.Sequence[str], environment: t.Mapping[str, str] | None = None) -> None:
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr, env=environment)


def _quiet(words: t.Sequence[str]) -> int:
    return subprocess.run(words, check=False, stdin=subprocess.DEVNULL, capture_output=True).returncode


def _collection() -> Path:
    return PLACE / "ansible_collections/community/libvirt"


def _community_libvirt() -> None:
    """The package ``ansible`` carries it with a hundred others, of which nothing else is kept."""
    with tempfile.TemporaryDirectory(dir=PLACE) as name:
        _must([sys.executable, *_PIP, "download", "--no-deps", "--dest", name, "ansible"])
        (wheel,) = Path(name).glob("ansible-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            wanted = [each for each in archive.namelist() if each.startswith("ansible_collections/community/libvirt/")]
            archive.extractall(name, wanted)
        (Path(name) / "ansible_collections").rename(PLACE / "ansible_collections")


def versions() -> dict[str, str]:
    """Of what the figures were measured against; for the report."""
    manifest = json.loads((_collection() / "MANIFEST.json").read_text("utf-8"))
    ask = ["dpkg-query", "--show", "--showformat", "${Version}", "libvirt-daemon"]
    libvirt = subprocess.run(ask, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True).stdout
    collection = str(manifest["collection_info"]["version"])
    return {"libvirt": libvirt, "community.libvirt": collection, "maqet": _MAQET[0].partition("==")[2]}


# --- libvirt ---


@contextlib.contextmanager
def libvirtd(folder: Path) -> t.Iterator[None]:
    """A libvirtd with its log daemon, in folders of its own below ``folder``. Ends what it has started, by pid."""
    with contextlib.ExitStack() as stack:
        for path in _LIBVIRT:
            stack.enter_context(_own(Path(path), folder / path.strip("/").replace("/", "-")))
        Path("/etc/libvirt/qemu.conf").write_text(_QEMU_CONF, "utf-8")
        for daemon in ("virtlogd", "libvirtd"):
            started = subprocess.Popen(
                [daemon, "--pid-file", str(folder / f"{daemon}.pid")],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=(folder / f"{daemon}.log").open("wb"),
            )
            stack.callback(_end, started)
        _until_it_answers(started)
        yield


@contextlib.contextmanager
def _own(path: Path, inner: Path) -> t.Iterator[None]:
    """An empty folder in the place of the system's, in this world alone."""
    made = not path.exists()
    path.mkdir(parents=True, exist_ok=True)
    inner.mkdir(parents=True)
    inner.chmod(0o755)
    mounts.bind(str(inner), str(path))
    try:
        yield
    finally:
        mounts.unmount(str(path))
        if made:
            with contextlib.suppress(OSError):
                path.rmdir()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait()


def _until_it_answers(daemon: subprocess.Popen[bytes]) -> None:
    with Folder("/run/libvirt") as folder:
        while _quiet(["virsh", "-q", "-c", "qemu:///system", "list"]) != 0:
            if daemon.poll() is not None:
                raise RuntimeError(f"libvirtd ended with status {daemon.returncode}")
            wait_readable([folder.fd], _AGAIN)
            folder.read()


def domain(name: str, memory: str) -> str:
    """What libvirt is to make of it: as little as ours is."""
    return (
        f"<domain type='qemu'><name>{name}</name><memory unit='MiB'>{memory}</memory><vcpu>1</vcpu>"
        f"<os><type arch='{os.uname().machine}'>hvm</type></os></domain>"
    )


def destroy(names: t.Iterable[str]) -> None:
    """End these domains and forget them."""
    for name in names:
        for deed in ("destroy", "undefine"):
            _quiet(["virsh", "-q", "-c", "qemu:///system", deed, name])


# --- maqet ---


def maqet() -> Path:
    """Its program."""
    return PLACE / "maqet/bin/maqet"


class Maqet:
    """maqet's command line, with a home in ``folder``."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._environment = {**os.environ, "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
        for name in ("XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
            self._environment.pop(name, None)

    def run(self, *words: str) -> str:
        """What a command prints; CalledProcessError if it fails."""
        done = subprocess.run(
            [str(maqet()), *words],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=self._environment,
            cwd=self._folder,
            text=True,
        )
        return done.stdout

    def add(self, name: str, memory: str) -> None:
        """A VM as ours is."""
        binary = shutil.which(f"qemu-system-{os.uname().machine}")
        config = self._folder / "vm.yml"
        config.write_text(
            f"name: {name}\nbinary: {binary}\narguments:\n  - m: {memory}M\n  - accel: tcg\n  - display: none\n",
            "utf-8",
        )
        self.run("add", "--vm-config", str(config))

    @contextlib.contextmanager
    def running(self, name: str) -> t.Iterator[None]:
        """It runs meanwhile."""
        self.run("start", name)
        try:
            yield
        finally:
            self.run("stop", name)
