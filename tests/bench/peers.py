# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others use for the same: set up by itself, as root on a Debian or Ubuntu, for the length of a measurement."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import typing as t
from pathlib import Path

_PACKAGES = ("libvirt-daemon-system", "libvirt-clients", "python3-libvirt", "python3-lxml")
# As root and without the guards that need systemd or an LSM: whatever libvirt does beyond QEMU's start is not measured.
_QEMU_CONF = """user = "root"
group = "root"
security_driver = "none"
namespaces = []
cgroup_controllers = []
"""
DOMAIN = """<domain type='qemu'><name>{name}</name><memory unit='MiB'>{memory}</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os><devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
</devices></domain>"""


def community_libvirt(folder: Path) -> Path:
    """A path for ANSIBLE_COLLECTIONS_PATH with community.libvirt in it, which the package ``ansible`` carries."""
    target = folder / "peers"
    if not (target / "ansible_collections/community/libvirt").is_dir():
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), "ansible"],
            check=True,
        )
    return target


@contextlib.contextmanager
def libvirtd() -> t.Iterator[None]:
    """A libvirtd with its log daemon. Ends what it has started, by pid."""
    if subprocess.run(["dpkg", "-s", *_PACKAGES], check=False, capture_output=True).returncode != 0:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "install", "-y", "-qq", *_PACKAGES], check=True, env=environment)
    Path("/etc/libvirt/qemu.conf").write_text(_QEMU_CONF, "utf-8")
    started = []
    try:
        for daemon in ("virtlogd", "libvirtd"):
            started.append(subprocess.Popen([daemon], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        _until_it_answers(started[-1])
        yield
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()


def _until_it_answers(daemon: subprocess.Popen[bytes]) -> None:
    """libvirtd has no word for being ready; its socket comes to be in a folder that can be watched."""
    from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import wait_readable
    from ansible_collections.maqet.qemu.plugins.module_utils.host.watch import Folder

    place = Path("/run/libvirt")
    place.mkdir(exist_ok=True)
    with Folder(str(place)) as folder:
        while subprocess.run(["virsh", "-q", "list"], check=False, capture_output=True).returncode != 0:
            if daemon.poll() is not None:
                raise RuntimeError(f"libvirtd ended with status {daemon.returncode}")
            wait_readable([folder.fd], 5)
            folder.read()
