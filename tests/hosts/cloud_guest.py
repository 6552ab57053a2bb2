# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real guest for tests: Debian with systemd, cloud-init, sshd and the guest agent, as an image that a VM overlays.

Built on first use (about two and a half minutes) into the folder that also has the bases of the test hosts, and never
changed: its name has a digest of the recipe. Needs root, debootstrap and systemd-nspawn, and the package registries
while it is built.

The disk has a GPT with two partitions. The first is for UEFI, which finds systemd-boot there; the second, last so that
it can grow, is the root. With BIOS the kernel is booted directly: :meth:`Image.options`. ``python3 -m
ansible_collections.maqet.qemu.tests.hosts.cloud_guest`` builds it and says where it is.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import platform
import shutil
import sys
import typing as t
from pathlib import Path

from ansible_collections.maqet.qemu.tests.hosts import rootfs

BOOTSTRAP_PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "udev",
    "ca-certificates",
    "iproute2",
    "python3",
    "initramfs-tools",
)
APT_PACKAGES = (
    "cloud-init",
    "cloud-guest-utils",
    "fdisk",
    "openssh-server",
    "qemu-guest-agent",
    "sudo",
    "systemd-boot-efi",
)
TOOLS = {
    "mkfs.vfat": "dosfstools",
    "mcopy": "mtools",
    "sfdisk": "fdisk",
    "mkfs.ext4": "e2fsprogs",
    "qemu-img": "qemu-utils",
}


class Arch(t.NamedTuple):
    """What the same thing is called on each architecture."""

    kernel: str
    loader: str
    boot: str
    console: str


ARCHES = {
    "x86_64": Arch("linux-image-cloud-amd64", "systemd-bootx64.efi", "BOOTX64.EFI", "ttyS0"),
    "aarch64": Arch("linux-image-cloud-arm64", "systemd-bootaa64.efi", "BOOTAA64.EFI", "ttyAMA0"),
}
_ROOT = "maqet-root"
# In MiB: of the whole disk, of the partition for UEFI, and of what a GPT has before and behind its partitions.
_DISK, _ESP, _EDGE = 2048, 128, 1
_TABLE = f"label: gpt\nsize={_ESP}MiB, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B\nname=root\n"

_SETUP_SCRIPT = """
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install --no-install-recommends {packages}
apt-get clean
update-ca-certificates --fresh >/dev/null
systemctl -q enable systemd-networkd.service ssh.service
systemctl -q mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \\
    e2scrub_reap.service fstrim.timer
cd /
rm -rf etc/hostname etc/ssh/ssh_host_* var/lib/apt/lists/* var/cache/apt/*.bin usr/share/doc/* usr/share/man/*
: >etc/machine-id
"""
# An emulated guest on a machine with other work may take minutes for what takes others a second.
_SYSTEMD = "[Manager]\nDefaultTimeoutStartSec=30min\nDefaultDeviceTimeoutSec=30min\n"
_FSTAB = f"LABEL={_ROOT} / ext4 errors=remount-ro 0 1\n"
# What costs seconds under emulation and tests nothing of ours. Where cloud-init looks for its data is left to itself.
_CLOUD_CFG = """\
locale: false
ssh_genkeytypes: [ed25519]
grub_dpkg: {enabled: false}
apt: {preserve_sources_list: true}
"""


@dataclasses.dataclass(frozen=True)
class Image:
    """The files of a built guest."""

    folder: Path
    arch: str

    @property
    def disk(self) -> Path:
        """A qcow2 image to be overlaid."""
        return self.folder / "disk.qcow2"

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd.img"

    def options(self) -> dict[str, t.Any]:
        """Options of maqet_vm for a VM that boots it, with its disk as an overlay, under emulation."""
        return {
            "kernel": str(self.kernel),
            "initrd": str(self.initrd),
            "cmdline": command_line(self.arch),
            "disks": [{"name": "root", "base": str(self.disk)}],
            "memory": "512",
            "accel": "tcg",  # with one CPU: two that are emulated wait for each other on a machine with other work
        }


def command_line(arch: str) -> str:
    """Of its kernel, however it is booted."""
    return f"root=LABEL={_ROOT} ro quiet console={ARCHES[arch].console}"


def missing_parts() -> list[str]:
    """What keeps this machine from building it, one phrase each; empty when nothing does."""
    missing = rootfs.missing_parts()
    missing += [f"{tool} (of the package {package})" for tool, package in TOOLS.items() if shutil.which(tool) is None]
    if platform.machine() not in ARCHES:
        missing.append(f"one of the architectures {', '.join(ARCHES)}")
    return missing


def image(say: t.Callable[[str], None] = print) -> Image:
    """The guest of this machine's architecture and Debian release; built if it is not there.

    Sessions that want it at once wait for one of them to build it. Raises :class:`rootfs.HostError`.
    """
    arch, distro = platform.machine(), rootfs.default_distro()
    recipe = repr((BOOTSTRAP_PACKAGES, APT_PACKAGES, ARCHES[arch], _SETUP_SCRIPT, _TABLE, _SYSTEMD, _FSTAB, _CLOUD_CFG))
    cache = rootfs.cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"guest-{distro}-{arch}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    with (cache / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            say(f"building a Debian guest ({distro}, {arch}) in {folder}: this takes minutes, once ...")
            partial = cache / f"{folder.name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(mode=0o755)
            with (cache / f"{folder.name}.log").open("w+b") as log:
                _build(distro, arch, partial, log)
            partial.rename(folder)
            say(f"the Debian guest is there: {folder}")
    return Image(folder, arch)


def _build(distro: str, arch: str, folder: Path, log: t.IO[bytes]) -> None:
    root = folder / "root"
    packages = " ".join((*APT_PACKAGES, ARCHES[arch].kernel))
    rootfs.bootstrap(distro, root, BOOTSTRAP_PACKAGES, log)
    rootfs.write(root / "etc/fstab", _FSTAB)
    rootfs.write(root / "etc/systemd/system.conf.d/95-maqet-test.conf", _SYSTEMD)
    rootfs.write(root / "etc/cloud/cloud.cfg.d/95_maqet_test.cfg", _CLOUD_CFG)
    rootfs.inside(root, _SETUP_SCRIPT.format(packages=packages), log)
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    built = Image(folder, arch)
    for pattern, target in (("vmlinuz-*", built.kernel), ("initrd.img-*", built.initrd)):
        (found,) = (root / "boot").glob(pattern)
        shutil.copyfile(found, target)
    raw = folder / "disk.raw"
    _disk(raw, built, root, log)
    rootfs.run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(built.disk), log=log)
    raw.unlink()
    shutil.rmtree(root)


def _disk(raw: Path, built: Image, root: Path, log: t.IO[bytes]) -> None:
    """Partitions are made in their places in the file: no loop device is needed, which many containers lack."""
    with raw.open("wb") as file:
        file.truncate(_DISK << 20)
    table = raw.with_suffix(".table")
    table.write_text(_TABLE)
    rootfs.run("/bin/sh", "-euc", 'sfdisk -q "$1" <"$2"', "sh", str(raw), str(table), log=log)
    table.unlink()
    start, size = _EDGE + _ESP, _DISK - _ESP - 2 * _EDGE
    place = ("-E", f"offset={start << 20}", "-d", str(root))
    rootfs.run("mkfs.ext4", "-q", "-F", "-L", _ROOT, *place, str(raw), f"{size}M", log=log)
    _esp(raw, built, root, log)


def _esp(raw: Path, built: Image, root: Path, log: t.IO[bytes]) -> None:
    """The partition from which UEFI boots the same kernel with the same words."""
    arch = ARCHES[built.arch]
    tree = built.folder / "esp"
    options = command_line(built.arch)
    for folder in ("EFI/BOOT", "loader/entries"):
        (tree / folder).mkdir(parents=True)
    shutil.copyfile(root / "usr/lib/systemd/boot/efi" / arch.loader, tree / "EFI/BOOT" / arch.boot)
    rootfs.write(tree / "loader/loader.conf", "timeout 0\n")
    entry = f"title Debian\nlinux /vmlinuz\ninitrd /initrd.img\noptions {options}\n"
    rootfs.write(tree / "loader/entries/debian.conf", entry)
    for file in (built.kernel, built.initrd):
        shutil.copyfile(file, tree / file.name)
    partition = built.folder / "esp.img"
    rootfs.run("mkfs.vfat", "-F", "32", "-n", "ESP", "-C", str(partition), str(_ESP << 10), log=log)
    rootfs.run("mcopy", "-s", "-i", str(partition), *map(str, sorted(tree.iterdir())), "::", log=log)
    with partition.open("rb") as source, raw.open("r+b") as target:
        target.seek(_EDGE << 20)
        shutil.copyfileobj(source, target, 1 << 20)
    partition.unlink()
    shutil.rmtree(tree)


if __name__ == "__main__":
    lacking = missing_parts()
    if lacking:
        sys.exit(f"this machine cannot build the guest: {'; '.join(lacking)}")
    print(image().folder)
