# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The intent: what the user asked for, in one normal form, so that two of them can be compared.

An intent holds only what was given. It is stored with the VM; defaults join when it is rendered.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition import (
    board,
    boot,
    console,
    cpu,
    defaults,
    limits,
    memory,
    names,
    sizes,
    values,
)
from ansible_collections.maqet.qemu.plugins.module_utils.definition import devices as others
from ansible_collections.maqet.qemu.plugins.module_utils.definition.cloud_init import cloud_init
from ansible_collections.maqet.qemu.plugins.module_utils.definition.disk_tuning import check_kernel_first
from ansible_collections.maqet.qemu.plugins.module_utils.definition.disks import disks
from ansible_collections.maqet.qemu.plugins.module_utils.definition.extra_args import extra_args
from ansible_collections.maqet.qemu.plugins.module_utils.definition.firmware import firmware, tpm
from ansible_collections.maqet.qemu.plugins.module_utils.definition.host_devices import host_devices
from ansible_collections.maqet.qemu.plugins.module_utils.definition.networks import networks
from ansible_collections.maqet.qemu.plugins.module_utils.definition.shares import shares
from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option

ACCELERATORS = ("auto", "kvm", "tcg")
RESTART_POLICIES = ("no", "on-failure", "always")
PANIC_ACTIONS = ("pause", "shutdown", "none")
REBOOT_ACTIONS = ("reset", "shutdown")
# Of shutdown_timeout, in seconds: an hour. A host that waits longer for one guest is not going down.
_MAX_SHUTDOWN = 3600

# x86 and Arm kernels keep 2048 bytes of their command line, the last of them NUL, and drop the rest silently.
_CMDLINE_MAX = 2047
_MACHINE = re.compile(r"[a-z0-9][A-Za-z0-9_.-]{0,62}")
# A model with QEMU's list of features: "host,-vmx", "EPYC,topoext=on", "max,pauth-impdef=on".
_CPU_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(?:,[+-]?[A-Za-z0-9][A-Za-z0-9_.-]*(?:=[A-Za-z0-9_.+-]+)?)*")
# Machines with an IDE bus: the i440FX boards.
_IDE_MACHINE = re.compile(r"pc|pc-i440fx-.*")


def _machine(option: str, value: t.Any) -> str:
    remedy = "Give a machine type alone, such as q35; its properties go to extra_args, such as ['-machine', 'smm=off']."
    return values.matching(option, value, _MACHINE, "is not a machine type", remedy)


def _cpu_model(option: str, value: t.Any) -> str:
    remedy = "Give a model that 'qemu-system-x86_64 -cpu help' lists, with its features, such as max or host,-vmx."
    return values.matching(option, value, _CPU_MODEL, "is not a processor model", remedy)


def _cmdline(option: str, value: t.Any) -> str:
    remedy = "Give the kernel's command line as one line of at most 2047 characters."
    stripped = value.strip() if isinstance(value, str) else value  # a folded block of YAML ends with a newline
    return values.text(option, stripped, remedy, _CMDLINE_MAX)


def _one_of(choices: t.Sequence[str]) -> t.Callable[[str, t.Any], str]:
    def check(option: str, value: t.Any) -> str:
        return values.choice(option, value, choices)

    return check


def _shutdown_timeout(option: str, value: t.Any) -> int:
    return values.whole_number(option, value, 0, _MAX_SHUTDOWN)


def _policy(option: str, value: t.Any) -> dict[str, t.Any]:
    """A dictionary; what may be in it is the guard's to say, and no other room's."""
    if not isinstance(value, t.Mapping):
        raise invalid_option(option, value, "is not a dictionary", "Give a dictionary, such as {consent: false}.")
    return dict(value)


_CHECKS: dict[str, t.Callable[[str, t.Any], t.Any]] = {
    "memory": sizes.memory_mib,
    "hugepages": memory.hugepages,
    "balloon": values.yes_or_no,
    "balloon_target": sizes.memory_mib,
    "cpus": cpu.count,
    "cpus_max": cpu.most,
    "cpu_topology": cpu.topology,
    "cpu_model": _cpu_model,
    "cpu_features": cpu.features,
    "machine": _machine,
    "arch": _one_of(tuple(defaults.MACHINES)),
    "accel": _one_of(ACCELERATORS),
    "uuid": board.uuid,
    "smbios": board.smbios,
    "clock": board.clock,
    "boot": boot.boot,
    "firmware": firmware,
    "tpm": tpm,
    "kernel": values.absolute_path,
    "initrd": values.absolute_path,
    "cmdline": _cmdline,
    "disks": disks,
    "networks": networks,
    "cloud_init": cloud_init,
    "shares": shares,
    "serial": _one_of(console.SERIALS),
    "display": _one_of(console.DISPLAYS),
    "vnc": console.vnc,
    "video": _one_of(console.VIDEO_WORDS),
    "rng": values.yes_or_no,
    "watchdog": board.watchdog,
    "host_devices": host_devices,
    "devices": others.devices,
    "agent": values.yes_or_no,
    "extra_args": extra_args,
    "labels": names.labels,
    "policy": _policy,
    "restart_policy": _one_of(RESTART_POLICIES),
    "panic_action": _one_of(PANIC_ACTIONS),
    "reboot_action": _one_of(REBOOT_ACTIONS),
    "shutdown_timeout": _shutdown_timeout,
    "autostart": values.yes_or_no,
    "cpu_quota": limits.cpu_quota,
    "cpu_weight": limits.weight,
    "io_weight": limits.weight,
    "memory_max": sizes.memory_mib,
}
OPTIONS = tuple(_CHECKS)
# Options without a fixed default: an empty string takes a stored value back.
_CLEARABLE = (
    *("cpu_model", "machine", "arch", "kernel", "initrd", "cmdline", "panic_action"),
    *("cpu_quota", "memory_max", "firmware"),
    *("hugepages", "balloon_target", "cpus_max", "uuid", "video"),
)
# What is decided once for a VM and stored beside its intent.
_NOT_STORED = ("uuid",)


def normalise(params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The intent in an Ansible module's parameters; options that are None, or not of a definition, are dropped.

    Each option is checked alone. What options mean for each other is checked by :func:`merge`, since
    half of them may be stored already.
    """
    result: dict[str, t.Any] = {}
    for option, check in _CHECKS.items():
        value = params.get(option)
        if value == "" and option in _CLEARABLE:
            result[option] = ""
        elif value is not None:
            result[option] = check(option, value)
    return result


def merge(stored: t.Mapping[str, t.Any], given: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The intent that results when ``given`` replaces options of ``stored`` one by one, lists and dicts as a whole.

    For a new VM ``stored`` is empty. Raises ``invalid_option`` where options contradict each other.
    """
    both = {**stored, **given}
    managed = (option for option in OPTIONS if option in both and option not in _NOT_STORED)
    intent = {option: both[option] for option in managed if both[option] != ""}
    _check_together(intent)
    return intent


def _check_together(intent: t.Mapping[str, t.Any]) -> None:
    for check in (limits.check_memory_max, cpu.check, memory.check, boot.check, console.check, others.check):
        check(intent)
    for option in ("initrd", "cmdline"):
        if option in intent and "kernel" not in intent:
            raise invalid_option(
                option,
                intent[option],
                "needs a kernel",
                f"Give kernel too, or take {option} back with an empty string.",
            )
    check_kernel_first(intent.get("disks", ()), "kernel" in intent)
    machine = intent.get("machine", "")
    for index, disk in enumerate(intent.get("disks", ())):
        if disk.get("interface") == "ide" and not _IDE_MACHINE.fullmatch(machine):
            which = f"the machine {machine}" if machine else "the default machine"
            raise invalid_option(
                f"disks[{index}].interface",
                "ide",
                f"is not on {which}, which has no IDE",
                "Use machine: pc, or sata or virtio.",
            )
