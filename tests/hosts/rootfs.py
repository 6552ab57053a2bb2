# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file trees of test hosts: one Debian base per recipe, built once, and a throw-away root for each host.

Needs root, debootstrap, systemd-nspawn and, while a base is built, the package registries. Hosts themselves
never need a registry: what their tests install is in the base already, Python wheels included.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
import subprocess
import typing as t
from pathlib import Path

BOOTSTRAP_PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "libpam-systemd",
    "python3",
    "openssh-server",
    "iproute2",
    "ca-certificates",
    "sudo",
)
# Debootstrap's own resolver is too simple for these, so apt installs them. python3-apt is what Ansible's
# package module would otherwise fetch by itself, and python3-packaging what its pip module asks for.
APT_PACKAGES = (
    "qemu-system-x86",
    "qemu-utils",
    "python3-venv",
    "python3-apt",
    "python3-packaging",
    "procps",
    "xorriso",
)
# Not installed, but there for apt: what the role still has to install on a host without a way out.
APT_CACHED = ("ovmf", "swtpm", "logrotate")
PIP_PACKAGES = ("qemu.qmp>=0.0.3,<0.1", "psutil>=5.9,<8", "PyYAML>=6.0,<7")
VENV = "/var/lib/maqet/venv"
WHEELS = "/usr/local/share/maqet-wheels"
USER = "tester"
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"

# Ordered before network.target, hence before sshd: a host that reports ready can be reached.
_ADDRESS_UNIT = """\
[Unit]
Description=Address of this test host
DefaultDependencies=no
Before=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
EnvironmentFile=/etc/maqet-test-host.env
ExecStart=/sbin/ip address replace ${ADDRESS} dev host0
ExecStart=/sbin/ip link set host0 up
[Install]
WantedBy=multi-user.target
"""

# A login's processes end with it: the harder case, in which only a proper unit survives.
_LOGIND = "[Login]\nKillUserProcesses=yes\n"

_SETUP_SCRIPT = f"""
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install --no-install-recommends {" ".join(APT_PACKAGES)}
apt-get clean
apt-get -qq install --no-install-recommends --download-only {" ".join(APT_CACHED)}
python3 -m venv {VENV}
{VENV}/bin/pip -q download --only-binary :all: -d {WHEELS} {" ".join(f"'{spec}'" for spec in PIP_PACKAGES)}
{VENV}/bin/pip -q install --no-index --find-links {WHEELS} {WHEELS}/*.whl
useradd --create-home --shell /bin/bash {USER}
printf '%s ALL=(ALL) NOPASSWD: ALL\\n' {USER} >/etc/sudoers.d/{USER}
chmod 0440 /etc/sudoers.d/{USER}
systemctl -q enable maqet-test-address.service ssh.service
systemctl -q mask console-getty.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \\
    e2scrub_all.timer fstrim.timer
"""


class HostError(RuntimeError):
    """A test host cannot be made, reached or removed; the text says why and what to look at."""


def cache_folder() -> Path:
    """Where bases and runs live: ``MAQET_TEST_CACHE``, else ``maqet-tests`` in the user's XDG cache folder."""
    named = os.environ.get("MAQET_TEST_CACHE")
    if named:
        return Path(named).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "maqet-tests"


def missing_parts() -> list[str]:
    """What keeps this machine from running test hosts, one phrase each; empty when nothing does."""
    tools = ("debootstrap", "systemd-nspawn", "ip", "mount", "umount", "nsenter", "ssh", "ssh-keygen")
    missing = [f"{tool} (not on PATH)" for tool in tools if shutil.which(tool) is None]
    if os.geteuid() != 0:
        missing.insert(0, "root (systemd-nspawn and bridges need it)")
    return missing


def default_distro() -> str:
    """``MAQET_TEST_DISTRO``, else the Debian release of this machine, else (on anything else) bookworm."""
    named = os.environ.get("MAQET_TEST_DISTRO")
    if named:
        return named
    fields: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/etc/os-release").read_text("utf-8").splitlines():
            key, _equals, value = line.partition("=")
            fields[key] = value.strip('"')
    return fields.get("VERSION_CODENAME", "bookworm") if fields.get("ID") == "debian" else "bookworm"


def run(*argv: str, log: t.IO[bytes] | None = None) -> str:
    """Run a command to its end; returns its standard output (empty when that went to ``log``).

    Raises :class:`HostError` with the command and the last of what it said.
    """
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, stdout=log or subprocess.PIPE, stderr=log or subprocess.PIPE, check=False
    )
    if done.returncode == 0:
        return (done.stdout or b"").decode("utf-8", "replace")
    if log is not None:
        said = Path(log.name).read_text("utf-8", "replace")
    else:
        said = (done.stderr or done.stdout or b"").decode("utf-8", "replace")
    last_words = " | ".join(said.strip().splitlines()[-5:])
    raise HostError(f"{' '.join(argv[:6])} ended with status {done.returncode}: {last_words}")


def base_tree(distro: str) -> Path:
    """The base of one Debian release; built on first use (about two minutes), never changed afterwards.

    The folder's name carries a digest of the recipe, so that a new recipe gets a new base. Sessions that
    want the same base at once wait for one of them to build it.
    """
    recipe = repr((BOOTSTRAP_PACKAGES, _SETUP_SCRIPT, _ADDRESS_UNIT, _LOGIND))
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    base = cache / f"base-{distro}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    with (cache / f"{base.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not base.is_dir():
            partial = cache / f"{base.name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            with (cache / f"{base.name}.log").open("w+b") as log:
                _build(distro, partial, log)
            partial.rename(base)
    return base


def _build(distro: str, root: Path, log: t.IO[bytes]) -> None:
    bootstrap(distro, root, BOOTSTRAP_PACKAGES, log)
    write(root / "etc/systemd/system/maqet-test-address.service", _ADDRESS_UNIT)
    write(root / "etc/systemd/logind.conf.d/test.conf", _LOGIND)
    inside(root, _SETUP_SCRIPT, log)


def bootstrap(distro: str, root: Path, packages: t.Sequence[str], log: t.IO[bytes]) -> None:
    """A new tree with a minimal system and ``packages``, of which none may need more than debootstrap understands."""
    root.mkdir(mode=0o755)
    root.chmod(0o755)  # sshd refuses keys under folders that others may write, and umask may say anything
    run("debootstrap", "--variant=minbase", f"--include={','.join(packages)}", distro, str(root), log=log)


def inside(root: Path, script: str, log: t.IO[bytes]) -> None:
    """Run a shell script in a tree that is not booted, with this machine's way to the package registries."""
    write(root / "usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", mode=0o755)  # nothing starts while apt installs
    # The machine may reach its registries only through a proxy with its own CA.
    for path in ("/etc/resolv.conf", CA_BUNDLE):
        if Path(path).exists():
            target = root / path.lstrip("/")
            target.unlink(missing_ok=True)
            shutil.copyfile(path, target)
    environment = dict.fromkeys(("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"), CA_BUNDLE)
    passed_on = ("http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL", "PIP_DEFAULT_TIMEOUT")
    environment.update({name: os.environ[name] for name in passed_on if name in os.environ})
    run(
        "systemd-nspawn",
        "--keep-unit",
        "--register=no",
        "-q",
        "--as-pid2",
        "--resolv-conf=off",
        "-D",
        str(root),
        *(f"--setenv={name}={value}" for name, value in environment.items()),
        "/bin/sh",
        "-euc",
        script,
        log=log,
    )
    (root / "usr/sbin/policy-rc.d").unlink()


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file of a host's tree, with its folders (0755) and exactly this mode, whatever the umask."""
    for folder in reversed(path.parents):
        if not folder.exists():
            folder.mkdir()
            folder.chmod(0o755)
    path.write_text(text, "utf-8")
    path.chmod(mode)


def make_root(base: Path, folder: Path) -> Path:
    """A writable root above ``base`` in ``folder``: an overlay, or a copy where overlays cannot be mounted.

    An overlay cannot lie on an overlay, which is what the root of many build containers is.
    """
    merged, upper, work = folder / "root", folder / "upper", folder / "work"
    for part in (merged, upper, work):
        part.mkdir(parents=True)
        part.chmod(0o755)  # the upper folder's mode becomes that of the host's /
    try:
        run(
            "mount",
            "-t",
            "overlay",
            "maqet-test",
            "-o",
            f"lowerdir={base},upperdir={upper},workdir={work}",
            str(merged),
        )
    except HostError:
        merged.rmdir()
        run("cp", "-a", "--reflink=auto", str(base), str(merged))
    return merged


def personalise(root: Path, name: str, cidr: str, public_key: str) -> str:
    """Give a fresh root its identity and let ``tester`` in; returns the host's public ssh key.

    ``cidr`` is the address with its prefix length. Raises OSError when the tree is not a base's.
    """
    write(root / "etc/hostname", f"{name}\n")
    write(root / "etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {name}\n")
    write(root / "etc/machine-id", f"{secrets.token_hex(16)}\n", mode=0o444)
    write(root / "etc/maqet-test-host.env", f"ADDRESS={cidr}\n")
    home = root / "home" / USER
    owner = home.stat()
    keys = home / ".ssh/authorized_keys"
    write(keys, public_key, mode=0o600)
    keys.parent.chmod(0o700)
    for path in (keys.parent, keys):
        os.chown(path, owner.st_uid, owner.st_gid)
    return (root / "etc/ssh/ssh_host_ed25519_key.pub").read_text("utf-8").strip()


def remove_root(folder: Path) -> None:
    """Undo :func:`make_root`, also of a run that crashed half way. The host must not be running any more."""
    merged = folder / "root"
    if os.path.ismount(merged):
        run("umount", str(merged))
    if folder.exists():
        shutil.rmtree(folder)
