# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From packages to ``DIR/vmlinuz`` and ``DIR/initramfs``, and nothing at all if they are there already."""

from __future__ import annotations

import argparse
import fcntl
import gzip
import hashlib
import json
import os
import platform
import shutil
import sys
import time
import typing as t
from pathlib import Path

from . import agent, cpio, kmod
from .busybox import find_busybox
from .errors import GuestError, Unavailable
from .packages import Apt, Candidate, Say, Source
from .sources import system_source

HERE = Path(__file__).resolve().parent
SCRIPTS = HERE.parent
UNAVAILABLE = 77  # as automake's tests say that they were skipped
_FOLDERS = ("bin", "dev", "etc", "lib", "lib/modules", "proc", "run", "sys", "tmp")


def inputs_digest(arch: str, flavour: str, with_agent: bool = False) -> str:
    """Digest of everything of ours that shapes the result: this package, the guest's scripts, the arguments."""
    digest = hashlib.sha256(f"{arch} {flavour} {with_agent}".encode())
    for path in sorted([*HERE.glob("*.py"), *SCRIPTS.glob("*.sh")]):
        digest.update(f"\0{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def initramfs(
    busybox: bytes,
    modules: t.Sequence[t.Tuple[str, bytes]],
    more: t.Sequence[cpio.Entry] = (),
    scripts: Path = SCRIPTS,
) -> bytes:
    """The gzip'd archive, with ``more`` members; equal input gives equal bytes."""
    entries = [cpio.directory(name) for name in _FOLDERS]
    entries.append(cpio.character_device("dev/console", 5, 1))  # the kernel opens it before init can mount devtmpfs
    entries.append(cpio.regular("bin/busybox", busybox, 0o755))
    entries.append(cpio.symlink("bin/sh", "busybox"))
    entries.append(cpio.regular("init", (scripts / "init.sh").read_bytes(), 0o755))
    entries.append(cpio.regular("etc/lease.sh", (scripts / "lease.sh").read_bytes(), 0o755))
    entries.append(cpio.regular("lib/modules/order", "".join(f"{name}\n" for name, _data in modules).encode()))
    entries += [cpio.regular(f"lib/modules/{name}", data) for name, data in modules]
    if more:
        entries.append(cpio.directory("sbin"))
        entries.append(cpio.regular("sbin/shutdown", (scripts / "shutdown.sh").read_bytes(), 0o755))
        entries.append(cpio.symlink("sbin/hwclock", "/bin/busybox"))
    entries += more
    return gzip.compress(cpio.write_newc(entries), 9, mtime=0)


def find_kernel(folder: Path) -> t.Tuple[Path, Path]:
    """(kernel image, folder of its modules) in an unpacked package. Raises GuestError if it has not one of each."""
    images = [
        *folder.glob("boot/vmlinu[xz]-*"),
        *folder.glob("lib/modules/*/vmlinuz"),
        *folder.glob("usr/lib/modules/*/vmlinuz"),
    ]
    modules = [path for path in (*folder.glob("lib/modules/*"), *folder.glob("usr/lib/modules/*")) if path.is_dir()]
    if len(images) != 1 or len(modules) != 1:
        raise GuestError(
            f"the kernel's packages hold {len(images)} kernels and {len(modules)} folders of modules, not one of each"
        )
    return images[0], modules[0]


class Cache:
    """The output folder and its stamp, which says from what the files in it were made."""

    files = ("vmlinuz", "initramfs")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stamp: t.Dict[str, t.Any] = {}
        try:
            loaded = json.loads((folder / "stamp.json").read_text())
            self.stamp = loaded if isinstance(loaded, dict) else {}
        except (OSError, ValueError):
            pass  # no stamp or a broken one: nothing is cached

    def _sizes(self) -> t.Dict[str, int]:
        return {name: (self.folder / name).stat().st_size for name in self.files if (self.folder / name).is_file()}

    def built_from(self, inputs: str) -> bool:
        """Whether whole files are there that this very builder made."""
        return self.stamp.get("inputs") == inputs and self.stamp.get("sizes") == self._sizes()

    def write(self, name: str, data: bytes) -> None:
        """Replace a file at once, readable by everybody (QEMU runs as another user)."""
        beside = self.folder / f".new-{name}"
        with open(beside, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        beside.chmod(0o644)
        beside.replace(self.folder / name)

    def write_stamp(self, inputs: str, kernel: str, fingerprint: str) -> None:
        """Written last, so that a build that was cut off counts as none."""
        self.stamp = {"inputs": inputs, "kernel": kernel, "fingerprint": fingerprint, "sizes": self._sizes()}
        self.write("stamp.json", json.dumps(self.stamp, indent=1).encode() + b"\n")


def _make(cache: Cache, source: Source, candidate: Candidate, arch: str, say: Say, with_agent: bool) -> None:
    work = cache.folder / ".work"
    shutil.rmtree(work, ignore_errors=True)  # left by a build that was killed; the lock is ours
    unpacked = work / "kernel"
    unpacked.mkdir(parents=True)
    try:
        source.unpack(candidate.packages, unpacked, say)
        image, modules = find_kernel(unpacked)
        busybox = find_busybox(arch, source, work, say)
        more = agent.fetch(source, work, say) if with_agent else ()
        say("packing the initramfs ...")
        cache.write("initramfs", initramfs(busybox, kmod.collect(modules, kmod.wanted(arch, with_agent)), more))
        cache.write("vmlinuz", image.read_bytes())
    finally:
        shutil.rmtree(work, ignore_errors=True)


def build(output: Path, arch: str, inputs: str, source: Source, say: Say, with_agent: bool = False) -> bool:
    """Bring ``output`` up to date; the caller holds the lock. Returns whether the files were made anew.

    A newer agent alone is no reason to.

    Raises GuestError, and OSError for a disk that is full or not ours.
    """
    cache = Cache(output)
    fingerprint = source.fingerprint()
    current = cache.built_from(inputs)
    kernel = cache.stamp.get("kernel")
    if current and fingerprint in ("", cache.stamp.get("fingerprint")):
        say(f"guest is up to date: {kernel} in {output}")
        return False
    candidate = source.kernel(say)
    fingerprint = source.fingerprint()
    if current and candidate.label == kernel:
        cache.write_stamp(inputs, candidate.label, fingerprint)
        say(f"guest is up to date: {kernel} in {output} (package lists are newer, the kernel is not)")
        return False
    (output / "stamp.json").unlink(missing_ok=True)
    started = time.monotonic()
    _make(cache, source, candidate, arch, say, with_agent)
    cache.write_stamp(inputs, candidate.label, fingerprint)
    size = (output / "initramfs").stat().st_size
    say(
        f"guest is ready after {time.monotonic() - started:.0f} s: {candidate.label} in {output},"
        f" initramfs of {size // 1024} KiB"
    )
    return True


def _locked(output: Path, say: Say) -> t.BinaryIO:
    """Make the folder and hold its lock until the returned file is closed. The lock dies with the process."""
    output.mkdir(parents=True, exist_ok=True)
    lock = open(output / ".lock", "ab")  # pylint: disable=consider-using-with
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(f"waiting for another build in {output} ...")
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def main(arguments: t.Optional[t.Sequence[str]] = None) -> int:
    """The command line. Returns the exit status: 1 after an error, 77 if the packages are not to be had here.

    Why is one line on standard error.
    """
    parser = argparse.ArgumentParser(prog="build.py", description="Makes DIR/vmlinuz and DIR/initramfs for tests.")
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="made if missing; also the cache")
    parser.add_argument(
        "--arch", default=platform.machine(), choices=sorted(Apt.arches), help="default: this machine's"
    )
    parser.add_argument(
        "--flavour",
        default="cloud",
        choices=sorted(Apt.flavours),
        help="cloud boots faster; generic also has ahci, e1000 and e1000e; aarch64 has generic alone",
    )
    parser.add_argument("--agent", action="store_true", help="with the QEMU guest agent; use a folder of its own")
    options = parser.parse_args(arguments)

    def say(line: str) -> None:
        print(line, flush=True)

    output = options.output.absolute()
    try:
        with _locked(output, say):
            build(
                output,
                options.arch,
                inputs_digest(options.arch, options.flavour, options.agent),
                system_source(options.arch, options.flavour, output / ".apt"),
                say,
                options.agent,
            )
    except OSError as error:
        print(f"build.py: --output {output}: {error}: name a folder that you can write, with room", file=sys.stderr)
        return 1
    except GuestError as error:
        print(f"build.py: {error}", file=sys.stderr)
        return UNAVAILABLE if isinstance(error, Unavailable) else 1
    return 0
