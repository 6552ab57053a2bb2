# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The distribution's own packages, downloaded and unpacked without installing them, hence without privilege."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import subprocess
import typing as t
from pathlib import Path

from .cpio import read_newc
from .errors import GuestError, Unavailable

Say = t.Callable[[str], None]
_ENVIRONMENT = {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}


class Candidate(t.NamedTuple):
    """What would be downloaded now: one word for people and for the cache's key, and the packages behind it."""

    label: str
    packages: t.Tuple[str, ...]


class Source(t.Protocol):
    """Where packages come from."""

    def fingerprint(self) -> str:
        """Something cheap that changes whenever `kernel` may answer something else; empty if that cannot be known."""

    def kernel(self, say: Say) -> Candidate:
        """The kernel's packages, newest version."""

    def busybox(self) -> t.Tuple[str, ...]:
        """The package that has a static busybox."""

    def agent(self) -> t.Tuple[str, ...]:
        """The packages of the QEMU guest agent and of all libraries that it may need."""

    def unpack(self, packages: t.Sequence[str], folder: Path, say: Say) -> None:
        """Download the packages and unpack them all into ``folder``."""


def run(command: t.Sequence[str], folder: t.Optional[Path] = None) -> bytes:
    """Standard output of ``command``. Raises GuestError with its last words on standard error if it fails."""
    result = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **_ENVIRONMENT},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if result.returncode:
        words = [line for line in result.stderr.decode(errors="replace").splitlines() if line.strip()]
        raise GuestError(f"{' '.join(command)}: {words[-1] if words else f'exit status {result.returncode}'}")
    return result.stdout


def stanza_fields(text: str) -> t.Dict[str, str]:
    """Fields of the first stanza that ``apt-cache show`` printed; continuation lines are dropped."""
    fields: t.Dict[str, str] = {}
    for line in text.split("\n\n")[0].splitlines():
        name, colon, value = line.partition(":")
        if colon and not line[0].isspace():
            fields[name] = value.strip()
    return fields


def library_dependencies(depends: str) -> t.List[str]:
    """The libraries named in a Depends field, the first of alternatives each."""
    names = (part.split("|")[0].split("(")[0].strip().partition(":")[0] for part in depends.split(","))
    return [name for name in names if re.match(r"lib[a-z0-9.+-]*\d", name)]


def kernel_dependencies(depends: str) -> t.List[str]:
    """The versioned kernel packages named in a Depends field: image, and on Ubuntu the modules beside it."""
    names = (part.split("|")[0].split("(")[0].strip() for part in depends.split(","))
    return [name for name in names if re.match(r"linux-(image|modules)-\d", name)]


class Apt:
    """Debian, where it is tested, and Ubuntu, where it is not."""

    lists = Path("/var/lib/apt/lists")
    # The first that the system knows: Debian's name, then Ubuntu's.
    flavours: t.ClassVar[t.Dict[str, t.Tuple[str, ...]]] = {
        "cloud": ("linux-image-cloud-{arch}", "linux-image-virtual"),
        "generic": ("linux-image-{arch}", "linux-image-generic"),
    }
    arches: t.ClassVar[t.Dict[str, str]] = {"x86_64": "amd64", "aarch64": "arm64"}

    def __init__(self, arch: str, flavour: str) -> None:
        self.arch = self.arches[arch]
        # Debian's arm64 kernel for clouds has no gpio_keys, which is where a guest without firmware has a power button.
        names = self.flavours["generic" if arch == "aarch64" else flavour]
        self.names = [name.format(arch=self.arch) for name in names]
        self.options: t.Tuple[str, ...] = ()

    def _apt(self, *words: str, folder: t.Optional[Path] = None) -> bytes:
        program, *rest = words
        return run([program, *self.options, *rest], folder)

    def _packages_files(self) -> t.List[os.DirEntry[str]]:
        if not self.lists.is_dir():
            return []
        with os.scandir(self.lists) as entries:
            return sorted((entry for entry in entries if "_Packages" in entry.name), key=lambda entry: entry.name)

    def fingerprint(self) -> str:
        known = [(entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in self._packages_files()]
        return hashlib.sha256(repr(known).encode()).hexdigest() if known else ""

    def _show(self, name: str) -> t.Dict[str, str]:
        return stanza_fields(self._apt("apt-cache", "show", "--no-all-versions", f"{name}:{self.arch}").decode())

    def _may_update(self) -> bool:
        return os.geteuid() == 0

    def _update(self, say: Say) -> None:
        if not self._may_update():
            raise GuestError("apt has no usable package lists: run `apt-get update` as root, then this again")
        say("fetching the package lists (apt-get update) ...")
        self._apt("apt-get", "-q", "update")

    def kernel(self, say: Say) -> Candidate:
        if not self._packages_files():
            self._update(say)
        return self._newest()

    def _newest(self) -> Candidate:
        for name in self.names:
            try:
                top = self._show(name)
            except GuestError:
                continue
            packages: t.List[str] = []
            waiting = kernel_dependencies(top.get("Depends", ""))
            while waiting:
                package = waiting.pop(0)
                if package not in packages:
                    packages.append(package)
                    waiting += kernel_dependencies(self._show(package).get("Depends", ""))
            if packages:
                return Candidate(f"{packages[0]} {top['Version']}", tuple(packages))
        raise self._unknown()

    def _unknown(self) -> GuestError:
        return GuestError(f"apt knows none of {', '.join(self.names)}: run `apt-get update` as root")

    def busybox(self) -> t.Tuple[str, ...]:
        return ("busybox-static",)

    def agent(self) -> t.Tuple[str, ...]:
        packages: t.List[str] = []
        waiting = ["qemu-guest-agent"]
        while waiting:
            package = waiting.pop(0)
            if package not in packages:
                packages.append(package)
                waiting += library_dependencies(self._show(package).get("Depends", ""))
        return tuple(packages)

    def unpack(self, packages: t.Sequence[str], folder: Path, say: Say) -> None:
        # The sandbox user of apt could not write into our folder, and would say so with a warning.
        download = (
            "apt-get",
            "-q",
            "-o",
            "APT::Sandbox::User=root",
            "download",
            *(f"{package}:{self.arch}" for package in packages),
        )
        archives = folder.with_name(f"{folder.name}.archives")
        archives.mkdir()
        say(f"downloading {' '.join(packages)} ...")
        try:
            self._apt(*download, folder=archives)
        except GuestError:
            if not self._may_update():
                raise
            self._update(say)  # old lists name versions that the mirrors no longer have
            self._apt(*download, folder=archives)
        say(f"unpacking {' '.join(packages)} ...")
        for archive in sorted(archives.glob("*.deb")):
            run(["dpkg-deb", "-x", str(archive), str(folder)])
        shutil.rmtree(archives)


class Dnf:
    """Fedora; untested, since no Fedora was at hand. There is one flavour, which has all the drivers."""

    def __init__(self, arch: str, flavour: str) -> None:
        self.arch = arch

    def fingerprint(self) -> str:
        return ""  # asking dnf takes seconds: what is there is kept until the builder changes or DIR is removed

    def kernel(self, say: Say) -> Candidate:
        say("asking dnf for the newest kernel ...")
        answer = (
            run(
                [
                    "dnf",
                    "-q",
                    "repoquery",
                    f"--forcearch={self.arch}",
                    "--latest-limit=1",
                    "--queryformat=%{version}-%{release}\n",
                    "kernel-core",
                ]
            )
            .decode()
            .split()
        )
        if not answer:
            raise Unavailable(f"dnf knows no kernel-core for {self.arch}: look at `dnf repolist`")
        return Candidate(
            f"kernel-core-{answer[-1]}", (f"kernel-core-{answer[-1]}", f"kernel-modules-core-{answer[-1]}")
        )

    def busybox(self) -> t.Tuple[str, ...]:
        return ("busybox",)

    def agent(self) -> t.Tuple[str, ...]:
        query = ["dnf", "-q", "repoquery", f"--forcearch={self.arch}", "--latest-limit=1", "--requires", "--resolve"]
        answer = run([*query, "--recursive", "--queryformat=%{name}\n", "qemu-guest-agent"]).decode().split()
        libraries = {name for name in answer if re.match(r"lib|glib|pcre2|numactl-libs|systemd-libs|zlib", name)}
        return ("qemu-guest-agent", *sorted(libraries))

    def unpack(self, packages: t.Sequence[str], folder: Path, say: Say) -> None:
        archives = folder.with_name(f"{folder.name}.archives")
        archives.mkdir()
        say(f"downloading {' '.join(packages)} ...")
        run(["dnf", "-q", "download", f"--forcearch={self.arch}", *packages], archives)
        say(f"unpacking {' '.join(packages)} ...")
        for archive in sorted(archives.glob("*.rpm")):
            for entry in read_newc(run(["rpm2cpio", str(archive)])):
                target = folder / entry.name
                if stat.S_ISREG(entry.mode):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(entry.data)
                elif stat.S_ISLNK(entry.mode) and not target.is_symlink():  # a library's name without its minor version
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.symlink_to(entry.data.decode())
        shutil.rmtree(archives)
