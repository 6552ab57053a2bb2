# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a VM gets where its user said nothing.

Defaults are applied when a command line is made and are never stored, so that a stored intent holds
what its user wrote and nothing else.
"""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.firmware import effective_firmware, effective_tpm
from ansible_collections.maqet.qemu.plugins.module_utils.definition.networks import LOOPBACK
from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option

# The machine type by architecture: the one with PCI Express that QEMU's manual recommends.
MACHINES = {"x86_64": "q35", "aarch64": "virt"}
# Other names under which kernels report the same architectures.
_ALIASES = {"amd64": "x86_64", "arm64": "aarch64"}
# The best processor that each accelerator can show: the host's own, or all that is emulated.
CPU_MODELS = {"kvm": "host", "tcg": "max"}

# memory, memory_max and balloon_target are in MiB, hugepages in KiB, cpu_quota in percent of one CPU. None is no limit,
# or is decided later: arch by the host, machine and video by arch, cpu_model by the accelerator, uuid by chance.
DEFAULTS: dict[str, t.Any] = {
    "memory": 512,
    "hugepages": None,
    "balloon": False,
    "balloon_target": None,
    "cpus": 1,
    "cpus_max": None,
    "cpu_topology": {},
    "cpu_model": None,
    "cpu_features": {},
    "machine": None,
    "arch": None,
    "accel": "auto",
    "uuid": None,
    "smbios": {},
    "clock": {},
    "boot": {},
    "firmware": None,
    "tpm": None,
    "kernel": None,
    "initrd": None,
    "cmdline": None,
    "disks": [],
    "networks": [],
    "cloud_init": {},
    "shares": [],
    "serial": "file",
    "display": "none",
    "vnc": {},
    "video": None,
    "rng": False,
    "watchdog": {},
    "host_devices": [],
    "devices": [],
    "agent": False,
    "extra_args": [],
    "labels": {},
    "policy": {},
    "restart_policy": "no",
    "panic_action": None,
    "reboot_action": "reset",
    "shutdown_timeout": 60,
    "autostart": False,
    "cpu_quota": None,
    "cpu_weight": 100,
    "io_weight": 100,
    "memory_max": None,
}
DISK_DEFAULTS: dict[str, t.Any] = {"type": "disk", "interface": "virtio", "readonly": False}
CDROM_DEFAULTS: dict[str, t.Any] = {"type": "cdrom", "interface": "sata", "readonly": True}
# What says how a file is made, and nothing about a disk that has been made.
_OF_MAKING = ("clone", "clone_format", "checksum", "preallocation")
NETWORK_DEFAULTS: dict[str, t.Any] = {"model": "virtio-net-pci", "hostfwd": []}
#: What the networks of a type have in addition.
NETWORK_TYPE_DEFAULTS: dict[str, dict[str, t.Any]] = {
    "user": {"restrict": False, "ipv6": True},
    "bridge": {"queues": 1},
    "tap": {"queues": 1},
    "macvtap": {"queues": 1, "mode": "bridge"},
}
SHARE_DEFAULTS: dict[str, t.Any] = {"type": "9p", "readonly": False, "security_model": "mapped-xattr"}
FORWARD_DEFAULTS: dict[str, t.Any] = {"protocol": "tcp", "host_address": LOOPBACK}


def effective(intent: t.Mapping[str, t.Any], host_arch: str) -> dict[str, t.Any]:
    """The intent with every default filled in; ``cpu_model`` stays None where the accelerator decides.

    ``host_arch`` is what ``platform.machine()`` said on the host.
    """
    result = {**DEFAULTS, **intent}
    result["arch"] = intent.get("arch") or architecture(host_arch)
    result["machine"] = intent.get("machine") or MACHINES[result["arch"]]
    result["disks"] = [_disk(disk) for disk in result["disks"]]
    result["networks"] = [of_network(network) for network in result["networks"]]
    result["shares"] = [{**SHARE_DEFAULTS, **share} for share in result["shares"]]
    result["firmware"] = effective_firmware(result["firmware"], result["arch"], result["kernel"])
    result["tpm"] = effective_tpm(result["tpm"], result["arch"])
    for key, default in DEFAULTS.items():
        if isinstance(default, (list, dict)):
            result[key] = type(default)(result[key])  # nobody shall change the default itself
    return result


def architecture(machine: str) -> str:
    """QEMU's name for what ``platform.machine()`` reports, or ``invalid_option`` for ``arch``."""
    arch = _ALIASES.get(machine.lower(), machine.lower())
    if arch not in MACHINES:
        raise invalid_option(
            "arch",
            machine,
            "is the host's own, for which there is no default",
            f"Choose one of: {', '.join(MACHINES)}.",
        )
    return arch


def of_disk_type(disk: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The defaults of a disk, or of a drive for a CD."""
    return CDROM_DEFAULTS if disk.get("type") == "cdrom" else DISK_DEFAULTS


def _disk(disk: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """A disk that is made is qcow2 unless asked otherwise; of one that exists the format is detected."""
    made = {} if "path" in disk or disk.get("type") == "cdrom" else {"format": "qcow2"}
    kept = {key: value for key, value in disk.items() if key not in _OF_MAKING}
    return {**of_disk_type(disk), **made, **kept}


def of_network(network: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """A network with the defaults of its type."""
    result = {**NETWORK_DEFAULTS, **NETWORK_TYPE_DEFAULTS.get(network["type"], {}), **network}
    result["hostfwd"] = [{**FORWARD_DEFAULTS, **rule} for rule in result["hostfwd"]]
    return result
