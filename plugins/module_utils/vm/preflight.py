# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions whose answer makes a start fail, asked before anything is touched: a sentence instead of QEMU's exit."""

from __future__ import annotations

import os
import socket
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition import arch
from ansible_collections.maqet.qemu.plugins.module_utils.definition.defaults import effective
from ansible_collections.maqet.qemu.plugins.module_utils.definition.firmware import check_possible
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_console import listen as vnc_listens
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.host import accel, firmware, iso, qemu, tpm
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.vm import preflight_hardware
from ansible_collections.maqet.qemu.plugins.module_utils.vm.preflight_hardware import known
from ansible_collections.maqet.qemu.plugins.module_utils.vm.sources import readable_file


def check_definition(intent: t.Mapping[str, t.Any], where: Layout, remember: bool = True) -> None:
    """What must hold for a VM to be defined on this host. Without ``remember`` nothing is written, no cache either."""
    wanted = effective(intent, os.uname().machine)
    binary = qemu.find_binary(wanted["arch"])
    arch.check(wanted)
    if intent.get("machine"):
        known("machine", wanted["machine"], qemu.machines(binary), f"{binary} -machine help")
    if intent.get("cpu_model"):
        model = intent["cpu_model"].partition(",")[0]
        known("cpu_model", model, qemu.cpu_models(binary, wanted["machine"]), f"{binary} -cpu help")
    preflight_hardware.check_devices(wanted, binary)
    _check_firmware(wanted)
    for option in ("kernel", "initrd"):
        if wanted[option]:
            readable_file(option, wanted[option], f"Give the path of a {option} image on this host")
    if wanted["cloud_init"]:
        iso.tool()
    if wanted["accel"] == "kvm":
        accel.resolve("kvm", wanted["arch"], binary, where.cache if remember else None)


def check_start(intent: t.Mapping[str, t.Any], *ended: t.Mapping[str, t.Any]) -> None:
    """What must hold in addition before a start. ``ended``: intents of QEMUs that run now, and will have ended."""
    own = {_address(forward) for running in ended for _option, forward in _forwards(running)}
    for option, forward in _forwards(intent):
        if _address(forward) not in own:
            _port_allowed(option, forward["host_port"])
            _port_free(option, forward)
    wanted = effective(intent, os.uname().machine)
    replaced = [effective(running, os.uname().machine) for running in ended]
    vnc = vnc_listens(wanted)
    if vnc is not None and vnc not in map(vnc_listens, replaced):
        _port_free("vnc.port", {"protocol": "tcp", "host_address": vnc[0], "host_port": vnc[1]})
    preflight_hardware.check_start(wanted, replaced)


def _check_firmware(wanted: t.Mapping[str, t.Any]) -> None:
    """What UEFI, the TPM and shares need of the host."""
    check_possible(wanted)
    if wanted["firmware"]["type"] == "uefi":
        firmware.find(wanted["firmware"], wanted["arch"], wanted["machine"])
    if wanted["tpm"] is not None:
        tpm.find_swtpm()
    for index, share in enumerate(wanted["shares"]):
        if not os.path.isdir(share["path"]):
            raise invalid_option(
                f"shares[{index}].path", share["path"], "is no folder on this host", "Make it, or give another"
            )


def prove(intent: t.Mapping[str, t.Any], where: Layout) -> None:
    """Find out about the accelerator, and remember it for the runner."""
    wanted = effective(intent, os.uname().machine)
    accel.resolve(wanted["accel"], wanted["arch"], qemu.find_binary(wanted["arch"]), where.cache)


def _forwards(intent: t.Mapping[str, t.Any]) -> t.Iterator[tuple[str, t.Mapping[str, t.Any]]]:
    for index, network in enumerate(effective(intent, os.uname().machine)["networks"]):
        for number, forward in enumerate(network["hostfwd"]):
            yield f"networks[{index}].hostfwd[{number}].host_port", forward
        if "local" in network:
            address, _colon, port = network["local"].partition(":")
            yield f"networks[{index}].local", {"protocol": "udp", "host_address": address, "host_port": int(port)}


def _address(forward: t.Mapping[str, t.Any]) -> tuple[str, str, int]:
    return forward["protocol"], forward["host_address"], forward["host_port"]


def _port_allowed(option: str, port: int) -> None:
    """The system's QEMUs have a user of their own, who may not listen where root could."""
    if os.geteuid() != 0:
        return  # the attempt to listen tells
    try:
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as file:
            first = int(file.read())
    except OSError:
        first = 1024
    if port < first:
        raise invalid_option(
            option,
            port,
            f"is below {first}, where only root may listen, and QEMU is not root",
            "Choose a higher port, or lower the host's sysctl net.ipv4.ip_unprivileged_port_start",
        )


def _port_free(option: str, forward: t.Mapping[str, t.Any]) -> None:
    address, port = forward["host_address"], forward["host_port"]
    kind = socket.SOCK_STREAM if forward["protocol"] == "tcp" else socket.SOCK_DGRAM
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, kind | socket.SOCK_CLOEXEC) as probe:
        if kind == socket.SOCK_STREAM:  # as QEMU does: a connection in TIME_WAIT does not take the port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise _cannot_listen(option, address, port, error) from None


def _cannot_listen(option: str, address: str, port: int, error: OSError) -> MaqetError:
    return invalid_option(
        option, port, f"cannot be listened on at {address}: {error.strerror}", "Choose a port that is free on the host"
    )
