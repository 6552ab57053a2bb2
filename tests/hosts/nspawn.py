# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real Debian hosts for tests: systemd as PID 1 and sshd, each in a systemd-nspawn container of this machine.

    python3 tests/hosts/nspawn.py up NAME... [--run RUN] [--distro bookworm]
    python3 tests/hosts/nspawn.py down [NAME...] [--run RUN]
    python3 tests/hosts/nspawn.py cut|mend NAME... [--run RUN]
    python3 tests/hosts/nspawn.py list [--run RUN]

A run is a bridge with a subnet 10.77.N.0/24, an ssh key and its hosts, all in one folder of the cache. Nothing
is routed: hosts reach this machine and each other. Standard library only; needs root.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

if __name__ == "__main__" and not t.TYPE_CHECKING:  # called by path: the neighbours are on sys.path by their bare names
    import processes
    import rootfs
else:
    from ansible_collections.maqet.qemu.tests.hosts import processes, rootfs

BOOT_SECONDS = 180.0  # a boot takes 5 s; this is for a machine busy with other things
CLI_RUN = "cli"
HostError = rootfs.HostError


def _forget_export(machine: str) -> None:
    """systemd 256 and later mount a folder for each machine, and refuse to boot one whose folder is still there."""
    export = Path("/run/systemd/nspawn/unix-export") / machine
    if not machine or not export.is_dir():
        return
    if os.path.ismount(export):
        rootfs.run("umount", "--lazy", str(export))
    export.rmdir()


class Host:
    """One host of a run. What must survive this process is in ``host.json`` beside its root."""

    def __init__(self, run: Run, name: str) -> None:
        self.run = run
        self.name = name
        self.folder = run.folder / "hosts" / name
        self.state: dict[str, t.Any] = {}
        with contextlib.suppress(FileNotFoundError):
            self.state = json.loads((self.folder / "host.json").read_text("utf-8"))

    @property
    def address(self) -> str:
        return str(self.state["address"])

    @property
    def inventory(self) -> Path:
        """An inventory of this host alone, as ``name`` in the group ``hypervisors``."""
        return self.folder / "inventory.ini"

    @property
    def ssh_options(self) -> list[str]:
        """No configuration of the user's, no prompts, no agent: only this run's key and this host's key."""
        known = self.folder / "known_hosts"
        wanted = (
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "BatchMode=yes",
            "ConnectTimeout=30",
            "StrictHostKeyChecking=yes",
            f"UserKnownHostsFile={known}",
            "GlobalKnownHostsFile=/dev/null",
        )
        return ["-F", "/dev/null", *(word for option in wanted for word in ("-o", option))]

    @property
    def ssh_args(self) -> list[str]:
        """The whole ssh command up to where the remote command begins."""
        return ["ssh", *self.ssh_options, "-i", str(self.run.key), f"{rootfs.USER}@{self.address}"]

    def ssh(self, *argv: str) -> str:
        """Run a command as ``tester`` in a login of its own; returns its output, raises :class:`HostError`."""
        return rootfs.run(*self.ssh_args, shlex.join(argv))

    def root(self, *argv: str) -> str:
        """Run a command as root inside, without any login: works when ssh or the bridge is down."""
        return rootfs.run("nsenter", "-t", str(self.state["leader"]), "-m", "-u", "-i", "-n", "-p", "--", *argv)

    def create(self, distro: str, number: int) -> None:
        """Make the tree, the identity and the inventory, then boot."""
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,30}", self.name):
            raise HostError(f"host name {self.name!r}: use lower-case letters, digits and -, a letter first")
        self.folder.mkdir(parents=True)
        self._save(address=f"10.77.{self.run.subnet}.{number}", machine=f"{self.run.bridge}-{self.name}", distro=distro)
        root = rootfs.make_root(rootfs.base_tree(distro), self.folder)
        public_key = self.run.key.with_suffix(".pub").read_text("utf-8")
        host_key = rootfs.personalise(root, self.name, f"{self.address}/24", public_key)
        (self.folder / "known_hosts").write_text(f"{self.address} {host_key}\n", "utf-8")
        self.inventory.write_text(f"[hypervisors]\n{self.inventory_line()}\n", "utf-8")
        self.start()

    def inventory_line(self) -> str:
        """Without ControlPersist every task is a login that ends with it, as KillUserProcesses tests need."""
        facts = {
            "ansible_host": self.address,
            "ansible_user": rootfs.USER,
            "ansible_ssh_private_key_file": str(self.run.key),
            "ansible_ssh_args": "-o ControlMaster=no",
            "ansible_ssh_common_args": shlex.join(self.ssh_options),
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        return " ".join([self.name, *(f"{key}={json.dumps(value)}" for key, value in facts.items())])

    def start(self) -> None:
        """Boot and wait until systemd says that it is ready, which includes sshd."""
        machine = str(self.state["machine"])
        cgroups = processes.make_cgroups(processes.cgroup_folders(machine))
        self._save(cgroups=[str(folder) for folder in cgroups])
        argv = [
            "systemd-nspawn",
            "-q",
            "--register=no",
            "--notify-ready=yes",
            "--resolv-conf=off",
            "--boot",
            f"--machine={machine}",
            f"--hostname={self.name}",
            f"--network-bridge={self.run.bridge}",
            f"--directory={self.folder / 'root'}",
        ]
        if not Path("/run/systemd/system").is_dir():
            argv.insert(1, "--keep-unit")  # there is nobody whom nspawn could ask for a scope
        log = self.folder / "console.log"
        with processes.notify_socket(f"maqet-test-{secrets.token_hex(8)}") as (listener, address):
            pid = processes.spawn(argv, cgroups, log, address)
            self._save(pid=pid, began=processes.start_time(pid))
            try:
                leader = processes.wait_ready(listener, pid, BOOT_SECONDS)
            except processes.BootError as error:
                last_words = log.read_text("utf-8", "replace")[-600:]
                raise HostError(f"host {self.name}: {error}; the end of {log}: {last_words}") from error
        self._save(leader=leader, leader_began=processes.start_time(leader))

    def kill(self) -> None:
        """Cut the power: everything on the host dies at once; its files stay. :meth:`start` boots it again."""
        pairs = (("pid", "began"), ("leader", "leader_began"))
        processes.kill([(self.state.get(pid, 0), self.state.get(began, 0)) for pid, began in pairs])
        processes.remove_cgroups([Path(folder) for folder in self.state.get("cgroups", [])])
        _forget_export(str(self.state.get("machine", "")))

    def cut(self) -> None:
        """Unplug its network: it runs on, and nobody reaches it nor hears that it went. :meth:`mend` plugs it in."""
        self.root("ip", "link", "set", "host0", "down")

    def mend(self) -> None:
        self.root("ip", "link", "set", "host0", "up")

    def running(self) -> bool:
        pid = self.state.get("pid", 0)
        return bool(pid) and processes.start_time(pid) == self.state["began"]

    def remove(self) -> None:
        """Power off and delete; also what is left of a host whose creation failed or whose owner crashed."""
        self.kill()
        rootfs.remove_root(self.folder)

    def _save(self, **facts: t.Any) -> None:
        self.state.update(facts)
        beside = self.folder / "host.json.new"
        beside.write_text(json.dumps(self.state, indent=2), "utf-8")
        beside.replace(self.folder / "host.json")


class Run:
    """Hosts that belong together; a context manager that removes them all in the end.

    While a run is open its lock is held, so another session can tell what a crashed one left behind.
    With ``keep`` the hosts stay: that is how the command line works.
    """

    def __init__(self, name: str | None = None, keep: bool = False) -> None:
        self.name = name or f"run-{os.getpid()}-{secrets.token_hex(3)}"
        self.keep = keep
        self.folder = _runs_folder() / self.name
        self.key = self.folder / "id_ed25519"
        self.bridge = ""
        self.subnet = 0
        self._lock: t.IO[str] | None = None

    def __enter__(self) -> Run:
        self._lock = self._open_lock(fcntl.LOCK_EX)
        try:
            state = json.loads((self.folder / "run.json").read_text("utf-8"))
            self.bridge, self.subnet = state["bridge"], state["subnet"]
        except FileNotFoundError:
            self._create()
        return self

    def __exit__(self, *_exception: object) -> None:
        if not self.keep or not self.hosts():
            self.remove()
        if self._lock is not None:
            if not self.keep:
                os.unlink(self._lock.name)  # nobody else opens it: a run that is not kept has a name of its own
            self._lock.close()

    def hosts(self) -> list[Host]:
        """The hosts of this run, by name."""
        folder = self.folder / "hosts"
        return [Host(self, path.name) for path in sorted(folder.iterdir())] if folder.is_dir() else []

    def up(self, name: str, distro: str | None = None) -> Host:
        """Make a host and boot it; the half-made host is removed when that fails."""
        present = self.hosts()
        if name in [host.name for host in present]:
            raise HostError(f"host {name!r} is there already; take it down first, or choose another name")
        used = {int(host.address.rpartition(".")[2]) for host in present}
        host = Host(self, name)
        try:
            host.create(distro or rootfs.default_distro(), min(set(range(11, 250)) - used))
        except BaseException:
            host.remove()
            raise
        return host

    def inventory(self) -> Path:
        """An inventory of all hosts of this run, written anew."""
        path = self.folder / "inventory.ini"
        path.write_text("\n".join(["[hypervisors]", *(host.inventory_line() for host in self.hosts())]) + "\n", "utf-8")
        return path

    def remove(self) -> None:
        """Remove hosts, bridge, key and folder. The bridge may be gone already."""
        for host in self.hosts():
            host.remove()
        if self.bridge and Path("/sys/class/net", self.bridge).exists():
            rootfs.run("ip", "link", "del", self.bridge)
        shutil.rmtree(self.folder, ignore_errors=True)

    @classmethod
    def sweep(cls) -> list[str]:
        """Remove what crashed sessions left: runs that nobody holds and nobody asked to keep. Returns their names."""
        swept = []
        for folder in sorted(_runs_folder().glob("run-*/")):
            run = cls(folder.name)
            try:
                lock = run._open_lock(fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # somebody works there
            with lock:
                with contextlib.suppress(FileNotFoundError):
                    run.bridge = json.loads((folder / "run.json").read_text("utf-8"))["bridge"]
                run.remove()
                os.unlink(lock.name)
                swept.append(run.name)
        return swept

    def _create(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.bridge, self.subnet = _claim_bridge()
        (self.folder / "run.json").write_text(json.dumps({"bridge": self.bridge, "subnet": self.subnet}), "utf-8")
        rootfs.run("ip", "address", "add", f"10.77.{self.subnet}.1/24", "dev", self.bridge)
        rootfs.run("ip", "link", "set", self.bridge, "up")
        rootfs.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "maqet-test", "-f", str(self.key))

    def _open_lock(self, operation: int) -> t.IO[str]:
        # Beside the folder, not in it: the lock must be held before the folder can be seen.
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        lock = self.folder.with_suffix(".lock").open("w")
        try:
            fcntl.flock(lock, operation)
        except BlockingIOError:
            lock.close()
            raise
        return lock


def _runs_folder() -> Path:
    return rootfs.cache_folder() / "runs"


def _claim_bridge() -> tuple[str, int]:
    """Take the first free bridge name of 254; to make it is to claim it, also against sessions elsewhere."""
    for number in range(1, 255):
        bridge = f"mqt{number}"
        if Path("/sys/class/net", bridge).exists():
            continue
        done = subprocess.run(["ip", "link", "add", "name", bridge, "type", "bridge"], capture_output=True, check=False)
        if done.returncode == 0:
            return bridge, number
        if b"File exists" not in done.stderr:
            raise HostError(f"no bridge can be made here: {done.stderr.decode().strip()}")
    raise HostError("all of mqt1 to mqt254 are taken; remove those of ended tests with `ip link del`")


def main(arguments: list[str] | None = None) -> int:
    """The command line. Its hosts stay until `down`, those of a run on one bridge."""
    parser = argparse.ArgumentParser(description="Debian hosts for tests, in systemd-nspawn.")
    commands = parser.add_subparsers(dest="command", required=True)
    meanings = {
        "up": "make and boot hosts",
        "down": "remove hosts; without names all of the run",
        "cut": "take the network away from hosts, which run on",
        "mend": "give them their network back",
        "list": "show the hosts",
    }
    for command, meaning in meanings.items():
        chosen = commands.add_parser(command, help=meaning)
        chosen.add_argument("--run", default=CLI_RUN, help="hosts that belong together, on a bridge of their own")
        if command != "list":
            chosen.add_argument("names", nargs="*" if command == "down" else "+", metavar="NAME")
    commands.choices["up"].add_argument("--distro", default=rootfs.default_distro(), help="release of Debian")
    options = parser.parse_args(arguments)
    missing = rootfs.missing_parts()
    if missing:
        parser.error("this needs " + ", ".join(missing))
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", options.run) or options.run.startswith("run-"):
        parser.error(f"argument --run: {options.run!r}: use letters, digits, -, _ and ., not 'run-' at its start")
    try:
        with Run(options.run, keep=True) as run:
            _carry_out(run, options)
    except HostError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _carry_out(run: Run, options: argparse.Namespace) -> None:
    if options.command == "up":
        for name in options.names:
            _show(run.up(name, options.distro))
        run.inventory()
        return
    hosts = {host.name: host for host in run.hosts()}
    names = getattr(options, "names", []) or list(hosts)
    for name in names:
        if name in hosts:
            {"down": Host.remove, "cut": Host.cut, "mend": Host.mend, "list": _show}[options.command](hosts[name])
        elif options.command != "down":
            raise HostError(f"host {name!r} is not there; these are: {', '.join(hosts) or 'none'}")


def _show(host: Host) -> None:
    facts = {
        "name": host.name,
        "address": host.address,
        "user": rootfs.USER,
        "identity_file": str(host.run.key),
        "distro": host.state["distro"],
        "running": host.running(),
        "inventory": str(host.inventory),
        "ssh": shlex.join(host.ssh_args),
    }
    sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    sys.exit(main())
