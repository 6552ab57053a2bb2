# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The systemd unit of all VMs, ``maqet@NAME.service``, as text, and the file from which it learns what to run.

Pure: nothing here looks at the host. Ansible ships no data files, hence a string.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout

#: Raised with every change of the text, or the change reaches no host that has an older one.
VERSION = 1
TEMPLATE = "maqet@.service"
SLICE = "maqet.slice"
#: What a runner gets from ``runner.env``, in the order in which a person would look for it.
VARIABLES = ("MAQET_PYTHON", "MAQET_RUNNER", "MAQET_STATE", "MAQET_RUN", "MAQET_LOG", "MAQET_SCOPE", "MAQET_CONFIG")

_FIRST_LINE = re.compile(r"# maqet\.qemu unit ([0-9]{1,9})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# What a backslash escapes inside double quotes, there and in a shell (systemd.exec(5), EnvironmentFile=).
_SPECIAL = re.compile(r'["\\`$]')

_TEXT = """\
# maqet.qemu unit {version}
# Written by the Ansible collection maqet.qemu, which replaces it by a newer one as long as the line above is there.
# Changes belong into a drop-in: systemctl {user}edit maqet@.service (all VMs) or maqet@NAME.service (one).

[Unit]
Description=QEMU virtual machine %i
{order}\
# A runner that crashes over and over is given up; killed now and then it comes back at once.
StartLimitIntervalSec=60
StartLimitBurst=200

[Service]
Slice={slice}
Type=notify
NotifyAccess=main
EnvironmentFile={vms}/%i/runner.env
# env becomes the runner. The program itself cannot be a variable.
ExecStart=/usr/bin/env -- ${{MAQET_PYTHON}} ${{MAQET_RUNNER}} --vm %i --state ${{MAQET_STATE}} --run ${{MAQET_RUN}} \
--log ${{MAQET_LOG}} --scope ${{MAQET_SCOPE}} --config ${{MAQET_CONFIG}}
StandardInput=null
StandardOutput=append:{log}/%i.runner.log
StandardError=append:{log}/%i.runner.log
UMask=0077

# Only the runner is signalled, QEMU outlives it. PWR: the guest is to power off, for which the runner extends the time
# to stop as it goes. TERM: leave, and let QEMU go on, which is what a restart of this unit means.
KillMode=process
KillSignal=SIGPWR
RestartKillSignal=SIGTERM
SendSIGKILL=yes
TimeoutStartSec=300
TimeoutStopSec=30
# Killed, crashed or stuck: the next runner takes QEMU over. One that failed by itself has said why, and stays ended.
Restart=on-abnormal
RestartSec=0
WatchdogSec=120

# QEMU over its memory limit is ended by the kernel, and reported by its runner.
OOMPolicy=continue
# A thread for each CPU, 4096 at most, and those that read and write.
TasksMax=8192

# What follows holds for QEMU too, whose own sandbox is tighter. Not here:
# - what takes a mount namespace (ProtectSystem=, PrivateTmp=, ProtectKernelTunables=): images may lie anywhere, and
#   QEMU must see the same files as its next runner;
# - ProtectClock=, PrivateDevices=, DevicePolicy=: they would close /dev/kvm and the disks;
# - MemoryDenyWriteExecute=: emulation writes code and runs it;
# - ProtectHostname=: the runner would go on under a name that the host no longer has.
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_VSOCK
SystemCallArchitectures=native
SystemCallFilter=~@clock @cpu-emulation @module @mount @obsolete @raw-io @reboot @swap sethostname setdomainname
SystemCallErrorNumber=EPERM
{powers}\

[Install]
WantedBy={target}
"""

_SYSTEM_ORDER = """\
# Stopped in the opposite order: guests have network, disks and clock until they are off.
After=network.target network-online.target remote-fs.target time-sync.target nss-user-lookup.target
RequiresMountsFor={mounts}
"""

_SYSTEM_POWERS = """\
# What the runner's root gives up. It keeps files of any owner, users and groups, signals, processes, networks, devices.
CapabilityBoundingSet=~CAP_SYS_ADMIN CAP_SYS_MODULE CAP_SYS_BOOT CAP_SYS_TIME CAP_SYS_PACCT CAP_SYS_RAWIO CAP_BPF
CapabilityBoundingSet=~CAP_SYS_TTY_CONFIG CAP_SYSLOG CAP_AUDIT_CONTROL CAP_AUDIT_READ CAP_MAC_ADMIN CAP_MAC_OVERRIDE
CapabilityBoundingSet=~CAP_WAKE_ALARM CAP_BLOCK_SUSPEND CAP_LINUX_IMMUTABLE CAP_LEASE CAP_PERFMON
"""


def unit_name(name: str) -> str:
    """The unit of a VM. A VM's name holds nothing that systemd would escape: see ``definition/names.py``."""
    return f"maqet@{name}.service"


def unit_text(where: Layout) -> str:
    """The template for root's VMs, or for those of a plain user."""
    system = where.scope == "system"
    mounts = " ".join(f'"{_path(path)}"' for path in (where.state, where.log))
    return _TEXT.format(
        version=VERSION,
        user="" if system else "--user ",
        order=_SYSTEM_ORDER.format(mounts=mounts) if system else "",
        slice=SLICE,
        vms=_path(where.vms),
        log=_path(where.log),
        powers=_SYSTEM_POWERS if system else "",
        target="multi-user.target" if system else "default.target",
    )


def version_of(text: str) -> t.Optional[int]:
    """The version in the first line of a unit file; None for a file that is not ours."""
    found = _FIRST_LINE.fullmatch(text.partition("\n")[0].rstrip())
    return int(found.group(1)) if found else None


def is_to_be_written(there: t.Optional[str], text: str) -> bool:
    """Whether ``text`` replaces what is ``there``: nothing, an older one of ours, or ours for other folders."""
    if there is None:
        return True
    version = version_of(there)
    return version is not None and (version < VERSION or (version == VERSION and there != text))


def env_file(values: t.Mapping[str, str]) -> str:
    """The lines of an ``EnvironmentFile=``, in which systemd finds exactly these values.

    Control characters, and bytes that are no UTF-8, are refused (``host_error``): systemd would drop the line or more.
    """
    lines = []
    for key, value in values.items():
        _demand_plain(key, value)
        if key == "MAQET_PYTHON" and "=" in value:
            raise _unusable(key, value, "holds '=', which env(1) takes for a variable")
        lines.append(f'{key}="{_SPECIAL.sub(lambda found: chr(92) + found.group(), value)}"\n')
    return "".join(lines)


def _path(path: str) -> str:
    """A path inside a unit file, where ``%`` begins a specifier."""
    _demand_plain("path", path)
    if '"' in path or "\\" in path:
        raise _unusable("path", path, "holds a quote or a backslash")
    return path.replace("%", "%%")


def _demand_plain(what: str, value: str) -> None:
    found = _CONTROL.search(value)
    if found:
        raise _unusable(what, value, f"holds the control character {found.group()!r}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _unusable(what, value, "is not valid UTF-8") from None


def _unusable(what: str, value: str, problem: str) -> MaqetError:
    shown = value.encode("utf-8", "backslashreplace").decode()
    return MaqetError(
        f"{what}: {shown!r} {problem}, so that systemd cannot use it. Choose other folders (XDG_DATA_HOME, "
        "XDG_STATE_HOME, XDG_CONFIG_HOME), or another Python.",
        "host_error",
    )
