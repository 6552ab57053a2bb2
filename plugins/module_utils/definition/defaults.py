# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a VM gets where its user said nothing.

Defaults are applied when a command line is made and are never stored, so that a stored intent holds
what its user wrote and nothing else.
"""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.networks import LOOPBACK
from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option

# The machine type by architecture: the one with PCI Express that QEMU's manual recommends.
MACHINES = {"x86_64": "q35", "aarch64": "virt"}
# Other names under which kernels report the same architectures.
_ALIASES = {"amd64": "x86_64", "arm64": "aarch64"}
# The best processor that each accelerator can show: the host's own, or all that is emulated.
CPU_MODELS = {"kvm": "host", "tcg": "max"}

# memory and memory_max are in MiB, cpu_quota in percent of one CPU. None is no limit, or is decided later: arch by the
# host, machine by arch, cpu_model by the accelerator.
DEFAULTS: dict[str, t.Any] = {
    "memory": 512,
    "cpus": 1,
    "cpu_model": None,
    "machine": None,
    "arch": None,
    "accel": "auto",
    "kernel": None,
    "initrd": None,
    "cmdline": None,
    "disks": [],
    "networks": [],
    "cloud_init": {},
    "serial": "file",
    "display": "none",
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
DISK_DEFAULTS: dict[str, t.Any] = {"interface": "virtio", "readonly": False}
NETWORK_DEFAULTS: dict[str, t.Any] = {"model": "virtio-net-pci", "hostfwd": []}
FORWARD_DEFAULTS: dict[str, t.Any] = {"protocol": "tcp", "host_address": LOOPBACK}


def effective(intent: t.Mapping[str, t.Any], host_arch: str) -> dict[str, t.Any]:
    """The intent with every default filled in; ``cpu_model`` stays None where the accelerator decides.

    ``host_arch`` is what ``platform.machine()`` said on the host.
    """
    result = {**DEFAULTS, **intent}
    result["arch"] = intent.get("arch") or architecture(host_arch)
    result["machine"] = intent.get("machine") or MACHINES[result["arch"]]
    result["disks"] = [_disk(disk) for disk in result["disks"]]
    result["networks"] = [_network(network) for network in result["networks"]]
    for key in ("cloud_init", "extra_args", "labels", "policy"):
        result[key] = type(DEFAULTS[key])(result[key])  # nobody shall change the default itself
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


def _disk(disk: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """A disk that is made is qcow2 unless asked otherwise; of one that exists the format is detected."""
    made = {} if "path" in disk else {"format": "qcow2"}
    return {**DISK_DEFAULTS, **made, **disk}


def _network(network: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    result = {**NETWORK_DEFAULTS, **network}
    result["hostfwd"] = [{**FORWARD_DEFAULTS, **rule} for rule in result["hostfwd"]]
    return result
