# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every file name of a VM on a host, in one place (DESIGN, section 8).

========================================  ==========================================================
``STATE/vms/NAME/definition.json``        what the user wants, see ``definition/stored.py``
``STATE/vms/NAME/disks/``                 images that we created; the only ones ``purge`` deletes
``STATE/vms/NAME/seed.iso``               what cloud-init finds in the guest, made of the definition at each start
``STATE/vms/NAME/output/``                files that QEMU may write at a caller's wish; QEMU's folder
``STATE/vms/NAME/nvram/``                 UEFI variables, and which firmware they belong to
``STATE/vms/NAME/tpm/``                   what the TPM keeps
``STATE/vms/NAME/helper-KIND.log``        what a helper of QEMU said since the last start, such as that of the TPM
``STATE/vms/NAME/serial.log``             first serial port since the last start (``.1``: before that)
``STATE/vms/NAME/qemu.log``               what QEMU said on stdout and stderr since the last start
``STATE/vms/NAME/disks.log``              what was done to images, and how far it is
``STATE/vms/NAME/last-start.json``        which QEMU was started last, in which boot of the host
``STATE/vms/NAME/last-exit.json``         how the last QEMU of this VM ended
``STATE/vms/NAME/runner.env``             what a runner of this VM is started with
``STATE/vms/NAME/migration.json``         whose the VM is while it moves between hosts, see ``host/migration.py``
``STATE/vms/NAME/migration.log``          how far its migrations have come
``STATE/vms/NAME/snapshots.json``         what the images cannot say of their snapshots: description, group
``STATE/runner/runner-DIGEST.pyz``        the runner, named by its content, never overwritten
``STATE/cache/``                          answers that cost time to get: does KVM work?
``STATE/cache/code/``                     modules as Python compiled them, see ``code_cache.py``
``STATE/venv/``                           Python for the runner, made by the ``hypervisor`` role
``STATE/audit.key``                       this host's key for marking what audit records do not say
``LOG/NAME.audit.jsonl``                  the audit chain: its newest part
``LOG/NAME.audit.000001.jsonl``           its older parts, the oldest first
``CONFIG/policy.yml``                     the host's policy: what may be sent to QEMU, and by whom
``LOG/NAME.runner.log``                   what the runner itself said
``RUN/NAME/``                             sockets, ``status.json`` and ``lock`` of a VM that is running; its QEMU's
                                          past events, and ``order.json``, what a task wants of the next runner
``RUN/NAME/n/DIGEST/s``                    its end of a cable to another VM, in a folder of QEMU's
``RUN/NAME/seed/``                         the files of a seed while it is made
``RUN/@direct-NAME/lock``                 held while a task speaks to the direct monitor
``RUN/@launch-NAME/lock``                 held while a runner is started or replaced
========================================  ==========================================================
"""

from __future__ import annotations

import glob
import hashlib
import os
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option

#: What ``order.json`` asks of the next runner: a new QEMU, paused; or one that lives to be taken over.
START, ADOPT = "start", "adopt"
# sockaddr_un.sun_path is 108 bytes with its NUL: unix(7).
MAX_SOCKET_PATH = 107


class VmPaths(t.NamedTuple):
    """The files of one VM."""

    name: str
    home: str
    run: str
    log: str

    @property
    def definition(self) -> str:
        return os.path.join(self.home, "definition.json")

    @property
    def disks(self) -> str:
        return os.path.join(self.home, "disks")

    @property
    def disks_log(self) -> str:
        return os.path.join(self.home, "disks.log")

    @property
    def output(self) -> str:
        return os.path.join(self.home, "output")

    @property
    def nvram(self) -> str:
        return os.path.join(self.home, "nvram")

    @property
    def nvram_origin(self) -> str:
        return os.path.join(self.nvram, "origin.json")

    @property
    def tpm(self) -> str:
        return os.path.join(self.home, "tpm")

    def helper_log(self, kind: str) -> str:
        return os.path.join(self.home, f"helper-{kind}.log")

    @property
    def helper_logs(self) -> str:
        """A pattern (glob) for the logs of all helpers, those of former starts too."""
        return os.path.join(glob.escape(self.home), "helper-*.log*")

    @property
    def seed(self) -> str:
        return os.path.join(self.home, "seed.iso")

    @property
    def seed_work(self) -> str:
        return os.path.join(self.run, "seed")

    @property
    def serial_log(self) -> str:
        return os.path.join(self.home, "serial.log")

    @property
    def qemu_log(self) -> str:
        return os.path.join(self.home, "qemu.log")

    @property
    def last_exit(self) -> str:
        return os.path.join(self.home, "last-exit.json")

    @property
    def last_start(self) -> str:
        return os.path.join(self.home, "last-start.json")

    @property
    def runner_env(self) -> str:
        return os.path.join(self.home, "runner.env")

    @property
    def snapshots(self) -> str:
        return os.path.join(self.home, "snapshots.json")

    @property
    def migration(self) -> str:
        return os.path.join(self.home, "migration.json")

    @property
    def migration_log(self) -> str:
        return os.path.join(self.home, "migration.log")

    @property
    def runner_socket(self) -> str:
        return os.path.join(self.run, "runner.sock")

    @property
    def monitor_socket(self) -> str:
        return os.path.join(self.run, "monitor.sock")

    @property
    def direct_socket(self) -> str:
        return os.path.join(self.run, "direct.sock")

    @property
    def agent_socket(self) -> str:
        return os.path.join(self.run, "agent.sock")

    @property
    def serial_socket(self) -> str:
        return os.path.join(self.run, "serial.sock")

    @property
    def vnc_socket(self) -> str:
        return os.path.join(self.run, "vnc", "vnc.sock")

    @property
    def cables(self) -> str:
        return os.path.join(self.run, "n")

    def cable(self, peer: str) -> str:
        """The socket of this VM's QEMU for what ``peer`` sends; no longer than the path of the monitor's."""
        return os.path.join(self.cables, hashlib.sha256(peer.encode()).hexdigest()[:8], "s")

    @property
    def status(self) -> str:
        return os.path.join(self.run, "status.json")

    @property
    def order(self) -> str:
        return os.path.join(self.run, "order.json")

    @property
    def events(self) -> str:
        return os.path.join(self.run, "events.jsonl")

    @property
    def lock(self) -> str:
        return os.path.join(self.run, "lock")

    @property
    def direct_lock(self) -> str:
        return direct_lock(os.path.dirname(self.run), self.name)

    @property
    def launch_lock(self) -> str:
        return os.path.join(os.path.dirname(self.run), f"@launch-{self.name}", "lock")

    @property
    def audit_log(self) -> str:
        return os.path.join(self.log, f"{self.name}.audit.jsonl")

    @property
    def audit_segments(self) -> str:
        """A pattern (glob) for the older parts of the log; their names are made in ``guard/segments.py``."""
        return os.path.join(self.log, f"{self.name}.audit.[0-9]*.jsonl")

    @property
    def audit_key(self) -> str:
        return audit_key(os.path.dirname(os.path.dirname(self.home)))

    @property
    def runner_log(self) -> str:
        return os.path.join(self.log, f"{self.name}.runner.log")


class Layout(t.NamedTuple):
    """The trees that we use on a host, for root (``scope`` system) or for a plain user (``scope`` user)."""

    state: str
    run: str
    log: str
    scope: str
    config: str = "/etc/maqet"

    @property
    def policy(self) -> str:
        return os.path.join(self.config, "policy.yml")

    @property
    def vms(self) -> str:
        return os.path.join(self.state, "vms")

    @property
    def runners(self) -> str:
        return os.path.join(self.state, "runner")

    @property
    def cache(self) -> str:
        return os.path.join(self.state, "cache")

    @property
    def audit_key(self) -> str:
        return audit_key(self.state)

    @property
    def venv_python(self) -> str:
        return os.path.join(self.state, "venv", "bin", "python")

    @property
    def python(self) -> str:
        """The interpreter of this tree's virtual environment; else of the system's, which is for all."""
        own = self.venv_python
        return own if os.access(own, os.X_OK) else SYSTEM.venv_python

    def vm(self, name: str) -> VmPaths:
        """The files of the VM ``name``, which has passed ``check_vm_name``."""
        paths = VmPaths(name, os.path.join(self.vms, name), os.path.join(self.run, name), self.log)
        if len(os.fsencode(paths.monitor_socket)) > MAX_SOCKET_PATH:
            raise invalid_option(
                "name",
                name,
                f"makes the socket path {paths.monitor_socket} longer than {MAX_SOCKET_PATH} bytes",
                "Choose a shorter name, or set XDG_STATE_HOME to a shorter folder",
            )
        return paths


def audit_key(state: str) -> str:
    """One key a host, for the logs of all its VMs."""
    return os.path.join(state, "audit.key")


def direct_lock(run: str, name: str) -> str:
    """Held while a task speaks to a direct monitor; also for a QEMU that is not ours. '@' begins no VM's name."""
    return os.path.join(run, f"@direct-{name}", "lock")


#: Root's VMs are the system's.
SYSTEM = Layout("/var/lib/maqet", "/run/maqet", "/var/log/maqet", "system", "/etc/maqet")


def layout() -> Layout:
    """Where this user's VMs live: the system's folders for root, the XDG ones for anybody else.

    A user's sockets are not put under XDG_RUNTIME_DIR: that folder goes away when the user logs
    out, and VMs stay (XDG Base Directory Specification, 0.8).
    """
    if os.geteuid() == 0:
        return SYSTEM
    data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return Layout(
        os.path.join(data, "maqet"),
        os.path.join(state, "maqet", "run"),
        os.path.join(state, "maqet", "log"),
        "user",
        os.path.join(config, "maqet"),
    )
